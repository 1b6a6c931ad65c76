"""`dualcontrast reclassify`: classes again, by which average each particle resembles."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

EXAMPLES = """**Examples**

- After `cluster`, move particles between its classes: `dualcontrast reclassify runs/first`
- Then average the new classes: `dualcontrast average runs/first --classes content-by-averages`
- From three classes, under another name:
  `dualcontrast reclassify runs/first --classes content-3 --name sorted`
"""


def reclassify(
    run: Path,
    *,
    classes: str | None = None,
    rounds: int = 40,
    name: str | None = None,
    seed: int = 0,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    progress: bool = True,
) -> None:
    """Move subtomograms between the classes of a run, each to the class whose average it resembles most.

    Parameters
    ----------
    run
        A run folder with classes.
    classes
        Name of the classes to begin with, where the run has several.
    rounds
        Of sorting, at the most; fewer where all particles are sure of their class.
    name
        Of the new classes; that of the old ones with -by-averages unless given.
    seed
        Of the first orientations, and of the order of the particles.
    overwrite
        Replace classes of this name, with their STAR files and averages.
    progress
        Show a progress bar.
    """
    from dualcontrast.averaging.reclassification import reclassify_run
    from dualcontrast.cli.cluster import print_clusters

    clusters = reclassify_run(
        run, classes, rounds=rounds, name=name, seed=seed, overwrite=overwrite, progress=progress
    )
    print_clusters(clusters, run)
