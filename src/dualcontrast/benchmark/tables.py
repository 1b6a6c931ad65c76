"""The table as numbers, and as CSV, Markdown and LaTeX."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from dualcontrast.benchmark.rows import PUBLISHED, DataSet, Published, Row

# Name in the CSV file, heading, and place in a cell's record.
D_SCORES = (
    ("content_from_content", "content from c ↑", "evaluation.d_score.content.from_content"),
    ("content_from_transformation", "content from z ↓", "evaluation.d_score.content.from_transformation"),
    (
        "transformation_from_transformation",
        "transformation from z ↑",
        "evaluation.d_score.transformation.from_transformation",
    ),
    (
        "transformation_from_content",
        "transformation from c ↓",
        "evaluation.d_score.transformation.from_content",
    ),
)
# The linear maps of the D_score may miss what a code tells in another form; see `curved_read_out`.
CURVED = (
    (
        "content_from_transformation_curved",
        "content from z, curved ↓",
        "evaluation.curved_read_out.content.from_transformation",
    ),
    (
        "transformation_from_content_curved",
        "transformation from c, curved ↓",
        "evaluation.curved_read_out.transformation.from_content",
    ),
)
EXTRAS = (
    (
        "rotation_from_transformation",
        "rotation from z ↑",
        "evaluation.diagnostics.rotation_readout.from_transformation",
    ),
    ("rotation_from_content", "rotation from c ↓", "evaluation.diagnostics.rotation_readout.from_content"),
    ("swap_content", "swap, c ↑", "evaluation.diagnostics.swap_consistency.content"),
    ("swap_transformation", "swap, z ↑", "evaluation.diagnostics.swap_consistency.transformation"),
    ("decoder_use_transformation", "image hangs on z", "evaluation.diagnostics.decoder_use.transformation"),
    ("gmm_accuracy", "GMM ↑", "evaluation.clustering.gmm_accuracy"),
    ("reconstruction_mse", "test MSE ↓", "evaluation.diagnostics.reconstruction.mse"),
)
COSTS = (
    ("epochs", "epochs", "recipe.epochs"),
    ("seconds_per_epoch", "s / epoch", "seconds_per_epoch"),
    ("parameters", "parameters", "parameters"),
)
NUMBERS = (*D_SCORES, *CURVED, *EXTRAS, *COSTS)
EMPTY = "–"
LATEX_PLUS_MINUS = r" \pm "


@dataclass(frozen=True)
class Value:
    """A number over the seeds.

    Attributes
    ----------
    mean : float
        Mean.
    deviation : float or None
        Standard deviation (n - 1); None for one seed.
    """

    mean: float
    deviation: float | None = None

    def text(self, digits: int = 2, sign: str = " ± ") -> str:
        """Write the mean, and the deviation where there is one."""
        if abs(self.mean) >= 100:
            digits = 0
        # What is counted is often the same for all seeds.
        plain = self.deviation is None or (digits == 0 and self.deviation == 0)
        tail = "" if plain else f"{sign}{self.deviation:,.{digits}f}"
        return f"{self.mean:,.{digits}f}{tail}"


@dataclass(frozen=True)
class Line:
    """One method on one data set, over all finished seeds.

    Attributes
    ----------
    row, dataset : Row, DataSet
        What was trained on what.
    records : list of dict
        What the finished cells wrote.
    """

    row: Row
    dataset: DataSet
    records: list[dict[str, Any]]

    def value(self, path: str) -> Value | None:
        """Return the number at a dotted place of the records; None where no seed has it."""
        found = [number for record in self.records if (number := look_up(record, path)) is not None]
        if not found:
            return None
        return Value(mean(found), stdev(found) if len(found) > 1 else None)

    @property
    def published(self) -> Published | None:
        """What the paper printed."""
        return PUBLISHED.get(self.dataset.name, {}).get(self.row.name)

    @property
    def collapsed(self) -> str:
        """Say which code has collapsed, in how many of the seeds."""
        verdicts = [record["evaluation"]["diagnostics"]["collapse"] for record in self.records]
        words = []
        for code, letter in (("content", "c"), ("transformation", "z")):
            count = sum(verdict[code]["collapsed"] for verdict in verdicts)
            if count:
                words.append(letter if count == len(verdicts) else f"{letter} in {count} of {len(verdicts)}")
        return (", ".join(words) or "none") if verdicts else EMPTY


def look_up(record: Mapping[str, Any], path: str) -> float | None:
    """Find a number by its dotted name; None where it was not measured."""
    found: Any = record
    for part in path.split("."):
        if not isinstance(found, Mapping) or found.get(part) is None:
            return None
        found = found[part]
    return float(found) if math.isfinite(found) else None


def as_csv(lines: Sequence[Line]) -> str:
    """Write one line for each method and data set: means, deviations, and published values."""
    header = ["dataset", "method", "title", "seeds"]
    header += [f"{name}_{part}" for name, _, _ in NUMBERS for part in ("mean", "sd")]
    header += ["collapsed"]
    header += [f"published_{name}_{part}" for name, _, _ in D_SCORES[:2] for part in ("mean", "sd")]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(header)
    for line in lines:
        cells: list[object] = [line.dataset.name, line.row.name, line.row.title, len(line.records)]
        for _, _, path in NUMBERS:
            value = line.value(path)
            cells += ["", ""] if value is None else [value.mean, _or_blank(value.deviation)]
        cells.append(line.collapsed)
        published = line.published
        cells += [""] * 4 if published is None else [*published.from_content, *published.from_transformation]
        writer.writerow(cells)
    return written.getvalue()


def _or_blank(value: float | None) -> object:
    return "" if value is None else value


def as_markdown(lines: Sequence[Line], how: Sequence[str]) -> str:
    """Write the paper's table with the published values in brackets, then everything else by data set.

    Parameters
    ----------
    lines : sequence of Line
        Of all data sets.
    how : sequence of str
        How the table was made, a bullet each.
    """
    parts = ["# Table 1", "", "D_score of the content labels, in brackets as published.", ""]
    rows, datasets, place = _as_grid(lines)
    heads = [f"{name}: {heading}" for name in datasets for _, heading, _ in D_SCORES[:2]]
    table = []
    for row in rows:
        cells = [row.title]
        for name in datasets:
            line = place[row, name]
            for index, (_, _, path) in enumerate(D_SCORES[:2]):
                value, printed = line.value(path), line.published
                ours = EMPTY if value is None else value.text()
                cells.append(ours + ("" if printed is None else f" ({_printed(printed, index).text()})"))
        table.append(cells)
    parts += _markdown_table(["method", *heads], table)
    for name in datasets:
        chosen = [place[row, name] for row in rows]
        # Columns that no method has, such as transformation labels where there are none, are left out.
        shown = [entry for entry in NUMBERS if any(line.value(entry[2]) is not None for line in chosen)]
        table = []
        for line in chosen:
            values = [line.value(path) for _, _, path in shown]
            table.append(
                [
                    line.row.title,
                    *(
                        EMPTY if value is None else value.text(0 if key in ("epochs", "parameters") else 3)
                        for value, (key, _, _) in zip(values, shown, strict=True)
                    ),
                    line.collapsed,
                ]
            )
        parts += ["", f"## {name}", ""]
        parts += _markdown_table(["method", *(heading for _, heading, _ in shown), "collapsed"], table)
    parts += ["", "## How it was made", "", *(f"- {sentence}" for sentence in how), ""]
    parts += _markdown_table(
        ["method", "data", "preset", "epochs", "batch", "learning rate", "schedule", "training images"],
        [_settings_of(line) for line in lines if line.records],
    )
    return "\n".join(parts) + "\n"


def _as_grid(lines: Sequence[Line]) -> tuple[list[Row], list[str], dict[tuple[Row, str], Line]]:
    """Return rows and names of data sets in their order, and the line of each pair."""
    return (
        list(dict.fromkeys(line.row for line in lines)),
        list(dict.fromkeys(line.dataset.name for line in lines)),
        {(line.row, line.dataset.name): line for line in lines},
    )


def _settings_of(line: Line) -> list[str]:
    record = line.records[0]
    recipe = record["recipe"]
    return [
        line.row.title,
        line.dataset.name,
        f"`{record['method']}`, `{record['preset']}`",
        str(recipe["epochs"]),
        str(recipe["batch_size"]),
        f"{recipe['learning_rate']:g}",
        recipe["schedule"],
        f"{record['training_images']:,}",
    ]


def _printed(published: Published, index: int) -> Value:
    return Value(*(published.from_content, published.from_transformation)[index])


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(header)} |",
        "|---" * len(header) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def as_latex(lines: Sequence[Line]) -> str:
    """Write the paper's table for `booktabs`: ours, and the published value beside it."""
    rows, datasets, place = _as_grid(lines)
    columns = "l" + "rrrr" * len(datasets)
    first = " & ".join(rf"\multicolumn{{4}}{{c}}{{{_escape(name)}}}" for name in datasets)
    second = " & ".join([r"$D(c|c)\uparrow$ & published & $D(c|z)\downarrow$ & published"] * len(datasets))
    body = []
    for row in rows:
        cells = [_escape(row.title)]
        for name in datasets:
            line = place[row, name]
            for index, (_, _, path) in enumerate(D_SCORES[:2]):
                value, printed = line.value(path), line.published
                theirs = None if printed is None else _printed(printed, index)
                cells += [_latex_number(value), _latex_number(theirs)]
        body.append(" & ".join(cells) + r" \\")
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rf"& {first} \\",
            rf"Method & {second} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _latex_number(value: Value | None) -> str:
    return "--" if value is None else f"${value.text(sign=LATEX_PLUS_MINUS)}$"


def _escape(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "&%$#_{}" else letter for letter in text)
