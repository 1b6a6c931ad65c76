"""`dualcontrast select`: which of several runs to believe, without labels."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from dualcontrast.selection import Ranked

EXAMPLES = """**Examples**

- Of three seeds: `dualcontrast select runs/three/seed-*`
- For another program: `dualcontrast select runs/a runs/b --json`
"""


def select(*runs: Path, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False) -> None:
    """Rank runs on the same images by a score that needs no labels, the best first.

    The score is made of what `evaluate` measures without labels. It is 0 where a code has collapsed.

    Parameters
    ----------
    runs
        Evaluated run folders.
    as_json
        Print the scores and what they are made of as JSON.
    """
    from dualcontrast.selection import select as rank

    ranked = rank(runs)
    if as_json:
        print(json.dumps([each.as_dict() for each in ranked], indent=2, allow_nan=False))
    else:
        print_ranking(ranked)


def print_ranking(ranked: list["Ranked"]) -> None:
    """Print a row for each run, the best first, and what speaks against the best."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table()
    table.add_column("run", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("what holds it back")
    for each in ranked:
        table.add_row(escape(str(each.path)), f"{each.score.value:.2f}", escape(each.score.why))
    console.print(table)
    console.print(f"[bold]The best: {escape(str(ranked[0].path))}[/]")
    console.print(escape(ranked[0].verdict))
