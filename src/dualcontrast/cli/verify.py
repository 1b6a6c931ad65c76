"""`dualcontrast verify`: whether a run is still what it says."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

EXAMPLES = """**Examples**

- Images, weights, a sample of the codes, and all scores: `dualcontrast verify runs/first`
- Every code: `dualcontrast verify runs/first --all`
- On another machine, where the images lie elsewhere: `dualcontrast verify first --data /scratch/images`
- In seconds: `dualcontrast verify runs/first --no-scores`
"""
# Not 2: nothing is wrong with the call.
DIFFERS = 1
MARKS = {True: ("as recorded", "green"), False: ("DIFFERS", "red"), None: ("not judged", "dim")}


def verify(
    run: Path,
    *,
    data: str | None = None,
    labels: Path | None = None,
    every: Annotated[bool, Parameter(name="--all", negative=())] = False,
    scores: bool = True,
    device: str = "auto",
) -> None:
    """Compute again what a run has recorded, and say whether it matches; exit code 1 where it does not.

    Parameters
    ----------
    run
        A finished run folder; nothing in it is changed.
    data
        Where its images are now, if no longer where they were.
    labels
        CSV file of labels, where the run was evaluated with `evaluate --labels`.
    every
        Encode all images again rather than about a thousand.
    scores
        Evaluate again.
    device
        auto, cpu, cuda or mps.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from dualcontrast.cli.results import labels_of
    from dualcontrast.run_folder import RunFolder
    from dualcontrast.verify import SAMPLE, verify_run

    folder = RunFolder.open(run)
    found = verify_run(
        folder,
        data,
        labels=labels_of(folder, labels, data),
        sample=None if every else SAMPLE,
        scores=scores,
        device=device,
    )
    console = Console(highlight=False)
    table = Table(show_header=False)
    for check in found.checks:
        mark, style = MARKS[check.matches]
        table.add_row(check.name, f"[{style}]{mark}[/{style}]", escape(check.words))
    console.print(table)
    if found.matches:
        print(f"{run}: nothing contradicts what is recorded")
        return
    names = ", ".join(check.name for check in found.checks if check.matches is False)
    print(f"{run}: not as recorded: {names}")
    sys.exit(DIFFERS)
