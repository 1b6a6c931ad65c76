"""Rigid poses from the codes of methods whose transformation is a rotation and a shift.

A pose says where the content of a canonical image stands in an image: a feature at p, measured from the
centre, stands at `A p + t`. It is kept as the matrix `(A | t)` that `views.sample` takes.
"""

import math

import torch
from torch import Tensor

from dualcontrast.rotations import matrices_of_vectors
from dualcontrast.views import rotation_matrices


def code_length(dimension: int) -> int:
    """Length of the code of a rigid motion: 3 in 2-D (angle, x, y), 6 in 3-D (rotation vector, x, y, z)."""
    return 3 if dimension == 2 else 6


def poses(codes: Tensor, shift_unit: float) -> Tensor:
    """Turn codes into poses.

    Parameters
    ----------
    codes : Tensor, shape (N, 3) or (N, 6)
        In 2-D the angle in radians, counter-clockwise as the image is displayed, and a shift (x, y). In 3-D
        the rotation vector (x, y, z), whose direction is the axis and whose length the angle in radians, and
        a shift (x, y, z). A rotation vector needs three numbers and, unlike three Euler angles, it has no
        gimbal lock: nothing special happens near the identity, where priors and untrained networks put it.
    shift_unit : float
        A shift of 1 in the code, as a fraction of the image's width. x points right, y down.

    Returns
    -------
    Tensor, shape (N, 2, 3) or (N, 3, 4)
        Poses `(A | t)`, t as a fraction of the width; in single precision at least.
    """
    codes = codes.to(torch.promote_types(codes.dtype, torch.float32))
    if codes.shape[1] == 3:
        rotations, shifts = rotation_matrices(torch.rad2deg(codes[:, 0])), codes[:, 1:]
    else:
        rotations, shifts = matrices_of_vectors(codes[:, :3]), codes[:, 3:]
    return torch.cat((rotations, shift_unit * shifts[..., None]), dim=-1)


def inverse(poses: Tensor) -> Tensor:
    """Return the motions that undo poses, `(Aᵀ | -Aᵀ t)`; shapes as from `poses`."""
    back = poses[..., :-1].mT
    # Not a matrix product: under mixed precision that would round a shift to 1/256 of the image.
    shift = -(back * poses[..., None, :, -1]).sum(dim=-1, keepdim=True)
    return torch.cat((back, shift), dim=-1)


def parameters(poses: Tensor, width: int) -> dict[str, Tensor]:
    """Name the numbers of poses, with units.

    Parameters
    ----------
    poses : Tensor, shape (N, 2, 3) or (N, 3, 4)
        As from `poses`.
    width : int
        Of the images, in pixels.

    Returns
    -------
    dict of str to Tensor, shape (N,)
        2-D: `angle_deg`, counter-clockwise as displayed, from -180 to 180; `shift_x_px` to the right and
        `shift_y_px` down. 3-D: `rot_deg`, `tilt_deg` and `psi_deg` as in RELION, whose angles turn the image
        back onto the canonical volume (`A⁻¹ = Rz(rot) Ry(tilt) Rz(psi)`); `shift_x_voxels`,
        `shift_y_voxels` and `shift_z_voxels`, by which the content stands off the centre, where RELION's
        origin is minus the shift times the voxel size.

    Notes
    -----
    `views.sample` turns a box about its middle, between two voxels where their number is even, and RELION
    about voxel n // 2. The shifts of cubic volumes are RELION's, about voxel n // 2; those of images are
    about the middle.
    """
    rotations, shifts = poses[..., :-1], poses[..., -1] * width
    if len(rotations[0]) == 2:
        angle = torch.rad2deg(torch.atan2(rotations[:, 0, 1], rotations[:, 0, 0]))
        return {"angle_deg": angle, "shift_x_px": shifts[:, 0], "shift_y_px": shifts[:, 1]}
    centre = width // 2 - (width - 1) / 2
    shifts = shifts + centre * (rotations.sum(dim=-1) - 1)
    angles = _relion_angles(rotations.mT)
    named = dict(zip(("rot_deg", "tilt_deg", "psi_deg"), angles.unbind(dim=-1), strict=True))
    return named | {f"shift_{axis}_voxels": shifts[:, i] for i, axis in enumerate("xyz")}


def _relion_angles(matrices: Tensor) -> Tensor:
    """Euler angles with `matrix = Rz(rot) Ry(tilt) Rz(psi)`, in degrees, shape (N, 3).

    Tilts are from 0 to 180; where a tilt is 0 or 180, only the sum or difference of the others is known, and
    psi is taken as 0.
    """
    m = matrices.double()
    sine = torch.hypot(m[:, 0, 2], m[:, 1, 2])
    tilt = torch.atan2(sine, m[:, 2, 2])
    # Nearer to a pole, single precision leaves nothing of the two angles by themselves.
    locked = sine < 1e-4
    alone, beside = torch.atan2(-m[:, 0, 1], m[:, 1, 1]), torch.atan2(m[:, 1, 2], m[:, 0, 2])
    rot = torch.where(locked, alone, beside)
    psi = torch.where(locked, 0.0, torch.atan2(m[:, 2, 1], -m[:, 2, 0]))
    return (torch.stack((rot, tilt, psi), dim=-1) * (180 / math.pi)).to(matrices.dtype)
