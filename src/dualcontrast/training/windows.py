"""Reading windows of images ahead of the training, by several threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from dualcontrast.methods.base import Batch

THREADS = 2


def stream(
    windows: Iterable[np.ndarray],
    sizes: Iterable[int],
    read: Callable[[np.ndarray], Batch],
    rows: np.ndarray,
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
    rows : numpy.ndarray of int
        Where in the source each place is: what is stored together is read by one thread.
    pin : bool
        Keep windows in memory that a GPU copies from directly.
    """
    waiting = iter(windows)
    with ThreadPoolExecutor(max_workers=THREADS) as readers:
        ahead = deque(_Window(places, read, rows, readers, pin) for places in islice(waiting, 2))
        used = 0
        for size in sizes:
            parts = []
            while size:
                batch = ahead[0].wait()
                stop = min(used + size, len(batch.images))
                parts.append(_rows_of(batch, used, stop))
                size, used = size - (stop - used), stop
                if used == len(batch.images):
                    ahead.popleft()
                    ahead.extend(_Window(p, read, rows, readers, pin) for p in islice(waiting, 1))
                    used = 0
            yield parts[0] if len(parts) == 1 else _joined(parts)


class _Window:
    """A window of images, on its way into memory."""

    def __init__(
        self,
        places: np.ndarray,
        read: Callable[[np.ndarray], Batch],
        rows: np.ndarray,
        readers: ThreadPoolExecutor,
        pin: bool,
    ) -> None:
        self._count, self._pin = len(places), pin
        by_row = np.argsort(rows[places], kind="stable")
        parts = np.array_split(by_row, min(THREADS, len(by_row)))
        self._parts: list[tuple[np.ndarray, Future[Batch]]] = [
            (part, readers.submit(read, places[part])) for part in parts
        ]
        self._batch: Batch | None = None

    def wait(self) -> Batch:
        """Return the images in the order of their places."""
        if self._batch is None:
            found = [(torch.from_numpy(part), future.result()) for part, future in self._parts]
            self._parts = []
            wedges = [(part, batch.wedges) for part, batch in found if batch.wedges is not None]
            self._batch = Batch(
                self._gathered([(part, batch.images) for part, batch in found]),
                self._gathered(wedges) if wedges else None,
            )
        return self._batch

    def _gathered(self, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        first = parts[0][1]
        whole = torch.empty((self._count, *first.shape[1:]), dtype=first.dtype, pin_memory=self._pin)
        for places, values in parts:
            whole[places] = values
        return whole


def _rows_of(batch: Batch, start: int, stop: int) -> Batch:
    return Batch(batch.images[start:stop], None if batch.wedges is None else batch.wedges[start:stop])


def _joined(parts: list[Batch]) -> Batch:
    wedges = [part.wedges for part in parts if part.wedges is not None]
    return Batch(torch.cat([part.images for part in parts]), torch.cat(wedges) if wedges else None)
