"""Wigner matrices against e.g. the vector they turn, and the spread of the grid."""

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from dualcontrast.wigner import rotation_grid, wigner_matrices


def real_harmonics(degree: int, points: np.ndarray) -> np.ndarray:
    """Real spherical harmonics from SciPy's complex ones, in the order 0, cos 1, sin 1, cos 2, ..."""
    polar, azimuth = np.arccos(points[:, 2]), np.arctan2(points[:, 1], points[:, 0])
    rows = [sph_harm_y(degree, 0, polar, azimuth).real]
    for order in range(1, degree + 1):
        wave = np.sqrt(2) * sph_harm_y(degree, order, polar, azimuth)
        # The Condon-Shortley phase is on both sides alike.
        rows += [wave.real, wave.imag]
    return np.stack(rows)


def test_turned_points_have_turned_harmonics() -> None:
    """Y_l(R p) = D_l(R) Y_l(p), by SciPy's harmonics, at points that the fit did not use."""
    rotations = Rotation.random(7, rng=np.random.default_rng(3)).as_matrix()
    points = np.random.default_rng(4).normal(size=(20, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for degree, matrices in enumerate(wigner_matrices(rotations, 10)):
        for rotation, matrix in zip(rotations, matrices.numpy(), strict=True):
            expected = real_harmonics(degree, points @ rotation.T)
            np.testing.assert_allclose(matrix @ real_harmonics(degree, points), expected, atol=2e-5)


def test_grid_leaves_no_orientation_far_away() -> None:
    """Random orientations are within 17 degrees of the 4,608, and on average at half of that."""
    grid = Rotation.from_matrix(rotation_grid(4608))
    # |<q, q'>| = cos(angle / 2).
    some = Rotation.random(500, rng=np.random.default_rng(0)).as_quat()
    nearest = np.abs(some @ grid.as_quat().T).max(axis=1)
    angles = np.degrees(2 * np.arccos(np.clip(nearest, 0, 1)))
    assert angles.max() < 17
    assert 5 < angles.mean() < 10
