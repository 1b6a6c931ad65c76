"""What a figure of a run is: a file, and the words that go with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Group = Literal["transfer", "reconstructions", "traversals", "maps", "classes", "training"]


@dataclass(frozen=True)
class RunFigure:
    """One figure as a file.

    Attributes
    ----------
    path : Path
        The PNG in the run's `figures/`.
    title, caption : str
        What it shows, and how to read it.
    alternative : str
        What is in it, for readers who do not see it.
    group : str
        The part of the report that it belongs to.
    film : Path or None
        The same as an animated GIF, which is shown above it where motion is wanted.
    clustering : str or None
        Name of the clustering that it shows.
    """

    path: Path
    title: str
    caption: str
    alternative: str
    group: Group
    film: Path | None = None
    clustering: str | None = None
