"""Prepared batches of a source, in an order that depends only on the seed and the step."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from dualcontrast.data.pixels import name_some
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError, SettingError
from dualcontrast.methods.base import Batch, batches_per_epoch
from dualcontrast.prepare import Preparation
from dualcontrast.random_streams import numpy_stream
from dualcontrast.ranks import world_size
from dualcontrast.spread import own_rows, spread
from dualcontrast.training.block_shuffle import BlockShuffle
from dualcontrast.training.windows import rows_of, stream

# Images that are kept in memory, and are not read again in every epoch; of a GPU's memory a share, if that is
# more. Of all its memory: the order of the images must not depend on what else uses the GPU.
RESIDENT_BYTES, RESIDENT_SHARE = 2 * 2**30, 0.25
READ_AHEAD = 4
# Threads that read what is encoded. On a CPU the cores are busy with the networks.
READERS = {"cpu": 1, "cuda": 4}
READ_BYTES = 2**28
# Images that are shuffled among each other where they are stored in blocks; twice this is held in memory.
WINDOW_BYTES = 2**28


def read_prepared(
    source: ImageSource,
    preparation: Preparation,
    rows: np.ndarray,
    *,
    varied: bool = False,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Read images and prepare them on a device, shape (n, C, *spatial).

    With `varied`, an image whose pixels are all equal is a `DataError`.
    """

    # In parts: what is read may be many times what is left after cropping.
    def prepare(part: np.ndarray) -> Tensor:
        images = source.read(part)
        if varied:
            _check_varied(source, part, images)
        found = torch.from_numpy(images).to(device)
        return found if source.prepared is not None else preparation.apply(found)

    parts = [prepare(part) for part in _parts(source, rows)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _check_varied(source: ImageSource, rows: np.ndarray, images: np.ndarray) -> None:
    """Refuse images of one value: Zarr gives zeros, and no error, where a file of a store is gone."""
    flat = images.reshape(len(images), -1)
    lost = source.ids[rows[(flat == flat[:, :1]).all(axis=1)]]
    if len(lost):
        raise DataError(
            f"{source.location}: all pixels are equal in {name_some(lost)}; where they were not before, a "
            "file is gone: put it back, then go on (--resume)"
        )


def read_ahead(
    source: ImageSource, preparation: Preparation, batches: Sequence[np.ndarray], device: torch.device
) -> Iterator[Tensor]:
    """Read and prepare batches of images one after the other; the next are read while one is used."""
    read = partial(read_prepared, source, preparation, device=device)
    threads = READERS.get(device.type, 1)
    with ThreadPoolExecutor(threads) as readers:
        waiting = iter(batches)
        ahead = deque(readers.submit(read, rows) for rows in islice(waiting, threads + 1))
        while ahead:
            images = ahead.popleft().result()
            ahead.extend(readers.submit(read, rows) for rows in islice(waiting, 1))
            yield images


def resident_bytes(device: torch.device) -> float:
    """How large a training set may be that is kept on a device."""
    if device.type != "cuda":
        return RESIDENT_BYTES
    return max(RESIDENT_BYTES, RESIDENT_SHARE * torch.cuda.get_device_properties(device).total_memory)


def read_wedges(source: ImageSource, preparation: Preparation, rows: np.ndarray) -> Tensor | None:
    """Read the Fourier weights of prepared volumes, (n, D, H, W // 2 + 1); None where there are none."""
    parts = []
    for part in _parts(source, rows):
        wedges = source.read_wedges(part)
        if wedges is None:
            return None
        weights = torch.tensor(wedges)
        parts.append(weights if source.prepared is not None else preparation.apply_to_wedges(weights))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _parts(source: ImageSource, rows: np.ndarray) -> list[np.ndarray]:
    """Cut rows into parts of which each can be read at once."""
    size = max(1, READ_BYTES // (4 * int(np.prod(source.image_shape))))
    return [rows[first : first + size] for first in range(0, max(len(rows), 1), size)]


def check_enough(source: ImageSource, count: int, batch_size: int) -> None:
    """Raise `DataError` for fewer images than a batch, and `SettingError` for fewer in it than devices."""
    if count < batch_size:
        raise DataError(
            f"{source.location}: {count} training images are fewer than one batch of {batch_size}; "
            f"add images or train with --batch-size {max(count // 2, 2)} or less"
        )
    if count // batches_per_epoch(count, batch_size) < world_size():
        raise SettingError(
            f"--batch-size {batch_size}: {world_size()} devices need as many images in a batch; "
            "make the batches larger, or use fewer devices"
        )


class Batches:
    """Shuffled batches for training.

    Where a training runs on several devices, each rank reads its own rows of every batch. The whole batch is
    the same for any number of ranks.

    Every epoch visits each image once. The epoch is cut into batches of nearly equal size (see
    `batches_per_epoch`), so the last one is never a rest of a few images. Images that fit
    (`resident_bytes`) are kept on the device; larger sets are read again in every epoch, ahead of the
    training. Those that are stored in blocks are shuffled by block (see `BlockShuffle`), in windows of
    `WINDOW_BYTES`, so that each block is read once; others are read one by one.

    Parameters
    ----------
    source : ImageSource
        Where the images come from.
    preparation : Preparation
        Applied to every image.
    rows : numpy.ndarray of int
        Positions in the source that belong to the training set.
    batch_size : int
        Largest number of images in a batch; three where an odd number of images comes in pairs.
    seed : int
        Of the run.
    device : torch.device
        Where the batches are wanted.

    Raises
    ------
    DataError
        When there are fewer images than one batch.
    SettingError
        When a batch has fewer images than there are ranks.
    """

    def __init__(
        self,
        source: ImageSource,
        preparation: Preparation,
        rows: np.ndarray,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        check_enough(source, len(rows), batch_size)
        preparation.check_source(source)
        self._source, self._preparation, self._rows = source, preparation, rows
        self._seed, self._device = seed, device
        self.per_epoch = batches_per_epoch(len(rows), batch_size)
        self._order: tuple[int, list[np.ndarray]] | None = None
        self._resident: Batch | None = None
        # What is read in every epoch may have been lost since all images were looked at.
        self._streamed = False
        self._shuffle: BlockShuffle | None = None
        wedge = read_wedges(source, preparation, rows[:1])
        each = math.prod(preparation.image_shape) + (0 if wedge is None else wedge.numel())
        if len(rows) * each * 4 <= resident_bytes(device):
            self._resident = self._read_all()
            return
        self._streamed = True
        if (blocks := source.blocks_of(rows)) is not None:
            shuffle = BlockShuffle(blocks, max(1, WINDOW_BYTES // (4 * each)))
            # A window holds whole blocks: what is stored in one piece is no gain to read as one.
            self._shuffle = shuffle if shuffle.largest * each * 4 <= WINDOW_BYTES else None

    def places(self, step: int) -> np.ndarray:
        """Return the places in the training set of the images of one step."""
        epoch, within = divmod(step, self.per_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, np.array_split(self._ordered(epoch)[0], self.per_epoch))
        return self._order[1][within]

    def _ordered(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return all places in the order of an epoch, and where the windows end in which they are read."""
        rng = numpy_stream(self._seed, "order", epoch)
        if self._shuffle is not None:
            return self._shuffle.order(rng)
        return rng.permutation(len(self._rows)), np.array([len(self._rows)])

    def from_step(self, first: int, end: int) -> Iterator[Batch]:
        """Yield the batches of the steps `first` to `end - 1`."""
        if self._resident is not None:
            for step in range(first, end):
                # Not blocking: a GPU is not to be waited for between two steps.
                places = torch.from_numpy(self._own_places(step)).to(self._device, non_blocking=True)
                yield _spread(rows_of(self._resident, places), len(self.places(step)))
            return
        if self._shuffle is not None:
            yield from self._by_window(first, end, self._shuffle.blocks)
            return
        # Reading is file input and NumPy copies, which leave Python's lock to the training thread.
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead = [
                reader.submit(self._read, self._own_places(step))
                for step in range(first, min(first + READ_AHEAD, end))
            ]
            for step in range(first, end):
                batch = ahead.pop(0).result()
                if step + READ_AHEAD < end:
                    ahead.append(reader.submit(self._read, self._own_places(step + READ_AHEAD)))
                yield _spread(_on_device(batch, self._device), len(self.places(step)))

    def _own_places(self, step: int) -> np.ndarray:
        return self.places(step)[own_rows()]

    def _by_window(self, first: int, end: int, blocks: np.ndarray) -> Iterator[Batch]:
        """Yield batches as slices of windows that are read ahead."""
        least, larger = divmod(len(self._rows), self.per_epoch)
        sizes = (least + (step % self.per_epoch < larger) for step in range(first, end))
        pin = self._device.type == "cuda"
        for batch in stream(self._windows(first, end), sizes, self._read, blocks, pin):
            # Blocks are read as a whole, so every rank reads all of them and keeps its own images.
            own = rows_of(batch, own_rows())
            yield _spread(_on_device(own, self._device), len(batch.images))

    def _windows(self, first: int, end: int) -> Iterator[np.ndarray]:
        """Yield the places of the images from one step on, window by window."""
        epoch, within = divmod(first, self.per_epoch)
        while epoch * self.per_epoch < end:
            order, ends = self._ordered(epoch)
            skipped = sum(len(part) for part in np.array_split(order, self.per_epoch)[:within])
            yield from np.split(order[skipped:], ends[ends > skipped][:-1] - skipped)
            epoch, within = epoch + 1, 0

    def _read_all(self) -> Batch:
        """Read all images onto the device, and never hold more than a few parts of them elsewhere."""
        parts = _parts(self._source, self._rows)
        images = torch.empty((len(self._rows), *self._preparation.image_shape), device=self._device)
        wedges: Tensor | None = None
        first = 0
        found = read_ahead(self._source, self._preparation, parts, self._device)
        for part, prepared in zip(parts, found, strict=True):
            places = slice(first, first + len(part))
            images[places] = prepared
            measured = read_wedges(self._source, self._preparation, part)
            if measured is not None:
                if wedges is None:
                    wedges = torch.empty((len(self._rows), *measured.shape[1:]), device=self._device)
                wedges[places] = measured
            first += len(part)
        return Batch(images, wedges)

    def _read(self, places: np.ndarray) -> Batch:
        rows = self._rows[places]
        return Batch(
            read_prepared(self._source, self._preparation, rows, varied=self._streamed),
            read_wedges(self._source, self._preparation, rows),
        )


def _on_device(batch: Batch, device: torch.device) -> Batch:
    wedges = None if batch.wedges is None else batch.wedges.to(device, non_blocking=True)
    return Batch(batch.images.to(device, non_blocking=True), wedges)


def _spread(own: Batch, total: int) -> Batch:
    wedges = None if own.wedges is None else spread(own.wedges, total)
    return Batch(spread(own.images, total), wedges)
