"""`dualcontrast benchmark`: comparisons of methods, and of speeds."""

from pathlib import Path
from typing import Literal

from cyclopts import App

app = App(name="benchmark", help="Compare methods on the same images by the same measures; measure speed.")


@app.command(
    help_epilogue="""**Examples**

- The paper's table, three seeds, published numbers of epochs: `dualcontrast benchmark table1 --output table1`
- By tonight, on two cores: `dualcontrast benchmark table1 --output tonight --seeds 0 --limit 20000
  --budget 120 --jobs 2`
- A tenth row, beside two others: `dualcontrast benchmark table1 --output mine
  --methods my_method,harmony,dualcontrast`
- Rendered views in the place of LineMod: `dualcontrast benchmark table1 --output views
  --datasets linemod=views.npz`
"""
)
def table1(
    *,
    output: Path,
    methods: str = "all",
    datasets: str = "mnist,linemod",
    seeds: str = "0,1,2",
    epochs: int | None = None,
    budget: float | None = None,
    schedule: Literal["auto", "published", "short"] = "auto",
    limit: int | None = None,
    jobs: int = 1,
    device: str = "auto",
    progress: bool = True,
) -> None:
    """Train every method of the paper's Table 1 and print the table; finished trainings are kept.

    Parameters
    ----------
    output
        Folder of the table, which gets table1.csv, .md and .tex, figures, and a run folder for each training.
        The same command goes on where it was stopped.
    methods
        Rows, between commas: METHOD or METHOD:PRESET, or all.
    datasets
        Data sets, between commas: names (see `dualcontrast data list`), or NAME=PATH for any images.
    seeds
        Seeds, between commas.
    epochs
        Passes over the training images; the published number unless given.
    budget
        Minutes of training for the whole table; every training gets its share.
    schedule
        Learning rates: published, or short for short trainings; auto takes short with a budget.
    limit
        Use a random choice of this many training images.
    jobs
        Trainings at the same time.
    device
        auto, cpu, cuda or mps.
    progress
        Show a progress bar.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from dualcontrast.benchmark.cells import Cell
    from dualcontrast.benchmark.table1 import table1 as make_table
    from dualcontrast.errors import SettingError

    def parts(text: str) -> list[str]:
        return [part.strip() for part in text.split(",") if part.strip()]

    try:
        numbers = [int(part) for part in parts(seeds)]
    except ValueError:
        raise SettingError(f"--seeds {seeds}: give whole numbers between commas, such as 0,1,2") from None
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    running: list[str] = []
    with Progress(*columns, console=console, disable=not progress, transient=True) as bar:
        task = bar.add_task("trainings", total=None)

        def count(total: int) -> None:
            bar.update(task, total=total)

        def start(cell: Cell) -> None:
            running.append(f"{cell.row.name} on {cell.dataset.name}")
            bar.update(task, description=", ".join(running))

        def end(cell: Cell, failure: str | None) -> None:
            running.remove(f"{cell.row.name} on {cell.dataset.name}")
            bar.update(task, advance=1, description=", ".join(running) or "trainings")
            done = f"{cell.row.name} on {cell.dataset.name}, seed {cell.seed}"
            console.print(
                f"failed: {failure}" if failure else f"done: {done}", soft_wrap=True, highlight=False
            )

        make_table(
            output,
            methods=parts(methods),
            datasets=parts(datasets),
            seeds=numbers,
            epochs=epochs,
            budget_minutes=budget,
            schedule=schedule,
            limit=limit,
            jobs=jobs,
            device=device,
            on_count=count,
            on_start=start,
            on_end=end,
        )
    print((output / "table1.md").read_text(encoding="utf-8").split("## How it was made")[0].rstrip())
    print(f"\nTable: {output / 'table1.md'}, .csv and .tex; figures: {output / 'figures'}")


@app.command(
    help_epilogue="""**Examples**

- All shapes, on all cores: `dualcontrast benchmark speed --output speed`
- Does it work here? `dualcontrast benchmark speed --quick --shapes mnist`
- How long until the scores of the paper? `dualcontrast benchmark speed --time-to-quality --output speed`
"""
)
def speed(
    *,
    output: Path | None = None,
    shapes: str = "all",
    repeats: int = 5,
    quick: bool = False,
    device: str = "auto",
    threads: int | None = None,
    precision: str = "32-true",
    time_to_quality: bool = False,
    progress: bool = True,
) -> None:
    """Measure the speed of training and encoding beside the authors' procedure, and print the table.

    Generated images, some minutes; nothing else should run on the machine.

    Parameters
    ----------
    output
        Folder for speed.md and speed.json.
    shapes
        Shapes of images, between commas: mnist, linemod, subtomogram; or all.
    repeats
        Trainings and encodings of each procedure.
    quick
        One repeat of one batch, to see that it works.
    device
        auto, cpu or cuda.
    threads
        Threads of the CPU; all cores unless given.
    precision
        32-true or bf16-mixed; the authors' procedure is in single precision always.
    time_to_quality
        Train on MNIST as well, and see when the paper's scores are reached.
    progress
        Show what is being done.
    """
    from rich.console import Console

    from dualcontrast.benchmark.speed_table import as_markdown
    from dualcontrast.benchmark.speed_table import speed as measure_speed

    names = [part.strip() for part in shapes.split(",") if part.strip()]
    console = Console(stderr=True, quiet=not progress)
    with console.status("") as status:
        table = measure_speed(
            output,
            shapes=names,
            repeats=repeats,
            quick=quick,
            device=device,
            threads=threads,
            precision=precision,
            quality=time_to_quality,
            on_progress=status.update,
        )
    print(as_markdown(table).rstrip())
    if output is not None:
        print(f"\nTable: {output / 'speed.md'} and .json")
