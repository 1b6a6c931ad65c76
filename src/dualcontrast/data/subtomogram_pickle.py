"""The subtomograms of the paper: one pickle on Zenodo, fetched or put into the cache by hand."""

from pathlib import Path

from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.cache import VARIABLE, cache_folder
from dualcontrast.data.download import download, read_json
from dualcontrast.data.pickled_arrays import open_pickle
from dualcontrast.errors import DataError

NAME = "composition_conformation_subtomograms.pkl"
RECORD = "https://zenodo.org/api/records/11244440"
COUNT = 18_000
BOX = 32
# "size 32³ with 1 nm resolution", section 4.4 of the paper.
VOXEL_SIZE = 10.0


def find_subtomograms() -> Path | None:
    """Find the pickle in the folder `subtomograms` of the cache, or in the cache itself."""
    places = (cache_folder() / "subtomograms" / NAME, cache_folder() / NAME)
    return next((file for file in places if file.is_file()), None)


def open_subtomograms(count: int = COUNT) -> ArraySource:
    """Open the published subtomograms: 18,000 volumes of 32×32×32 voxels of 10 Å.

    Nothing in the pickle is run. It holds the volumes alone: neither the paper nor the record says in which
    order the 18 structures come, so there are no labels unless the file brings some.

    Parameters
    ----------
    count : int
        How many volumes there must be.

    Returns
    -------
    ArraySource
        Volumes (1, 32, 32, 32), memory-mapped where the pickle stores them byte by byte.

    Raises
    ------
    DataError
        When the file is not on this machine, is damaged, or is another one.
    """
    path = find_subtomograms()
    if path is None:
        raise DataError(
            f"subtomograms: not on this machine; run `dualcontrast data fetch subtomograms`, or put {NAME} "
            f"into {cache_folder() / 'subtomograms'}"
        )
    source = open_pickle(path)
    if len(source) != count or source.image_shape != (1, BOX, BOX, BOX):
        shape = "×".join(map(str, source.image_shape[1:]))
        raise DataError(
            f"{path}: holds {len(source):,} of {shape}, not the {count:,} of {BOX}×{BOX}×{BOX} published; "
            "delete it and run `dualcontrast data fetch subtomograms`, or open it by its path"
        )
    source.voxel_size = VOXEL_SIZE
    # Runs record the location, and the name opens the same images on another machine, too.
    source.location = "subtomograms"
    return source


def fetch_subtomograms(record: str = RECORD, count: int = COUNT) -> Path:
    """Download the pickle, and compare it with the MD5 that Zenodo gives for it.

    Parameters
    ----------
    record : str
        Address of Zenodo's description of the record, in JSON.
    count : int
        How many volumes there must be.

    Returns
    -------
    Path
        The pickle.

    Raises
    ------
    DataError
        When it cannot be had or is not the published one; says where to put it by hand.
    """
    if find_subtomograms() is None:
        path = cache_folder() / "subtomograms" / NAME
        try:
            address, checksum = _look_up(record)
            download([address], checksum, path)
        except DataError as error:
            raise DataError(
                f"subtomograms: {error}; try again later, or put {NAME} into {path.parent}, or set "
                f"{VARIABLE} to a folder whose sub-folder subtomograms has it"
            ) from None
    open_subtomograms(count)
    path = find_subtomograms()
    assert path is not None
    return path


def _look_up(record: str) -> tuple[str, str]:
    """Find the address of the pickle and its checksum, as `md5:…`, in Zenodo's description."""
    try:
        for entry in read_json(record)["files"]:
            if entry["key"] == NAME:
                return str(entry["links"]["self"]), str(entry["checksum"])
    except (KeyError, TypeError):
        pass
    raise DataError(f"{record}: does not name {NAME}")
