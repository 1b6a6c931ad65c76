"""The MNIST tables of docs/results.md and docs/method.md: train what is missing, print the table.

    python benchmarks/mnist.py presets     # the three presets
    python benchmarks/mnist.py changes     # `default` with each of its changes switched off
    python benchmarks/mnist.py presets --rows default --seeds 0,1,2     # with a row of mean ± s.d.

Rows are run folders below `runs/mnist`; a run that was interrupted is resumed, a finished one is read.
"""

import argparse
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from dualcontrast import RunFolder, train
from dualcontrast.benchmark.speed import training_seconds
from dualcontrast.benchmark.tables import look_up
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.pipeline import DataOptions, encode_run
from dualcontrast.run_folder import EVALUATION

PRESETS: dict[str, dict[str, Any]] = {
    "default": {"preset": "default"},
    "reference, 40 epochs": {"preset": "reference", "changes": {"epochs": 40}},
    "paper, 40 epochs": {"preset": "paper", "changes": {"epochs": 40}},
}

# Short trainings, so that the table can be made again in half an hour. All but the last six have what
# `default` had when its changes were chosen.
SHORT: dict[str, Any] = {
    "epochs": 6,
    "layer_normalisation": "batch",
    "centre_codes": True,
    "rotation_reader": "pair",
    "near_views_count": 0,
    "weights": {"rotation": 0.1, "rotation_c": 0, "con_c_clusters": 0, "con_c_exchanged": 0.3},
    "views": {"shift": 0.1, "elastic": 0.05},
}
BY_DIFFERENCE: dict[str, Any] = {
    "layer_normalisation": "paper",
    "centre_codes": False,
    "rotation_reader": "difference",
    "weights": {"rotation": 1.0},
}
UPRIGHT = BY_DIFFERENCE | {"rotation_reader": "upright", "views": {"shift": 0.03, "elastic": 0.03}}
WITH_CLUSTERS = UPRIGHT | {"weights": {"rotation": 1.0, "rotation_c": 1.0, "con_c_clusters": 0.5}}
CHANGES: dict[str, dict[str, Any]] = {
    "with batch normalisation": {},
    "rotations only": {"views": {"scale": 0, "shear": 0, "shift": 0, "elastic": 0}},
    "no elastic warps": {"views": {"elastic": 0}},
    "no independence term": {"weights": {"independence": 0}},
    "no rotation term": {"weights": {"rotation": 0}},
    "one negative an image (equation 3)": {"content_contrast": "pair"},
    "each image from its own content": {"exchange_share": 0.0},
    "positive pairs of z from one draw": {
        "positive_z_pair": "one_draw",
        "weights": {"con_c_exchanged": 0},
    },
    "encoder of the paper's width": {"width": 1},
    "the paper's normalisation, codes centred": {"layer_normalisation": "paper"},
    "the paper's normalisation": {"layer_normalisation": "paper", "centre_codes": False},
    "and the angle from the difference of both z": BY_DIFFERENCE,
    "and smaller shifts and warps, and the angle from the view alone too": UPRIGHT,
    "and c that does not tell the angle": UPRIGHT | {"weights": {"rotation": 1.0, "rotation_c": 1.0}},
    "and clusters of c": WITH_CLUSTERS,
    "and near views counting more": WITH_CLUSTERS | {"near_views_count": 3},
    "and exchanges and the angle weighing more (`default`)": WITH_CLUSTERS
    | {
        "near_views_count": 3,
        "weights": {"rotation": 2.0, "rotation_c": 1.0, "con_c_clusters": 0.5, "con_c_exchanged": 0.75},
    },
}

COLUMNS = {
    "content from c ↑": "d_score.content.from_content",
    "content from z ↓": "d_score.content.from_transformation",
    "rotation from z ↑": "diagnostics.rotation_readout.from_transformation",
    "rotation from c ↓": "diagnostics.rotation_readout.from_content",
    "swap, c ↑": "diagnostics.swap_consistency.content",
    "swap, z ↑": "diagnostics.swap_consistency.transformation",
    "GMM ↑": "clustering.gmm_accuracy",
    "test MSE": "diagnostics.reconstruction.mse",
}


def row_of(name: str, run: RunFolder) -> list[str]:
    """Write the cells of one row."""
    evaluation = run.evaluation
    values = [look_up(evaluation, key) for key in COLUMNS.values()]
    numbers = ["–" if value is None else f"{value:.3f}" for value in values]
    dead = [code for code, verdict in evaluation["diagnostics"]["collapse"].items() if verdict["collapsed"]]
    return [name, *numbers, " and ".join(dead) or "none", f"{training_seconds(run) / 60:.1f}"]


def mean_row(name: str, rows: list[list[str]]) -> list[str]:
    """Write the cells of mean and standard deviation over seeds."""
    columns = [[float(row[column]) for row in rows] for column in range(1, len(COLUMNS) + 1)]
    numbers = [f"{mean(column):.3f} ± {stdev(column):.3f}" for column in columns]
    return [f"{name}, mean ± s.d.", *numbers, "", ""]


def print_row(cells: list[str]) -> None:
    """Print one row as Markdown."""
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Train what is missing and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table", choices=["presets", "changes"])
    parser.add_argument("--output", type=Path, default=Path("runs/mnist"))
    parser.add_argument("--rows", help="only rows whose name begins so")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    if arguments.table == "presets":
        rows = PRESETS
    else:
        rows = {
            name: {
                "changes": SHORT
                | changes
                | {group: SHORT[group] | changes.get(group, {}) for group in ("weights", "views")},
                "options": DataOptions(limit=20_000),
            }
            for name, changes in CHANGES.items()
        }
    print_row(["", *COLUMNS, "collapsed", "minutes"])
    print("|---" * (len(COLUMNS) + 3) + "|")
    for name, options in rows.items():
        if not name.startswith(arguments.rows or ""):
            continue
        printed = []
        for seed in map(int, arguments.seeds.split(",")):
            folder = "".join(letter if letter.isalnum() else "-" for letter in name)
            output = arguments.output / arguments.table / f"{folder}-seed-{seed}"
            if not (output / EVALUATION).exists():
                run = train(
                    "mnist",
                    output,
                    seed=seed,
                    resume=True,
                    evaluate=False,
                    device=arguments.device,
                    **options,
                )
                encode_run(run, device=arguments.device)
                # Without figures, which take longer than a short training; `dualcontrast report` draws them.
                evaluate_run(run, seed=seed, device=arguments.device)
            printed.append(row_of(name, RunFolder.open(output)))
            print_row(printed[-1])
        if len(printed) > 1:
            print_row(mean_row(name, printed))


if __name__ == "__main__":
    main()
