"""The data sets that have a name."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

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


def _later(module: str, function: str) -> Callable[[], Any]:
    """Name a function of this folder that is imported when it is called: listing data sets stays quick."""
    return lambda: getattr(import_module(f"dualcontrast.data.{module}"), function)()


def _find_starmen() -> Path | None:
    folder = cache_folder() / "starmen"
    return folder if folder.is_dir() and any(folder.iterdir()) else None


def _fetch_starmen() -> Path:
    PUBLISHED["starmen"].open()
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
            open=_later("mnist", "open_mnist"),
            find=_later("mnist", "find_mnist"),
            fetch=_later("mnist", "fetch_mnist"),
        ),
        PublishedSet(
            name="rotated-mnist",
            images="60,000 + 10,000 of 28×28, grayscale",
            content="digit",
            transformation="rotation, -90° to 90°, one for each image",
            licence="CC BY-SA 3.0",
            origin="turned here; MNIST: LeCun, Cortes, Burges; http://yann.lecun.com/exdb/mnist/",
            open=_later("rotated_mnist", "open_rotated_mnist"),
            find=_later("mnist", "find_mnist"),
            fetch=_later("mnist", "fetch_mnist"),
        ),
        PublishedSet(
            name="linemod",
            images="15,000 + 4,695 of 64×64, RGB",
            content="object, 15 of them",
            transformation="viewpoint: azimuth, elevation, in-plane angle",
            licence="CC BY 4.0; see its page",
            origin="Hinterstoisser et al. 2012, rendered by BOP; https://bop.felk.cvut.cz/datasets",
            open=_later("linemod", "open_linemod"),
            find=_later("linemod", "find_linemod"),
            fetch=_later("linemod", "fetch_linemod"),
        ),
        PublishedSet(
            name="starmen",
            images="6,000 + 4,000 of 64×64, grayscale",
            content="build: thickness of the limbs, proportions",
            transformation="pose of limbs and head",
            licence="generated here; the published download: CC BY",
            origin="after Bône et al. 2020; https://zenodo.org/records/5081988",
            open=_later("starmen", "open_starmen"),
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
            open=_later("subtomogram_pickle", "open_subtomograms"),
            find=_later("subtomogram_pickle", "find_subtomograms"),
            fetch=_later("subtomogram_pickle", "fetch_subtomograms"),
        ),
        PublishedSet(
            name="digits",
            images="1,797 of 32×32 (from 8×8), grayscale",
            content="digit",
            transformation="slant, rotation, stroke (not labelled)",
            licence="CC BY 4.0",
            origin="Alpaydin, Kaynak 1998; in scikit-learn, from https://archive.ics.uci.edu/dataset/80",
            open=_later("digits", "open_digits"),
            find=lambda: None,
            fetch=None,
        ),
    )
}
