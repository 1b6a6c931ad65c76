import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import kstest

from dualcontrast.simulate.poses import Poses, draw_poses, oversample, pose_density

BOX, VOXEL = 32, 10.0


def _gaussian(centre_xyz: np.ndarray, sigma: float = 18.0) -> np.ndarray:
    """A Gaussian blob at a place (Å from the box's centre), sigma in Å, as a (z, y, x) array."""
    axis = (np.arange(BOX) - BOX // 2) * VOXEL
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    x0, y0, z0 = centre_xyz
    return np.exp(-((x - x0) ** 2 + (y - y0) ** 2 + (z - z0) ** 2) / (2 * sigma**2))


def _euler_matrix_of_relion(rot: float, tilt: float, psi: float) -> np.ndarray:
    """`Euler_angles2matrix` of RELION (src/euler.cpp), written out."""
    ca, cb, cg = np.cos(np.deg2rad([rot, tilt, psi]))
    sa, sb, sg = np.sin(np.deg2rad([rot, tilt, psi]))
    return np.array(
        [
            [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
            [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
            [sb * ca, sb * sa, cb],
        ]
    )


def test_a_feature_stands_where_the_matrix_of_relion_puts_it():
    # RELION's matrix takes reference coordinates to particle coordinates.
    angles = np.array([[30.0, 70.0, -110.0], [0.0, 90.0, 0.0], [-145.0, 12.0, 80.0]])
    expected = np.stack([_euler_matrix_of_relion(*row) for row in angles])
    np.testing.assert_allclose(Poses(angles, np.zeros((3, 3))).particle_matrices, expected, atol=1e-12)


def test_posed_density_is_that_of_the_moved_atoms():
    sites = np.array([[50.0, 0.0, 0.0], [0.0, -70.0, 20.0], [10.0, 30.0, 60.0]])
    weights = (1.0, 0.6, 0.8)
    reference = sum(w * _gaussian(site) for w, site in zip(weights, sites, strict=True))
    angles = np.array([[25.0, 80.0, -140.0], [-100.0, 33.0, 77.0]])
    shifts = np.array([[12.0, -7.0, 19.0], [0.0, 5.0, -3.0]])
    posed = pose_density(oversample(torch.from_numpy(reference)), Poses(angles, shifts), VOXEL).numpy()
    for index in range(2):
        turn = Rotation.from_euler("ZYZ", angles[index], degrees=True).inv()
        moved = turn.apply(sites) + shifts[index]
        expected = sum(w * _gaussian(site) for w, site in zip(weights, moved, strict=True))
        assert np.abs(posed[index] - expected).max() < 0.015


def test_origin_and_angles_bring_the_particle_back():
    site = np.array([40.0, -30.0, 60.0])
    poses = Poses(np.array([[15.0, 60.0, 100.0]]), np.array([[8.0, -12.0, 5.0]]))
    posed = pose_density(oversample(torch.from_numpy(_gaussian(site))), poses, VOXEL).numpy()[0]
    axis = (np.arange(BOX) - BOX // 2) * VOXEL
    seen = np.array([(posed.sum((0, 1)) * axis).sum(), (posed.sum((0, 2)) * axis).sum(), 0.0])
    seen[2] = (posed.sum((1, 2)) * axis).sum()
    seen /= posed.sum()
    back = Rotation.from_euler("ZYZ", poses.angles[0], degrees=True).apply(seen + poses.origins[0])
    np.testing.assert_allclose(back, site, atol=0.5)


def test_rotations_are_uniform_and_shifts_fill_their_cube():
    poses = draw_poses(np.arange(4000), 20.0, 0)
    tilt = np.cos(np.deg2rad(poses.angles[:, 1]))
    assert kstest(tilt, "uniform", args=(-1, 2)).pvalue > 0.01
    for angle in (poses.angles[:, 0], poses.angles[:, 2]):
        assert kstest(angle, "uniform", args=(-180, 360)).pvalue > 0.01
    # Angle of a uniform rotation: density (1 - cos w) / pi.
    turn = Rotation.from_euler("ZYZ", poses.angles, degrees=True).magnitude()
    assert kstest(turn, lambda w: (w - np.sin(w)) / np.pi).pvalue > 0.01
    assert kstest(poses.shifts.ravel(), "uniform", args=(-20, 40)).pvalue > 0.01


def test_a_pose_depends_on_seed_and_number_only():
    many, some = draw_poses(np.arange(10), 5.0, 3), draw_poses(np.array([7, 2]), 5.0, 3)
    np.testing.assert_array_equal(many.angles[[7, 2]], some.angles)
    np.testing.assert_array_equal(many.shifts[[7, 2]], some.shifts)
    assert not np.array_equal(many.angles, draw_poses(np.arange(10), 5.0, 4).angles)


@pytest.mark.parametrize("box", [16, 24])
def test_oversampling_keeps_the_voxels_of_a_smooth_density(box):
    rng = np.random.default_rng(0)
    spectrum = np.fft.fftn(rng.normal(size=(box,) * 3))
    k = np.fft.fftfreq(box)
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
    density = np.fft.ifftn(spectrum * (radius < 0.4)).real
    fine = oversample(torch.from_numpy(density)).numpy()
    np.testing.assert_allclose(fine[::3, ::3, ::3], density, atol=1e-10)
