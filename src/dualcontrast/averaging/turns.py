"""Rotations together with what they do to ball harmonics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast.random_streams import numpy_stream
from dualcontrast.wigner import rotation_grid, wigner_matrices

# Small rotations that are tried around one that is known.
NEARBY = 150


@dataclass
class Turns:
    """Rotations, and their Wigner matrices.

    Attributes
    ----------
    rotations : Tensor, shape (N, 3, 3)
        Acting on (x, y, z).
    wigner : list of Tensor, shapes (N, 2 l + 1, 2 l + 1)
        D_l of each; coefficients a of f(p) become a D, those of f(R p).
    """

    rotations: Tensor
    wigner: list[Tensor]

    @classmethod
    def none(cls, count: int, highest: int) -> "Turns":
        """Return rotations that leave everything as it is, up to the Wigner matrices of degree `highest`."""
        sizes = (3, *(2 * degree + 1 for degree in range(highest + 1)))
        first, *others = (torch.eye(size).repeat(count, 1, 1) for size in sizes)
        return cls(first, others)

    def __len__(self) -> int:
        return len(self.rotations)

    def __getitem__(self, rows: Tensor | slice | Sequence[int]) -> "Turns":
        return Turns(self.rotations[rows], [matrix[rows] for matrix in self.wigner])

    def __setitem__(self, rows: Tensor | slice | Sequence[int], other: "Turns") -> None:
        self.rotations[rows] = other.rotations
        for matrix, new in zip(self.wigner, other.wigner, strict=True):
            matrix[rows] = new

    def then(self, other: "Turns") -> "Turns":
        """Turn what is turned already; `other` may be one rotation or as many."""
        pairs = zip(self.wigner, other.wigner, strict=True)
        return Turns(self.rotations @ other.rotations, [matrix @ further for matrix, further in pairs])


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def grid(count: int, highest: int) -> Turns:
    """Spread rotations evenly; do not change what is returned, which is kept."""
    return turns_of(rotation_grid(count), highest)


# As many as the alignment of one class uses, so that all classes of a run share them.
@lru_cache(maxsize=256)
@torch.inference_mode(False)
def nearby(seed: int, draw: int, width: float, highest: int) -> Turns:
    """Small rotations of a width in degrees, none the first; do not change what is returned."""
    vectors = numpy_stream(seed, "nearby", draw).normal(size=(NEARBY, 3))
    vectors[0] = 0
    return turns_of(Rotation.from_rotvec(vectors * math.radians(width)).as_matrix(), highest)


def turns_of(rotations: np.ndarray, highest: int) -> Turns:
    """Return rotations (N, 3, 3) with their Wigner matrices up to degree `highest`."""
    return Turns(torch.from_numpy(rotations).float(), wigner_matrices(rotations, highest))
