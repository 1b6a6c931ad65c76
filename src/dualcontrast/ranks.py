"""The processes of one training, a rank for each device, and what they tell each other.

Everything here also works where there is one process only, and then does nothing. Every rank runs the same
program, so every rank calls these functions in the same order.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dualcontrast.errors import LostRankError

# How long a rank waits for one that is alive but silent; one that is gone is noticed at once.
TIMEOUT = timedelta(minutes=10)
# While the first rank prepares a run the others have nothing to do but wait, however long it takes.
PATIENCE = timedelta(days=30)
# Groups that talk through the CPU, whatever the training itself runs on: a flag does not stall a GPU.
_groups: dict[timedelta, Any] = {}


def world_size() -> int:
    """Number of processes of this training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def first() -> bool:
    """Whether this is the process that writes files and shows progress."""
    return rank() == 0


@contextmanager
def _noticing_losses() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).split(". This is typically")[0].split("] ", 1)[-1].splitlines()[0]
        raise LostRankError(
            f"rank {rank()} of {world_size()}: another process of this training has ended or does not answer "
            f"({reason}); this one ends too. The last checkpoint is kept: go on with --resume"
        ) from None


def _group(timeout: timedelta) -> Any:
    if timeout not in _groups:
        _groups[timeout] = dist.new_group(backend="gloo", timeout=timeout)
    return _groups[timeout]


def meet() -> None:
    """Wait until every rank is here, however long that takes."""
    agree(0, PATIENCE)


def from_first(number: int) -> int:
    """Return the number that the first rank gives; the others wait for it, however long it takes."""
    if world_size() == 1:
        return number
    told = torch.tensor(number)
    with _noticing_losses():
        dist.broadcast(told, 0, group=_group(PATIENCE))
    return int(told)


def agree(number: int, timeout: timedelta = TIMEOUT) -> int:
    """Return the largest number that any rank gives."""
    if world_size() == 1:
        return number
    largest = torch.tensor(number)
    with _noticing_losses():
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=_group(timeout))
    return int(largest)


def part() -> None:
    """Take leave of the other ranks: from here on each is a process of its own."""
    meet()
    leave()


def leave() -> None:
    """End the connections of this process, without a word to the other ranks."""
    _groups.clear()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients of every rank by their mean over the ranks."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if world_size() == 1 or not gradients:
        return
    # One message for all of them.
    together = nn.utils.parameters_to_vector(gradients)
    with _noticing_losses():
        dist.all_reduce(together)
    nn.utils.vector_to_parameters(together / world_size(), gradients)


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        with _noticing_losses():
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # The sum counts in the loss of every rank.
        return _SumOverRanks.apply(grads[0])  # pyright: ignore[reportReturnType]


def sum_over_ranks(values: Tensor) -> Tensor:
    """Add up tensors of one shape over the ranks; differentiable."""
    return _SumOverRanks.apply(values)  # pyright: ignore[reportReturnType]


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: list[Tensor]) -> Tensor:
        ctx.places = places[rank()]
        longest = max(map(len, places))
        # Messages have one length for all.
        padded = rows.new_zeros((longest, *rows.shape[1:]))
        padded[: len(rows)] = rows
        received = rows.new_empty((world_size() * longest, *rows.shape[1:]))
        with _noticing_losses():
            dist.all_gather(list(received.split(longest)), padded)
        gathered = rows.new_empty((sum(map(len, places)), *rows.shape[1:]))
        for at, part in zip(places, received.split(longest), strict=True):
            gathered[at.to(rows.device)] = part[: len(at)]
        return gathered

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = _SumOverRanks.apply(grads[0])
        return total[ctx.places.to(total.device)], None  # pyright: ignore[reportIndexIssue]


def gather_rows(rows: Tensor, places: list[Tensor]) -> Tensor:
    """Put the rows of all ranks together; differentiable.

    Parameters
    ----------
    rows : Tensor, shape (n, ...)
        Of this rank; n may differ between ranks, what follows may not.
    places : list of Tensor of int64
        Where the rows of each rank belong, for all ranks.

    Returns
    -------
    Tensor, shape (N, ...)
        The same on every rank.
    """
    return _GatherRows.apply(rows, places)  # pyright: ignore[reportReturnType]
