"""`dualcontrast average`: the average of each class, and how each particle lies."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

EXAMPLES = """**Examples**

- After `cluster`, a map of each class from its particles: `dualcontrast average runs/first`
- Six conformations in each class: `dualcontrast average runs/first --states 6`
- The best 500 of each class only: `dualcontrast average runs/first --most 500 --no-others`
- Only what is sure of its class: `dualcontrast average runs/first --min-confidence 0.9`
- In RELION afterwards: refine `runs/first/clusters/content/averages/class-1.star` against `class-1.mrc`
"""


def average(
    run: Path,
    *,
    classes: str | None = None,
    states: int = 1,
    most: int = 2000,
    others: bool = True,
    min_confidence: float | None = None,
    output: Path | None = None,
    seed: int = 0,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    progress: bool = True,
) -> None:
    """Align the subtomograms of each class with each other, without a template, and average them.

    Parameters
    ----------
    run
        A run folder with classes.
    classes
        Name of the clustering, where the run has several.
    states
        Averages of each class; particles are sorted to the one that they resemble most.
    most
        Particles of each class that averages and states are found from, at the most: those nearest its
        centre.
    others
        Lay the other particles of each class on these averages as well.
    min_confidence
        Leave out particles that are less sure of their class; as for `cluster` unless given.
    output
        Folder to write into; RUN/clusters/NAME/averages unless given.
    seed
        Of the first orientations.
    overwrite
        Replace averages that are there.
    progress
        Show progress bars.
    """
    from dualcontrast.averaging.class_averages import average_classes
    from dualcontrast.cli.decode import print_maps

    print_maps(
        average_classes(
            run,
            classes,
            states=states,
            most=most,
            others=others,
            min_confidence=min_confidence,
            output=output,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
        )
    )
