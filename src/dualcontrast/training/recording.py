"""Recording what a GPU does for a batch, and repeating it for the batches that follow (CUDA graphs).

A step of a small network is hundreds of small pieces of work, and giving them to the GPU one by one takes
longer than the work. A recording gives it all of them at once.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch

from dualcontrast.methods.base import Batch

# Batches of a shape that are computed as ever before one is recorded: libraries load, and Adam's means begin.
BEFORE = 3
# Batches of an epoch have one of two shapes; whoever brings many would fill the memory with recordings.
MOST = 4
logger = logging.getLogger(__name__)


class _Recording(NamedTuple):
    graph: torch.cuda.CUDAGraph
    # What it computes with: every batch is copied there.
    batch: Batch


class Recorder:
    """Does one computation with many batches on a CUDA device, from recordings.

    A computation that reads values back cannot be recorded; it is found out in the last batch before, told
    once, and computed as ever from then on.

    Parameters
    ----------
    generator : torch.Generator
        The source of all randomness of the computation; whoever calls sets its seed before.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._seen: Counter[tuple[torch.Size, ...]] = Counter()
        self._recordings: dict[tuple[torch.Size, ...], _Recording] = {}
        self._recordable = True

    def run(self, compute: Callable[[Batch], None], batch: Batch) -> None:
        """Compute with one batch.

        Parameters
        ----------
        compute : callable
            The same in every call. It takes a batch; what it finds must be left in tensors that stay where
            they are, and what it is told besides the batch must come from such.
        batch : Batch
            On the device.
        """
        shape = tuple(part.shape for part in batch if part is not None)
        recording = self._recordings.get(shape)
        if recording is None:
            self._seen[shape] += 1
            if not self._recordable or self._seen[shape] < BEFORE or len(self._recordings) == MOST:
                compute(batch)
                return
            if self._seen[shape] == BEFORE:
                self._recordable = _reads_nothing_back(compute, batch)
                return
            recording = self._recordings[shape] = self._record(compute, batch)
        for kept, new in zip(recording.batch, batch, strict=True):
            if kept is not None and new is not None:
                kept.copy_(new)
        recording.graph.replay()

    def _record(self, compute: Callable[[Batch], None], batch: Batch) -> _Recording:
        """Record the computation, which is not done meanwhile."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        kept = Batch(batch.images.clone(), _copy(batch.wedges), _copy(batch.progress))
        # One after the other they use the same memory.
        pool = next((recording.graph.pool() for recording in self._recordings.values()), None)
        with torch.cuda.graph(graph, pool=pool):
            compute(kept)
        return _Recording(graph, kept)


def _copy(part: torch.Tensor | None) -> torch.Tensor | None:
    return None if part is None else part.clone()


def _reads_nothing_back(compute: Callable[[Batch], None], batch: Batch) -> bool:
    """Compute with a batch, and tell whether the GPU was waited for meanwhile."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            compute(batch)
        finally:
            torch.cuda.set_sync_debug_mode(before)
    # Not the warning that the mode itself is new.
    waited = [w for w in caught if "called a synchronizing" in str(w.message)]
    places = [f"{w.filename}:{w.lineno}" for w in waited]
    if places:
        logger.info(f"the training steps are not recorded for the GPU: {places[0]} reads a value back")
    return not places
