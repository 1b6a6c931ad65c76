"""Does the label-free score know good runs from bad ones? Train many varied runs, and compare it with labels.

    python benchmarks/digit_strokes.py mnist strokes.csv
    python benchmarks/rendered_views.py views.npz objects.npz --views-per-object 300
    python benchmarks/label_free.py --strokes strokes.csv --objects objects.npz --jobs 2
    python benchmarks/label_free.py --table        # of the runs that are there

Every data set is trained in the same ways: as it should be, too short, with terms left out or far too strong,
with the paper's ablations, and with other methods. Images are brought to at most 32 × 32 pixels, so that a
run takes about a minute on one core. Runs are folders below `runs/label-free`; finished ones are kept.
"""

import argparse
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from dualcontrast import RunFolder, train
from dualcontrast.benchmark.tables import look_up
from dualcontrast.cli.demo import ASSEMBLIES, STARMEN_SETTINGS, SUBTOMOGRAMS
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.evaluation.label_free import label_free_score
from dualcontrast.evaluation.readings import has_collapsed, readings
from dualcontrast.pipeline import DataOptions, encode_run
from dualcontrast.run_folder import EVALUATION
from dualcontrast.settings import from_plain
from dualcontrast.simulate.bead_assemblies import bead_assemblies
from dualcontrast.simulate.starmen import write_starmen
from dualcontrast.simulate.subtomogram_spec import SubtomogramSpec
from dualcontrast.simulate.subtomograms import simulate

LABELLED = (
    "d_score.content.from_content",
    "d_score.content.from_transformation",
    "d_score.transformation.from_transformation",
    "d_score.transformation.from_content",
)


@dataclass(frozen=True)
class DataSet:
    """Images, and how they are trained on as they should be."""

    location: str
    preset: str
    changes: dict[str, Any]
    options: DataOptions = field(default_factory=DataOptions)
    box: int | None = None


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Let the second settings override the first, group by group."""
    found = dict(first)
    for name, value in second.items():
        if isinstance(value, dict):
            value = merged(found.get(name, {}), value)
        found[name] = value
    return found


# Of every data set; `epochs` are a share of those of the data set.
CHANGES: dict[str, dict[str, Any]] = {
    "as it should be": {},
    "another seed": {"seed": 1},
    "a quarter of the epochs": {"epochs": 0.25},
    "no independence": {"weights": {"independence": 0.0, "independence_c": 0.0}},
    "no contrast of c": {"weights": {"con_c_positive": 0.0, "con_c_negative": 0.0, "con_c_exchanged": 0.0}},
    "no contrast of z": {"weights": {"con_z_positive": 0.0, "con_z_negative": 0.0, "rotation": 0.0}},
    "strong KL of z": {"weights": {"kl_transformation": 20.0}},
    "strong KL of c": {"weights": {"kl_content": 20.0}},
    "weak reconstruction": {"weights": {"reconstruction": 0.1}},
    "small turns": {"views": {"max_angle": 15.0}},
}
# Of images; volumes have the method's own presets only.
METHODS: dict[str, dict[str, Any]] = {
    "reference": {"preset": "reference", "learning_rate": 1e-3},
    "without_con_c": {"preset": "without_con_c", "learning_rate": 1e-3},
    "without_con_z": {"preset": "without_con_z", "learning_rate": 1e-3},
    "two_latent_vae": {"method": "two_latent_vae", "preset": "short"},
    "harmony": {"method": "harmony", "preset": "short"},
    "spatial_vae": {"method": "spatial_vae", "preset": "short"},
    "simclr_generative": {"method": "simclr_generative", "preset": "short"},
}


def datasets(asked: argparse.Namespace) -> dict[str, DataSet]:
    """Make the data sets that are not there yet."""
    folder = asked.output / "data"
    folder.mkdir(parents=True, exist_ok=True)
    starmen, particles = folder / "starmen.npz", folder / "subtomograms"
    if not starmen.exists():
        write_starmen(starmen, 5_000)
    if not (particles / "particles.star").exists():
        spec = from_plain(SubtomogramSpec, SUBTOMOGRAMS | {"snr": 0.3})
        beads = bead_assemblies(box=spec.box, voxel_size=spec.voxel_size, **ASSEMBLIES)
        simulate(spec, particles, conformations=beads)
    found = {
        "starmen": DataSet(str(starmen), "default", STARMEN_SETTINGS | {"epochs": 5}, box=32),
        "subtomograms": DataSet(str(particles / "particles.star"), "subtomogram", {"epochs": 6}, box=16),
    }
    rotated = DataOptions(limit=8_000)
    found["rotated-mnist"] = DataSet("rotated-mnist", "short", {"epochs": 4}, rotated)
    if asked.strokes:
        options = DataOptions(limit=8_000, labels=str(asked.strokes.resolve()))
        found["mnist"] = DataSet("mnist", "short", {"epochs": 4}, options)
    if asked.objects:
        found["objects"] = DataSet(str(asked.objects.resolve()), "short", {"epochs": 6}, box=32)
    return found


def variants(dataset: DataSet) -> dict[str, dict[str, Any]]:
    """Name the trainings of a data set, with the arguments of `train`."""
    found = {}
    epochs = dataset.changes["epochs"]
    for name, changes in CHANGES.items():
        changes = dict(changes)
        seed = changes.pop("seed", 0)
        if "epochs" in changes:
            changes["epochs"] = max(1, round(changes["epochs"] * epochs))
        settings = merged(dataset.changes, changes)
        found[name] = {"preset": dataset.preset, "seed": seed, "changes": settings}
    if dataset.preset != "subtomogram":
        for name, asked in METHODS.items():
            asked = dict(asked)
            method, preset = asked.pop("method", "dualcontrast"), asked.pop("preset")
            found[name] = {"method": method, "preset": preset, "changes": asked | {"epochs": epochs}}
    return found


def train_one(dataset: DataSet, arguments: dict[str, Any], output: Path) -> str:
    """Train and measure one run, with one thread, unless it is there."""
    import torch

    torch.set_num_threads(1)
    if not (output / EVALUATION).exists():
        run = train(
            dataset.location,
            output,
            options=dataset.options,
            box=dataset.box,
            resume=True,
            evaluate=False,
            progress=False,
            **arguments,
        )
        encode_run(run, progress=False)
        evaluate_run(run)
    elif "groups" not in (run := RunFolder.open(output)).evaluation["diagnostics"]:
        # Measured by an earlier version.
        evaluate_run(run, overwrite=True)
    return str(output)


def folder_of(asked: argparse.Namespace, dataset: str, variant: str) -> Path:
    """Return the run folder of one training."""
    return asked.output / dataset / variant.replace(" ", "-")


def labelled_result(evaluation: dict[str, Any]) -> float:
    """Mean quality of the D_scores, 0 to 1: above chance on the right side, near chance on the wrong one.

    A low score of a dead code counts as 0, as the report has it.
    """
    qualities = {reading.key: reading.quality for reading in readings(evaluation)}
    found = [quality for key in LABELLED if (quality := qualities[key]) is not None]
    return float(np.mean(found))


def main() -> None:
    """Train what is missing, and print the table as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strokes", type=Path, help="labels of MNIST, from benchmarks/digit_strokes.py")
    parser.add_argument("--objects", type=Path, help="rendered objects, from benchmarks/rendered_views.py")
    parser.add_argument("--only", nargs="*", help="of these data sets")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at the same time")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--output", type=Path, default=Path("runs/label-free"))
    asked = parser.parse_args()
    if not asked.table:
        train_all(asked)
    print_tables(asked.output)


def train_all(asked: argparse.Namespace) -> None:
    """Train all runs, the data sets in turn, so that a part of the time gives a part of each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    found = {name: each for name, each in datasets(asked).items() if not asked.only or name in asked.only}
    jobs = [
        (dataset, arguments, folder_of(asked, name, variant))
        for name, dataset in found.items()
        for variant, arguments in variants(dataset).items()
    ]
    jobs.sort(key=lambda job: list(variants(job[0]).values()).index(job[1]))
    with ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(train_one, *job) for job in jobs]
        for future, (_, _, folder) in zip(waiting, jobs, strict=True):
            try:
                print(future.result(), flush=True)
            except Exception as error:
                print(f"{folder}: {type(error).__name__}: {error}", flush=True)


def found_in(output: Path) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Read the names and evaluations of all runs, by data set."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for path in sorted(output.glob(f"*/*/{EVALUATION}")):
        evaluation = RunFolder.open(path.parent).evaluation
        found.setdefault(path.parts[-3], []).append((path.parent.name.replace("-", " "), evaluation))
    return found


def print_tables(output: Path) -> None:
    """Print every run, and the rank correlations of the score and of what was tried beside it."""
    found = found_in(output)
    for dataset, runs in found.items():
        print(f"\n| {dataset} | score | against labels |\n|---|---|---|")
        rows = [(label_free_score(each).value, labelled_result(each), name) for name, each in runs]
        for score, labelled, name in sorted(rows, reverse=True):
            print(f"| {name} | {score:.3f} | {labelled:.3f} |")
    print(f"\n| rank correlation | {' | '.join(found)} | all {sum(map(len, found.values()))} |")
    print("|---" * (len(found) + 2) + "|")
    for name, form in FORMS.items():
        correlations = [rank_correlation(runs, form) for runs in found.values()]
        correlations.append(rank_correlation([run for runs in found.values() for run in runs], form))
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in correlations)} |")


def rank_correlation(
    runs: Sequence[tuple[str, dict[str, Any]]], form: Callable[[dict[str, Any]], float]
) -> float:
    """Compare the order by a label-free number with that by labels (Spearman)."""
    rank: Callable[..., Any] = spearmanr
    return float(
        rank([form(each) for _, each in runs], [labelled_result(each) for _, each in runs]).statistic
    )


def means_of(*keys: str) -> Callable[[dict[str, Any]], float]:
    """Make the mean of diagnostics, 0 where a code is dead; those after a minus are taken from 1."""

    def form(evaluation: dict[str, Any]) -> float:
        if any(has_collapsed(evaluation, code) for code in ("content", "transformation")):
            return 0.0
        values = []
        for key in keys:
            value = look_up(evaluation["diagnostics"], key.removeprefix("-"))
            share = min(1.0, max(0.0, 0.0 if value is None else value))
            values.append(1 - share if key.startswith("-") else share)
        return float(np.mean(values))

    return form


GROUPS = ("groups.from_content", "-groups.from_transformation")
TURNS = ("relative_readout.from_transformation", "-rotation_readout.from_content")
SWAPS = ("swap_consistency.content", "swap_consistency.transformation")
CROSS = "-cross_predictability.content_from_transformation.nonlinear"
FORMS: dict[str, Callable[[dict[str, Any]], float]] = {
    "**the score**": lambda evaluation: label_free_score(evaluation).value,
    "groups kept by c alone": means_of(GROUPS[0]),
    "groups not told by z alone": means_of(GROUPS[1]),
    "with the turn told by z and not by c": means_of(*GROUPS, *TURNS),
    "with the turn, and 1 - relative read-out from c": means_of(
        *GROUPS, TURNS[0], "-relative_readout.from_content"
    ),
    "with the swap of z": means_of(*GROUPS, SWAPS[1]),
    "invariance and cross-predictability": means_of("-content_invariance", CROSS),
    "invariance, cross-predictability, swaps": means_of("-content_invariance", CROSS, *SWAPS),
    "these, rotation read-outs and reconstruction": means_of(
        "-content_invariance",
        CROSS,
        *SWAPS,
        "rotation_readout.from_transformation",
        TURNS[1],
        "-reconstruction.relative",
    ),
}


if __name__ == "__main__":
    main()
