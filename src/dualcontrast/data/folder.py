"""A folder of image files, one image a file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dualcontrast.data.image_files import SUFFIXES, read_header, read_pixels
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.data.pixels import as_float32, bounds, check_finite
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError


class FolderSource(ImageSource):
    """PNG, JPEG, TIFF and `.npy` images in a folder and its sub-folders, read when asked for.

    A particle's id is the file's path inside the folder without its suffix, with `/` between the parts; the
    suffix stays where two files differ by it alone. Files and folders whose names begin with a dot, and files
    with other suffixes, are left alone. Opaque alpha channels are dropped.

    Parameters
    ----------
    path : str or Path
        The folder.
    folder_labels : bool
        Make the name of each image's first sub-folder the content label `class`.

    Raises
    ------
    DataError
        When the folder holds no images, a file is not an image, two images differ in size, colours or
        stored type, or (with `folder_labels`) an image lies outside the sub-folders.
    """

    def __init__(self, path: str | Path, *, folder_labels: bool = False) -> None:
        folder = Path(path)
        self.location = str(path)
        self._files = sorted(file for file in folder.rglob("*") if _is_image(file.relative_to(folder), file))
        if not self._files:
            raise DataError(f"{path}: no images in this folder; put {', '.join(SUFFIXES)} files there")
        self.ids = _ids([file.relative_to(folder) for file in self._files])
        header = read_header(self._files[0])
        for file in self._files[1:]:
            other = read_header(file)
            if other != header:
                raise DataError(
                    f"{self._files[0]} is {header}, but {file} is {other}; "
                    "bring all images to one size, colour mode and type"
                )
        self.image_shape, self.stored_type = header
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


def _is_image(relative: Path, file: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in relative.parts)
    return not hidden and relative.suffix.lower() in SUFFIXES and file.is_file()


def _ids(files: list[Path]) -> np.ndarray:
    """Name each file by its path without its suffix, unless two files would share that name."""
    bare = [file.with_suffix("").as_posix() for file in files]
    counts = Counter(bare)
    return np.array(
        [name if counts[name] == 1 else file.as_posix() for name, file in zip(bare, files, strict=True)],
        dtype=str,
    )
