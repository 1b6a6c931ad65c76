"""The integration of CPAB velocity fields, compiled for CPUs.

A step of a point is a dozen operations on numbers that fit into registers. As array operations they would all
pass through memory, and take four times as long.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable


class CompiledFlow(torch.autograd.Function):
    """`cpab.flow` with a backward pass of its own, that integrates again instead of keeping the steps."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, change: Tensor, cells: tuple[int, int], steps: int) -> Tensor:
        """Move points (N, P, 2) by the maps (N, triangles, 2, 3)."""
        ctx.save_for_backward(points, change)
        ctx.cells, ctx.steps = cells, steps
        moved = torch.empty_like(points, memory_format=torch.contiguous_format)
        _for_all_images(_move, (points, change.flatten(2), moved), (*cells, steps))
        return moved

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # hidden by the decorator
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Give the gradients by points and maps."""
        points, change = ctx.saved_tensors
        by_points = grads[0].clone(memory_format=torch.contiguous_format)
        by_change = torch.zeros_like(change, memory_format=torch.contiguous_format)
        arrays = (points, change.flatten(2), by_points, by_change.flatten(2))
        _for_all_images(_adjoint, arrays, (*ctx.cells, ctx.steps))
        return by_points, by_change, None, None


def _for_all_images(
    kernel: Callable[..., None], tensors: tuple[Tensor, ...], numbers: tuple[int, ...]
) -> None:
    """Share the images out to as many threads as torch uses."""
    arrays = [tensor.detach().contiguous().numpy() for tensor in tensors]
    threads = min(torch.get_num_threads(), len(arrays[0]))
    if threads == 1:
        kernel(*arrays, *numbers)
        return
    with ThreadPoolExecutor(threads) as pool:
        parts = zip(*(np.array_split(array, threads) for array in arrays), strict=True)
        list(pool.map(lambda part: kernel(*part, *numbers), parts))


@njit(cache=True, nogil=True)
def _triangle(u: float, v: float, nx: int, ny: int) -> int:
    column, row = min(max(int(u), 0), nx - 1), min(max(int(v), 0), ny - 1)
    u, v = u - column, v - row
    return 4 * (row * nx + column) + 2 * (u + v >= 1) + (u >= v)


@njit(cache=True, nogil=True)
def _move(points, change, moved, nx, ny, steps):
    for n in range(len(points)):
        d, p = change[n], moved[n]
        p[:] = points[n]
        for _ in range(steps):
            for k in range(len(p)):
                u, v = p[k, 0], p[k, 1]
                t = _triangle(u, v, nx, ny)
                p[k, 0] = u + (d[t, 0] * u + d[t, 1] * v + d[t, 2])
                p[k, 1] = v + (d[t, 3] * u + d[t, 4] * v + d[t, 5])


@njit(cache=True, nogil=True)
def _adjoint(points, change, by_points, by_change, nx, ny, steps):
    """Turn the gradient by the last positions into that by the first, and add up that by the maps."""
    count = points.shape[1]
    passed = np.empty((steps, count, 2), points.dtype)
    triangles = np.empty((steps, count), np.int32)
    for n in range(len(points)):
        d, g, total = change[n], by_points[n], by_change[n]
        p = points[n].copy()
        for s in range(steps):
            passed[s] = p
            for k in range(count):
                u, v = p[k, 0], p[k, 1]
                t = _triangle(u, v, nx, ny)
                triangles[s, k] = t
                p[k, 0] = u + (d[t, 0] * u + d[t, 1] * v + d[t, 2])
                p[k, 1] = v + (d[t, 3] * u + d[t, 4] * v + d[t, 5])
        for s in range(steps - 1, -1, -1):
            for k in range(count):
                u, v = passed[s, k, 0], passed[s, k, 1]
                t, gu, gv = triangles[s, k], g[k, 0], g[k, 1]
                total[t, 0] += gu * u
                total[t, 1] += gu * v
                total[t, 2] += gu
                total[t, 3] += gv * u
                total[t, 4] += gv * v
                total[t, 5] += gv
                g[k, 0] = gu + (d[t, 0] * gu + d[t, 3] * gv)
                g[k, 1] = gv + (d[t, 1] * gu + d[t, 4] * gv)
