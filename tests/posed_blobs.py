"""Volumes drawn from a formula in known orientations."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

BOX = 16
# Places (x, y, z) of blobs, in voxels from voxel n // 2: nothing turns these into each other.
BLOBS = np.array([[0.0, 0, 0], [4, 0, 0], [0, 3, 0], [0, 0, -3.5], [-2.5, 2, 1], [2, -1, 3]])
WEIGHTS = np.array([1.0, 1.3, 0.9, 1.1, 0.8, 0.7])


def posed_blobs(
    rotations: np.ndarray,
    shifts: np.ndarray,
    places: np.ndarray,
    noise: float,
    seed: int,
    weights: np.ndarray = WEIGHTS,
) -> Tensor:
    """Gaussian blobs at `A p + t`, shape (N, 1, BOX, BOX, BOX)."""
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    at = np.einsum("nij,bj->nbi", rotations, places) + shifts[:, None]
    volumes = np.zeros((len(rotations), BOX, BOX, BOX))
    for blob, weight in enumerate(weights):
        px, py, pz = (at[:, blob, i, None, None, None] for i in range(3))
        volumes += weight * np.exp(-((x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2) / (2 * 1.2**2))
    volumes += noise * np.random.default_rng(seed).normal(size=volumes.shape)
    volumes -= volumes.mean(axis=(1, 2, 3), keepdims=True)
    return torch.from_numpy(volumes / volumes.std(axis=(1, 2, 3), keepdims=True))[:, None].float()


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random orientations, and shifts of at most a voxel along each axis."""
    generator = np.random.default_rng(seed)
    return Rotation.random(count, rng=generator).as_matrix(), generator.uniform(-1, 1, size=(count, 3))
