"""`dualcontrast traverse`: a path through conformations as a series of maps."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

EXAMPLES = """**Examples**

- Along the first principal axis of z, for a typical particle: `dualcontrast traverse runs/first`
- The conformations of class 1, along the second axis within it:
  `dualcontrast traverse runs/first --at-class 1 --axis 2`
- From one conformation to another: `dualcontrast traverse runs/first --from-class 1.1 --to-class 1.2`
- In ChimeraX afterwards: `open runs/first/traversals/transformation_axis-1/morph.cxc`
"""


def traverse(
    run: Path,
    *,
    code: Literal["transformation", "content"] = "transformation",
    axis: Annotated[int | None, Parameter(show_default=False)] = None,
    from_class: str | None = None,
    to_class: str | None = None,
    classes: str | None = None,
    at: str | None = None,
    at_class: str | None = None,
    steps: int = 9,
    spread: float = 2.0,
    output: Path | None = None,
    device: str = "auto",
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    progress: bool = True,
) -> None:
    """Move one code and keep the other: MRC maps and a ChimeraX morph, or pictures for 2-D images.

    Parameters
    ----------
    run
        A run folder.
    code
        The code that moves.
    axis
        Principal axis of the code, from 1; 1 unless classes are given.
    from_class
        Class or conformation where a straight path begins.
    to_class
        Class or conformation where it ends.
    classes
        Name of the clustering, where the run has several.
    at
        Id of the particle whose other code stays.
    at_class
        Class whose mean gives the other code, and whose members give the axes.
    steps
        How many maps.
    spread
        Standard deviations to either side of the mean, along an axis.
    output
        Folder to write into; one in RUN/traversals unless given.
    device
        auto, cpu, cuda or mps.
    overwrite
        Replace a path that is there.
    progress
        Show a progress bar where the run has to be encoded first.
    """
    from dualcontrast.cli.decode import print_maps
    from dualcontrast.conformation_path import traverse_run

    maps = traverse_run(
        run,
        code=code,
        axis=axis,
        from_class=from_class,
        to_class=to_class,
        classes=classes,
        at=at,
        at_class=at_class,
        steps=steps,
        spread=spread,
        output=output,
        overwrite=overwrite,
        device=device,
        progress=progress,
    )
    print_maps(maps)
