"""A soft spherical mask around the particle."""

import math

import torch
from torch import Tensor

# The edge is this share of the box wide, and at least so many voxels.
EDGE_SHARE, SMALLEST_EDGE = 1 / 16, 2.0


def distance_from_centre(spatial: tuple[int, ...]) -> Tensor:
    """Distance of every voxel from the centre of the box, voxel `n // 2`, in voxels: shape `spatial`."""
    axes = [torch.arange(length, dtype=torch.float64) - length // 2 for length in spatial]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(dim=0).sqrt()


def edge_width(spatial: tuple[int, ...]) -> float:
    """Width of the soft edge in voxels: a sixteenth of the box, at least 2."""
    return max(EDGE_SHARE * min(spatial), SMALLEST_EDGE)


def spherical_mask(spatial: tuple[int, ...], diameter: float) -> Tensor:
    """Make a mask that is 1 inside a sphere and falls to 0 outside it.

    The edge is a raised cosine outside the sphere, as in RELION; see `edge_width`.

    Parameters
    ----------
    spatial : tuple of int
        Shape of the box, in voxels. Two axes make a disc.
    diameter : float
        Of the sphere in which the mask is 1, in voxels.

    Returns
    -------
    Tensor, float32, shape `spatial`
    """
    outside = (distance_from_centre(spatial) - diameter / 2) / edge_width(spatial)
    return (0.5 + 0.5 * torch.cos(math.pi * outside.clamp(0, 1))).float()
