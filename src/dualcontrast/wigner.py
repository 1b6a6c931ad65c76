"""Rotations spread evenly, and how they mix the spherical harmonics of one degree."""

import math

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast.ball_harmonics import spherical_harmonics

# More points than the 2 l + 1 harmonics of any degree in use make the fit below exact.
_POINTS = 32
# Solution of s⁴ = s + 4, see Alexa.
_PSI = 1.533751168755204288118041


def rotation_grid(count: int) -> np.ndarray:
    """Spread rotations evenly over SO(3) along a super-Fibonacci spiral (Alexa 2022, CVPR).

    Parameters
    ----------
    count : int
        Number of rotations; 4,608 leave no orientation farther than about 15 degrees.

    Returns
    -------
    numpy.ndarray, float64, shape (count, 3, 3)
    """
    place = np.arange(count) + 0.5
    inner, outer = np.sqrt(place / count), np.sqrt(1 - place / count)
    alpha, beta = 2 * np.pi * place / math.sqrt(2), 2 * np.pi * place / _PSI
    quaternions = (inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta), outer * np.cos(beta))
    return Rotation.from_quat(np.stack(quaternions, axis=1)).as_matrix()


def wigner_matrices(rotations: np.ndarray, highest_degree: int) -> list[Tensor]:
    """Return the matrices D_l with Y_l(R p) = D_l(R) Y_l(p), for real spherical harmonics.

    They are found from the values of the harmonics at points and at the turned points, which no choice of
    phases or Euler angles can get wrong. A function with the coefficients a becomes, turned to f(R p), one
    with the coefficients a D.

    Parameters
    ----------
    rotations : numpy.ndarray, shape (G, 3, 3)
        Acting on (x, y, z).
    highest_degree : int
        Matrices are returned for the degrees 0 to this one.

    Returns
    -------
    list of Tensor, float32, shapes (G, 2 l + 1, 2 l + 1)
    """
    points = np.random.default_rng(0).normal(size=(_POINTS, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    turned = np.einsum("gij,pj->gpi", rotations, points).reshape(-1, 3)
    matrices = []
    for degree in range(highest_degree + 1):
        inverse = np.linalg.pinv(_at(points, degree))
        values = _at(turned, degree).reshape(2 * degree + 1, len(rotations), _POINTS)
        matrices.append(torch.from_numpy(values.transpose(1, 0, 2) @ inverse).float())
    return matrices


def _at(points: np.ndarray, degree: int) -> np.ndarray:
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    return spherical_harmonics(degree, np.clip(points[:, 2], -1, 1), azimuth)
