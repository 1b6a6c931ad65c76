"""Opening images by path or name, whatever their format."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from dualcontrast.data import hdf5, pickled_arrays
from dualcontrast.data.arrays import open_npy, open_npz
from dualcontrast.data.bop import find_bop, open_bop
from dualcontrast.data.folder import FolderSource
from dualcontrast.data.idx import has_idx_magic, is_idx, open_idx
from dualcontrast.data.image_files import SUFFIXES
from dualcontrast.data.labels import align, read_label_csv
from dualcontrast.data.limits import check_file
from dualcontrast.data.mrc import is_mrc, open_mrc
from dualcontrast.data.pack import PackSource, is_pack
from dualcontrast.data.published import PUBLISHED
from dualcontrast.data.skipped import without, without_bad
from dualcontrast.data.source import ImageSource
from dualcontrast.data.star import StarSource
from dualcontrast.data.starmen import find_published, open_starmen
from dualcontrast.data.zarr_store import is_zarr, open_zarr
from dualcontrast.errors import DataError

FORMATS = "a folder of images, .npy, .npz, .star, .mrc, .zarr, .h5, .pkl, or IDX files (gzipped or not)"


def open_source(
    path_or_name: str | Path,
    *,
    labels: str | Path | None = None,
    folder_labels: bool = False,
    datadir: str | Path | None = None,
    skip_bad: bool = False,
    known_bad: Mapping[str, str] | None = None,
    tilt_range: tuple[float, float] | None = None,
) -> ImageSource:
    """Open images.

    Parameters
    ----------
    path_or_name : str or Path
        Name of a data set (`mnist`, `rotated-mnist`, `linemod`, `starmen`, `subtomograms`, `digits`), a
        folder of PNG, JPEG, TIFF, `.npy` or MRC images, a folder or file of IDX images, a folder in the BOP
        format, a `.npy` or `.npz` file, a STAR file of subtomograms, an MRC stack of volumes, a Zarr store,
        an HDF5 file, or a pickle of arrays. A name comes before a path; write `./mnist` for a folder of that
        name.
    labels : str or Path, optional
        CSV file whose first column is `id`, `filename` or `image`. By default `labels.csv` inside a folder,
        or the file of the same name with the suffix `.csv` beside a file, where there is one. Its columns
        replace those of the same name that the images bring.
    folder_labels : bool
        Take the sub-folders of a folder of images as content labels.
    datadir : str or Path, optional
        Folder to look for the files of a STAR file in first.
    skip_bad : bool
        Read every image once, leave out those that cannot be used, and list them in `skipped`.
    known_bad : mapping of str to str, optional
        With `skip_bad`: what was found bad before, id and reason; left out without reading any image.
    tilt_range : tuple of float, optional
        First and last tilt in degrees of the tilt series behind the volumes; what lies between them was
        measured. It replaces the CTF volumes that a STAR file may name.

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
    survey, leave_out = skip_bad and known_bad is None, tuple(known_bad or ())
    if name in PUBLISHED:
        source = PUBLISHED[name].open()
        beside = None
    elif path.suffix.lower() == ".star" and path.is_file():
        source = StarSource(path, datadir=datadir, skip_bad=survey, leave_out=leave_out)
        beside = path.with_suffix(".csv")
    elif path.is_dir() and holds_image_files(path, folder_labels):
        source = FolderSource(path, folder_labels=folder_labels, skip_bad=survey, leave_out=leave_out)
        beside = path / "labels.csv"
    else:
        source = _open_path(path)
        beside = path / "labels.csv" if path.is_dir() else path.with_suffix(".csv")
    if folder_labels and not isinstance(source, FolderSource):
        raise DataError(f"{name}: sub-folders can be labels only in a folder of images; leave the option out")
    if datadir is not None and not isinstance(source, StarSource):
        raise DataError(f"{name}: names no other files; give --datadir only with a STAR file")
    if survey:
        source = without_bad(source)
    elif known_bad:
        source = without(source, known_bad)
        source.skipped = known_bad
    if labels is None and beside is not None and beside.is_file():
        labels = beside
    if labels is not None:
        table = align(read_label_csv(labels), source.ids, str(labels), ignored=source.skipped)
        source.labels = table if source.labels is None else source.labels.joined(table)
    if tilt_range is not None:
        if len(source.image_shape) != 4:
            raise DataError(f"{name}: holds 2-D images, which have no missing wedge; leave --tilt-range out")
        from dualcontrast.wedge import tilt_wedge

        # Made once, so that a range that makes no sense is refused before any training.
        tilt_wedge((16, 16, 16), *tilt_range)
        source.tilt_range = tilt_range
    return source


def holds_image_files(path: Path, folder_labels: bool = False) -> bool:
    """Whether a folder is one of image files, rather than a data set or a store in the form of a folder."""
    if is_idx(path) or is_zarr(path):
        return False
    return folder_labels or (find_published(path) is None and find_bop(path) is None)


def _open_path(path: Path) -> ImageSource:
    if not path.exists():
        raise DataError(_nothing_there(path))
    if path.is_dir():
        if is_idx(path):
            return open_idx(path)
        if is_pack(path):
            return PackSource(path)
        if is_zarr(path):
            return open_zarr(path)
        return open_starmen(path) if find_published(path) is not None else open_bop(path)
    check_file(path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return open_npy(path)
    if suffix == ".npz":
        return open_npz(path)
    if is_mrc(path):
        return open_mrc(path)
    if suffix in hdf5.SUFFIXES:
        return hdf5.open_hdf5(path)
    if suffix in pickled_arrays.SUFFIXES:
        return pickled_arrays.open_pickle(path)
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
