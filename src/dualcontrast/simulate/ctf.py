"""The contrast transfer function (CTF) of the microscope, for volumes and for the tilts of a series.

The sign is that of data whose contrast was inverted, as RELION works with: particles are bright, and the CTF
of an underfocused image begins positive, with the amplitude contrast at zero frequency.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch_ctf import calculate_ctf_2d
from torch_ctf.ctf_utils import calculate_total_phase_shift

from dualcontrast.errors import SettingError

# RELION writes defocus in Å, torch-ctf takes µm.
ANGSTROM_PER_MICROMETRE = 1e4
# µm; nearer to focus there is hardly any contrast.
LEAST_DEFOCUS = 0.05


@dataclass(frozen=True)
class Ctf:
    """Settings of the microscope.

    Attributes
    ----------
    defocus : float
        Defocus in µm; positive is underfocus.
    defocus_spread : float
        Every tomogram has its own defocus, drawn evenly from `defocus` ± `defocus_spread`, in µm.
    cs : float
        Spherical aberration in mm.
    voltage : float
        Acceleration voltage in kV.
    amplitude_contrast : float
        Share of amplitude contrast; 0.1 is usual for ice.
    """

    defocus: Annotated[float, Field(ge=LEAST_DEFOCUS, le=50)] = 5.0
    defocus_spread: Annotated[float, Field(ge=0, le=10)] = 0.0
    cs: Annotated[float, Field(ge=0, le=10)] = 1.7
    voltage: Annotated[float, Field(ge=10, le=1000)] = 300.0
    amplitude_contrast: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def __post_init__(self) -> None:
        if self.defocus - self.defocus_spread < LEAST_DEFOCUS:
            raise SettingError(
                f"ctf.defocus {self.defocus:g} ± ctf.defocus_spread {self.defocus_spread:g} µm: would focus "
                f"some tomograms beyond the sample, or nearly, and invert their contrast; leave at least "
                f"{LEAST_DEFOCUS:g} µm"
            )


def ctf_values(frequencies: Tensor, ctf: Ctf, defocus: float | Tensor) -> Tensor:
    """Evaluate the CTF at spatial frequencies.

    `sin(pi lambda dz k^2 - pi/2 Cs lambda^3 k^4 + arcsin(A))`, with the electron's wavelength lambda, defocus
    dz, spherical aberration Cs and amplitude contrast A.

    Parameters
    ----------
    frequencies : Tensor, any shape
        Lengths of the frequency vectors, in 1/Å.
    ctf : Ctf
        Settings; its `defocus` is not used.
    defocus : float or Tensor
        Defocus in µm, of a shape that broadcasts with `frequencies`.

    Returns
    -------
    Tensor
        Values in [-1, 1].
    """
    phase = calculate_total_phase_shift(
        defocus_um=torch.as_tensor(defocus),
        voltage_kv=torch.tensor(ctf.voltage),
        spherical_aberration_mm=torch.tensor(ctf.cs),
        phase_shift_degrees=torch.tensor(0.0),
        amplitude_contrast_fraction=torch.tensor(ctf.amplitude_contrast),
        fftfreq_grid_angstrom_squared=frequencies**2,
    )
    return -torch.sin(phase)


def ctf_volume(box: int, voxel_size: float, ctf: Ctf, defocus: float) -> Tensor:
    """Make the CTF of a subtomogram, which depends on the length of the frequency vector only.

    This is the model of EMAN and of the paper: the volume is filtered as if every direction had been imaged
    with the same defocus.

    Parameters
    ----------
    box : int
        Edge of the volume in voxels.
    voxel_size : float
        In Å.
    ctf : Ctf
        Settings; its `defocus` is not used.
    defocus : float
        Of this volume, in µm.

    Returns
    -------
    Tensor of shape (box, box, box // 2 + 1)
        In the layout of `torch.fft.rfftn`.
    """
    full = torch.fft.fftfreq(box, d=voxel_size)
    half = torch.fft.rfftfreq(box, d=voxel_size)
    length = torch.sqrt(full[:, None, None] ** 2 + full[None, :, None] ** 2 + half[None, None, :] ** 2)
    return ctf_values(length, ctf, defocus)


def ctf_image(box: int, pixel_size: float, ctf: Ctf, defocus: float) -> Tensor:
    """Make the CTF of a square image, shape (box, box // 2 + 1), in the layout of `torch.fft.rfft2`."""
    return calculate_ctf_2d(
        defocus=defocus,
        astigmatism=0.0,
        astigmatism_angle=0.0,
        voltage=ctf.voltage,
        spherical_aberration=ctf.cs,
        amplitude_contrast=ctf.amplitude_contrast,
        phase_shift=0.0,
        pixel_size=pixel_size,
        image_shape=(box, box),
        rfft=True,
        fftshift=False,
    )
