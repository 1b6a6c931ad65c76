"""Table 1 of the paper as one call: every method on every data set, with published values beside."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

from dualcontrast.benchmark.cells import Cell, CellFailed, CellOptions, run_apart
from dualcontrast.benchmark.rows import DataSet, Row, choose_datasets, choose_rows
from dualcontrast.benchmark.tables import Line, as_csv, as_latex, as_markdown
from dualcontrast.data.open import open_source
from dualcontrast.errors import RunError, SettingError
from dualcontrast.files import clear_leftovers, write_text

OPTIONS, FIGURES = "options.json", "figures"
Schedule = Literal["auto", "published", "short"]


def table1(
    output: str | Path,
    *,
    methods: Sequence[str] | None = None,
    datasets: Sequence[str] = ("mnist", "linemod"),
    seeds: Sequence[int] = (0, 1, 2),
    epochs: int | None = None,
    budget_minutes: float | None = None,
    schedule: Schedule = "auto",
    limit: int | None = None,
    jobs: int = 1,
    device: str = "auto",
    on_count: Callable[[int], None] = lambda count: None,
    on_start: Callable[[Cell], None] = lambda cell: None,
    on_end: Callable[[Cell, str | None], None] = lambda cell, failure: None,
) -> list[Line]:
    """Train and measure every method on every data set, and write the table.

    Cells that are finished are kept, and interrupted ones go on, so that the same call after a pause, or with
    more methods or seeds, only does what is missing.

    Parameters
    ----------
    output : str or Path
        Folder of the table. It gets `table1.csv`, `table1.md`, `table1.tex`, `figures/` and `cells/`.
    methods : sequence of str, optional
        Rows: `METHOD` or `METHOD:PRESET`, or `all`; the paper's nine and our default unless given.
    datasets : sequence of str
        Names of data sets, or `NAME=PATH` for other images.
    seeds : sequence of int
        Of split, weights and training; the table has means over them.
    epochs : int, optional
        Passes over the training images; the published number unless given.
    budget_minutes : float, optional
        Minutes of training for the whole table, shared evenly by its cells; each takes as many epochs as fit
        into its share, at least one. Evaluation comes on top, about a minute a cell.
    schedule : {'auto', 'published', 'short'}
        Learning rates as published, or for short trainings (see `settings_of`); `auto` is short with a budget
        and published without.
    limit : int, optional
        Training images to use of every data set.
    jobs : int
        Trainings at the same time, each a process of its own. GPUs are dealt out in turn.
    device : str
        See `Model`.
    on_count, on_start, on_end : callable
        Told how many cells there are to train, and when one starts and ends, with the reason where it failed.

    Returns
    -------
    list of Line
        Every method on every data set, in the order of the table.

    Raises
    ------
    SettingError
        For an unknown method or data set, or a number out of range.
    DataError
        When a data set cannot be opened; before anything is trained.
    RunError
        When `output` holds a table that was made with other settings.
    CellFailed
        After all others are done and the table is written, when a cell failed.
    """
    output = Path(output)
    rows, sets = choose_rows(methods), choose_datasets(datasets)
    _check_numbers(seeds, epochs, budget_minutes, limit, jobs)
    for dataset in sets:
        open_source(dataset.location)
    cells = [Cell(row, dataset, seed) for dataset in sets for row in rows for seed in seeds]
    short = schedule == "short" or (schedule == "auto" and budget_minutes is not None)
    minutes = None if budget_minutes is None else budget_minutes * jobs / len(cells)
    options = CellOptions(epochs, minutes, short, limit)
    for folder in (output, output / FIGURES):
        clear_leftovers(folder)
    _check_same_settings(output, options)
    missing = [cell for cell in cells if not cell.record(output).exists()]
    on_count(len(missing))
    failures = _run_all(missing, output, options, jobs, device, on_start, on_end)
    lines = [
        Line(row, dataset, [record for cell in cells_of if (record := _read(cell, output)) is not None])
        for dataset in sets
        for row in rows
        if (cells_of := [Cell(row, dataset, seed) for seed in seeds])
    ]
    how = _how(options, budget_minutes, seeds, failures)
    write_text(output / "table1.csv", as_csv(lines))
    write_text(output / "table1.md", as_markdown(lines, how))
    write_text(output / "table1.tex", as_latex(lines))
    _draw(output, rows, sets, seeds[0], device)
    if failures:
        raise CellFailed("; ".join(failures))
    return lines


def _check_numbers(
    seeds: Sequence[int], epochs: int | None, minutes: float | None, limit: int | None, jobs: int
) -> None:
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise SettingError("--seeds: give whole numbers of at least 0, each once")
    for name, value in (("epochs", epochs), ("budget", minutes), ("limit", limit), ("jobs", jobs)):
        if value is not None and value <= 0:
            raise SettingError(f"--{name} {value}: give a number above 0")


def _check_same_settings(output: Path, options: CellOptions) -> None:
    """Write down what all cells have in common, or refuse to mix them with others.

    The share of the budget is left out: it depends on how many cells are asked for, and every cell records
    its epochs.
    """
    path = output / OPTIONS
    plain = asdict(options)
    plain["minutes"] = plain["minutes"] is not None
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        differ = [name for name in plain if plain[name] != stored.get(name)]
        if differ:
            raise RunError(
                f"{output}: holds a table made with another {differ[0]} ({stored.get(differ[0])}, not "
                f"{plain[differ[0]]}); choose another --output"
            )
    elif output.is_dir() and any(not entry.name.startswith(".") for entry in output.iterdir()):
        raise RunError(f"{output}: holds files that are no table; choose another --output")
    else:
        write_text(path, json.dumps(plain, indent=2) + "\n")


def _run_all(
    cells: Sequence[Cell],
    output: Path,
    options: CellOptions,
    jobs: int,
    device: str,
    on_start: Callable[[Cell], None],
    on_end: Callable[[Cell, str | None], None],
) -> list[str]:
    """Run cells in `jobs` slots; every slot has its share of the cores, and a GPU. Return what failed."""
    import torch

    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    slots: SimpleQueue[int] = SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)

    def run(cell: Cell) -> str | None:
        slot = slots.get()
        environment = {"OMP_NUM_THREADS": threads}
        if gpus > 1:
            environment["CUDA_VISIBLE_DEVICES"] = str(slot % gpus)
        on_start(cell)
        failure = None
        try:
            run_apart(cell, output, options, device, environment)
        except CellFailed as error:
            failure = str(error)
        finally:
            slots.put(slot)
        on_end(cell, failure)
        return failure

    with ThreadPoolExecutor(jobs) as pool:
        try:
            return [failure for failure in pool.map(run, cells) if failure]
        except KeyboardInterrupt:
            # The processes got the signal, too, and keep their state; start no others.
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _read(cell: Cell, output: Path) -> dict | None:
    path = cell.record(output)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _how(
    options: CellOptions, budget_minutes: float | None, seeds: Sequence[int], failures: Sequence[str]
) -> list[str]:
    sentences = [
        f"dualcontrast {version('dualcontrast')}, seeds {', '.join(map(str, seeds))}.",
        "All methods have the same split, the same code lengths (explicit transformations keep their own), "
        "and are scored by the same classifiers on the same held-out images.",
    ]
    if options.limit:
        sentences.append(f"At most {options.limit:,} training images of each data set.")
    if budget_minutes:
        sentences.append(
            f"{budget_minutes:g} minutes of training in all, shared evenly: each training has as many epochs "
            "as fit into its share, at least one."
        )
    if options.short:
        sentences.append(
            "Learning rates for short trainings: one cycle, at a rate that suits it, instead of the "
            "published schedule."
        )
    return [*sentences, *(f"Failed: {failure}." for failure in failures)]


def _draw(output: Path, rows: Sequence[Row], sets: Sequence[DataSet], seed: int, device: str) -> None:
    """Draw the figures of the first seed; they are the paper's, for all methods side by side."""
    from dualcontrast.benchmark.side_by_side import maps_figure, transfer_grids_figure
    from dualcontrast.figures.style import save_figure
    from dualcontrast.run_folder import RunFolder

    folder = output / FIGURES
    for dataset in sets:
        done = [cell for row in rows if (cell := Cell(row, dataset, seed)) and cell.record(output).exists()]
        if not done:
            continue
        runs = [(cell.row.title, RunFolder.open(cell.folder(output))) for cell in done]
        grids = transfer_grids_figure(runs, device)
        if grids is not None:
            save_figure(grids, folder / f"{dataset.name}-transfer.png")
        maps = [(cell.row.title, cell.maps(output)) for cell in done]
        save_figure(maps_figure(maps, "t-SNE"), folder / f"{dataset.name}-t-sne.png")
        save_figure(maps_figure(maps, "UMAP"), folder / f"{dataset.name}-umap.png")
