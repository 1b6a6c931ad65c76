"""`dualcontrast demo`: the whole job on data that needs no download."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from dualcontrast.run_folder import RunFolder

EXAMPLES = """**Examples**

- See what the tool does: `dualcontrast demo`
- The same in 3-D, from simulated subtomograms to class maps: `dualcontrast demo --subtomograms`
- Elsewhere, and again: `dualcontrast demo --output runs/again --overwrite`
"""
STARMEN = 4_000

# What `default` needs for starmen: their build is thickness, so a view must not scale or shear it. Limbs move
# further than a warp can move them without making them thicker, so c has to be kept from what z knows
# (`independence_c`), its negatives to be men who stand alike (`like_states_count`), and the decoder to draw
# the build from c, which for most images must be their own. Builds vary smoothly, and so must c
# (`temperature`). Thin limbs need more weight on the reconstruction; few images need small batches for enough
# steps, and codes that are apart from the first.
STARMEN_SETTINGS: dict[str, Any] = {
    "epochs": 18,
    "batch_size": 64,
    "learning_rate": 2e-3,
    "width": 1,
    "centre_codes": True,
    "exchange_share": 0.4,
    "like_states_count": 3.0,
    "temperature": 0.5,
    # Small sideways moves of limbs matter more here than whole turns.
    "rotation_reader": "pair",
    "views": {"scale": 0.0, "shear": 0.0, "shift": 0.05, "elastic": 0.1, "elastic_nodes": 2},
    "weights": {
        "reconstruction": 30.0,
        "kl_content": 0.01,
        "kl_transformation": 0.01,
        "con_c_positive": 2.5,
        "con_c_negative": 2.5,
        "con_c_exchanged": 1.0,
        "independence": 1.0,
        "independence_c": 2.0,
        "rotation": 0.1,
        "rotation_c": 0.0,
        # Builds form no groups.
        "con_c_clusters": 0.0,
    },
}

# Few voxels and particles make it a demo of minutes; so few particles need little noise. Assemblies differ
# in size, as particles in a tomogram do, and open their hinges by no more than that matters.
SUBTOMOGRAMS: dict[str, Any] = {"box": 24, "voxel_size": 14.0, "copies": 100, "snr": 1.0}
ASSEMBLIES: dict[str, Any] = {"beads": (48, 72, 108), "largest_opening": 60.0}
SUBTOMOGRAM_SETTINGS: dict[str, Any] = {"epochs": 25, "batch_size": 64}
QUICK = {"epochs": 1, "batch_size": 32}

Flag = Annotated[bool, Parameter(negative=())]


def demo(
    *,
    output: Path | None = None,
    subtomograms: Flag = False,
    seed: int = 0,
    quick: Annotated[bool, Parameter(negative=(), show=False)] = False,
    device: str = "auto",
    overwrite: Flag = False,
    progress: bool = True,
) -> None:
    """Draw star-shaped men, learn to tell their build from their pose without labels, and write a report.

    Takes under 4 minutes on 2 CPU cores. With --subtomograms, simulates particles made of beads instead, in
    any orientation and under noise, sorts them into classes and writes a map of each, in under 6 minutes.

    Parameters
    ----------
    output
        The run folder; the images go beside it. runs/demo unless given, runs/demo-subtomograms for those.
    subtomograms
        Show the way from subtomograms to class maps.
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
    from dualcontrast.cli.results import print_results
    from dualcontrast.pipeline import finish
    from dualcontrast.run_folder import RunFolder

    output = output or Path("runs/demo-subtomograms" if subtomograms else "runs/demo")
    RunFolder(output).check_free(overwrite)
    options = {"seed": seed, "device": device, "overwrite": overwrite, "progress": progress}
    if not subtomograms:
        print_results(_starmen(output, quick, options))
        return
    run = _subtomograms(output, quick, options)
    # Before the report, which shows them.
    _classes(run, seed, device, progress)
    finish(run, device=device, progress=progress)
    print_results(run)


def _starmen(output: Path, quick: bool, options: dict[str, Any]) -> "RunFolder":
    from dualcontrast import pipeline
    from dualcontrast.simulate.starmen import write_starmen

    images = output.with_name(f"{output.name}-images.npz")
    count = 300 if quick else STARMEN
    print(f"Drawing {count:,} star-shaped men of many builds (content) in many poses (transformation) …")
    write_starmen(images, count, options["seed"], overwrite=options["overwrite"])
    print("Learning to tell build from pose; the labels are used for the scores only …")
    return pipeline.train(images, output, changes=STARMEN_SETTINGS | (QUICK if quick else {}), **options)


def _subtomograms(output: Path, quick: bool, options: dict[str, Any]) -> "RunFolder":
    from dualcontrast import pipeline
    from dualcontrast.settings import from_plain
    from dualcontrast.simulate.bead_assemblies import bead_assemblies
    from dualcontrast.simulate.subtomogram_spec import SubtomogramSpec
    from dualcontrast.simulate.subtomograms import simulate

    spec = from_plain(SubtomogramSpec, SUBTOMOGRAMS | ({"copies": 6} if quick else {}))
    particles = bead_assemblies(box=spec.box, voxel_size=spec.voxel_size, seed=options["seed"], **ASSEMBLIES)
    identities = len({particle.identity for particle in particles})
    print(
        f"Simulating {spec.copies * len(particles):,} subtomograms of {identities} assemblies of beads "
        f"(content), each with its hinge open in {len(particles) // identities} ways (transformation) …"
    )
    star = simulate(
        spec,
        output.with_name(f"{output.name}-particles"),
        conformations=particles,
        seed=options["seed"],
        overwrite=options["overwrite"],
    )
    print("Learning to tell identity from conformation and pose; the labels are used for the scores only …")
    changes = SUBTOMOGRAM_SETTINGS | (QUICK if quick else {})
    return pipeline.train(star, output, changes=changes, evaluate=False, **options)


def _classes(run: "RunFolder", seed: int, device: str, progress: bool) -> None:
    """Go on to classes, their averages and their maps."""
    from dualcontrast.averaging.class_averages import average_classes
    from dualcontrast.class_finding import cluster_run
    from dualcontrast.class_maps import decode_classes
    from dualcontrast.cli.cluster import print_clusters
    from dualcontrast.cli.decode import print_maps

    print_clusters(cluster_run(run, count=3, seed=seed, overwrite=True), run.path)
    print("Laying the particles of each class over each other …")
    print_maps(average_classes(run, seed=seed, overwrite=True, progress=progress))
    print_maps(decode_classes(run, overwrite=True, device=device))
