"""`dualcontrast simulate`: make data sets whose factors are known."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

app = App(name="simulate", help="Make images whose content and transformation are known.")


@app.command(
    help_epilogue="""**Examples**

- The full data set: `dualcontrast simulate starmen --output starmen.npz`
- A small one, of larger images: `dualcontrast simulate starmen --output small.npz --count 500 --size 96`
- Train on it: `dualcontrast train starmen.npz --output runs/starmen`
"""
)
def starmen(
    *,
    output: Path,
    count: int = 10_000,
    size: int = 64,
    seed: int = 0,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Draw star-shaped men in many builds (content) and poses (transformation).

    A template man is deformed by a smooth flow that moves his hands, feet and head. The file holds the images
    and every factor they were made from, so that scores can be computed.

    Parameters
    ----------
    output
        File to write, ending in .npz.
    count
        Number of images, at least 1.
    size
        Height and width of the images in pixels, at least 16.
    seed
        Seed of all factors, at least 0; a larger count only adds images.
    overwrite
        Replace the file if it exists.
    """
    from rich.console import Console
    from rich.progress import Progress

    from dualcontrast.simulate.starmen import write_starmen

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("drawing starmen", total=count)
        write_starmen(
            output,
            count,
            seed,
            size,
            overwrite=overwrite,
            on_progress=lambda made: progress.advance(task, made),
        )
    print(f"{output}: {count:,} starmen of {size}×{size} pixels, with the factors of their build and pose")
