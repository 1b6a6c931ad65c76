"""Trainings on a GPU: recorded steps do what unrecorded ones do, for every method."""

import logging

import numpy as np
import pytest
import torch

from dualcontrast.data.arrays import ArraySource
from dualcontrast.methods.simclr import SimCLR
from dualcontrast.model import Model
from dualcontrast.training import batches, recording
from dualcontrast.training.loop import Checkpointing, Stopped
from test_every_method import CASES, SHAPES
from toy_images import bar_source

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
every_method = pytest.mark.parametrize(("name", "preset", "dimension"), CASES)
# The gradient of what is decoded before it is resampled: PyTorch has no other way on a GPU.
ADDS_IN_ANY_ORDER = {"vitae"}
# Two shapes of batches, of seven and of six images, each often enough to be recorded.
COUNT, BATCH, EPOCHS = 20, 7, 8


def fitted(name, preset, dimension, checkpointing=None, report=None, **changes) -> Model:
    changes = {"epochs": EPOCHS, "schedule": "one_cycle", "learning_rate": 1e-3} | changes
    device = changes.pop("device", "cuda")
    model = Model(name, preset, device=device, progress=False, batch_size=BATCH, **changes)
    return model.fit(bar_source(COUNT, SHAPES[dimension]), checkpointing=checkpointing, report=report)


def weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: value.cpu() for name, value in model.network.state_dict().items()}


@pytest.fixture
def recordings(monkeypatch) -> list:
    made, record = [], recording.Recorder._record
    monkeypatch.setattr(recording.Recorder, "_record", lambda *args: made.append(record(*args)) or made[-1])
    return made


@every_method
def test_recorded_steps_do_the_same(name, preset, dimension, monkeypatch, recordings):
    recorded = fitted(name, preset, dimension)
    assert len(recordings) == 2
    monkeypatch.setattr(recording, "BEFORE", 10**6)
    plain = fitted(name, preset, dimension)
    assert len(recordings) == 2
    assert_same(name, recorded, plain)


@pytest.mark.parametrize(("preset", "dimension"), [("default", 2), ("subtomogram", 3)])
def test_recorded_views_become_narrow(preset, dimension, monkeypatch, recordings):
    changes = {"near_views_count": 0, "views.narrow_to": 10.0, "views.narrow_after": 0.5}
    recorded = fitted("dualcontrast", preset, dimension, **changes)
    assert len(recordings) == 2
    wide = fitted("dualcontrast", preset, dimension, near_views_count=0)
    monkeypatch.setattr(recording, "BEFORE", 10**6)
    assert_same("dualcontrast", recorded, fitted("dualcontrast", preset, dimension, **changes))
    alike = [one["loss"] == other["loss"] for one, other in zip(recorded.history, wide.history, strict=True)]
    assert alike[0] and not alike[-1]


@every_method
def test_the_same_seed_gives_the_same_weights(name, preset, dimension):
    assert_same(name, *(fitted(name, preset, dimension) for _ in range(2)))


def assert_same(name, first, second):
    if name in ADDS_IN_ANY_ORDER:
        for one, other in zip(first.history, second.history, strict=True):
            assert one["terms"] == pytest.approx(other["terms"], rel=5e-2, abs=5e-2)
        return
    for key, expected in weights(first).items():
        assert torch.equal(weights(second)[key], expected), key
    assert [row["terms"] for row in first.history] == [row["terms"] for row in second.history]


@every_method
def test_losses_are_those_of_the_cpu(name, preset, dimension):
    # Other random numbers, and other roundings: alike on average.
    there, here = (fitted(name, preset, dimension, device=device) for device in ("cuda", "cpu"))
    there, here = (
        model.history[-1]["terms"]["reconstruction" if model.network.generative else "nt_xent"]
        for model in (there, here)
    )
    assert there == pytest.approx(here, rel=0.3)


@pytest.mark.parametrize("end", ["cuda", "cpu"])
def test_resumed_where_it_was_stopped_or_on_a_cpu(tmp_path, end):
    keep = {"identity": {"method": "dualcontrast"}, "every_seconds": 0}
    rows = []

    def stop(row):
        rows.append(row)
        if len(rows) == 5:
            raise Stopped(2, row["step"])

    with pytest.raises(Stopped):
        fitted("dualcontrast", "default", 2, Checkpointing(tmp_path / "last.pt", **keep), stop)
    again = Checkpointing(tmp_path / "last.pt", **keep, resume=True)
    resumed = fitted("dualcontrast", "default", 2, again, device=end)
    whole = fitted("dualcontrast", "default", 2)
    assert len(resumed.history) == EPOCHS - 4
    if end == "cuda":
        for key, expected in weights(whole).items():
            assert torch.equal(weights(resumed)[key], expected), key
    else:
        assert all(torch.isfinite(value).all() for value in weights(resumed).values())


def test_a_run_begun_on_a_cpu_goes_on_on_a_gpu(tmp_path, recordings):
    keep = {"identity": {"method": "dualcontrast"}, "every_seconds": 0}
    with pytest.raises(Stopped):
        fitted(
            "dualcontrast",
            "default",
            2,
            Checkpointing(tmp_path / "last.pt", **keep),
            lambda row: (_ for _ in ()).throw(Stopped(2, 0)) if row["step"] > 6 else None,
            device="cpu",
        )
    again = Checkpointing(tmp_path / "last.pt", **keep, resume=True)
    resumed = fitted("dualcontrast", "default", 2, again)
    assert len(recordings) == 2
    assert all(np.isfinite(row["loss"]) for row in resumed.history)


def test_a_method_that_reads_values_back_is_not_recorded(monkeypatch, recordings, caplog):
    losses = SimCLR.losses

    def reading(self, *arguments):
        terms = losses(self, *arguments)
        assert terms["nt_xent"].item() > 0
        return terms

    plain = fitted("simclr", "default", 2)
    assert len(recordings) == 2
    monkeypatch.setattr(SimCLR, "losses", reading)
    with caplog.at_level(logging.INFO, logger="dualcontrast"):
        model = fitted("simclr", "default", 2)
    assert len(recordings) == 2
    assert "test_cuda.py" in caplog.text and "reads a value back" in caplog.text
    for key, expected in weights(plain).items():
        assert torch.equal(weights(model)[key], expected), key


def test_half_precision_is_recorded_too(recordings):
    exact = fitted("dualcontrast", "default", 2)
    half = fitted("dualcontrast", "default", 2, precision="bf16-mixed")
    assert len(recordings) == 4
    assert half.history[-1]["loss"] == pytest.approx(exact.history[-1]["loss"], rel=0.1)
    assert any(not torch.equal(weights(half)[key], value) for key, value in weights(exact).items())


def test_codes_are_those_of_the_cpu(tmp_path):
    model = fitted("dualcontrast", "default", 2)
    source = bar_source(COUNT, SHAPES[2])
    model.save(tmp_path / "model.safetensors")
    here = Model.load(tmp_path / "model.safetensors", device="cpu", progress=False).encode(source)
    there = Model.load(tmp_path / "model.safetensors", device="cuda", progress=False).encode(source)
    np.testing.assert_allclose(there.content, here.content, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(there.transformation, here.transformation, rtol=1e-2, atol=1e-2)


def test_images_stay_on_the_gpu_up_to_a_share_of_its_memory(monkeypatch):
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    kept = fitted("dualcontrast", "default", 2)
    reads = count_reads(monkeypatch)
    fitted("dualcontrast", "default", 2)
    once = len(reads)
    monkeypatch.setattr(batches, "RESIDENT_SHARE", 0.0)
    reads.clear()
    streamed = fitted("dualcontrast", "default", 2)
    assert len(reads) > EPOCHS > once
    for key, expected in weights(kept).items():
        torch.testing.assert_close(weights(streamed)[key], expected, rtol=1e-3, atol=1e-3)


def count_reads(monkeypatch) -> list:
    reads, read = [], ArraySource.read
    monkeypatch.setattr(ArraySource, "read", lambda self, rows: reads.append(rows) or read(self, rows))
    return reads


def test_memory_that_a_gpu_does_not_have_is_said():
    from dualcontrast.memory import NotEnoughMemoryError

    source = bar_source(64, (64, 64, 64))
    torch.cuda.set_per_process_memory_fraction(0.004)
    try:
        with pytest.raises(NotEnoughMemoryError, match="--batch-size 32 needs about half"):
            Model(preset="paper", device="cuda", progress=False, batch_size=64, epochs=1).fit(source)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
