"""Poses of particles in RELION's convention, and densities put into them.

A reference is turned about its centre, voxel `D // 2` of each axis, and then shifted. RELION's three angles
(rot, tilt, psi) describe the coordinate system: with `R = Rz(rot) Ry(tilt) Rz(psi)`, which is
`Rotation.from_euler("ZYZ", [rot, tilt, psi], degrees=True)` of scipy, a feature at p of the reference stands
at `R^-1 p` in the particle, and R turns a particle back onto the reference. RELION's origin is the shift that
moves the particle back to the centre of its box, so it is minus the shift that was simulated.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast.random_streams import numpy_stream

# Trilinear interpolation on a grid this much finer than the voxels dims the highest frequency by 9 % only.
_OVERSAMPLING = 3


@dataclass(frozen=True)
class Poses:
    """Where N particles are and how they are turned.

    Attributes
    ----------
    angles : numpy.ndarray, float64, shape (N, 3)
        RELION's rlnAngleRot, rlnAngleTilt and rlnAnglePsi in degrees.
    shifts : numpy.ndarray, float64, shape (N, 3)
        Shift (x, y, z) in Å of the particle from the centre of its box.
    """

    angles: np.ndarray
    shifts: np.ndarray

    def __len__(self) -> int:
        return len(self.angles)

    @property
    def origins(self) -> np.ndarray:
        """rlnOriginXAngst, -YAngst and -ZAngst: the shift that brings the particle to the centre, in Å."""
        return -self.shifts

    @property
    def particle_matrices(self) -> np.ndarray:
        """Matrices, shape (N, 3, 3), that take (x, y, z) of the reference to (x, y, z) of the particle."""
        return Rotation.from_euler("ZYZ", self.angles, degrees=True).inv().as_matrix()


def draw_poses(numbers: np.ndarray, max_shift: float, seed: int) -> Poses:
    """Draw poses: rotations uniform on SO(3), shifts uniform in a cube.

    Parameters
    ----------
    numbers : numpy.ndarray of int, shape (N,)
        Numbers of the particles. A pose depends on `seed` and the particle's number alone.
    max_shift : float
        Largest shift along each axis, in Å.
    seed : int
        Seed of the data set.

    Returns
    -------
    Poses
        In the order of `numbers`.
    """
    # Four normal numbers are, up to their length, a quaternion that is uniform on SO(3).
    quaternions, shifts = np.empty((len(numbers), 4)), np.empty((len(numbers), 3))
    for row, number in enumerate(numbers):
        generator = numpy_stream(seed, "pose", int(number))
        quaternions[row] = generator.normal(size=4)
        shifts[row] = generator.uniform(-1, 1, size=3)
    return Poses(Rotation.from_quat(quaternions).as_euler("ZYZ", degrees=True), shifts * max_shift)


def oversample(density: Tensor) -> Tensor:
    """Interpolate a density onto a three times finer grid by Fourier padding, once for all its poses.

    Frequencies beyond the largest sphere that fits into the Fourier box are taken away with a soft edge: a
    turned particle could not hold them in its box.

    Parameters
    ----------
    density : Tensor of shape (D, D, D)
        In (z, y, x) order; D is even.

    Returns
    -------
    Tensor of shape (3 D, 3 D, 3 D)
        Voxel i of `density` is voxel 3 i.
    """
    box = density.shape[-1]
    fine = box * _OVERSAMPLING
    spectrum = torch.fft.fftshift(torch.fft.fftn(density))
    k = torch.fft.fftshift(torch.fft.fftfreq(box, dtype=density.dtype))
    radius = torch.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
    spectrum = spectrum * (0.5 + 0.5 * torch.cos(torch.pi * ((radius - 0.45) / 0.05).clamp(0, 1)))
    before = fine // 2 - box // 2
    padded = F.pad(spectrum, (before, fine - box - before) * 3)
    return torch.fft.ifftn(torch.fft.ifftshift(padded)).real.to(density.dtype) * _OVERSAMPLING**3


def pose_density(fine: Tensor, poses: Poses, voxel_size: float) -> Tensor:
    """Put one density into many poses.

    Parameters
    ----------
    fine : Tensor of shape (3 D, 3 D, 3 D)
        A density, from `oversample`.
    poses : Poses
        N poses.
    voxel_size : float
        Of the density before it was oversampled, in Å.

    Returns
    -------
    Tensor of shape (N, D, D, D)
        0 where the density's box does not reach.
    """
    size = fine.shape[-1]
    box = size // _OVERSAMPLING
    count = len(poses)
    to_reference = torch.from_numpy(np.swapaxes(poses.particle_matrices, 1, 2)).to(fine)
    shifts = torch.from_numpy(poses.shifts / voxel_size).to(fine)
    axis = torch.arange(box, dtype=fine.dtype) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    positions = torch.stack((x, y, z), dim=-1).reshape(-1, 3)
    # p = R (x - t), row vectors times the transpose.
    reference = (positions - shifts[:, None]) @ to_reference.transpose(1, 2)
    grid = (reference + box // 2) * (_OVERSAMPLING * 2 / (size - 1)) - 1
    # All particles lie along one axis of the output, so that the density need not be repeated.
    posed = F.grid_sample(
        fine[None, None],
        grid.reshape(1, count * box, box, box, 3),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=True,
    )
    return posed.reshape(count, box, box, box)
