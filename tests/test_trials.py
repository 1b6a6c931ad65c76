"""Several trainings on the same images."""

import json
import shutil

import numpy as np
import pytest

from blobs import blob_source, make_run
from dualcontrast import RunFolder
from dualcontrast.cli import main
from dualcontrast.errors import RunError, SettingError
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.training.loop import NotFiniteError
from dualcontrast.trials import _check_alike, plan, search_of, train_several
from toy_images import bars

SHORT = {"epochs": 1, "batch_size": 32, "width": 1}


@pytest.fixture(scope="module", autouse=True)
def without_figures():
    # The report of every run has some, which take most of the time and are tested elsewhere.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dualcontrast.figures.report.make_figures", lambda *arguments, **options: [])
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "bars.npz"
    pixels, number, _ = bars(160, (16, 16))
    np.savez(path, **{"images": pixels, "content:bars": number})
    return path


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    output = tmp_path_factory.mktemp("several") / "runs"
    return output, train_several(
        images, output, restarts=2, seed=4, changes=SHORT, device="cpu", progress=False
    )


# ---- which


def test_every_combination_with_every_seed():
    trials = plan(2, 7, {"weights.independence": [1, 4], "exchange_share": [0.5]})
    assert [trial.folder for trial in trials] == [
        f"weights.independence-{value}_exchange_share-0.5_seed-{seed}" for value in (1, 4) for seed in (7, 8)
    ]
    assert trials[2].changes == {"weights.independence": 4, "exchange_share": 0.5} and trials[3].seed == 8


@pytest.mark.parametrize(
    ("restarts", "values", "message"),
    [
        (0, {}, "--restarts 0"),
        (1, {}, "only one training"),
        (1, {"a": [1]}, "only one training"),
        (2, {"a": [1, 1]}, "--try a"),
        (2, {"a": []}, "--try a"),
        (11, {"a": list(range(10))}, "110 trainings"),
        (1, {"a": ["x/y", "x y"]}, "same name of a folder"),
        (1, {"seed": [1, 2]}, "--restarts N"),
        (1, {"method": ["harmony", "simclr"]}, "benchmark table1 --methods"),
    ],
)
def test_plans_that_cannot_be(restarts, values, message):
    with pytest.raises(SettingError, match=message):
        plan(restarts, 0, values)


def test_what_is_searched_are_settings_of_the_method():
    trials = plan(1, 0, search_of(None))
    assert len(trials) >= 4
    with pytest.raises(SettingError, match="harmony names no settings"):
        search_of("harmony")


# ---- training


def test_each_training_is_a_run_and_the_best_is_named(trained):
    output, found = trained
    assert not found.failed
    scores = [ranked.score.value for ranked in found.ranked]
    assert scores == sorted(scores, reverse=True)
    assert sorted(ranked.path.name for ranked in found.ranked) == ["seed-4", "seed-5"]
    assert sorted(ranked.seed for ranked in found.ranked) == [4, 5]
    for ranked in found.ranked:
        assert (ranked.path / "report.html").exists()
        assert RunFolder.open(ranked.path).config["recipe"]["epochs"] == 1
    record = json.loads((output / "selection.json").read_text())
    assert record["best"] == found.ranked[0].path.name
    assert [row["score"] for row in record["runs"]] == scores
    with pytest.raises(RunError, match=f"holds several runs, .*the best is .*{record['best']}"):
        RunFolder.open(output)


def test_resumed_it_keeps_what_is_finished_and_trains_the_rest(trained, images):
    output, found = trained
    before = {r.path: (r.path / "weights.safetensors").stat().st_mtime_ns for r in found.ranked}
    again = train_several(
        images, output, restarts=3, seed=4, changes=SHORT, device="cpu", progress=False, resume=True
    )
    assert {ranked.path.name for ranked in again.ranked} == {"seed-4", "seed-5", "seed-6"}
    for path, when in before.items():
        assert (path / "weights.safetensors").stat().st_mtime_ns == when


def test_runs_that_differ_in_more_than_is_tried_are_not_ranked(trained, images, tmp_path):
    """As when a setting of the first call is left out in the second, which resumes and adds a seed."""
    output, _ = trained
    for seed in (4, 5):
        shutil.copytree(output / f"seed-{seed}", tmp_path / f"seed-{seed}")
    changes = {name: value for name, value in SHORT.items() if name != "width"}
    with pytest.raises(RunError, match=r"seed-6: has width 2, .*cannot be ranked together"):
        train_several(
            images,
            tmp_path,
            restarts=3,
            seed=4,
            changes=changes,
            resume=True,
            device="cpu",
            progress=False,
        )
    first, other = (RunFolder.open(tmp_path / f"seed-{seed}") for seed in (4, 5))
    _check_alike(first, other, ())
    config = (other.path / "config.yaml").read_text()
    for before, after, name in (
        ("limit: null", "limit: 64", "data.limit"),
        ("normalisation: unit", "normalisation: standardize", "normalisation"),
    ):
        assert config.count(before) == 1
        (other.path / "config.yaml").write_text(config.replace(before, after))
        with pytest.raises(RunError, match=rf"seed-5: has {name} "):
            _check_alike(first, RunFolder.open(other.path), ())


def test_what_is_tried_may_differ_and_epochs_with_the_batches(images, tmp_path):
    found = train_several(
        images,
        tmp_path,
        values={"batch_size": [32, 64]},
        changes=SHORT | {"least_steps": 8},
        device="cpu",
        progress=False,
    )
    epochs = {RunFolder.open(ranked.path).config["recipe"]["epochs"] for ranked in found.ranked}
    assert epochs == {2, 4}


def test_a_value_that_cannot_be_is_found_before_anything_is_trained(images, tmp_path):
    for values in ({"exchange_share": [0.5, 1.5]}, {"exchange_shore": [0.5, 1]}):
        with pytest.raises(SettingError, match="exchange_share"):
            train_several(images, tmp_path / "runs", values=values, changes=SHORT, device="cpu")
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 2, "device": "cpu"}, "on one device"),
        ({"evaluate": False}, "no-evaluate"),
    ],
)
def test_what_several_trainings_cannot_do(images, tmp_path, options, message):
    with pytest.raises(SettingError, match=message):
        train_several(images, tmp_path / "runs", restarts=2, **options)


def test_several_processes_of_torchrun_are_several_devices(images, tmp_path, monkeypatch):
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("LOCAL_WORLD_SIZE", "2"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match="on one device"):
        train_several(images, tmp_path / "runs", restarts=2, device="cpu")


def test_it_does_not_train_into_a_run(images, trained):
    output, _ = trained
    with pytest.raises(RunError, match="holds a run"):
        train_several(images, output / "seed-4", restarts=2)


def test_a_training_that_fails_does_not_stop_the_others(images, tmp_path, monkeypatch):
    made = {}

    def train(data, output, *, seed, **_):
        if seed == 1:
            raise NotFiniteError("the loss is nan")
        made[seed] = make_run(output, source=blob_source(60))
        evaluate_run(made[seed])
        return made[seed]

    monkeypatch.setattr("dualcontrast.trials.train", train)
    found = train_several(images, tmp_path / "runs", restarts=3, changes=SHORT)
    assert {ranked.path.name for ranked in found.ranked} == {"seed-0", "seed-2"}
    assert found.failed == {"seed-1": "the loss is nan"}
    with pytest.raises(RunError, match=r"no training came to its end.*loss is nan"):
        train_several(images, tmp_path / "others", seed=1, values={"epochs": [1, 2]})


def test_trained_from_the_command_line(images, tmp_path, capsys):
    output = tmp_path / "runs"
    short = ["--epochs=1", "--batch-size=32", "--set=width=1", "--device=cpu", "--no-progress"]
    main(["train", str(images), f"--output={output}", "--try", "weights.independence=1,2", *short])
    printed = capsys.readouterr()
    assert "training 2 of 2" in printed.err
    best = json.loads((output / "selection.json").read_text())["best"]
    assert f"The best: {output / best}" in printed.out.replace("\n", "")
    values = [
        RunFolder.open(output / f"weights.independence-{value}_seed-0").config["settings"]["weights"]
        for value in (1, 2)
    ]
    assert [weights["independence"] for weights in values] == [1, 2]


@pytest.mark.parametrize("text", ["independence", "=1,2", "weights.independence=1,", "x=[1"])
def test_values_that_cannot_be_read(images, tmp_path, capsys, text):
    with pytest.raises(SystemExit) as stop:
        main(["train", str(images), f"--output={tmp_path / 'runs'}", "--try", text])
    assert stop.value.code == 2
    assert text.partition("=")[0] in capsys.readouterr().err
