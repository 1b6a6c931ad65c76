"""One cell of a table: a method, a data set and a seed, trained and measured in a process of its own."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast.benchmark.rows import DataSet, Row, settings_of
from dualcontrast.errors import UserError
from dualcontrast.files import atomic_path, clear_leftovers, write_text

FIRST_LINE_OF_ERROR = "error: "


@dataclass(frozen=True)
class CellOptions:
    """What all cells of a table have in common.

    Attributes
    ----------
    epochs : int or None
        Passes over the training images; None for the published number.
    minutes : float or None
        Training time of one cell: as many epochs as fit, at least one and at most `epochs`.
    short : bool
        Take learning rates for short trainings, see `settings_of`.
    limit : int or None
        Training images to use.
    """

    epochs: int | None = None
    minutes: float | None = None
    short: bool = False
    limit: int | None = None


@dataclass(frozen=True)
class Cell:
    """One training of the table."""

    row: Row
    dataset: DataSet
    seed: int

    def folder(self, output: Path) -> Path:
        """Return the run folder of the cell; what belongs to it beside the run lies next to it."""
        return output / "cells" / self.dataset.name / self.row.name.replace(":", "-") / f"seed-{self.seed}"

    def record(self, output: Path) -> Path:
        """Return the file that is written when the cell is finished."""
        return self.folder(output).with_suffix(".json")

    def maps(self, output: Path) -> Path:
        """Return the file of the t-SNE and UMAP places of held-out images."""
        return self.folder(output).with_suffix(".maps.npz")

    def log(self, output: Path) -> Path:
        """Return the file of what the cell's process printed."""
        return self.folder(output).with_suffix(".log")


class CellFailed(UserError):
    """A cell did not come to its end; the others are not affected."""


def run_apart(
    cell: Cell, output: Path, options: CellOptions, device: str, environment: dict[str, str]
) -> None:
    """Fill a cell in a process of its own.

    Parameters
    ----------
    cell : Cell
        What to train.
    output : Path
        Folder of the table.
    options : CellOptions
        How to train.
    device : str
        See `Model`.
    environment : dict of str to str
        Variables for the process: threads, and the GPU it may see.

    Raises
    ------
    CellFailed
        With the last line that the process printed.
    """
    order = {
        "row": asdict(cell.row),
        "dataset": asdict(cell.dataset),
        "seed": cell.seed,
        "output": str(output),
        "options": asdict(options),
        "device": device,
    }
    log = cell.log(output)
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8") as printed,
        subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(order)],
            # Nothing is written to it; the cell sees it close when this process is killed.
            stdin=subprocess.PIPE,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        ) as process,
    ):
        failed = process.wait() != 0
    if failed:
        lines = log.read_text(encoding="utf-8").strip().splitlines() or ["no message"]
        reason = lines[-1].removeprefix(FIRST_LINE_OF_ERROR)
        raise CellFailed(f"{cell.row.name} on {cell.dataset.name}, seed {cell.seed}: {reason} (see {log})")


def fill(cell: Cell, output: Path, options: CellOptions, device: str) -> None:
    """Train, encode and evaluate a cell in this process, going on from where it was interrupted."""
    from dualcontrast import pipeline
    from dualcontrast.benchmark.speed import estimate_epoch_seconds, training_seconds
    from dualcontrast.evaluation.evaluate import evaluate_run
    from dualcontrast.run_folder import EVALUATION, RunFolder

    run, epochs = RunFolder(cell.folder(output)), options.epochs
    clear_leftovers(run.path.parent)
    preset, changes = settings_of(cell.row, cell.dataset, options.short, epochs)
    if options.minutes is not None:
        if run.exists():
            # Measured before; another estimate would be another training.
            epochs = run.config["recipe"]["epochs"]
        else:
            each = estimate_epoch_seconds(
                cell.dataset.location,
                cell.row.method,
                preset,
                changes,
                limit=options.limit,
                seed=cell.seed,
                device=device,
            )
            fitting = max(1, int(60 * options.minutes / each))
            epochs = fitting if epochs is None else min(fitting, epochs)
        preset, changes = settings_of(cell.row, cell.dataset, options.short, epochs)
    run = pipeline.train(
        cell.dataset.location,
        run.path,
        method=cell.row.method,
        preset=preset,
        seed=cell.seed,
        changes=changes,
        options=pipeline.DataOptions(limit=options.limit),
        device=device,
        resume=True,
        evaluate=False,
        progress=False,
    )
    pipeline.encode_run(run, device=device, progress=False)
    if not (run.path / EVALUATION).exists():
        evaluate_run(run, seed=cell.seed, device=device)
    _write_maps(run, cell, cell.maps(output))
    config = run.config
    record: dict[str, Any] = {
        "method": config["method"],
        "preset": config["preset"],
        "recipe": config["recipe"],
        "training_images": len(run.split.train),
        "test_images": len(run.split.test),
        "parameters": sum(weight.numel() for weight in run.load_method("cpu").parameters()),
        "seconds_per_epoch": training_seconds(run) / config["recipe"]["epochs"],
        "evaluation": run.evaluation,
    }
    write_text(cell.record(output), json.dumps(record, indent=2) + "\n")


def _write_maps(run: Any, cell: Cell, path: Path) -> None:
    """Place the content codes of held-out images by t-SNE and UMAP, with the label that colours them."""
    from dualcontrast.figures.embeddings import embed_both_ways
    from dualcontrast.figures.run_figures import discrete_values, mapped_ids, shown_ids

    # The same images for every method and seed.
    codes = run.codes.select(mapped_ids(shown_ids(run.split), 0))
    labels = discrete_values(run.open_source().labels, codes.ids)
    places = embed_both_ways(codes.content, cell.seed)
    arrays = {"labels": np.zeros(len(codes)) if labels is None else labels, **places}
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **arrays)  # pyright: ignore[reportArgumentType]


def _end_with_parent() -> None:
    """End when the process that asked for the cell is gone: the next one may fill the same run folder."""
    # Not by sys.stdin, whose lock Python needs when it ends.
    os.read(0, 1)
    os._exit(1)


def main(text: str) -> None:
    """Fill the cell that an order from `run_apart` describes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    order = json.loads(text)
    cell = Cell(Row(**order["row"]), DataSet(**order["dataset"]), order["seed"])
    try:
        fill(cell, Path(order["output"]), CellOptions(**order["options"]), order["device"])
    except UserError as error:
        print(f"{FIRST_LINE_OF_ERROR}{error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1])
