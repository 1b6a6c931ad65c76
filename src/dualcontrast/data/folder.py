"""A folder of image files, one image a file."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dualcontrast.data import mrc
from dualcontrast.data.image_files import SUFFIXES, Header, is_image, read_header, read_pixels
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.data.pixels import as_float32, bounds, check_finite
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError

# As RELION 4 and 5 (`1_weights.mrc` beside `1_data.mrc`) and Warp (`TS_1_0000001_ctf_10.00A.mrc`) name them.
_CTF_VOLUME = re.compile(r"_(weights|ctf)(_[\d.]+A)?\.mrc", re.IGNORECASE)


class FolderSource(ImageSource):
    """PNG, JPEG, TIFF, `.npy` and MRC images in a folder and its sub-folders, read when asked for.

    A particle's id is the file's path inside the folder without its suffix, with `/` between the parts; the
    suffix stays where two files differ by it alone. Files and folders whose names begin with a dot, and files
    with other suffixes, are left alone. Opaque alpha channels are dropped.

    Parameters
    ----------
    path : str or Path
        The folder.
    folder_labels : bool
        Make the name of each image's first sub-folder the content label `class`.
    skip_bad : bool
        Leave out the files that are no images or differ from most in size, colours, stored type or voxel
        size, and list them in `skipped`.
    leave_out : sequence of str
        Ids of images known to be bad, which are left out without being looked at.

    Raises
    ------
    DataError
        When the folder holds no images, a file is not an image, two images differ in size, colours, stored
        type or voxel size, or (with `folder_labels`) an image lies outside the sub-folders; and when CTF
        volumes lie among the particles, which only their STAR file tells apart.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        folder_labels: bool = False,
        skip_bad: bool = False,
        leave_out: Sequence[str] = (),
    ) -> None:
        folder = Path(path)
        self.location = str(path)
        named = {name: file for name, file in image_files_of(folder).items() if name not in set(leave_out)}
        headers, self.skipped = look_at_headers(named, strict=not skip_bad)
        if not headers:
            reason = next(iter(self.skipped.values()), "all are known to be bad")
            raise DataError(f"{path}: no image can be used, the first because {reason}")
        self.ids = np.array(list(headers), dtype=str)
        self._files = [named[name] for name in headers]
        self.image_shape, self.stored_type, self.voxel_size = headers[str(self.ids[0])]
        if folder_labels:
            self.labels = self._label_by_folder(folder)

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read images as float32, shape (n, C, *spatial); see `ImageSource.read`."""
        images = np.empty((len(indices), *self.image_shape), dtype=np.float32)
        for row, index in enumerate(indices):
            pixels = read_pixels(self._files[index])
            if pixels.shape != self.image_shape or pixels.dtype.name != self.stored_type:
                raise DataError(
                    f"{self._files[index]}: now has shape {pixels.shape} and type {pixels.dtype}, not "
                    f"{self.image_shape} and {self.stored_type}; leave files unchanged while in use"
                )
            images[row] = as_float32(pixels)
            if self.stored_range is None:
                check_finite(images[row : row + 1], self.ids[[index]], str(self._files[index]))
        return images

    @property
    def stored_range(self) -> tuple[float, float] | None:
        """Lowest and highest value that `read` can return, where the stored type bounds them."""
        return bounds(np.dtype(self.stored_type))

    def _label_by_folder(self, folder: Path) -> LabelTable:
        parts = [file.relative_to(folder).parts for file in self._files]
        for file, path in zip(self._files, parts, strict=True):
            if len(path) < 2:
                raise DataError(f"{file}: lies in no sub-folder to take its label from; move it into one")
        names = np.array([path[0] for path in parts], dtype=str)
        return LabelTable(self.ids, (Factor("class", "content", names),))


def image_files_of(folder: Path) -> dict[str, Path]:
    """List the images in a folder and its sub-folders by their ids, in the order of their names.

    Raises
    ------
    DataError
        When there are none, or CTF volumes are among them.
    """
    files = sorted(file for file in folder.rglob("*") if _is_image(file.relative_to(folder), file))
    if not files:
        suffixes = ", ".join((*SUFFIXES, *mrc.SUFFIXES))
        raise DataError(f"{folder}: no images in this folder; put {suffixes} files there")
    weights = next((file for file in files if _CTF_VOLUME.search(file.name)), None)
    if weights is not None:
        raise DataError(f"{weights}: seems to be a CTF volume, not a particle; give the particles' STAR file")
    return dict(zip(_ids([file.relative_to(folder) for file in files]).tolist(), files, strict=True))


def look_at_headers(
    files: dict[str, Path], *, strict: bool, progress: Callable[[int], None] | None = None
) -> tuple[dict[str, Header], dict[str, str]]:
    """Read the headers of image files and compare them.

    Parameters
    ----------
    files : dict of str to Path
        By id.
    strict : bool
        Raise at the first file that cannot be used, instead of listing all of them.
    progress : callable, optional
        Called with the number of files looked at so far.

    Returns
    -------
    headers : dict of str to Header
        Of the images that can be used together, by id.
    reasons : dict of str to str
        Why each of the others cannot.

    Raises
    ------
    DataError
        With `strict`, for the first file that is no image or unlike the first one.
    """
    # Headers that agree count as one kind; of two that are as frequent, that of the first file.
    kinds: list[dict[str, Header]] = []
    reasons: dict[str, str] = {}
    for done, (name, file) in enumerate(files.items(), start=1):
        try:
            header = read_header(file)
        except DataError as error:
            if strict:
                raise
            reasons[name] = str(error)
        else:
            kind = next((kind for kind in kinds if next(iter(kind.values())).agrees(header)), None)
            if kind is None:
                kind = {}
                kinds.append(kind)
            kind[name] = header
            if strict and len(kinds) > 1:
                raise DataError(_unlike(files, kinds[0], kind))
        if progress is not None:
            progress(done)
    if not kinds:
        return {}, reasons
    usual = max(kinds, key=len)
    for kind in kinds:
        if kind is not usual:
            reasons.update({name: _unlike(files, usual, {name: header}) for name, header in kind.items()})
    return usual, reasons


def _unlike(files: dict[str, Path], usual: dict[str, Header], other: dict[str, Header]) -> str:
    (first, header), (second, deviant) = next(iter(usual.items())), next(iter(other.items()))
    return (
        f"{files[first]} is {header}, but {files[second]} is {deviant}; "
        "bring all images to one size, colour mode and type"
    )


def _is_image(relative: Path, file: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in relative.parts)
    return not hidden and is_image(relative.name) and file.is_file()


def _ids(files: list[Path]) -> np.ndarray:
    """Name each file by its path without its suffix, unless two files would share that name."""
    bare = [file.with_name(mrc.bare_name(file)).with_suffix("").as_posix() for file in files]
    counts = Counter(bare)
    return np.array(
        [name if counts[name] == 1 else file.as_posix() for name, file in zip(bare, files, strict=True)],
        dtype=str,
    )
