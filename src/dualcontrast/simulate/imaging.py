"""From posed densities to noisy subtomograms, in the two modes of simulation."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dualcontrast.random_streams import torch_stream
from dualcontrast.simulate.ctf import ctf_volume
from dualcontrast.simulate.noise import add_noise, particle_mask
from dualcontrast.simulate.subtomogram_spec import SubtomogramSpec
from dualcontrast.simulate.tilt_series import TiltSeries
from dualcontrast.wedge import apply_wedge, tilt_wedge


class Microscope(Protocol):
    """What the modes of simulation have in common; tomograms are numbered from 0."""

    def image(self, densities: Tensor, tomograms: np.ndarray) -> Tensor:
        """Image N posed densities (N, D, D, D), without noise; `tomograms` has N numbers."""
        ...

    def noise(self, seed: int, numbers: np.ndarray) -> Tensor:
        """Make noise of any scale, (N, D, D, D), for the particles of these numbers."""
        ...

    def weights(self, tomogram: int) -> Tensor | None:
        """Fourier weights of a tomogram's subtomograms, (D, D, D // 2 + 1), for `rlnCtfImage`."""
        ...


class SimpleMicroscope:
    """One CTF for a whole volume, as EMAN and the paper apply it, and a sharp missing wedge."""

    def __init__(self, spec: SubtomogramSpec, defoci: np.ndarray) -> None:
        box = spec.box
        self._size = (box, box, box)
        tilts = spec.measured_range
        self._wedge = None if tilts is None else tilt_wedge((box, box, box), *tilts)
        everything = torch.ones(box, box, box // 2 + 1)
        filters = [
            everything if spec.ctf is None else ctf_volume(box, spec.voxel_size, spec.ctf, float(defocus))
            for defocus in defoci
        ]
        self._filters = torch.stack(filters) * (everything if self._wedge is None else self._wedge)

    def image(self, densities: Tensor, tomograms: np.ndarray) -> Tensor:
        """Multiply by the CTF and the wedge."""
        return apply_wedge(densities[:, None], self._filters[torch.from_numpy(tomograms)])[:, 0]

    def noise(self, seed: int, numbers: np.ndarray) -> Tensor:
        """Make white noise, without the components in the wedge."""
        white = [torch.randn(self._size, generator=torch_stream(seed, "noise", int(n))) for n in numbers]
        noise = torch.stack(white)
        return noise if self._wedge is None else apply_wedge(noise[:, None], self._wedge[None])[:, 0]

    def weights(self, tomogram: int) -> Tensor | None:
        """Give the wedge alone, 1 or 0: the CTF is the same in all directions."""
        return self._wedge


class TiltSeriesMicroscope:
    """Imaging tilt by tilt, see `TiltSeries`."""

    def __init__(self, spec: SubtomogramSpec, defoci: np.ndarray) -> None:
        tilts = spec.measured_range
        assert tilts is not None
        self._series = TiltSeries(spec.box, spec.voxel_size, tilts, spec.tilt_series)
        self._transfers = torch.stack([self._series.transfer(spec.ctf, float(defocus)) for defocus in defoci])

    def image(self, densities: Tensor, tomograms: np.ndarray) -> Tensor:
        """Project, filter each tilt, and back-project."""
        return self._series.image(densities, self._transfers[torch.from_numpy(tomograms)])

    def noise(self, seed: int, numbers: np.ndarray) -> Tensor:
        """Back-project tilts of white noise."""
        return self._series.noise(seed, numbers)

    def weights(self, tomogram: int) -> Tensor | None:
        """Give the CTF volume, with wedge and dose and the CTF's sign."""
        return self._series.transfer_volume(self._transfers[tomogram])


def make_microscope(spec: SubtomogramSpec, defoci: np.ndarray) -> Microscope:
    """Set up the mode of simulation that is asked for, for tomograms of these defoci (µm)."""
    return (SimpleMicroscope if spec.mode == "simple" else TiltSeriesMicroscope)(spec, defoci)


def photograph(
    microscope: Microscope,
    densities: Tensor,
    tomograms: np.ndarray,
    numbers: np.ndarray,
    snr: float | None,
    seed: int,
) -> Tensor:
    """Image posed densities and add noise.

    Parameters
    ----------
    microscope : Microscope
        The mode of simulation.
    densities : Tensor of shape (N, D, D, D)
        Posed densities.
    tomograms, numbers : numpy.ndarray of int, shape (N,)
        Tomogram and number of each particle.
    snr : float or None
        See `dualcontrast.simulate.noise`; None adds no noise.
    seed : int
        Seed of the data set.

    Returns
    -------
    Tensor of shape (N, D, D, D)
    """
    images = microscope.image(densities, tomograms)
    if snr is None:
        return images
    return add_noise(images, microscope.noise(seed, numbers), particle_mask(densities), snr)
