"""Opening images by path or name, whatever their format."""

import difflib
from pathlib import Path

from dualcontrast.data.arrays import open_npy, open_npz
from dualcontrast.data.folder import FolderSource
from dualcontrast.data.idx import has_idx_magic, is_idx, open_idx
from dualcontrast.data.image_files import SUFFIXES
from dualcontrast.data.labels import align, read_label_csv
from dualcontrast.data.published import PUBLISHED
from dualcontrast.data.source import ImageSource
from dualcontrast.data.starmen import find_published, open_starmen
from dualcontrast.errors import DataError

FORMATS = "a folder of images, .npy, .npz, or IDX files (gzipped or not)"


def open_source(
    path_or_name: str | Path, *, labels: str | Path | None = None, folder_labels: bool = False
) -> ImageSource:
    """Open images.

    Parameters
    ----------
    path_or_name : str or Path
        Name of a data set (`mnist`, `starmen`, `digits`), a folder of PNG, JPEG, TIFF or `.npy` images, a
        folder or file of IDX images, or a `.npy` or `.npz` file. A name comes before a path; write `./mnist`
        for a folder of that name.
    labels : str or Path, optional
        CSV file whose first column is `id`, `filename` or `image`. By default `labels.csv` inside a folder,
        or the file of the same name with the suffix `.csv` beside a file, where there is one. Its columns
        replace those of the same name that the images bring.
    folder_labels : bool
        Take the sub-folders of a folder of images as content labels.

    Returns
    -------
    ImageSource
        Images, ids, and labels where there are any.

    Raises
    ------
    DataError
        When nothing is found there, the format is unknown, a file is damaged, or the labels do not belong
        to the images.
    """
    name = str(path_or_name)
    path = Path(path_or_name).expanduser()
    if name in PUBLISHED:
        source = PUBLISHED[name].open()
        beside = None
    else:
        source = _open_path(path, folder_labels=folder_labels)
        beside = path / "labels.csv" if path.is_dir() else path.with_suffix(".csv")
    if folder_labels and not isinstance(source, FolderSource):
        raise DataError(f"{name}: sub-folders can be labels only in a folder of images; leave the option out")
    if labels is None and beside is not None and beside.is_file():
        labels = beside
    if labels is not None:
        table = align(read_label_csv(labels), source.ids, str(labels))
        source.labels = table if source.labels is None else source.labels.joined(table)
    return source


def _open_path(path: Path, *, folder_labels: bool) -> ImageSource:
    if not path.exists():
        raise DataError(_nothing_there(path))
    if path.is_dir():
        if is_idx(path):
            return open_idx(path)
        if find_published(path) is not None and not folder_labels:
            return open_starmen(path)
        return FolderSource(path, folder_labels=folder_labels)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return open_npy(path)
    if suffix == ".npz":
        return open_npz(path)
    if suffix in SUFFIXES:
        raise DataError(f"{path}: is a single image; give the folder that holds the images")
    if has_idx_magic(path):
        return open_idx(path)
    raise DataError(f"{path}: of unknown format; give {FORMATS}")


def _nothing_there(path: Path) -> str:
    """Say what was perhaps meant by a path that does not exist."""
    # Only a bare word can have been meant as a name.
    close = difflib.get_close_matches(str(path).lower(), PUBLISHED, n=1) if len(path.parts) == 1 else []
    if close:
        return f"{path}: no such file, folder or data set; did you mean '{close[0]}'?"
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=1, cutoff=0.8)
    if near:
        return f"{path}: no such file or folder; did you mean '{path.parent / near[0]}'?"
    return f"{path}: no such file, folder or data set; give a path, or one of {', '.join(PUBLISHED)}"
