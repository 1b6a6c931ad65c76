"""`dualcontrast check`: whether data are sound, before a job is submitted."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

EXAMPLES = """**Examples**

- All headers of a STAR file's subtomograms: `dualcontrast check Extract/job012/particles.star`
- Files that have moved: `dualcontrast check particles.star --datadir /scratch/subtomograms`
- All values too: `dualcontrast check particles.star --deep`
"""


def check(
    data: str,
    *,
    datadir: Path | None = None,
    deep: Annotated[bool, Parameter(negative=())] = False,
    progress: bool = True,
) -> None:
    """Look at the headers of all files; exit code 2 where something would stop a training.

    Parameters
    ----------
    data
        A STAR file, a folder of images or volumes, a stack, or the name of a data set.
    datadir
        Folder in which the files that a STAR file names are looked for first.
    deep
        Read the values too: NaN, constant images, and the contrast of the particles.
    progress
        Show a progress bar.
    """
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from dualcontrast.cli import BAD_INPUT
    from dualcontrast.data.check_files import check_files

    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        report = check_files(data, datadir=datadir, deep=deep, progress=show)
    console = Console(highlight=False)
    console.print(report.location, style="bold", markup=False, soft_wrap=True)
    table = Table(show_header=False)
    for name, value in report.facts.items():
        table.add_row(name, value)
    if report.facts:
        console.print(table)
    for warning in report.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    for problem in report.problems:
        console.print(f"problem: {problem}", style="red", markup=False, soft_wrap=True)
    if report.problems:
        print("not fit for training")
        sys.exit(BAD_INPUT)
    print("fit for training")
