"""Means, deviations, and the three ways to write the table."""

import csv
import io
import math

import pytest

from dualcontrast.benchmark.rows import ROWS, DataSet, Row
from dualcontrast.benchmark.tables import Line, Value, as_csv, as_latex, as_markdown

MNIST = DataSet("mnist", "mnist")
SPATIAL = next(row for row in ROWS if row.name == "spatial_vae")


def record(c: float, z: float, collapsed: bool = False, swap: float | None = 0.5) -> dict:
    return {
        "method": "spatial_vae",
        "preset": "default",
        "recipe": {"epochs": 4, "batch_size": 100, "learning_rate": 1e-4, "schedule": "constant"},
        "training_images": 60_000,
        "parameters": 1_234_567,
        "seconds_per_epoch": 2.5,
        "evaluation": {
            "d_score": {
                "content": {"from_content": c, "from_transformation": z},
                "transformation": {"from_content": None, "from_transformation": None},
            },
            "clustering": {"gmm_accuracy": 0.6},
            "diagnostics": {
                "rotation_readout": {"from_content": 0.1, "from_transformation": math.nan},
                "swap_consistency": {"content": swap, "transformation": swap},
                "decoder_use": {"transformation": 0.3},
                "reconstruction": {"mse": 0.02},
                "collapse": {"content": {"collapsed": False}, "transformation": {"collapsed": collapsed}},
            },
        },
    }


def test_values_are_means_and_sample_deviations():
    line = Line(SPATIAL, MNIST, [record(0.8, 0.2), record(0.9, 0.4, collapsed=True)])
    value = line.value("evaluation.d_score.content.from_content")
    assert value.mean == pytest.approx(0.85)
    # Two values a and b: the sample deviation is |a - b| / √2.
    assert value.deviation == pytest.approx(0.1 / math.sqrt(2))
    assert value.text() == "0.85 ± 0.07"
    assert Value(1_234_567).text(0) == "1,234,567"
    assert line.value("evaluation.d_score.transformation.from_content") is None
    assert line.value("evaluation.diagnostics.rotation_readout.from_transformation") is None
    assert line.collapsed == "z in 1 of 2"
    assert Line(SPATIAL, MNIST, [record(0.8, 0.2)]).value("seconds_per_epoch") == Value(2.5)


def test_csv_has_every_number_and_the_published_ones():
    lines = [Line(SPATIAL, MNIST, [record(0.8, 0.2, swap=None)]), Line(ROWS[1], MNIST, [])]
    first, second = csv.DictReader(io.StringIO(as_csv(lines)))
    assert float(first["content_from_content_mean"]) == 0.8
    assert first["content_from_content_sd"] == first["swap_content_mean"] == ""
    assert (first["published_content_from_content_mean"], first["seeds"]) == ("0.81", "1")
    assert (second["method"], second["seeds"], second["epochs_mean"]) == ("harmony", "0", "")


def test_markdown_has_published_values_in_brackets_and_leaves_unmeasured_columns_out():
    other = Line(Row("mine", "Mine"), MNIST, [])
    text = as_markdown([Line(SPATIAL, MNIST, [record(0.8, 0.2)]), other], ["One seed."])
    assert "| SpatialVAE | 0.80 (0.81 ± 0.01) | 0.20 (0.28 ± 0.02) |" in text
    assert "| Mine | – | – |" in text
    assert "- One seed." in text
    assert "transformation from z" not in text and "content from z" in text
    # Every table has as many cells in each line as in its heading.
    for block in text.split("\n\n"):
        rows = [row for row in block.splitlines() if row.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def test_what_a_curved_fit_reads_has_columns_that_older_cells_leave_empty():
    old, new = record(0.8, 0.2), record(0.9, 0.1)
    new["evaluation"]["curved_read_out"] = {
        "content": {"from_content": 0.95, "from_transformation": 0.45},
        "transformation": {"from_content": None, "from_transformation": None},
    }
    lines = [Line(SPATIAL, MNIST, [new]), Line(ROWS[1], MNIST, [old])]
    heading, _, first, second = as_markdown(lines, []).split("## mnist\n\n")[1].splitlines()[:4]
    place = [cell.strip() for cell in heading.split("|")].index("content from z, curved ↓")
    assert [row.split("|")[place].strip() for row in (first, second)] == ["0.450", "–"]
    assert "transformation from c, curved" not in heading
    values = [
        row["content_from_transformation_curved_mean"] for row in csv.DictReader(io.StringIO(as_csv(lines)))
    ]
    assert values == ["0.45", ""]


def test_latex_escapes_and_has_the_cells_its_columns_ask_for():
    row = Row("a:b", "50 % & more_of $it$")
    text = as_latex([Line(row, MNIST, [record(0.8, 0.2), record(0.6, 0.2)])])
    assert r"50 \% \& more\_of \$it\$ & $0.70 \pm 0.14$ & -- & $0.20 \pm 0.00$ & -- \\" in text
    assert r"\begin{tabular}{lrrrr}" in text
