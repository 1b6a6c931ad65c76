"""What a machine can do at most: its matrix rate, and the operations that a training step must do."""

import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

TRIES = 20


def matrix_rate(device: torch.device, dtype: torch.dtype, seconds: float = 3.0) -> float:
    """Floating-point operations a second in products of large square matrices: the best of many tries.

    The side is 1,024 and 2,048 on a CPU, 4,096 and 8,192 on a GPU, and smaller where that would take too long
    because the device has no instructions for the type.

    Parameters
    ----------
    device : torch.device
        To measure.
    dtype : torch.dtype
        Of the matrices.
    seconds : float
        No new try is started after so long, but for the first of each size.
    """
    sides = (256, 1024, 2048) if device.type == "cpu" else (1024, 4096, 8192)
    best, began = 0.0, time.perf_counter()
    for side in sides:
        operations = 2 * side**3
        if best and operations / best > seconds:
            break
        a, b = (torch.randn((side, side), device=device).to(dtype) for _ in range(2))
        # The first product loads the library.
        torch.matmul(a, b)
        for _ in range(TRIES):
            wait_for(device)
            started = time.perf_counter()
            torch.matmul(a, b)
            wait_for(device)
            ended = time.perf_counter()
            best = max(best, operations / (ended - started))
            if ended - began > seconds:
                break
    return best


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given; a CPU is done already."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


T = TypeVar("T")


def operations(compute: Callable[[], T]) -> tuple[int, T]:
    """Count the floating-point operations of the matrix products and convolutions in a computation.

    A multiplication and an addition are two. What is done element by element (activations, normalisations,
    interpolation, Adam) is not counted: it is a small share of the operations, and bound by memory.

    Parameters
    ----------
    compute : callable
        Does it; gradients count as well.

    Returns
    -------
    int
        Their number.
    object
        What was computed.
    """
    with FlopCounterMode(display=False) as counter:
        computed = compute()
    return counter.get_total_flops(), computed
