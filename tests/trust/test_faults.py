"""Faults in a training: files that change, disks that fill up, too little memory, numbers that break."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from dualcontrast import RunFolder, packing, pipeline
from dualcontrast.cli import main
from dualcontrast.data.arrays import open_npy
from dualcontrast.data.open import open_source
from dualcontrast.errors import DataError, UserError
from dualcontrast.memory import NotEnoughMemoryError
from dualcontrast.methods.simclr import SimCLR
from dualcontrast.model import Model
from dualcontrast.training import batches
from dualcontrast.training.checkpoint import load_checkpoint
from dualcontrast.training.loop import Checkpointing, NotFiniteError, Stopped
from toy_images import bars

# 48 training images: 3 steps an epoch, 9 in all.
CHANGES = {"epochs": 3, "batch_size": 16, "content_dim": 3}
STEPS = 9


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return bars(60, (16, 16))[0]


@pytest.fixture
def images(pixels, tmp_path) -> Path:
    path = tmp_path / "bars.npy"
    np.save(path, pixels)
    return path


def train(images: Path, run: Path, **options) -> RunFolder:
    options = {"checkpoint_seconds": 0, "evaluate": False, "progress": False, "device": "cpu"} | options
    return pipeline.train(images, run, method="simclr", changes=CHANGES, **options)


def weights(run: RunFolder) -> dict[str, np.ndarray]:
    return load_file(run.path / "weights.safetensors")


def assert_same(run: RunFolder, whole: RunFolder) -> None:
    for name, values in weights(whole).items():
        assert np.array_equal(values, weights(run)[name]), name
    assert [row["terms"] for row in run.metrics] == [row["terms"] for row in whole.metrics]
    assert not [path for path in run.path.rglob("*") if path.name.startswith(".")]


def at_step(monkeypatch, wanted: int, fault) -> None:
    """Let something happen when the networks are given the images of a step, counted from 0 in every call."""
    losses, calls = SimCLR.losses, iter(range(10**6))

    def faulty(self, *arguments):
        terms = losses(self, *arguments)
        return (fault(self, terms) or terms) if next(calls) == wanted else terms

    monkeypatch.setattr(SimCLR, "losses", faulty)


def refused(capsys, *arguments: object) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    assert end.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("error: ") and sum(line.startswith("error: ") for line in said) == 1, said
    return said[-1]


def folder_of_pictures(pixels: np.ndarray, folder: Path) -> Path:
    folder.mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray((image[0] * 255).astype(np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def pack_of_files(pixels: np.ndarray, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), pixels)
    packing.pack(open_npy(path.with_suffix(".npy")), path, shard=6)
    return path


@pytest.mark.parametrize("kind", ["cut short", "gone", "another", "a picture gone", "a shard gone"])
def test_images_that_change_in_mid_epoch(pixels, images, tmp_path, monkeypatch, kind):
    """The run ends with one line and its last checkpoint; with the images as they were, it goes on."""
    # As images that do not fit into memory: read again in every epoch.
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    away = tmp_path / "away"
    if kind == "a picture gone":
        images = folder_of_pictures(pixels, tmp_path / "pictures")
    elif kind == "a shard gone":
        images = pack_of_files(pixels, tmp_path / "pack.zarr")
    whole = train(images, tmp_path / "whole")
    victim = {"a picture gone": images / "07.png", "a shard gone": images / "images/c/3"}.get(kind, images)

    def spoil(*_ignored) -> None:
        if kind == "cut short":
            os.truncate(victim, victim.stat().st_size - 16 * 16 * 4)
        else:
            victim.rename(away)
            if kind == "another":
                np.save(victim, pixels[::-1])

    with monkeypatch.context() as patched:
        at_step(patched, 1, spoil)
        with pytest.raises(DataError, match=r"gone|has changed|no such file|No such file"):
            train(images, tmp_path / "run")
    assert not (tmp_path / "run/weights.safetensors").exists()
    if kind == "cut short":
        np.save(images, pixels)
    else:
        away.replace(victim)
    assert_same(train(images, tmp_path / "run", resume=True), whole)


def test_the_clock_may_jump(images, tmp_path, monkeypatch):
    """Neither the number of checkpoints nor the speed that is logged follows the calendar."""
    kept = []
    monkeypatch.setattr("dualcontrast.training.loop.save_checkpoint", lambda path, *_: kept.append(path))
    jumps = iter(range(0, 10**9, 10**6))
    monkeypatch.setattr(time, "time", lambda: -float(next(jumps)))
    run = train(images, tmp_path / "run", checkpoint_seconds=3600)
    assert len(kept) == 1
    assert all(row["images_per_second"] > 0 for row in run.metrics)


@pytest.mark.parametrize("step", [4, STEPS - 1])
def test_a_scheduler_ends_it(images, tmp_path, monkeypatch, capsys, step):
    """SIGTERM in any step, the last one too: a checkpoint, exit code 143, and nothing is lost."""
    whole = train(images, tmp_path / "whole")
    with monkeypatch.context() as patched:
        at_step(patched, step, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped) as stopped:
            train(images, tmp_path / "run", checkpoint_seconds=3600)
    assert stopped.value.step == step + 1 and stopped.value.signal_number == signal.SIGTERM
    assert load_checkpoint(tmp_path / "run/checkpoints/last.pt", {})[0] == step + 1
    assert_same(train(images, tmp_path / "run", resume=True), whole)
    with monkeypatch.context() as patched:
        at_step(patched, step, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        command = ["train", str(images), "--output", str(tmp_path / "cli"), "--method", "simclr"]
        options = ["--epochs", "3", "--batch-size", "16", "--device", "cpu", "--no-progress"]
        with pytest.raises(SystemExit) as end:
            main([*command, *options])
    assert end.value.code == 143
    assert "--resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
        MemoryError(),
    ],
)
def test_memory_that_is_not_enough(images, tmp_path, monkeypatch, capsys, error):
    whole = train(images, tmp_path / "whole")

    def fail(*_ignored):
        raise error

    command = ["train", images, "--output", tmp_path / "run", "--method", "simclr", "--epochs", 3]
    command += ["--batch-size", 16, "--content-dim", 3, "--device", "cpu", "--no-evaluate", "--no-progress"]
    command += ["--checkpoint-seconds", 0]
    with monkeypatch.context() as patched:
        at_step(patched, 4, fail)
        said = refused(capsys, *command)
    assert "a step of 16 images of 16×16 on cpu; --batch-size 8 needs about half" in said
    assert load_checkpoint(tmp_path / "run/checkpoints/last.pt", {})[0] == 3
    main([str(argument) for argument in [*command, "--resume"]])
    assert_same(RunFolder(tmp_path / "run"), whole)
    monkeypatch.setattr(SimCLR, "encode", fail)
    with pytest.raises(NotEnoughMemoryError, match="--device cpu"):
        pipeline.encode(tmp_path / "run", images, tmp_path / "codes.npz", device="cpu", progress=False)
    said = refused(capsys, "evaluate", tmp_path / "run", "--device", "cpu")
    assert "not enough memory" in said


def test_other_errors_are_not_taken_for_a_lack_of_memory(images, tmp_path, monkeypatch):
    def fail(*_ignored):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    at_step(monkeypatch, 1, fail)
    command = ["train", str(images), "--output", str(tmp_path / "run"), "--method", "simclr"]
    with pytest.raises(RuntimeError, match="mat1"):
        main([*command, "--batch-size", "16", "--device", "cpu", "--no-progress"])


def spoil_loss(_method, terms):
    return {name: value * torch.nan for name, value in terms.items()}


def spoil_weight(method, _terms):
    """What a gradient that overflows does: this step's loss is finite, the weights after it are not."""
    weight = next(iter(method.parameters()))
    weight.register_hook(lambda gradient: gradient * torch.inf)


@pytest.mark.parametrize("spoil", [spoil_loss, spoil_weight])
@pytest.mark.parametrize("step", [4, STEPS - 1])
def test_a_number_that_breaks(images, tmp_path, monkeypatch, capsys, spoil, step):
    """The run ends with exit code 2, the last good checkpoint, and no weights; --resume says the same."""
    command = ["train", images, "--output", tmp_path / "run", "--method", "simclr", "--epochs", 3]
    command += ["--batch-size", 16, "--device", "cpu", "--checkpoint-seconds", 0, "--no-progress"]
    with monkeypatch.context() as patched:
        at_step(patched, step, spoil)
        said = refused(capsys, *command)
    last_row = 3 * (step // 3)
    assert f"training stopped at step {last_row + 3}:" in said and "no longer a finite number" in said
    assert "holds the last good state" in said and "--learning-rate" in said and "--overwrite" in said
    kept, states = load_checkpoint(tmp_path / "run/checkpoints/last.pt", {})
    assert kept == last_row
    assert all(torch.isfinite(value).all() for value in states["method"].values())
    assert not (tmp_path / "run/weights.safetensors").exists()
    with monkeypatch.context() as patched:
        at_step(patched, step - last_row, spoil)
        assert refused(capsys, *command, "--resume") == said
    assert [row["step"] for row in RunFolder(tmp_path / "run").metrics] == list(range(3, last_row + 3, 3))


def test_spoiled_weights_are_not_kept_when_it_is_stopped(images, tmp_path, monkeypatch):
    def spoil_and_stop(method, terms):
        spoil_weight(method, terms)
        os.kill(os.getpid(), signal.SIGTERM)

    at_step(monkeypatch, 4, spoil_and_stop)
    with pytest.raises(NotFiniteError, match="a weight is no longer"):
        train(images, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run/checkpoints/last.pt", {})[0] == 3


def test_no_checkpoint_is_promised_where_there_is_none(images, tmp_path, monkeypatch):
    at_step(monkeypatch, 0, spoil_loss)
    model = Model("simclr", device="cpu", progress=False, **CHANGES)
    keep = Checkpointing(tmp_path / "last.pt", model.describe())
    with pytest.raises(NotFiniteError) as failed:
        model.fit(open_source(images), checkpointing=keep)
    assert "last good state" not in str(failed.value)


def test_a_disk_that_is_full_at_every_write(images, tmp_path, monkeypatch):
    """Each file in turn finds no space: one line, nothing half-written, and --resume ends well."""
    whole = train(images, tmp_path / "whole")
    pipeline.encode_run(whole, device="cpu", progress=False)
    sync = os.fsync
    for count in range(1, 100):
        run = tmp_path / f"{count}"
        calls = iter(range(1, 100))

        def full(handle, calls=calls, count=count):
            if next(calls) == count:
                raise OSError(28, "No space left on device")
            sync(handle)

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            try:
                pipeline.encode_run(train(images, run), device="cpu", progress=False)
                break
            except UserError as error:
                assert "could not be written (No space left on device)" in str(error)
        left = [path.name for path in run.rglob(".*")]
        assert left in ([], [".unfinished"])
        pipeline.encode_run(train(images, run, resume=True), device="cpu", progress=False)
        assert_same(RunFolder(run), whole)
        assert (run / "codes.npz").read_bytes() == (whole.path / "codes.npz").read_bytes()
    assert count == 14


def test_a_disk_that_is_full_when_metrics_are_written(images, tmp_path, monkeypatch):
    whole = train(images, tmp_path / "whole")
    opened = Path.open

    def full(self, mode="r", *arguments, **options):
        handle = opened(self, mode, *arguments, **options)
        if mode == "a":
            handle.write('{"step": 6, "cut')
            handle.close()
            raise OSError(28, "No space left on device")
        return handle

    with monkeypatch.context() as patched:
        at_step(patched, 5, lambda *_: patched.setattr(Path, "open", full))
        with pytest.raises(UserError, match=r"metrics\.jsonl: could not be written \(No space"):
            train(images, tmp_path / "run")
    # What was cut short is no row.
    assert [row["step"] for row in RunFolder(tmp_path / "run").metrics] == [3]
    assert_same(train(images, tmp_path / "run", resume=True), whole)
    assert json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])["step"] == STEPS
