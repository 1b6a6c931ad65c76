"""Compare the cost model with trainings that were measured, and print worked examples.

    python benchmarks/cost_model.py check --folder /scratch
    python benchmarks/cost_model.py examples --rate 1000

`check` measures the speed on a few hundred generated volumes, as a user would, and predicts two trainings on
others from it; then it runs them. Speeds are images a CPU second, so that what else the machine does changes
little. `examples` prints what 50,000, 10⁶ and 10⁸ subtomograms would take at a given training speed (images
a second and device).
"""

import argparse
import shutil
from pathlib import Path

from larger_than_memory import child, do_pack

POINTS = ((6_000, 16, 1), (2_000, 16, 4))
EXAMPLES = (
    ("50,000 subtomograms, one device", 50_000, 40, 1, 1.0),
    ("10⁶, a node of 8", 1_000_000, 20, 8, 0.9),
    ("10⁸, 32 nodes of 8", 100_000_000, 2, 256, 0.8),
)


def check(folder: Path, method: str) -> None:
    """Print predicted and measured CPU time, disk and memory."""
    from dualcontrast.benchmark.cost import estimate

    name, _, preset = method.partition(":")
    path = folder / "measured.zarr"
    disk = do_pack(max(images for images, *_ in POINTS), POINTS[0][1], str(path))["disk_gb"]
    rate = child("train", str(path), False, name, preset or None, 300, 20, "cpu", 1)["images_per_cpu_second"]
    print(f"speed: {rate:.1f} images a CPU second; pack: {disk:.4f} GB\n")
    print("| images | box | epochs | predicted, CPU s | measured, CPU s | ratio |\n|---|---|---|---|---|---|")
    for images, box, epochs in POINTS:
        expected = estimate(images, box, epochs, rate).training_hours * 3600
        found = child("train", str(path), False, name, preset or None, images, 20, "cpu", epochs)[
            "cpu_seconds"
        ]
        print(
            f"| {images:,} | {box} | {epochs} | {expected:.0f} | {found:.0f} | {found / expected:.2f} |",
            flush=True,
        )
    shutil.rmtree(path)


def examples(rate: float, box: int) -> None:
    """Print the worked examples."""
    from dualcontrast.benchmark.cost import estimate

    print("| what | epochs | hours | device-hours | pack, TB | memory a process, GB | codes, GB |")
    print("|---|---|---|---|---|---|---|")
    for what, images, epochs, devices, efficiency in EXAMPLES:
        cost = estimate(images, box, epochs, rate, devices=devices, efficiency=efficiency)
        hours = cost.training_hours + cost.encoding_hours
        print(
            f"| {what} | {epochs} | {hours:.2g} | {cost.device_hours:.3g} | "
            f"{cost.disk_gb / 1000:.2g} | {cost.memory_gb:.2g} | {cost.codes_gb:.2g} |"
        )


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    options = verbs.add_parser("check")
    options.add_argument("--folder", type=Path, default=Path())
    options.add_argument("--method", default="dualcontrast:subtomogram")
    options = verbs.add_parser("examples")
    options.add_argument("--rate", type=float, required=True)
    options.add_argument("--box", type=int, default=32)
    given = vars(parser.parse_args())
    {"check": check, "examples": examples}[given.pop("verb")](**given)


if __name__ == "__main__":
    main()
