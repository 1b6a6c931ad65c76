"""`dualcontrast simulate`: make data sets whose factors are known."""

from pathlib import Path
from typing import Annotated, Literal

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


@app.command(
    help_epilogue="""**Examples**

- The paper's data set (needs the network): `dualcontrast simulate subtomograms --preset paper --output paper`
- Structures of your own, listed in a file: `dualcontrast simulate subtomograms spec.yaml --output mine`
- With a missing wedge: `dualcontrast simulate subtomograms spec.yaml --output mine --tilt-range -60 60`
- Tilt by tilt: `dualcontrast simulate subtomograms spec.yaml --output mine --mode tilt_series`
- No file at all: `dualcontrast simulate subtomograms --beads --output beads --copies 50`
- Check it, train on it: `dualcontrast check mine/particles.star`, `dualcontrast train mine/particles.star`

A specification is a YAML file such as:

```yaml
identities:
  spike: [6vxx, 6vyb]
  nucleosome: [my_structure.pdb.gz]
conformations_per_identity: 6
copies: 200
snr: 0.1
```
"""
)
def subtomograms(
    spec: Path | None = None,
    /,
    *,
    output: Path,
    preset: Literal["paper"] | None = None,
    beads: Annotated[bool, Parameter(negative=())] = False,
    copies: int | None = None,
    snr: float | None = None,
    tilt_range: Annotated[tuple[float, float] | None, Parameter(negative=())] = None,
    mode: Literal["simple", "tilt_series"] | None = None,
    seed: int = 0,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    progress: bool = True,
) -> None:
    """Simulate cryo-ET subtomograms of known identity (content) and conformation (transformation).

    Writes MRC files with a RELION 5 STAR file, the ground truth, and the noise-free densities.

    Parameters
    ----------
    spec
        YAML file that lists identities and settings; all keys are in the documentation.
    output
        Folder to make.
    preset
        Settings by name instead of a file; paper is section 4.4 of the paper.
    beads
        Simulate assemblies of beads joined by hinges, which need no structures.
    copies
        Subtomograms of each conformation.
    snr
        Variance of the noise-free image inside the particle's mask, over the variance of the noise.
    tilt_range
        First and last tilt in degrees; what lies outside is the missing wedge.
    mode
        simple filters each volume with one CTF; tilt_series images and reconstructs it tilt by tilt.
    seed
        Seed of everything random, at least 0; more copies only add particles.
    overwrite
        Replace an older simulation.
    progress
        Show a progress bar.
    """
    from rich.console import Console
    from rich.progress import Progress

    from dualcontrast.errors import SettingError
    from dualcontrast.settings import from_plain
    from dualcontrast.simulate.bead_assemblies import bead_assemblies
    from dualcontrast.simulate.subtomogram_spec import SubtomogramSpec, preset_spec, read_spec
    from dualcontrast.simulate.subtomograms import simulate

    if (spec is not None) + (preset is not None) + beads != 1:
        raise SettingError(
            "say what to simulate: a YAML file, --preset paper, or --beads, and only one of them"
        )
    given = {"copies": copies, "snr": snr, "tilt_range": tilt_range, "mode": mode}
    changes = {name: value for name, value in given.items() if value is not None}
    if spec is not None:
        settings = read_spec(spec, changes)
    else:
        settings = preset_spec(preset, changes) if preset else from_plain(SubtomogramSpec, changes)
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        loading = bar.add_task("making densities", total=None)
        imaging = bar.add_task("imaging subtomograms", total=None, visible=False)
        star = simulate(
            settings,
            output,
            conformations=(
                bead_assemblies(box=settings.box, voxel_size=settings.voxel_size, seed=seed)
                if beads
                else None
            ),
            folder=spec.parent if spec else ".",
            seed=seed,
            overwrite=overwrite,
            on_conformation=lambda made: bar.advance(loading, made),
            on_progress=lambda done, total: bar.update(imaging, completed=done, total=total, visible=True),
        )
    print(
        f"{star}: simulated subtomograms; their identities and conformations stand in particles.csv beside it"
    )
