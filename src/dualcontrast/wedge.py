"""The missing wedge of a tilt series: which frequencies of a subtomogram were measured.

A tilt series turns the sample about the y axis, and the beam runs along z at 0 degrees. Each tilt measures
one plane of the sample's Fourier transform, and all planes contain the tilt axis. Tilts from `tilt_min` to
`tilt_max` leave a wedge along z without data.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast.constants import constant
from dualcontrast.errors import SettingError
from dualcontrast.spread import by_rows


def tilt_wedge(box_shape: tuple[int, int, int], tilt_min: float, tilt_max: float) -> Tensor:
    """Mark the frequencies that a tilt series measures.

    Parameters
    ----------
    box_shape : tuple of int
        Shape (D, H, W) of the volumes, that is (z, y, x), in voxels.
    tilt_min, tilt_max : float
        First and last tilt in degrees, between -90 and 90. The tilt axis is y. A tilt by +t turns the sample
        right-handed about +y, as in RELION 5 (`rlnTomoYTilt`), so its plane holds the frequencies with
        kz / kx = tan(t).

    Returns
    -------
    Tensor of shape (D, H, W // 2 + 1), float32
        1 where the frequency was measured, 0 in the missing wedge, in the layout of `torch.fft.rfftn` (not
        shifted). The tilt axis itself, with the zero frequency, is always measured.

    Raises
    ------
    SettingError
        For a range that is empty or goes beyond ±90 degrees.
    """
    if not -90 <= tilt_min < tilt_max <= 90:
        raise SettingError(
            f"tilt range {tilt_min:g} to {tilt_max:g} degrees: "
            "give two angles from -90 to 90, the smaller first"
        )
    depth, height, width = box_shape
    kz = torch.fft.fftfreq(depth, dtype=torch.float64)[:, None]
    kx = torch.fft.rfftfreq(width, dtype=torch.float64)[None, :]
    measured = _measured(kz, kx, tilt_min, tilt_max)
    # The highest frequency of an even box stands for both of its signs: it counts where both were measured,
    # so that the spectrum keeps its symmetry when the range is lopsided.
    mirrored = torch.minimum(measured, _measured(-kz, kx, tilt_min, tilt_max))
    if depth % 2 == 0:
        measured[depth // 2] = mirrored[depth // 2]
    if width % 2 == 0:
        measured[:, -1] = mirrored[:, -1]
    return measured.float()[:, None, :].expand(depth, height, width // 2 + 1).contiguous()


@by_rows("volumes", "wedge")
def apply_wedge(volumes: Tensor, wedge: Tensor) -> Tensor:
    """Multiply the Fourier transforms of volumes by a wedge or by any other Fourier weights.

    Parameters
    ----------
    volumes : Tensor of shape (N, C, D, H, W)
        Real volumes. Half precision is transformed in single precision and given back as it came.
    wedge : Tensor of shape (N, D, H, W // 2 + 1) or (1, D, H, W // 2 + 1)
        Weights in the layout of `torch.fft.rfftn`, one for each volume or one for all.

    Returns
    -------
    Tensor of shape (N, C, D, H, W)
    """
    exact = volumes if volumes.dtype in (torch.float32, torch.float64) else volumes.float()
    spectrum = torch.fft.rfftn(exact, dim=(-3, -2, -1)) * wedge.to(exact)[:, None]
    return torch.fft.irfftn(spectrum, s=exact.shape[-3:], dim=(-3, -2, -1)).to(volumes.dtype)


@by_rows("wedges", "matrices")
def move_wedges(wedges: Tensor, matrices: Tensor, width: int) -> Tensor:
    """Turn Fourier weights as the volumes they belong to are turned.

    A volume moved by x -> A x has at the frequency k what the volume itself has at Aᵀ k. Weights are
    interpolated linearly; frequencies that come from beyond the box were not measured.

    Parameters
    ----------
    wedges : Tensor, shape (N, D, H, W // 2 + 1)
        Weights in the layout of `torch.fft.rfftn`.
    matrices : Tensor, shape (N, 3, 3)
        Linear maps of voxel positions (x, y, z).
    width : int
        W: the half layout does not tell an even box from an odd one.

    Returns
    -------
    Tensor, shape (N, D, H, W // 2 + 1)
    """
    depth, height, half = wedges.shape[1:]
    device, kind = wedges.device, wedges.dtype
    # Cycles a box; the boxes may differ along the axes, so frequencies are compared a voxel.
    kz = torch.fft.fftfreq(depth, device=device, dtype=kind)
    ky = torch.fft.fftfreq(height, device=device, dtype=kind)
    kx = torch.fft.rfftfreq(width, device=device, dtype=kind)
    grid = torch.stack(torch.meshgrid(kz, ky, kx, indexing="ij")[::-1], dim=-1)
    source = torch.einsum("zyxi,nij->nzyxj", grid, matrices.to(kind))
    # Real volumes: the other half is the mirror image.
    source = torch.where(source[..., :1] < 0, -source, source)
    size = constant((width, height, depth), kind, device)
    place = source * size
    # In the half layout x starts at 0; y and z are shifted so that they rise, zero frequency at n // 2.
    start = constant((0, height // 2, depth // 2), kind, device)
    last = constant((half - 1, height - 1, depth - 1), kind, device)
    shifted = torch.fft.fftshift(wedges, dim=(1, 2))[:, None]
    places = 2 * (place + start) / last - 1
    return F.grid_sample(shifted, places, mode="bilinear", padding_mode="zeros", align_corners=True)[:, 0]


def _measured(kz: Tensor, kx: Tensor, tilt_min: float, tilt_max: float) -> Tensor:
    """Give 1 within the tilts, 0 outside, for frequencies with kx >= 0 (which have every direction once)."""
    angle = torch.rad2deg(torch.atan2(kz, kx))
    # Rounding must not decide about a frequency that lies on the border, as at 45 degrees.
    outside = torch.maximum(tilt_min - angle, angle - tilt_max) - 1e-9
    # On kx = 0, +90 and -90 degrees are one direction.
    vertical = (kx == 0) & (kz != 0)
    outside = torch.where(vertical, min(tilt_min + 90, 90 - tilt_max), outside)
    outside = torch.where((kx == 0) & (kz == 0), 0.0, outside)
    return (outside <= 0).to(torch.float64)
