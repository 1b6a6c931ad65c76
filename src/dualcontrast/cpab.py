"""Continuous piecewise-affine diffeomorphisms of the unit square (CPAB; Freifeld et al. 2017).

A velocity field that is affine on every triangle of a tessellation, continuous, and nowhere leaves the square
is integrated for one unit of time. The result is a transformation that is smooth enough to be differentiated,
maps the square onto itself, and whose inverse is the transformation of the opposite velocities. All such
fields are a linear space; θ are the coordinates in an orthonormal basis of it.
"""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dualcontrast.constants import constant
from dualcontrast.full_precision import full_precision
from dualcontrast.spread import by_rows

# On a GPU, the arrays of so many points are kept at once for the backward pass: about 0.6 GB at 50 steps.
POINTS_AT_ONCE = 2**18


def triangles(cells: tuple[int, int]) -> np.ndarray:
    """Cut each rectangle of a grid over the unit square by its diagonals into four triangles.

    Parameters
    ----------
    cells : tuple of int
        Rectangles along x and along y.

    Returns
    -------
    numpy.ndarray, float64, shape (4 nx ny, 3, 2)
        The corners (x, y) of every triangle, the centre of its rectangle last. Rectangles run along x first;
        the triangles of one are left, top (small y), bottom and right, as `triangle_of` counts them.
    """
    nx, ny = cells
    corners = []
    for j in range(ny):
        for i in range(nx):
            a, b, c, d = (i, j), (i + 1, j), (i, j + 1), (i + 1, j + 1)
            centre = (i + 0.5, j + 0.5)
            corners += [(a, c, centre), (a, b, centre), (c, d, centre), (b, d, centre)]
    return np.array(corners, dtype=np.float64) / (nx, ny)


def velocity_basis(cells: tuple[int, int]) -> np.ndarray:
    """Find an orthonormal basis of the velocity fields of a tessellation.

    The field is v(p) = A_t (x, y, 1) on triangle t. It is continuous if both triangles at an edge agree on
    the two ends of the edge, and stays in the square if its component across the boundary is 0 at every
    corner on it. Both are linear in the entries of all A_t; the basis spans the null space.

    Parameters
    ----------
    cells : tuple of int
        Rectangles along x and along y.

    Returns
    -------
    numpy.ndarray, float64, shape (triangles, 2, 3, dim)
        Column k is the field of θ_k = 1. The dimension is that of the free vertex velocities: two for each
        vertex inside the square, one for each on a side of it, none for its four corners; 30 for (2, 4).
    """
    corners = triangles(cells)
    count = len(corners)
    rows = []

    def equation(point: np.ndarray, axis: int, plus: int, minus: int | None = None) -> None:
        row = np.zeros((count, 2, 3))
        row[plus, axis] = (*point, 1)
        if minus is not None:
            row[minus, axis] = (*-point, -1)
        rows.append(row.ravel())

    triangles_at: dict[tuple[int, int], list[int]] = {}
    for t, triangle in enumerate(corners):
        for point in triangle:
            # Corners lie on half rectangles: whole numbers make the same point of two triangles equal.
            x, y = (round(value) for value in 2 * point * cells)
            triangles_at.setdefault((x, y), []).append(t)
    for (x, y), around in triangles_at.items():
        point = np.array((x, y)) / 2 / cells
        for axis, (place, length) in enumerate(zip((x, y), cells, strict=True)):
            for other in around[1:]:
                equation(point, axis, around[0], other)
            if place in (0, 2 * length):
                equation(point, axis, around[0])
    _, scales, directions = np.linalg.svd(np.array(rows))
    rank = int((scales > 1e-9 * scales[0]).sum())
    return directions[rank:].T.reshape(count, 2, 3, -1)


def exp_minus_1(matrices: Tensor) -> Tensor:
    """Matrix exponential minus the identity, exp(X) - 1, of small matrices of moderate size.

    The Taylor series of exp(X/8) - 1 to the sixth order, doubled three times by exp(2X) - 1 = D (2 + D). For
    entries below 1 it is exact to single precision, also where X is tiny and `torch.linalg.matrix_exp` would
    lose digits to the identity; its gradient takes a sixth of the time.

    Parameters
    ----------
    matrices : Tensor, shape (..., n, n)

    Returns
    -------
    Tensor, shape (..., n, n)
    """
    small = matrices / 8
    change = small / 6
    for order in range(5, 0, -1):
        change = (small + small @ change) / order
    for _ in range(3):
        change = 2 * change + change @ change
    return change


class CPAB(nn.Module):
    """The transformations T_θ of the unit square that belong to one tessellation.

    Points are (x, y), x to the right and y down, (0, 0) the centre of an image's first pixel and (1, 1) that
    of its last. T_-θ is the inverse of T_θ.

    Parameters
    ----------
    cells : tuple of int
        Rectangles along x and along y, four triangles in each.
    steps : int
        Steps of the integration. A step moves a point by the matrix exponential of the triangle it is in,
        which is exact unless the point crosses an edge on the way.
    dtype : torch.dtype
        Of the basis.

    Attributes
    ----------
    basis : Tensor, shape (triangles, 2, 3, dim)
        See `velocity_basis`. It is stored with the weights, because another machine may find another basis
        of the same space, in which the same θ would mean another field.
    """

    basis: Tensor

    def __init__(
        self, cells: tuple[int, int] = (2, 4), steps: int = 50, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.cells, self.steps = cells, steps
        self.register_buffer("basis", torch.as_tensor(velocity_basis(cells), dtype=dtype))

    @property
    def dim(self) -> int:
        """Length of θ."""
        return self.basis.shape[-1]

    def velocities(self, theta: Tensor) -> Tensor:
        """Affine maps of the velocity field on every triangle.

        Parameters
        ----------
        theta : Tensor, shape (N, dim)

        Returns
        -------
        Tensor, shape (N, triangles, 2, 3)
            The velocity at p in triangle t is `A[t] @ (x, y, 1)`, in sides of the square per unit of time.
        """
        return (theta @ self.basis.flatten(0, 2).T).unflatten(1, self.basis.shape[:3])

    @full_precision
    def transform(self, points: Tensor, theta: Tensor) -> Tensor:
        """Move points by T_θ; differentiable once, in both.

        Parameters
        ----------
        points : Tensor, shape (P, 2) or (N, P, 2)
            Positions (x, y) in [0, 1]².
        theta : Tensor, shape (N, dim)

        Returns
        -------
        Tensor, shape (N, P, 2)
            Where they arrive.
        """
        # In units of rectangles, triangles are found by rounding down.
        scale = constant((*self.cells, 1), self.basis.dtype, self.basis.device)
        maps = self.velocities(theta.to(self.basis.dtype)) * scale[:2, None] / scale
        change = exp_minus_1(F.pad(maps / self.steps, (0, 0, 0, 1)))[..., :2, :]
        placed = (points.to(self.basis.dtype) * scale[:2]).expand(len(theta), -1, -1)
        return flow(placed, change, self.cells, self.steps) / scale[:2]

    @by_rows("images", "theta")
    @full_precision
    def warp(self, images: Tensor, theta: Tensor) -> Tensor:
        """Resample images at the moved positions of their pixels: the result at p is the image at T_θ(p).

        Parameters
        ----------
        images : Tensor, shape (N, C, H, W)
            Interpolated linearly, and clamped at the border.
        theta : Tensor, shape (N, dim)

        Returns
        -------
        Tensor, shape (N, C, H, W)
        """
        height, width = images.shape[2:]
        y, x = (
            torch.linspace(0, 1, n, device=images.device, dtype=self.basis.dtype) for n in (height, width)
        )
        pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        moved = self.transform(pixels.flatten(0, 1), theta).unflatten(1, (height, width))
        return F.grid_sample(images.to(moved.dtype), 2 * moved - 1, padding_mode="border", align_corners=True)


def triangle_of(points: Tensor, cells: tuple[int, int]) -> Tensor:
    """Number of the triangle that each point is in, in the order of `triangles`.

    Parameters
    ----------
    points : Tensor, shape (..., 2)
        Positions in units of rectangles, from 0 to `cells`.
    cells : tuple of int
        Rectangles along x and along y.

    Returns
    -------
    Tensor of int64, shape (...)
    """
    u, v = points.detach().unbind(-1)
    column, row = u.long().clamp(0, cells[0] - 1), v.long().clamp(0, cells[1] - 1)
    u, v = u - column, v - row
    return 4 * (row * cells[0] + column) + 2 * (u + v >= 1).long() + (u >= v).long()


def flow(points: Tensor, change: Tensor, cells: tuple[int, int], steps: int) -> Tensor:
    """Take the steps p ← p + D_t (u, v, 1), where t is the triangle that p = (u, v) is in.

    Parameters
    ----------
    points : Tensor, shape (N, P, 2)
        Positions in units of rectangles.
    change : Tensor, shape (N, triangles, 2, 3)
        D of every triangle.
    cells : tuple of int
        Rectangles along x and along y.
    steps : int
        How many.

    Returns
    -------
    Tensor, shape (N, P, 2)
        Positions after the last step.
    """
    if points.device.type == "cpu":
        # Compiling takes a moment: only where it is needed.
        from dualcontrast.cpab_cpu import CompiledFlow

        return CompiledFlow.apply(points, change, cells, steps)
    return flow_in_parts(points, change, cells, steps)


def flow_in_parts(points: Tensor, change: Tensor, cells: tuple[int, int], steps: int) -> Tensor:
    """Do what `flow` does on any device, a few images at a time.

    The backward pass integrates each part once more, instead of keeping the arrays of every step.
    """
    images = max(1, POINTS_AT_ONCE // points.shape[1])
    parts = zip(points.split(images), change.split(images), strict=True)
    # Nothing is drawn there, and a state of random numbers cannot be kept while a GPU's work is recorded.
    again = partial(checkpoint, plain_flow, use_reentrant=False, preserve_rng_state=False)
    return torch.cat([again(*part, cells, steps) for part in parts])


def plain_flow(points: Tensor, change: Tensor, cells: tuple[int, int], steps: int) -> Tensor:
    """Do what `flow` does, with array operations that autograd knows."""
    count = change.shape[1]
    first = count * torch.arange(len(points), device=points.device)[:, None]
    maps = change.flatten(0, 1)
    for _ in range(steps):
        here = maps[first + triangle_of(points, cells)]
        points = points + (here[..., :2] * points[..., None, :]).sum(-1) + here[..., 2]
    return points
