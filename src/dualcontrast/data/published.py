"""The data sets that have a name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dualcontrast.data.cache import cache_folder
from dualcontrast.data.source import ImageSource


@dataclass(frozen=True)
class PublishedSet:
    """A data set that is opened by its name.

    Attributes
    ----------
    name : str
        As given on the command line.
    images : str
        How many, how large.
    content : str
        What of an image is content.
    transformation : str
        What of an image is transformation.
    licence : str
        Under which it may be used.
    origin : str
        Who made it, and where it is published.
    open : callable
        Returns the source.
    find : callable
        Returns the path of the files on this machine, None where there are none yet.
    fetch : callable or None
        Brings the files onto this machine and returns their path; None where nothing has to be brought.
    """

    name: str
    images: str
    content: str
    transformation: str
    licence: str
    origin: str
    open: Callable[[], ImageSource]
    find: Callable[[], Path | None]
    fetch: Callable[[], Path] | None


def _open_digits() -> ImageSource:
    from dualcontrast.data.digits import open_digits

    return open_digits()


def _open_mnist() -> ImageSource:
    from dualcontrast.data.mnist import open_mnist

    return open_mnist()


def _find_mnist() -> Path | None:
    from dualcontrast.data.mnist import find_mnist

    return find_mnist()


def _fetch_mnist() -> Path:
    from dualcontrast.data.mnist import fetch_mnist

    return fetch_mnist()


def _open_starmen() -> ImageSource:
    from dualcontrast.data.starmen import open_starmen

    return open_starmen()


def _find_starmen() -> Path | None:
    folder = cache_folder() / "starmen"
    return folder if folder.is_dir() and any(folder.iterdir()) else None


def _fetch_starmen() -> Path:
    _open_starmen()
    return cache_folder() / "starmen"


PUBLISHED = {
    published.name: published
    for published in (
        PublishedSet(
            name="mnist",
            images="60,000 + 10,000 of 28×28, grayscale",
            content="digit",
            transformation="slant, rotation, stroke (not labelled)",
            licence="CC BY-SA 3.0",
            origin="LeCun, Cortes, Burges; http://yann.lecun.com/exdb/mnist/",
            open=_open_mnist,
            find=_find_mnist,
            fetch=_fetch_mnist,
        ),
        PublishedSet(
            name="starmen",
            images="10,000 of 64×64, grayscale",
            content="build: thickness of the limbs, proportions",
            transformation="pose of limbs and head",
            licence="generated here; the published download: see its page",
            origin="after Bône et al. 2020; https://zenodo.org/records/5081988",
            open=_open_starmen,
            find=_find_starmen,
            fetch=_fetch_starmen,
        ),
        PublishedSet(
            name="digits",
            images="1,797 of 32×32 (from 8×8), grayscale",
            content="digit",
            transformation="slant, rotation, stroke (not labelled)",
            licence="CC BY 4.0",
            origin="Alpaydin, Kaynak 1998; in scikit-learn, from https://archive.ics.uci.edu/dataset/80",
            open=_open_digits,
            find=lambda: None,
            fetch=None,
        ),
    )
}
