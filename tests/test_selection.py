"""Ranking runs by the score that needs no labels."""

import json

import pytest
import yaml

from blobs import blob_source, make_run
from dualcontrast.cli import main
from dualcontrast.errors import RunError, SettingError
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.selection import select


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs on the same images, of which the second has a dead code."""
    folder = tmp_path_factory.mktemp("runs")
    found = []
    for name in ("alive", "dead"):
        run = make_run(folder / name, source=blob_source(60))
        evaluation = evaluate_run(run)
        if name == "dead":
            evaluation["diagnostics"]["collapse"]["transformation"]["collapsed"] = True
            (run.path / "evaluation.json").write_text(json.dumps(evaluation))
        found.append(run)
    return found


def test_the_living_come_first(runs):
    alive, dead = select([runs[1].path, runs[0]])
    assert alive.path == runs[0].path and dead.path == runs[1].path
    assert dead.score.value == 0 < alive.score.value
    assert "collapsed" in dead.score.why


def test_runs_that_cannot_be_compared(runs, tmp_path):
    other = make_run(tmp_path / "other", source=blob_source(60))
    evaluate_run(other)
    config = yaml.safe_load((other.path / "config.yaml").read_text())
    config["data"]["location"] = "elsewhere"
    (other.path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(RunError, match="other images"):
        select([runs[0], other])
    with pytest.raises(SettingError, match="named twice"):
        select([runs[0], runs[0].path])
    with pytest.raises(SettingError, match="no runs"):
        select([])
    with pytest.raises(RunError, match=r"evaluation\.json: not there yet"):
        select([make_run(tmp_path / "run", source=blob_source(60))])


def test_from_the_command_line(runs, capsys):
    main(["select", *(str(run.path) for run in runs), "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["run"] for row in rows] == [str(run.path) for run in runs]
    main(["select", *(str(run.path) for run in runs)])
    printed = capsys.readouterr().out.replace("\n", "")
    assert f"The best: {runs[0].path}" in printed
