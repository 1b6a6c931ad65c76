"""Subtomograms as a microscope and a reconstruction make them: tilt by tilt.

A particle is projected at every tilt, filtered by that image's CTF and by the damage that the dose did so
far, and covered with noise; the images are weighted by dose and back-projected. What the paper's simulation
leaves out comes with it: the missing wedge, gaps between the tilts at high frequencies, and worse images
later in the series.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast.errors import SettingError
from dualcontrast.random_streams import torch_stream
from dualcontrast.simulate.central_slices import CentralSlices
from dualcontrast.simulate.ctf import Ctf, ctf_image


@dataclass(frozen=True)
class TiltScheme:
    """How a tilt series is taken.

    Attributes
    ----------
    step : float
        Angle between tilts in degrees.
    total_dose : float
        Dose of the whole series in electrons per Å², spread evenly over the tilts.
    """

    step: Annotated[float, Field(ge=0.5, le=30)] = 3.0
    total_dose: Annotated[float, Field(ge=0, le=1000)] = 120.0


def dose_symmetric_tilts(tilt_min: float, tilt_max: float, step: float) -> np.ndarray:
    """List tilts in the order of the dose-symmetric scheme: 0, 3, -3, -6, 6, 9, -9, ...

    Source: Hagen, Wan and Briggs (2017), Journal of Structural Biology 197, 191-198.

    Parameters
    ----------
    tilt_min, tilt_max : float
        First and last tilt in degrees. Tilts are the multiples of `step` between them.
    step : float
        In degrees.

    Returns
    -------
    numpy.ndarray, shape (T,)
        Tilts in degrees in the order in which they are taken; a side that ends early is left out.
    """
    rounds = np.arange(int(np.ceil(tilt_min / step - 1e-9)), int(np.floor(tilt_max / step + 1e-9)) + 1)
    side = np.where(np.abs(rounds) % 2 == 1, rounds < 0, rounds > 0)
    return rounds[np.lexsort((side, np.abs(rounds)))] * step


def dose_filter(frequencies: Tensor, dose: float | Tensor) -> Tensor:
    """What is left of the signal after a dose of electrons.

    `exp(-dose / (2 Nc(k)))` with the critical exposure `Nc(k) = 0.245 k^-1.665 + 2.81`, measured at 300 kV.
    Source: Grant and Grigorieff (2015), eLife 4, e06980, equation 3.

    Parameters
    ----------
    frequencies : Tensor, any shape
        Lengths of the frequency vectors, in 1/Å.
    dose : float or Tensor
        In electrons per Å², of a shape that broadcasts with `frequencies`.

    Returns
    -------
    Tensor
        Between 0 and 1; 1 at zero frequency.
    """
    critical = 0.245 * frequencies.clamp(min=1e-12) ** -1.665 + 2.81
    return torch.exp(-torch.as_tensor(dose) / (2 * critical))


class TiltSeries:
    """The imaging and reconstruction of subtomograms, with the tilts that all tomograms share.

    Volumes are embedded in a box of twice the edge, so that neither the CTF nor the projection wraps around;
    frequencies beyond the Nyquist sphere are empty.

    Parameters
    ----------
    box : int
        Edge of the subtomograms in voxels; even.
    voxel_size : float
        In Å.
    tilt_range : tuple of float
        First and last tilt in degrees. The tilt axis is y; the beam runs along z at 0 degrees.
    scheme : TiltScheme
        Tilt step and dose.

    Attributes
    ----------
    tilts : numpy.ndarray, shape (T,)
        Tilts in degrees, in the order in which they are taken.
    """

    def __init__(
        self, box: int, voxel_size: float, tilt_range: tuple[float, float], scheme: TiltScheme
    ) -> None:
        self.box, self.voxel_size = box, voxel_size
        self.tilts = dose_symmetric_tilts(*tilt_range, scheme.step)
        if not len(self.tilts):
            raise SettingError(
                f"tilt range {tilt_range[0]:g} to {tilt_range[1]:g} degrees holds no multiple of the "
                f"step of {scheme.step:g} degrees; widen it"
            )
        # A tilt turns the sample by Ry(tilt), so the axes of its image lie in the sample turned back.
        turns = Rotation.from_euler("y", self.tilts[:, None], degrees=True)
        self._slices = CentralSlices(2 * box, turns.inv().as_matrix(), inner=box)
        # Dose halfway through each exposure.
        doses = (np.arange(len(self.tilts)) + 0.5) * scheme.total_dose / len(self.tilts)
        full = torch.fft.fftfreq(2 * box, d=voxel_size)
        half = torch.fft.rfftfreq(2 * box, d=voxel_size)
        length = torch.sqrt(full[:, None] ** 2 + half[None, :] ** 2)
        self._damage = dose_filter(length, torch.from_numpy(doses).float()[:, None, None])

    def transfer(self, ctf: Ctf | None, defocus: float) -> Tensor:
        """Give what the images of one tomogram are multiplied by: the CTF, and the damage by the dose.

        Parameters
        ----------
        ctf : Ctf or None
            Settings of the microscope; None images without a CTF.
        defocus : float
            In µm, of all images: across a particle and between tilts it changes too little to matter at the
            frequencies of a subtomogram.

        Returns
        -------
        Tensor of shape (T, 2 box, box + 1)
        """
        if ctf is None:
            return self._damage
        return self._damage * ctf_image(2 * self.box, self.voxel_size, ctf, defocus)

    def image(self, densities: Tensor, transfer: Tensor) -> Tensor:
        """Image and reconstruct densities, without noise.

        Parameters
        ----------
        densities : Tensor of shape (N, box, box, box)
            Posed particles.
        transfer : Tensor of shape (T, 2 box, box + 1) or (N, T, 2 box, box + 1)
            From `transfer`.

        Returns
        -------
        Tensor of shape (N, box, box, box)
        """
        return self._reconstruct(self._slices.project(densities) * transfer)

    def noise(self, seed: int, numbers: np.ndarray) -> Tensor:
        """Reconstruct white noise of equal variance in all tilts, for the particles of these numbers.

        Returns
        -------
        Tensor of shape (N, box, box, box)
            With the wedge, and coloured by dose weighting and by how densely the tilts lie.
        """
        size = (len(self.tilts), 2 * self.box, 2 * self.box)
        white = [torch.randn(size, generator=torch_stream(seed, "tilt noise", int(n))) for n in numbers]
        return self._reconstruct(torch.fft.rfft2(torch.stack(white)))

    def transfer_volume(self, transfer: Tensor) -> Tensor:
        """Give what every Fourier component of a density was multiplied by, on its way into a subtomogram.

        It holds the missing wedge, the CTF with its sign, and the dose: what RELION 3 calls the CTF volume.

        Returns
        -------
        Tensor of shape (box, box, box // 2 + 1)
            In the layout of `torch.fft.rfftn`.
        """
        point = torch.zeros(1, self.box, self.box, self.box)
        point[0, self.box // 2, self.box // 2, self.box // 2] = 1
        response = torch.fft.ifftshift(self.image(point, transfer)[0])
        return torch.fft.rfftn(response).real

    def _reconstruct(self, images: Tensor) -> Tensor:
        """Weight images by dose and back-project them."""
        return self._slices.back_project(images * self._damage)
