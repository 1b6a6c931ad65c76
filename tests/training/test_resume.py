"""A run that is killed in mid-epoch and resumed ends with the bits of the uninterrupted run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file

from dualcontrast import RunFolder
from dualcontrast.cli import main
from toy_images import bars

pytestmark = pytest.mark.slow

OPTIONS = ["--epochs", "2", "--batch-size", "4", "--device", "cpu", "--no-evaluate", "--no-progress"]


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "bars.npy"
    np.save(path, bars(375, (16, 16))[0])
    return path


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "dualcontrast", "train", *arguments, *OPTIONS],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def train(*arguments: str) -> None:
    """Train in this process, which has imported everything already."""
    main(["train", *arguments, *OPTIONS])


@pytest.fixture(scope="module")
def uninterrupted(images, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(str(images), "--output", str(run))
    return run


def wait_for_steps(run: Path, steps: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        metrics = run / "metrics.jsonl"
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        if lines and json.loads(lines[-1])["step"] >= steps:
            return
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.01)
    raise AssertionError("the training made no progress")


def assert_same(run: Path, whole: Path) -> None:
    expected, actual = (load_file(folder / "weights.safetensors") for folder in (whole, run))
    assert expected.keys() == actual.keys()
    for name, values in expected.items():
        assert np.array_equal(values, actual[name]), name
    rows = [
        [json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()] for f in (whole, run)
    ]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    assert [row["terms"] for row in rows[0]] == [row["terms"] for row in rows[1]]


def test_killed_in_mid_epoch_and_resumed(images, uninterrupted, tmp_path):
    run = tmp_path / "killed"
    process = start(str(images), "--output", str(run), "--checkpoint-seconds", "0")
    # An epoch has 75 steps and rows come every 50: step 100 is within the second epoch.
    wait_for_steps(run, 100, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (run / "weights.safetensors").exists()
    # As a user resumes it: in a process that has done nothing else.
    process = start(str(images), "--output", str(run), "--resume")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_same(run, uninterrupted)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_to_stop_and_resumed(images, uninterrupted, tmp_path, number, code):
    run = tmp_path / "stopped"
    process = start(str(images), "--output", str(run))
    wait_for_steps(run, 50, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "--resume" in errors
    train(str(images), "--output", str(run), "--resume")
    assert_same(run, uninterrupted)


def test_killed_before_the_first_checkpoint(images, uninterrupted, tmp_path):
    run = tmp_path / "early"
    process = start(str(images), "--output", str(run))
    wait_for_steps(run, 50, process)
    process.kill()
    process.communicate()
    assert not list((run / "checkpoints").glob("*")) if (run / "checkpoints").exists() else True
    train(str(images), "--output", str(run), "--resume")
    assert_same(run, uninterrupted)


def test_resumed_from_a_version_that_knew_fewer_settings(images, tmp_path):
    """Such a run has recorded them nowhere, neither in its settings nor in its checkpoint."""
    run = RunFolder(tmp_path / "run")
    train(str(images), "--output", str(run.path), "--set", "near_views_count=0")
    fewer = [("recipe", "least_steps"), ("recipe", "adam_beta2"), ("settings", "near_views_count")]
    config = run.config
    for section, name in fewer:
        del config[section][name]
    (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    for section, name in fewer:
        del checkpoint["identity"][section][name]
    torch.save(checkpoint, run.checkpoint)
    expected = (run.path / "weights.safetensors").read_bytes()
    (run.path / "weights.safetensors").unlink()
    train(str(images), "--output", str(run.path), "--resume")
    assert (run.path / "weights.safetensors").read_bytes() == expected
