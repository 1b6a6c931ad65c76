"""Reading windows of images ahead of the training, by several threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from dualcontrast.methods.base import Batch

# Images that one thread reads at a time, more or less by a block.
THREADS, PART = 2, 64


def stream(
    windows: Iterable[np.ndarray],
    sizes: Iterable[int],
    read: Callable[[np.ndarray], Batch],
    blocks: np.ndarray,
    pin: bool = False,
) -> Iterator[Batch]:
    """Cut windows of images into batches; while one window is used up, the next is read.

    Parameters
    ----------
    windows : iterable of numpy.ndarray of int
        Places of the images that are read together, in the order in which they are used.
    sizes : iterable of int
        Images in each batch, of as many batches as are wanted.
    read : callable
        Takes places in any order, and returns their images; called by several threads.
    blocks : numpy.ndarray of int
        Block that each place is stored in; a block is read once.
    pin : bool
        Keep windows in memory that a GPU copies from directly.
    """
    waiting = iter(windows)
    with ThreadPoolExecutor(max_workers=THREADS) as readers:
        ahead = deque(_Window(places, read, blocks, readers, pin) for places in islice(waiting, 2))
        used = 0
        for size in sizes:
            parts = []
            while size:
                batch = ahead[0].wait()
                stop = min(used + size, len(batch.images))
                parts.append(rows_of(batch, slice(used, stop)))
                size, used = size - (stop - used), stop
                if used == len(batch.images):
                    ahead.popleft()
                    ahead.extend(_Window(p, read, blocks, readers, pin) for p in islice(waiting, 1))
                    used = 0
            yield parts[0] if len(parts) == 1 else _joined(parts)


class _Window:
    """A window of images, on its way into memory."""

    def __init__(
        self,
        places: np.ndarray,
        read: Callable[[np.ndarray], Batch],
        blocks: np.ndarray,
        readers: ThreadPoolExecutor,
        pin: bool,
    ) -> None:
        self._places, self._read, self._pin = places, read, pin
        self._batch: Batch | None = None
        self._allocating = Lock()
        by_block = np.argsort(blocks[places], kind="stable")
        # Small parts: their memory is used again and again, and no second copy of the window is ever there.
        self._parts: list[Future[None]] = [
            readers.submit(self._fill, part) for part in np.split(by_block, _cuts(blocks[places][by_block]))
        ]

    def wait(self) -> Batch:
        """Return the images in the order of their places."""
        for part in self._parts:
            part.result()
        self._parts = []
        assert self._batch is not None
        return self._batch

    def _fill(self, part: np.ndarray) -> None:
        found = self._read(self._places[part])
        with self._allocating:
            if self._batch is None:
                wedges = None if found.wedges is None else self._empty(found.wedges)
                self._batch = Batch(self._empty(found.images), wedges)
        where = torch.from_numpy(part)
        self._batch.images[where] = found.images
        if self._batch.wedges is not None and found.wedges is not None:
            self._batch.wedges[where] = found.wedges

    def _empty(self, like: Tensor) -> Tensor:
        return torch.empty((len(self._places), *like.shape[1:]), dtype=like.dtype, pin_memory=self._pin)


def _cuts(blocks: np.ndarray) -> np.ndarray:
    """Cut images that are sorted by block into parts of whole blocks."""
    starts = np.flatnonzero(np.diff(blocks)) + 1
    return starts[np.diff(starts // PART, prepend=0) > 0]


def rows_of(batch: Batch, rows: slice | Tensor) -> Batch:
    """Keep some rows of a batch."""
    return Batch(batch.images[rows], None if batch.wedges is None else batch.wedges[rows])


def _joined(parts: list[Batch]) -> Batch:
    wedges = [part.wedges for part in parts if part.wedges is not None]
    return Batch(torch.cat([part.images for part in parts]), torch.cat(wedges) if wedges else None)
