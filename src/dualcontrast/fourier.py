"""Volumes on a coarser grid, and with less resolution: done on their Fourier components."""

import math
from functools import lru_cache

import torch
from torch import Tensor

# RELION's width of the edge of a low-pass filter, in Fourier voxels.
LOW_PASS_EDGE = 2.0


# What is kept for later must be fit for training, even if encoding asks for it first.
@lru_cache(maxsize=16)
@torch.inference_mode(False)
def crop_matrix(length: int, shorter: int) -> Tensor:
    """Map samples of one axis to fewer samples by leaving out high frequencies.

    The centre of the box, sample `n // 2` in cryo-EM, stays the centre, whether lengths are even or odd. A
    highest frequency that both signs share (even `shorter`) keeps its amplitude, as in
    `scipy.signal.resample`.

    Parameters
    ----------
    length, shorter : int
        Number of samples before and after.

    Returns
    -------
    Tensor, float64, shape (shorter, length)
        Rows sum to 1, so the mean is kept.
    """
    samples = torch.eye(length, dtype=torch.float64).roll(-(length // 2), dims=0)
    spectrum = torch.fft.rfft(samples, dim=0)[: shorter // 2 + 1]
    if shorter % 2 == 0 and shorter < length:
        spectrum[-1] = 2 * spectrum[-1].real
    coarse = torch.fft.irfft(spectrum, n=shorter, dim=0) * (shorter / length)
    return coarse.roll(shorter // 2, dims=0)


def fourier_crop(volumes: Tensor, box: int) -> Tensor:
    """Bring volumes to a coarser grid by leaving out the frequencies that it cannot hold.

    Parameters
    ----------
    volumes : Tensor, shape (n, C, *spatial)
        Two or three spatial axes of at least `box` samples each.
    box : int
        Samples along every spatial axis afterwards.

    Returns
    -------
    Tensor, shape (n, C, box, box[, box])
        The same intensities; the centre, sample `n // 2`, stays the centre.
    """
    return _along_axes(volumes, [crop_matrix(length, box) for length in volumes.shape[2:]])


def fourier_pad(volumes: Tensor, box: int) -> Tensor:
    """Bring volumes to a finer grid with nothing at the new frequencies; undone by `fourier_crop`.

    Parameters and result are as there, with axes of at most `box` samples before.
    """
    return _along_axes(volumes, [crop_matrix(box, n).T * (box / n) for n in volumes.shape[2:]])


def _along_axes(volumes: Tensor, matrices: list[Tensor]) -> Tensor:
    """Multiply each spatial axis of volumes with a matrix of its own."""
    for axis, matrix in enumerate(matrices, start=2):
        volumes = (volumes.movedim(axis, -1) @ matrix.to(volumes).T).movedim(-1, axis)
    return volumes.contiguous()


def crop_wedges(wedges: Tensor, width: int, box: int) -> Tensor:
    """Keep the Fourier weights of the frequencies that `fourier_crop` keeps.

    Parameters
    ----------
    wedges : Tensor, shape (n, D, H, W // 2 + 1)
        Weights in the layout of `torch.fft.rfftn`.
    width : int
        W: the half layout does not tell an even box from an odd one.
    box : int
        Voxels along every axis afterwards; at most D, H and W.

    Returns
    -------
    Tensor, shape (n, box, box, box // 2 + 1)
        The highest frequency of an even box stands for both of its signs; its weight is the smaller of both.
    """
    half = box // 2
    for axis in (1, 2):
        length = wedges.shape[axis]
        if box == length:
            continue
        kept = torch.fft.fftfreq(box, 1 / box).round().long().to(wedges.device)
        narrowed = wedges.index_select(axis, kept % length)
        if box % 2 == 0:
            highest = wedges.narrow(axis, half, 1)
            narrowed.narrow(axis, half, 1).copy_(torch.minimum(narrowed.narrow(axis, half, 1), highest))
        wedges = narrowed
    if box == width:
        return wedges
    wedges = wedges[..., : half + 1].clone()
    if box % 2 == 0:
        # A real volume has at -k what it has at k, conjugated.
        column = wedges[..., -1]
        wedges[..., -1] = torch.minimum(column, column.flip(1, 2).roll((1, 1), dims=(1, 2)))
    return wedges


def low_pass_weights(spatial: tuple[int, ...], cutoff: float) -> Tensor:
    """Weights of a low-pass filter with a raised-cosine edge.

    Parameters
    ----------
    spatial : tuple of int
        Samples along each axis.
    cutoff : float
        Frequency in cycles a sample at which the weight is 1/2. The edge is two Fourier voxels of the longest
        axis wide, as in RELION: 1 below it, 0 above it.

    Returns
    -------
    Tensor, float32, shape (*spatial[:-1], spatial[-1] // 2 + 1)
        In the layout of `torch.fft.rfftn`.
    """
    axes = [torch.fft.fftfreq(length, dtype=torch.float64) for length in spatial[:-1]]
    axes.append(torch.fft.rfftfreq(spatial[-1], dtype=torch.float64))
    grid = torch.meshgrid(*axes, indexing="ij")
    radius = torch.stack(grid).square().sum(dim=0).sqrt()
    edge = LOW_PASS_EDGE / max(spatial)
    beyond = ((radius - cutoff) / edge + 0.5).clamp(0, 1)
    return (0.5 + 0.5 * torch.cos(math.pi * beyond)).float()


def low_pass(volumes: Tensor, cutoff: float) -> Tensor:
    """Take away what is finer than a cutoff; see `low_pass_weights`.

    Parameters
    ----------
    volumes : Tensor, shape (n, C, *spatial)
        Real images or volumes.
    cutoff : float
        Frequency in cycles a sample.
    """
    spatial, axes = volumes.shape[2:], tuple(range(2, volumes.ndim))
    spectrum = torch.fft.rfftn(volumes, dim=axes) * low_pass_weights(tuple(spatial), cutoff).to(volumes)
    return torch.fft.irfftn(spectrum, s=tuple(spatial), dim=axes)
