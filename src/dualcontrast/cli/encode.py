"""`dualcontrast encode`: codes of images, from the model of a run."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

EXAMPLES = """**Examples**

- New images with a trained model: `dualcontrast encode runs/first new_images/ --output codes.npz`
- In Python afterwards: `Codes.load("codes.npz").content`
"""


def encode(
    run: Path,
    data: str,
    *,
    output: Path,
    datadir: Path | None = None,
    skip_bad: Annotated[bool, Parameter(negative=())] = False,
    device: str = "auto",
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    progress: bool = True,
) -> None:
    """Write content and transformation codes of images, prepared as those of the run were.

    Parameters
    ----------
    run
        A run folder.
    data
        A folder of images, an array file, or the name of a data set.
    output
        File to write, ending in .npz.
    datadir
        Folder in which the files that a STAR file names are looked for first.
    skip_bad
        Leave out images that cannot be read or used, and list them beside the output.
    device
        auto, cpu, cuda or mps.
    overwrite
        Replace the file if it exists.
    progress
        Show a progress bar.
    """
    from dualcontrast import pipeline

    codes = pipeline.encode(
        run,
        data,
        output,
        device=device,
        overwrite=overwrite,
        progress=progress,
        datadir=datadir,
        skip_bad=skip_bad,
    )
    if skip_bad:
        from dualcontrast.cli.results import print_skipped

        print_skipped(pipeline.skipped_beside(output))
    print(
        f"{output}: codes of {len(codes):,} images, {codes.content.shape[1]} numbers of content and "
        f"{codes.transformation.shape[1]} of transformation each"
    )
