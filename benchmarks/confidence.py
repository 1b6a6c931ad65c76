"""The confidence table of docs/classes.md: train what is missing, three seeds each, and print the table.

    python benchmarks/confidence.py                       # MNIST and beads
    python benchmarks/confidence.py --rows "beads, coarse"

Each run in turn is the one whose classes are judged, with the other two as its restarts. A particle is in the
right class when its label is the one matched to the class (Hungarian method); nothing else sees the labels.
Runs lie below `runs/confidence`; one that was interrupted is resumed, a finished one is read.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast import RunFolder, open_source, train
from dualcontrast.confidence import Combination, RunClasses, combine
from dualcontrast.evaluation.calibration import calibration, expected_calibration_error
from dualcontrast.evaluation.matching import matched
from dualcontrast.evaluation.mixture import Partition, partition
from dualcontrast.pipeline import encode_run
from dualcontrast.random_streams import numpy_stream
from dualcontrast.settings import from_plain
from dualcontrast.simulate.bead_assemblies import bead_assemblies
from dualcontrast.simulate.subtomogram_spec import SubtomogramSpec
from dualcontrast.simulate.subtomograms import simulate

SEEDS = (0, 1, 2)
IMAGES = 10_000
ASSEMBLIES: dict[str, Any] = {"beads": (48, 72, 108), "largest_opening": 60.0}


@dataclass(frozen=True)
class Row:
    """Data, how they are trained on, and the number of classes."""

    simulation: dict[str, Any] | None
    training: dict[str, Any]
    classes: int


ROWS = {
    "MNIST": Row(None, {"preset": "short", "changes": {"epochs": 6}}, 10),
    "beads": Row(
        {"box": 20, "voxel_size": 17.0, "copies": 30, "snr": 1.0},
        {"changes": {"epochs": 40, "batch_size": 64}},
        3,
    ),
    "beads, coarse": Row(
        {"box": 16, "voxel_size": 21.0, "copies": 60, "snr": 1.0},
        {"changes": {"epochs": 25, "batch_size": 64}},
        3,
    ),
}


def images_of(row: Row, folder: Path) -> Path:
    """Return the images of a row, made once; the same for every seed."""
    if row.simulation is None:
        path = folder / "images.npz"
        if not path.exists():
            source = open_source("mnist")
            rows = np.sort(numpy_stream(0, "confidence").permutation(len(source))[:IMAGES])
            assert source.labels is not None
            digits = source.labels.select(source.ids[rows]).of_role("content")[0].values
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, images=source.read(rows), ids=source.ids[rows], **{"content:digit": digits})
        return path
    path = folder / "particles" / "particles.star"
    if not path.exists():
        box, voxel_size = row.simulation["box"], row.simulation["voxel_size"]
        particles = bead_assemblies(box=box, voxel_size=voxel_size, seed=0, **ASSEMBLIES)
        spec = from_plain(SubtomogramSpec, row.simulation)
        simulate(spec, path.parent, conformations=particles, seed=0)
    return path


def classes_of(run: RunFolder, count: int) -> tuple[np.ndarray, Partition]:
    """Cluster the content codes of a run, in the order of the ids."""
    codes = run.codes.select(np.sort(run.codes.ids))
    assert codes.content_log_variance is not None
    variances = np.exp(codes.content_log_variance.astype(np.float64))
    return codes.ids, partition(codes.content, count, variances=variances)


def print_row(name: str, labels: np.ndarray, ids: np.ndarray, found: list[Partition]) -> None:
    """Print three lines of the table: calibration of each measure, over the runs in turn."""
    runs = [RunClasses(ids, one.labels, one.expected) for one in found]
    combined: list[Combination] = [
        combine(one, [other for other in runs if other is not one]) for one in runs
    ]
    right = [matched(labels, one.labels) for one in found]
    rows = np.arange(len(ids))
    measures = {
        "probability at the mean": [one.responsibilities[rows, one.labels] for one in found],
        "expected probability": [one.confidence.expected for one in combined],
        "confidence": [one.confidence.confidence for one in combined],
    }
    agreement = [np.mean(one.agreement) for one in combined]
    print(f"{name}: right {_numbers([r.mean() for r in right])}; agreement {_numbers(agreement)}; ", end="")
    print(f"temperature {_numbers([one.temperature for one in combined])}", flush=True)
    for measure, values in measures.items():
        values = [np.clip(each, 0, 1) for each in values]
        each = [calibration(value, r) for value, r in zip(values, right, strict=True)]
        cells = [
            name,
            measure,
            f"{np.mean([one['confidence'] for one in each]):.3f}",
            _numbers([one["ece"] for one in each]),
            f"{np.mean([one['ece'] for one in each]):.3f}",
            f"{expected_calibration_error(np.concatenate(values), np.concatenate(right)):.3f}",
            f"{np.mean([one['accuracy'] for one in each]):.1%}",
            f"{np.mean([one['accuracy_most_confident_half'] for one in each]):.1%}",
            f"{np.mean([one['accuracy_least_confident_tenth'] for one in each]):.1%}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def _numbers(values: list) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def main() -> None:
    """Train what is missing and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=["MNIST", "beads"])
    parser.add_argument("--output", type=Path, default=Path("runs/confidence"))
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    columns = (
        "mean",
        "ECE of each run",
        "their mean",
        "ECE of all",
        "right",
        "surest half",
        "least sure tenth",
    )
    print(f"| data | measure | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 2) + "|")
    for name in arguments.rows:
        row = ROWS[name]
        folder = arguments.output / "".join(letter if letter.isalnum() else "-" for letter in name)
        images = images_of(row, folder)
        found = []
        for seed in SEEDS:
            run = train(
                images,
                folder / f"seed-{seed}",
                seed=seed,
                resume=True,
                evaluate=False,
                device=arguments.device,
                **row.training,
            )
            encode_run(run, device=arguments.device)
            found.append(classes_of(run, row.classes))
        ids = found[0][0]
        labels = run.open_source().labels
        assert labels is not None
        values = labels.select(ids).of_role("content")[0].values
        print_row(name, values, ids, [one for _, one in found])


if __name__ == "__main__":
    main()
