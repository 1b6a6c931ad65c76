"""Training from blocks on disk: every image once an epoch, every block read once, pauses change nothing."""

import itertools

import numpy as np
import pytest
import torch

from dualcontrast import Model, packing, ranks
from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.open import open_source
from dualcontrast.spread import Spread
from dualcontrast.training import batches
from dualcontrast.training.batches import Batches
from dualcontrast.training.block_shuffle import BlockShuffle
from dualcontrast.training.interruption import StopRequest
from dualcontrast.training.loop import Checkpointing, Stopped
from toy_images import bars

COUNT, BLOCK = 203, 10


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A pack in blocks of 10 images; windows are of at least 40, and nothing stays in memory."""
    monkeypatch.setattr(packing, "BLOCK_BYTES", 4 * 16 * 16 * BLOCK)
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(batches, "WINDOW_BYTES", 4 * 16 * 16 * 40)
    images = bars(COUNT, (16, 16))[0]
    # The first pixel says which image it is.
    images[:, 0, 0, 0] = np.arange(COUNT) / COUNT
    packing.pack(ArraySource(images), tmp_path / "p.zarr", shard=50)
    return open_source(tmp_path / "p.zarr")


def make(source, rows=None, seed=0):
    rows = np.arange(len(source)) if rows is None else rows
    preparation = Model(device="cpu").choose_preparation(source)
    return Batches(source, preparation, rows, 24, seed, torch.device("cpu"))


def numbers(batch):
    return np.round(batch.images[:, 0, 0, 0].numpy() * COUNT).astype(int)


@pytest.mark.parametrize("window", [1, 40, 1000])
def test_an_order_has_every_image_once_and_windows_of_whole_blocks(window, rng):
    blocks = rng.integers(0, 30, 500)
    order, ends = BlockShuffle(blocks, window).order(rng)
    assert sorted(order.tolist()) == list(range(500))
    assert ends[-1] == 500
    windows = np.split(order, ends[:-1])
    of_window = [set(blocks[places].tolist()) for places in windows]
    assert not any(one & other for one, other in itertools.combinations(of_window, 2))
    largest = np.bincount(blocks).max()
    assert all(abs(len(places) - window) < largest for places in windows[:-1])
    # Shuffled within a window: in rising order would be one block after the other.
    assert not np.array_equal(order, np.sort(order))


def test_orders_differ_between_epochs_and_every_image_comes_everywhere(rng):
    """The mean place of every image over many epochs is the middle, as of a full shuffle."""
    shuffle = BlockShuffle(np.arange(200) // 10, 40)
    places = np.stack([np.argsort(shuffle.order(rng)[0]) for _ in range(400)])
    # A place has mean 99.5 and standard deviation 57.7, so the mean of 400 has one of 2.9.
    assert np.abs(places.mean(axis=0) - 99.5).max() < 5 * 2.9


def test_every_epoch_has_every_image_once_and_reads_every_block_once(source, monkeypatch):
    rows = np.delete(np.arange(COUNT), np.arange(0, COUNT, 7))
    monkeypatch.setattr("dualcontrast.training.windows.PART", 15)
    stream = make(source, rows)
    read = []
    whole = source.read
    monkeypatch.setattr(source, "read", lambda wanted: (read.append(np.asarray(wanted)), whole(wanted))[1])
    epochs = [
        [numbers(batch) for batch in stream.from_step(first, first + stream.per_epoch)]
        for first in (0, stream.per_epoch)
    ]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch).tolist()) == rows.tolist()
        assert {len(batch) for batch in epoch} <= {21, 22}
    assert np.concatenate(epochs[0]).tolist() != np.concatenate(epochs[1]).tolist()
    assert sum(len(set((part // BLOCK).tolist())) for part in read) == 2 * 21
    # Windows are of 40 images, parts of 15; both end where a block ends.
    assert max(map(len, read)) <= 15 + BLOCK


def test_places_are_those_of_the_batches(source):
    stream = make(source)
    for step, batch in enumerate(stream.from_step(0, 12)):
        assert numbers(batch).tolist() == stream.places(step).tolist()


def test_ranks_share_the_batches_of_a_window(source, monkeypatch):
    """Each of two ranks gets every second row of what one process gets, whatever window it comes from."""
    whole = list(make(source).from_step(0, 12))
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        for batch, own in zip(whole, make(source).from_step(0, 12), strict=True):
            assert isinstance(own.images, Spread)
            assert len(own.images) == len(batch.images)
            assert torch.equal(own.images.local, batch.images[rank::2])


@pytest.mark.parametrize("first", [1, 4, 8, 9, 11])
def test_from_the_middle_on_all_is_as_from_the_start(source, first):
    whole = list(make(source).from_step(0, 15))[first:]
    rest = list(make(source).from_step(first, 15))
    assert len(rest) == len(whole)
    for one, other in zip(whole, rest, strict=True):
        assert torch.equal(one.images, other.images)


def test_wedges_go_with_their_volumes(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(batches, "WINDOW_BYTES", 2**20)
    monkeypatch.setattr(packing, "BLOCK_BYTES", 2**15)
    rng = np.random.default_rng(0)
    source = ArraySource(rng.random((50, 1, 16, 16, 16), dtype=np.float32))
    wedges = rng.random((50, 16, 16, 9)).astype(np.float32)
    source.read_wedges = lambda rows: wedges[rows]
    packing.pack(source, tmp_path / "p.zarr", contrast="as-is")
    stream = make(open_source(tmp_path / "p.zarr"))
    for step, batch in enumerate(stream.from_step(0, stream.per_epoch)):
        assert batch.wedges is not None
        assert np.array_equal(batch.wedges.numpy(), wedges[stream.places(step)])


def test_a_set_in_one_block_is_read_as_before(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(batches, "WINDOW_BYTES", 1000)
    packing.pack(ArraySource(bars(60, (16, 16))[0]), tmp_path / "p.zarr")
    stream = make(open_source(tmp_path / "p.zarr"))
    rng_order = np.concatenate([stream.places(step) for step in range(stream.per_epoch)])
    assert sorted(rng_order.tolist()) == list(range(60))
    assert np.abs(np.diff(rng_order)).max() > BLOCK


def test_a_training_that_is_stopped_in_mid_epoch_ends_with_the_same_weights(source, tmp_path, monkeypatch):
    settings = {"epochs": 3, "batch_size": 24, "content_dim": 3, "transformation_dim": 2}
    model = {"device": "cpu", "progress": False, **settings}
    whole = Model(**model).fit(source)
    checkpointing = Checkpointing(tmp_path / "last.pt", {}, resume=True)
    # Asks to stop after 13 of 27 steps, in the second epoch.
    asked = itertools.count(1)
    monkeypatch.setattr(StopRequest, "signal_number", property(lambda _: 15 if next(asked) >= 13 else None))
    with pytest.raises(Stopped) as stopped:
        Model(**model).fit(source, checkpointing=checkpointing)
    assert 9 < stopped.value.step < 18
    monkeypatch.setattr(StopRequest, "signal_number", None)
    resumed = Model(**model).fit(source, checkpointing=checkpointing)
    assert whole.network is not None and resumed.network is not None
    expected = whole.network.state_dict()
    for name, values in resumed.network.state_dict().items():
        assert torch.equal(values, expected[name]), name


def test_batches_that_several_threads_read_come_in_order(source, monkeypatch):
    preparation = Model(device="cpu").choose_preparation(source)
    parts = np.array_split(np.random.default_rng(0).permutation(COUNT), 9)
    expected = batches.read_prepared(source, preparation, np.concatenate(parts))
    monkeypatch.setitem(batches.READERS, "cpu", 4)
    found = list(batches.read_ahead(source, preparation, parts, torch.device("cpu")))
    assert [len(part) for part in found] == [len(part) for part in parts]
    assert torch.equal(torch.cat(found), expected)
