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


def _open_rotated_mnist() -> ImageSource:
    from dualcontrast.data.rotated_mnist import open_rotated_mnist

    return open_rotated_mnist()


def _open_linemod() -> ImageSource:
    from dualcontrast.data.linemod import open_linemod

    return open_linemod()


def _find_linemod() -> Path | None:
    from dualcontrast.data.linemod import find_linemod

    return find_linemod()


def _fetch_linemod() -> Path:
    from dualcontrast.data.linemod import fetch_linemod

    return fetch_linemod()


def _open_subtomograms() -> ImageSource:
    from dualcontrast.data.subtomogram_pickle import open_subtomograms

    return open_subtomograms()


def _find_subtomograms() -> Path | None:
    from dualcontrast.data.subtomogram_pickle import find_subtomograms

    return find_subtomograms()


def _fetch_subtomograms() -> Path:
    from dualcontrast.data.subtomogram_pickle import fetch_subtomograms

    return fetch_subtomograms()


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
            name="rotated-mnist",
            images="60,000 + 10,000 of 28×28, grayscale",
            content="digit",
            transformation="rotation, -90° to 90°, one for each image",
            licence="CC BY-SA 3.0",
            origin="turned here; MNIST: LeCun, Cortes, Burges; http://yann.lecun.com/exdb/mnist/",
            open=_open_rotated_mnist,
            find=_find_mnist,
            fetch=_fetch_mnist,
        ),
        PublishedSet(
            name="linemod",
            images="15,000 + 4,695 of 64×64, RGB",
            content="object, 15 of them",
            transformation="viewpoint: azimuth, elevation, in-plane angle",
            licence="CC BY 4.0; see its page",
            origin="Hinterstoisser et al. 2012, rendered by BOP; https://bop.felk.cvut.cz/datasets",
            open=_open_linemod,
            find=_find_linemod,
            fetch=_fetch_linemod,
        ),
        PublishedSet(
            name="starmen",
            images="6,000 + 4,000 of 64×64, grayscale",
            content="build: thickness of the limbs, proportions",
            transformation="pose of limbs and head",
            licence="generated here; the published download: CC BY",
            origin="after Bône et al. 2020; https://zenodo.org/records/5081988",
            open=_open_starmen,
            find=_find_starmen,
            fetch=_fetch_starmen,
        ),
        PublishedSet(
            name="subtomograms",
            images="18,000 of 32×32×32, voxels of 10 Å",
            content="protein: nucleosome, spike, fatty acid synthase (not labelled)",
            transformation="conformation, 6 of each protein; pose (not labelled)",
            licence="CC BY-SA",
            origin="the paper, section 4.4; https://zenodo.org/records/11244440",
            open=_open_subtomograms,
            find=_find_subtomograms,
            fetch=_fetch_subtomograms,
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
