"""MNIST: the four original files, from public mirrors or put into the cache by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.cache import VARIABLE, cache_folder
from dualcontrast.data.download import download, sha256_of
from dualcontrast.data.idx import open_idx
from dualcontrast.errors import DataError

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

# SHA-256 of the uncompressed files: copies differ in how they were gzipped.
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def find_mnist(files: Mapping[str, str] = FILES) -> Path | None:
    """Find the folder with all four files, gzipped or not: `mnist` in the cache, or the cache itself."""
    for folder in (cache_folder() / "mnist", cache_folder()):
        if all(_stored(folder, name) is not None for name in files):
            return folder
    return None


def open_mnist() -> ArraySource:
    """Open MNIST: 60,000 training and 10,000 test images of 28×28, content label `digit`.

    The ids are `train-00000` and `test-00000` upwards; the split is the published one.

    Raises
    ------
    DataError
        When the files are not on this machine, or are not the published ones.
    """
    folder = find_mnist()
    if folder is None:
        raise DataError(
            "mnist: not on this machine; run `dualcontrast data fetch mnist`, or put the four files into "
            f"{cache_folder() / 'mnist'}"
        )
    for name, sha256 in FILES.items():
        file = _stored(folder, name)
        if file is not None and sha256_of(file) != sha256:
            raise DataError(
                f"{file}: not the published file (its SHA-256 differs); delete it and run "
                "`dualcontrast data fetch mnist`"
            )
    source = open_idx(folder, label_name="digit")
    # Runs record the location, and the name opens the same images on another machine, too.
    source.location = "mnist"
    return source


def fetch_mnist(mirrors: Sequence[str] = MIRRORS, files: Mapping[str, str] = FILES) -> Path:
    """Download what is missing or damaged of the four files.

    Parameters
    ----------
    mirrors : sequence of str
        Addresses of folders with the gzipped files, tried in order.
    files : mapping of str to str
        SHA-256 of the uncompressed content by name.

    Returns
    -------
    Path
        The folder with the four files.

    Raises
    ------
    DataError
        When a file cannot be had from any mirror; says where to put the files by hand.
    """
    folder = find_mnist(files) or cache_folder() / "mnist"
    for name, sha256 in files.items():
        if _is_right(_stored(folder, name), sha256):
            continue
        try:
            download([f"{mirror}{name}.gz" for mirror in mirrors], sha256, folder / name)
        except DataError as error:
            raise DataError(
                f"mnist: {error}; try again later, or put the files {', '.join(files)} (gzipped or not) into "
                f"{folder}, or set {VARIABLE} to a folder whose sub-folder mnist has them"
            ) from None
    return folder


def _stored(folder: Path, name: str) -> Path | None:
    """Find one file, the uncompressed one first."""
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


def _is_right(file: Path | None, sha256: str) -> bool:
    try:
        return file is not None and sha256_of(file) == sha256
    except DataError:
        return False
