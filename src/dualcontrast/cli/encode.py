"""`dualcontrast encode`: codes of images, from the model of a run."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

EXAMPLES = """**Examples**

- New images with a trained model: `dualcontrast encode runs/first new_images/ --output codes.npz`
- A million, and on after an interruption: `dualcontrast encode runs/first all.zarr --output codes.zarr
  --resume`
- On eight machines: `dualcontrast encode runs/first all.zarr --output codes.zarr --part 3/8` on the third,
  and once all have ended, `--resume` without `--part` on any
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
    part: str | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
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
        File to write, ending in .npz, .parquet or .zarr. Only the first must fit into memory.
    datadir
        Folder in which the files that a STAR file names are looked for first.
    skip_bad
        Leave out images that cannot be read or used, and list them beside the output.
    device
        auto, cpu, cuda or mps.
    part
        Encode only one of several parts, as 3/8; the codes stay in OUTPUT.pieces until a call without --part
        and with --resume joins them.
    resume
        Go on with what an interrupted call, or calls with --part, left in OUTPUT.pieces.
    overwrite
        Replace the file if it exists.
    progress
        Show a progress bar.
    """
    from dualcontrast import pipeline
    from dualcontrast.encoding import parse_part

    written = pipeline.encode(
        run,
        data,
        output,
        device=device,
        overwrite=overwrite,
        progress=progress,
        datadir=datadir,
        skip_bad=skip_bad,
        part=None if part is None else parse_part(part),
        resume=resume,
    )
    if skip_bad:
        from dualcontrast.cli.results import print_skipped

        print_skipped(pipeline.skipped_beside(output))
    if part is not None:
        print(f"{written}: part {part} is done; when all are, join them with --resume and without --part")
        return
    print(f"{output}: the codes are written")
