"""`dualcontrast transfer`: content of some images with the transformation of others, as a picture."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

EXAMPLES = """**Examples**

- Ten held-out images, combined: `dualcontrast transfer runs/first --output grid.png`
- Particles of your choice: `dualcontrast transfer runs/first --ids p12,p407,p33 --output chosen.png`
- A larger grid of other images: `dualcontrast transfer runs/first --count 16 --seed 3 --output large.png`
"""


def transfer(
    run: Path,
    *,
    output: Path,
    ids: str | None = None,
    count: Annotated[int | None, Parameter(show_default=False)] = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Draw the grid in which columns share content and rows share transformation.

    Parameters
    ----------
    run
        A run folder.
    output
        PNG file to write.
    ids
        Particle ids, separated by commas; held-out images are chosen otherwise.
    count
        How many images to choose, from 2 to 40; 10 unless given.
    seed
        Seed of the choice.
    device
        auto, cpu, cuda or mps.
    overwrite
        Replace the file if it exists.
    """
    from dualcontrast.errors import RunError, SettingError
    from dualcontrast.figures.run_figures import write_transfer_grid
    from dualcontrast.run_folder import RunFolder

    if ids is not None and count is not None:
        raise SettingError("--ids and --count exclude each other; choose one")
    if output.suffix.lower() != ".png":
        raise SettingError(f"--output {output}: the grid is written as PNG; give a name that ends in .png")
    if output.exists() and not overwrite:
        raise RunError(f"{output}: exists already; add --overwrite or choose another --output")
    chosen = None if ids is None else [particle.strip() for particle in ids.split(",") if particle.strip()]
    write_transfer_grid(
        RunFolder.open(run),
        output,
        ids=chosen,
        count=10 if count is None else count,
        seed=seed,
        device=device,
    )
    print(output)
