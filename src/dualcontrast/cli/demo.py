"""`dualcontrast demo`: the whole job on data that needs no download."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

EXAMPLES = """**Examples**

- See what the tool does: `dualcontrast demo`
- Elsewhere, and again: `dualcontrast demo --output runs/again --overwrite`
"""
IMAGES = 4_000

# What `default` needs for starmen: their build is thickness, so a view must not scale or shear it; thin limbs
# need more weight on the reconstruction; few images need small batches for enough steps.
SETTINGS = {
    "epochs": 18,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "width": 1,
    "views": {"scale": 0.0, "shear": 0.0, "shift": 0.05, "elastic": 0.05, "elastic_nodes": 4},
    "weights": {"reconstruction": 30.0, "kl_content": 0.01, "kl_transformation": 0.01, "independence": 0.5},
}


def demo(
    *,
    output: Path = Path("runs/demo"),
    seed: int = 0,
    quick: Annotated[bool, Parameter(negative=(), show=False)] = False,
    device: str = "auto",
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    progress: bool = True,
) -> None:
    """Draw star-shaped men, learn to tell their build from their pose without labels, and write a report.

    Takes under 4 minutes on 2 CPU cores.

    Parameters
    ----------
    output
        The run folder; the images go beside it.
    seed
        Seed of everything random.
    quick
        Few images and epochs, to check an installation; the scores then mean nothing.
    device
        auto, cpu, cuda or mps.
    overwrite
        Replace an earlier demo in the output folder.
    progress
        Show progress bars.
    """
    from dualcontrast import pipeline
    from dualcontrast.cli.results import print_results
    from dualcontrast.run_folder import RunFolder
    from dualcontrast.simulate.starmen import write_starmen

    RunFolder(output).check_free(overwrite)
    images = output.with_name(f"{output.name}-images.npz")
    count = 300 if quick else IMAGES
    print(f"Drawing {count:,} star-shaped men of many builds (content) in many poses (transformation) …")
    write_starmen(images, count, seed, overwrite=overwrite)
    print("Learning to tell build from pose; the labels are used for the scores only …")
    run = pipeline.train(
        images,
        output,
        seed=seed,
        changes=SETTINGS | ({"epochs": 1, "batch_size": 32} if quick else {}),
        device=device,
        overwrite=overwrite,
        progress=progress,
    )
    print_results(run)
