"""`dualcontrast decode`: the mean volume or image of each class."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from dualcontrast.class_maps import Maps

EXAMPLES = """**Examples**

- Maps of the classes that `cluster` made: `dualcontrast decode runs/first`
- Of one of several clusterings: `dualcontrast decode runs/first --classes content`
- In ChimeraX afterwards: `open runs/first/clusters/content/maps/classes.cxc`
"""


def decode(
    run: Path,
    *,
    classes: str | None = None,
    output: Path | None = None,
    device: str = "auto",
    overwrite: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Draw each class with the decoder: MRC maps and a ChimeraX script, or pictures for 2-D images.

    Parameters
    ----------
    run
        A run folder with classes.
    classes
        Name of the clustering, where the run has several.
    output
        Folder to write into; RUN/clusters/NAME/maps unless given.
    device
        auto, cpu, cuda or mps.
    overwrite
        Replace maps that are there.
    """
    from dualcontrast.class_maps import decode_classes

    print_maps(decode_classes(run, classes, output=output, overwrite=overwrite, device=device))


def print_maps(maps: "Maps") -> None:
    """Print how many images were written, their voxel size, and where they are."""
    of = "" if not maps.scripts else ", voxel size not known (0 in their headers)"
    if maps.scripts and maps.voxel_size is not None:
        of = f" of {maps.voxel_size:g} Å voxels"
    print(f"{maps.folder}: {len(maps.files)} {'maps' if maps.scripts else 'images'}{of}")
    for script in maps.scripts:
        print(f"ChimeraX: {maps.folder / script}")
