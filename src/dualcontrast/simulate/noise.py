"""Noise added to a volume so that a stated signal-to-noise ratio comes out.

SNR is the variance of the noise-free image inside the particle's mask, divided by the variance of the noise
over the whole box. Noise-free means with the CTF and the missing wedge, without noise.
"""

import torch.nn.functional as F
from torch import Tensor

# Voxels at or above this share of a density's maximum belong to the particle.
_THRESHOLD = 0.1


def particle_mask(densities: Tensor) -> Tensor:
    """Mark the voxels of particles.

    Parameters
    ----------
    densities : Tensor of shape (N, D, H, W)
        Posed densities, before CTF and noise.

    Returns
    -------
    Tensor of shape (N, D, H, W), bool
        Voxels of at least a tenth of the volume's maximum, and the 26 neighbours of each. There is no soft
        edge.
    """
    highest = densities.amax(dim=(-3, -2, -1), keepdim=True)
    inside = (densities >= _THRESHOLD * highest).to(densities.dtype)
    return F.max_pool3d(inside[:, None], kernel_size=3, stride=1, padding=1)[:, 0] > 0


def masked_variance(images: Tensor, masks: Tensor) -> Tensor:
    """Variance of each of N images over its mask; returns shape (N, 1, 1, 1)."""
    weights = masks.to(images.dtype)
    count = weights.sum((-3, -2, -1), keepdim=True)
    mean = (images * weights).sum((-3, -2, -1), keepdim=True) / count
    return ((images - mean) ** 2 * weights).sum((-3, -2, -1), keepdim=True) / count


def add_noise(images: Tensor, noise: Tensor, masks: Tensor, snr: float) -> Tensor:
    """Add noise, scaled for each image so that its SNR is as asked.

    Parameters
    ----------
    images : Tensor of shape (N, D, H, W)
        Noise-free images.
    noise : Tensor of shape (N, D, H, W)
        Noise of any scale; its spectrum stays as it is.
    masks : Tensor of shape (N, D, H, W), bool
        From `particle_mask`.
    snr : float
        Signal-to-noise ratio, above 0.

    Returns
    -------
    Tensor of shape (N, D, H, W)
    """
    wanted = masked_variance(images, masks) / snr
    present = noise.var(dim=(-3, -2, -1), correction=0, keepdim=True)
    return images + noise * (wanted / present).sqrt()
