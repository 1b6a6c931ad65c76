"""Pieces of the training loop: schedule, batches, streams, checkpoints, and a loss that is not finite."""

import math

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from dualcontrast.errors import DataError, RunError
from dualcontrast.methods.base import Batch, Method, Recipe
from dualcontrast.model import Model
from dualcontrast.prepare import choose_preparation
from dualcontrast.random_streams import numpy_stream, stream_seed, torch_stream
from dualcontrast.training import batches as batches_module
from dualcontrast.training.batches import Batches
from dualcontrast.training.checkpoint import load_checkpoint, save_checkpoint
from dualcontrast.training.loop import Checkpointing
from dualcontrast.training.schedule import learning_rate
from dualcontrast.training.step import Steps
from toy_images import bar_source


def test_step_schedule():
    recipe = Recipe(epochs=100, learning_rate=1e-4, schedule="step", decay=0.1, decay_epochs=50)
    assert learning_rate(recipe, 0, 10) == 1e-4
    assert learning_rate(recipe, 499, 10) == 1e-4
    assert learning_rate(recipe, 500, 10) == pytest.approx(1e-5)


def test_one_cycle_schedule_rises_and_falls_to_zero():
    recipe = Recipe(epochs=10, learning_rate=1e-3, schedule="one_cycle")
    rates = [learning_rate(recipe, step, 10) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4) and max(rates) == pytest.approx(1e-3)
    assert np.argmax(rates) in (9, 10)
    # Half-way down the cosine, at step 10 + 45, the rate is half.
    assert rates[55] == pytest.approx(0.5e-3)
    assert rates[-1] == pytest.approx(1e-3 * 0.5 * (1 + math.cos(math.pi * 89 / 90)))


class _Slope(Method):
    """One weight, whose gradient is the first pixel of the batch."""

    name = "slope"

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.place = nn.Parameter(torch.zeros(()))

    def encode(self, images):
        raise NotImplementedError

    def weights(self, progress):
        return {"slope": 1.0}

    def losses(self, batch, generator, phase):
        return {"slope": batch.images.flatten()[0] * self.place}


@pytest.mark.parametrize("beta2", [0.999, 0.95, 0.0])
def test_adam_is_that_of_its_paper(beta2):
    recipe = Recipe(epochs=3, learning_rate=0.1, adam_beta2=beta2)
    slope = _Slope()
    steps = Steps(slope, recipe, Fabric(accelerator="cpu", devices=1), 0, 1)
    first = second = place = 0.0
    for step, gradient in enumerate([1.0, 3.0, -2.0]):
        steps.take(Batch(torch.full((1, 1, 1, 1), gradient)), step)
        # Kingma & Ba 2015, algorithm 1.
        first = 0.9 * first + 0.1 * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        corrected = first / (1 - 0.9 ** (step + 1)), second / (1 - beta2 ** (step + 1))
        place -= 0.1 * corrected[0] / (math.sqrt(corrected[1]) + 1e-8)
        assert slope.place.item() == pytest.approx(place, rel=1e-5)


def test_a_batch_tells_how_far_the_training_has_come():
    told = []

    class Told(_Slope):
        def losses(self, batch, generator, phase):
            told.append(batch.progress)
            return super().losses(batch, generator, phase)

    steps = Steps(Told(), Recipe(epochs=2), Fabric(accelerator="cpu", devices=1), 0, 5)
    # Also where a resumed run begins in the middle.
    for step in (0, 3, 9):
        steps.take(Batch(torch.zeros(1, 1, 1, 1)), step)
    assert [progress.item() for progress in told] == pytest.approx([0.0, 0.3, 0.9])


def make_batches(count: int, batch_size: int, seed: int = 0) -> Batches:
    source = bar_source(count)
    return Batches(
        source, choose_preparation(source, "auto"), np.arange(count), batch_size, seed, torch.device("cpu")
    )


def test_every_epoch_visits_each_image_once_in_another_order():
    batches = make_batches(23, 5)
    assert batches.per_epoch == 5
    epochs = [np.concatenate([batches.places(step) for step in range(e * 5, e * 5 + 5)]) for e in (0, 1)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(23))
    assert not np.array_equal(*epochs)
    sizes = {len(batches.places(step)) for step in range(5)}
    assert sizes == {4, 5}


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"), [(5, 2, {2, 3}), (3, 2, {3}), (6, 2, {2}), (7, 4, {3, 4}), (2, 2, {2})]
)
def test_no_batch_is_a_single_image(count, batch_size, sizes):
    batches = make_batches(count, batch_size)
    assert {len(batches.places(step)) for step in range(batches.per_epoch)} == sizes
    assert batches.per_epoch == Recipe(batch_size=batch_size).steps_per_epoch(count)


@pytest.mark.parametrize("method", ["dualcontrast", "vitae", "simclr"])
@pytest.mark.parametrize(("count", "batch_size"), [(7, 4), (5, 2)])
def test_few_images_in_small_batches(method, count, batch_size):
    """Batches of one epoch differ in size, and have the same terms."""
    images = bar_source(count).read(np.arange(count))
    model = Model(method, epochs=1, batch_size=batch_size, device="cpu", progress=False)
    codes = model.fit(images).encode(images)
    assert np.isfinite(codes.content).all() and len(codes) == count


def test_streamed_batches_equal_resident_ones(monkeypatch):
    resident = list(make_batches(23, 5).from_step(3, 12))
    monkeypatch.setattr(batches_module, "RESIDENT_BYTES", 0)
    streamed = list(make_batches(23, 5).from_step(3, 12))
    assert len(resident) == len(streamed) == 9
    assert all(torch.equal(a.images, b.images) for a, b in zip(resident, streamed, strict=True))


def test_fewer_images_than_a_batch():
    with pytest.raises(DataError, match="fewer than one batch of 50"):
        make_batches(23, 50)


def test_streams_differ_by_seed_name_and_counter_and_repeat():
    seeds = {
        stream_seed(*key) for key in [(0, "a", 1), (0, "a", 2), (0, "b", 1), (1, "a", 1), (0, "a", "11")]
    }
    assert len(seeds) == 5
    assert torch.equal(*(torch.rand(5, generator=torch_stream(3, "x", 7)) for _ in range(2)))
    assert np.array_equal(*(numpy_stream(3, "x", 7).random(5) for _ in range(2)))


def test_a_loss_that_is_not_finite_ends_the_training_and_keeps_the_last_checkpoint(source, tmp_path):
    model = Model(
        epochs=30, batch_size=20, device="cpu", progress=False, learning_rate=1e9, schedule="constant"
    )
    keep = Checkpointing(tmp_path / "last.pt", model.describe(), every_seconds=0)
    with pytest.raises(RunError, match=r"no longer a finite number"):
        model.fit(source, checkpointing=keep)
    if keep.path.exists():
        _, states = load_checkpoint(keep.path, model.describe())
        assert all(torch.isfinite(v).all() for v in states["method"].values() if v.is_floating_point())


def test_checkpoint_of_another_method_or_shape_is_refused(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"method": "dualcontrast", "image_shape": [1, 28, 28]}, 3, {"method": {}})
    assert load_checkpoint(path, {"method": "dualcontrast"})[0] == 3
    with pytest.raises(RunError, match="method = 'dualcontrast', but this run has 'harmony'"):
        load_checkpoint(path, {"method": "harmony"})
    with pytest.raises(RunError, match="image_shape"):
        load_checkpoint(path, {"image_shape": [1, 32, 32]})


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_damaged_checkpoint(tmp_path, content):
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"last\.pt: not a readable checkpoint"):
        load_checkpoint(path, {})


def test_checkpoints_run_no_code(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    path = tmp_path / "last.pt"
    torch.save({"identity": {}, "step": 0, "states": Malicious()}, path)
    with pytest.raises(RunError):
        load_checkpoint(path, {})
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("sums", [{"reconstruction": torch.zeros(2)}, {"reconstruction": 3}, [1, 2]])
def test_a_checkpoint_whose_sums_are_none_is_refused(source, tmp_path, sums):
    def model() -> Model:
        return Model(epochs=2, batch_size=20, device="cpu", progress=False)

    path, identity = tmp_path / "last.pt", {"method": "dualcontrast"}

    model().fit(source, checkpointing=Checkpointing(path, identity))
    step, states = load_checkpoint(path, identity)
    save_checkpoint(path, identity, step, states | {"sums": sums, "steps_seen": 1})
    with pytest.raises(RunError, match="does not fit the networks of this run"):
        model().fit(source, checkpointing=Checkpointing(path, identity, resume=True))
