"""LineMod: the rendered training pictures of BOP's data set `lm`, fetched or put into the cache by hand."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.bop import find_bop, open_bop, read_views
from dualcontrast.data.cache import VARIABLE, cache_folder
from dualcontrast.data.download import download
from dualcontrast.data.unzip import check_zip, unzip
from dualcontrast.errors import DataError

ARCHIVE = "lm_train.zip"
MIRRORS = (
    "https://huggingface.co/datasets/bop-benchmark/lm/resolve/main/",
    "https://huggingface.co/datasets/bop-benchmark/datasets/resolve/main/lm/",
    "https://bop.felk.cvut.cz/media/data/bop_datasets/",
)
VIEWS = 15 * 1313

# Depth images, the largest part of the archive, are of no use here.
_WANTED = re.compile(r"(?:.*/)?(\d{6}/(?:scene_gt\.json|(?:rgb|mask|mask_visib)/[0-9_]+\.(?:png|jpg|jpeg)))")


def find_linemod() -> Path | None:
    """Find the folder of the objects `000001`, …: below `linemod` in the cache, or below the cache itself."""
    return next(
        (found for place in ("linemod", ".") if (found := find_bop(cache_folder() / place)) is not None), None
    )


def open_linemod() -> ArraySource:
    """Open LineMod: 15 objects in 1,313 rendered views each; see `open_bop` for images and labels.

    Raises
    ------
    DataError
        When the pictures are not on this machine, or one is missing or damaged.
    """
    folder = find_linemod()
    if folder is None:
        raise DataError(
            f"linemod: not on this machine; run `dualcontrast data fetch linemod`, or unpack {ARCHIVE} from "
            f"https://bop.felk.cvut.cz/datasets into {cache_folder() / 'linemod'}"
        )
    source = open_bop(folder)
    # Runs record the location, and the name opens the same images on another machine, too.
    source.location = "linemod"
    return source


def fetch_linemod(mirrors: Sequence[str] = MIRRORS, views: int = VIEWS) -> Path:
    """Download and unpack the archive, unless the pictures are here.

    BOP publishes no checksum. So the archive's own checksums are compared, and then it is seen whether each
    of the annotated views has its picture and mask, and whether there are as many as published. The archive
    is deleted after that. An archive that was put into the cache by hand is taken instead of a download.

    Parameters
    ----------
    mirrors : sequence of str
        Addresses of folders with the archive, tried in order.
    views : int
        How many annotated views there must be.

    Returns
    -------
    Path
        The folder with the objects `000001`, ….

    Raises
    ------
    DataError
        When the archive cannot be had, is damaged or is another one; says where to put it by hand.
    """
    folder = find_linemod()
    if folder is None:
        home = cache_folder() / "linemod"
        archive = home / ARCHIVE
        if not archive.is_file():
            try:
                download([f"{mirror}{ARCHIVE}" for mirror in mirrors], None, archive, check_zip)
            except DataError as error:
                raise DataError(
                    f"linemod: {error}; try again later, or put {ARCHIVE} into {home}, or set {VARIABLE} to "
                    "a folder whose sub-folder linemod has it"
                ) from None
        folder = home / "train"
        unzip(archive, folder, _place)
        archive.unlink()
    found = len(read_views(folder))
    if found != views:
        raise DataError(
            f"{folder}: {found:,} views, not the {views:,} published; delete the folder and fetch it again"
        )
    return folder


def _place(name: PurePosixPath) -> PurePosixPath | None:
    """Where a file of the archive goes, wherever the objects' folders are in it; None to leave it out."""
    wanted = _WANTED.fullmatch(str(name))
    return None if wanted is None else PurePosixPath(wanted[1])
