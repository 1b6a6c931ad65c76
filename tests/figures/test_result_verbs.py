"""The verbs evaluate, transfer and report on a real run, trained for a moment."""

import json
import subprocess
import sys

import pytest
from cyclopts import App

from dualcontrast import pipeline
from dualcontrast.cli import evaluate, report, transfer
from dualcontrast.errors import DataError, RunError, SettingError

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("verbs") / "run"
    pipeline.train(
        "digits",
        path,
        changes={"epochs": 1},
        options=pipeline.DataOptions(limit=300),
        evaluate=False,
        progress=False,
        device="cpu",
    )
    folder = pipeline.RunFolder.open(path)
    codes = folder.load_model("cpu", progress=False).encode(folder.open_source())
    codes.save(path / "codes.npz")
    return path


def test_evaluate_measures_once_and_prints_again(run, capsys, tmp_path):
    evaluate.evaluate(run)
    printed = capsys.readouterr().out
    assert "Content labels read from c" in printed
    assert "What to do next" in printed
    written = (run / "evaluation.json").stat().st_mtime_ns
    evaluate.evaluate(run)
    assert "Content labels read from c" in capsys.readouterr().out
    assert (run / "evaluation.json").stat().st_mtime_ns == written

    labels = tmp_path / "labels.csv"
    labels.write_text("id,content:kind\n")
    with pytest.raises(RunError, match="--overwrite"):
        evaluate.evaluate(run, labels=labels)
    with pytest.raises(DataError, match="labels"):
        evaluate.evaluate(run, labels=labels, overwrite=True)
    assert (run / "evaluation.json").stat().st_mtime_ns == written


def test_evaluate_takes_labels(run, capsys, tmp_path):
    folder = pipeline.RunFolder.open(run)
    labels = tmp_path / "labels.csv"
    rows = [f"{particle},{index % 2}" for index, particle in enumerate(folder.open_source().ids)]
    labels.write_text("\n".join(["id,content:coin", *rows]))
    evaluate.evaluate(run, labels=labels, overwrite=True)
    assert "coin" in [factor["name"] for factor in folder.evaluation["d_score"]["content"]["factors"]]


def test_json_is_nothing_but_json(run, capsys):
    app = App(result_action="return_value")
    app.command(evaluate.evaluate)
    app(["evaluate", str(run), "--json"])
    assert "d_score" in json.loads(capsys.readouterr().out)


def test_transfer_writes_a_grid(run, tmp_path, capsys):
    output = tmp_path / "grid.png"
    transfer.transfer(run, output=output, count=3)
    assert output.read_bytes().startswith(PNG)
    assert capsys.readouterr().out == f"{output}\n"
    with pytest.raises(RunError, match="--overwrite"):
        transfer.transfer(run, output=output, count=3)
    with pytest.raises(SettingError, match="exclude"):
        transfer.transfer(run, output=output, ids="a,b", count=3, overwrite=True)
    with pytest.raises(SettingError, match="png"):
        transfer.transfer(run, output=tmp_path / "grid.jpg")


def test_report_writes_a_page(run, capsys):
    report.report(run)
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert (run / "report.html").read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(RunError, match="--overwrite"):
        report.report(run)


def test_a_folder_that_is_no_run(tmp_path):
    for verb in (evaluate.evaluate, report.report):
        with pytest.raises(RunError, match="not a run folder"):
            verb(tmp_path)
    with pytest.raises(RunError, match="not a run folder"):
        transfer.transfer(tmp_path, output=tmp_path / "grid.png")


def test_help_imports_nothing_heavy():
    code = (
        "import sys, dualcontrast.cli.evaluate, dualcontrast.cli.transfer, dualcontrast.cli.report, "
        "dualcontrast.cli.results; "
        "print([name for name in ('torch', 'sklearn', 'matplotlib', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
