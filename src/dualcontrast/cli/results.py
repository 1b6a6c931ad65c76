"""Printing what a run was found to be worth, and reading labels for it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dualcontrast.data.labels import LabelTable
    from dualcontrast.run_folder import RunFolder

STYLES = {"good": "green", "fair": "yellow", "poor": "red", "unknown": "dim"}
WORDS = {"good": "good", "fair": "so-so", "poor": "poor", "unknown": ""}


def labels_of(run: "RunFolder", path: Path | None, data: str | None = None) -> "LabelTable | None":
    """Read labels for the images of a run; None without a path, which stands for the images' own labels.

    `data` says where the images are, if no longer where they were.

    Raises
    ------
    DataError
        When the file cannot be read or does not belong to the images of the run.
    """
    if path is None:
        return None
    return run.open_source(data, labels=path).labels


def print_skipped(path: Path) -> None:
    """Say how many images were left out, and where they are listed."""
    from dualcontrast.data.skipped import read_skipped

    skipped = read_skipped(path)
    names = f"; they and the reasons are in {path}" if skipped else ""
    print(f"skipped: {len(skipped):,} images that cannot be used{names}")


def print_results(run: "RunFolder") -> None:
    """Print the evaluation of a finished run, and where its report is."""
    from dualcontrast.run_folder import REPORT

    print_evaluation(run)
    if (run.path / REPORT).exists():
        print(f"\nReport: {run.path / REPORT}")


def print_evaluation(run: "RunFolder") -> None:
    """Print the scores of a run as a table, then the verdict and what to do next."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from dualcontrast.evaluation.readings import readings
    from dualcontrast.evaluation.words import collapse_sentences, label_free, next_steps, notes, overall

    evaluation = run.evaluation
    console = Console(highlight=False)
    table = Table(title=escape(str(run.path)), title_justify="left")
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_column("")
    table.add_column("what it means", style="dim")
    for reading in readings(evaluation):
        if reading.value is not None:
            style = STYLES[reading.level]
            word = f"[{style}]{WORDS[reading.level]}[/{style}]"
            table.add_row(escape(reading.title), reading.text, word, escape(reading.meaning))
    console.print(table)
    level, verdict = overall(evaluation)
    console.print(f"[bold {STYLES[level]}]{escape(verdict)}[/]")
    for sentence in collapse_sentences(evaluation) + label_free(evaluation) + notes(evaluation):
        console.print(escape(sentence))
    console.print("\nWhat to do next:")
    for step in next_steps(evaluation, volumes=run.preparation.of_volumes):
        console.print(f"- {escape(step)}")
