"""Rigid poses against SciPy's rotations and blobs at computed positions."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dualcontrast import rigid
from dualcontrast.views import rotation_matrices, sample
from turned_object import turned_objects

CODES_3D = torch.tensor(np.random.default_rng(0).normal(size=(20, 6)))


def test_a_code_turns_counter_clockwise_and_shifts_right_and_down():
    upright = torch.tensor(turned_objects(np.zeros(1), (48, 48)))
    code = torch.tensor([[math.radians(40.0), 0.25, -0.125]])
    moved = sample(upright, rigid.poses(code, 0.5))
    # 0.25 and -0.125 of half of 48 pixels.
    expected = turned_objects(np.array([40.0]), (48, 48), np.array([[6.0, -3.0]]))
    assert_allclose(moved.numpy(), expected, atol=0.04)  # linear interpolation flattens peaks
    found = rigid.parameters(rigid.poses(code, 0.5), 48)
    assert_allclose([float(found[name]) for name in ("angle_deg", "shift_x_px", "shift_y_px")], [40, 6, -3])


def test_angles_are_named_within_half_a_turn():
    codes = torch.tensor([[math.radians(angle), 0, 0] for angle in (350.0, -190.0, 180.5)])
    assert_allclose(rigid.parameters(rigid.poses(codes, 1.0), 10)["angle_deg"], [-10, 170, -179.5], atol=1e-3)


def test_rotation_vectors_are_scipy_rotation_vectors():
    expected = Rotation.from_rotvec(CODES_3D[:, :3].numpy()).as_matrix()
    assert_allclose(rigid.poses(CODES_3D, 1.0)[..., :3], expected, atol=1e-12)


@pytest.mark.parametrize("codes", [torch.randn(20, 3).double(), CODES_3D])
def test_inverse_undoes_a_pose(codes):
    there, back = rigid.poses(codes, 0.3), rigid.inverse(rigid.poses(codes, 0.3))
    points = torch.randn(20, there.shape[1], 1, dtype=torch.float64)
    moved = there[..., :-1] @ points + there[..., -1:]
    assert_allclose(back[..., :-1] @ moved + back[..., -1:], points, atol=1e-12)


@pytest.mark.parametrize("box", [16, 17])
def test_volumes_are_named_as_relion_names_poses(box):
    """A particle of RELION's angles has at R⁻¹ p + shift what its reference has at p, from voxel n // 2."""
    point, start = np.array([3.0, -2.0, 1.0]), box // 2
    reference = np.zeros((box, box, box))
    reference[tuple(start + point[::-1].astype(int))] = 1
    reference = ndimage.gaussian_filter(reference, 1.0)
    codes = CODES_3D.clone()
    codes[:, 3:] *= 0.1
    volumes = torch.tensor(reference).expand(len(codes), 1, -1, -1, -1)
    moved = sample(volumes, rigid.poses(codes, 0.5))
    found = rigid.parameters(rigid.poses(codes, 0.5), box)
    angles = np.stack([found[name] for name in ("rot_deg", "tilt_deg", "psi_deg")], axis=1)
    shifts = np.stack([found[f"shift_{axis}_voxels"] for axis in "xyz"], axis=1)
    relion = Rotation.from_euler("ZYZ", angles, degrees=True)
    expected = relion.inv().apply(point) + shifts + start
    centres = np.array([ndimage.center_of_mass(volume[0])[::-1] for volume in moved.numpy()])
    assert_allclose(centres, expected, atol=0.02)


@pytest.mark.parametrize("tilt", [0.0, 180.0])
def test_angles_at_the_poles_still_make_the_rotation(tilt):
    turned = Rotation.from_euler("ZYZ", [[50.0, tilt, 20.0]], degrees=True)
    codes = torch.tensor(np.concatenate((turned.inv().as_rotvec(), np.zeros((1, 3))), axis=1))
    found = rigid.parameters(rigid.poses(codes, 1.0), 16)
    angles = np.stack([found[name] for name in ("rot_deg", "tilt_deg", "psi_deg")], axis=1)
    again = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix()
    assert_allclose(again, turned.as_matrix(), atol=1e-6)


def test_angles_are_those_of_views():
    matrix = rotation_matrices(torch.tensor([25.0], dtype=torch.float64))
    pose = torch.cat((matrix, torch.zeros(1, 2, 1, dtype=torch.float64)), dim=2)
    assert float(rigid.parameters(pose, 10)["angle_deg"]) == pytest.approx(25.0)


def test_gradient_of_the_pose_at_the_identity():
    """Priors and untrained networks put rotations at the identity, where a rotation vector has no axis."""
    codes = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: rigid.poses(values, 0.5), codes + 1e-6)
    (slope,) = torch.autograd.grad(rigid.poses(codes, 0.5)[0, 1, 0], codes)
    # Turning about +z takes x towards y.
    assert_allclose(slope[0], [0, 0, 1, 0, 0, 0], atol=1e-12)
