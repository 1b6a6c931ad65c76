"""Reading particles to be laid over each other: volumes, what was measured of them, and their plane waves."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from dualcontrast.averaging.waves import Waves
from dualcontrast.ball_harmonics import LARGEST_BOX
from dualcontrast.data.labels import positions_of
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError, SettingError
from dualcontrast.fourier import crop_wedges, fourier_crop
from dualcontrast.prepare import Preparation
from dualcontrast.training.batches import read_prepared, read_wedges

# Share of the box around which the particle is looked for.
DIAMETER = 0.85
# In memory at once, where volumes come in parts.
VOXELS_AT_ONCE = 2**25


def check_cubes(preparation: Preparation) -> None:
    """Raise `SettingError` where the images of a run are no cubic volumes."""
    if len(set(preparation.image_shape[1:])) != 1 or len(preparation.image_shape) != 4:
        raise SettingError(
            f"images of shape {preparation.image_shape[1:]} cannot be averaged; only cubic volumes can"
        )


def rows_of(source: ImageSource, ids: np.ndarray) -> np.ndarray:
    """Return the places of particles in a source; `DataError` where it lacks one."""
    rows = positions_of(ids, source.ids)
    if (rows < 0).any():
        raise DataError(
            f"{source.location}: has no image with the id '{ids[rows < 0][0]}'; "
            "restore the images that the run was trained on"
        )
    return rows


def read_particles(
    source: ImageSource, preparation: Preparation, ids: np.ndarray
) -> tuple[Tensor, Tensor | None]:
    """Read volumes (n, 1, D, H, W), and the Fourier weights of what was measured, where they are known."""
    rows = rows_of(source, ids)
    return read_prepared(source, preparation, rows), read_weights(source, preparation, rows)


def parts_of(count: int, preparation: Preparation) -> list[slice]:
    """Cut particles into parts whose prepared volumes take 128 MiB."""
    size = max(1, VOXELS_AT_ONCE // math.prod(preparation.image_shape))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def read_in_parts(
    source: ImageSource, preparation: Preparation, ids: np.ndarray
) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
    """Go through particles: the place of each part of them among all, and what `read_particles` returns."""
    for part in parts_of(len(ids), preparation):
        yield part, *read_particles(source, preparation, ids[part])


def read_spectra(
    source: ImageSource, preparation: Preparation, ids: np.ndarray, waves: Waves
) -> tuple[Tensor, Tensor | None]:
    """Read plane waves (n, 2 K) of particles, and how much of each was measured on average, (K,) or None."""
    spectra, seen = [], []
    for _, volumes, wedges in read_in_parts(source, preparation, ids):
        spectra.append(spectra_of(waves, volumes))
        if wedges is not None:
            seen.append(len(volumes) / len(ids) * mean_seen(waves, wedges, volumes.shape[-1]))
    return torch.cat(spectra), torch.stack(seen).sum(dim=0) if seen else None


def read_weights(source: ImageSource, preparation: Preparation, rows: np.ndarray) -> Tensor | None:
    """Read Fourier weights, (1 or n, D, H, W // 2 + 1): one for all where all were tilted alike."""
    wedges = read_wedges(source, preparation, rows[:1])
    if wedges is not None and source.tilt_range is None:
        wedges = read_wedges(source, preparation, rows)
    return wedges


def waves_for(shape: Sequence[int]) -> Waves:
    """Return the waves for volumes of a shape (C, D, H, W); boxes of more than 32 voxels are cropped to 32.

    Raises
    ------
    DataError
        For anything but cubes of one channel.
    """
    if shape[0] != 1 or len(set(shape[1:])) != 1:
        raise DataError(f"volumes of shape {tuple(shape)} cannot be aligned; give cubes of one channel")
    return Waves(min(shape[-1], LARGEST_BOX), DIAMETER)


def spectra_of(waves: Waves, volumes: Tensor) -> Tensor:
    """Plane waves of volumes (N, 1, L, L, L), cropped to the box of the waves; shape (N, 2 K)."""
    box, full = waves.box, volumes.shape[-1]
    parts = volumes.split(256)
    return torch.cat([waves.spectra(part if box == full else fourier_crop(part, box)) for part in parts])


def mean_seen(waves: Waves, wedges: Tensor, full: int) -> Tensor:
    """Mean weight of every plane wave, shape (K,), of weights in a box of `full` voxels."""
    mean = wedges.mean(dim=0, keepdim=True)
    cropped = mean if waves.box == full else crop_wedges(mean, full, waves.box)
    return cropped.flatten()[waves.kept]
