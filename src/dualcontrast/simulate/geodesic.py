"""Diffeomorphisms of the plane, carried by a few control points with momenta.

The vector field at time t is a sum of Gaussians centred on the control points q_k(t) and pointing along
their momenta p_k(t),

    v_t(x) = sum_k K(x, q_k) p_k,      K(x, y) = exp(-|x - y|^2 / width^2),

and the flow is a geodesic when control points and momenta follow Hamilton's equations of the energy
H = 1/2 sum_kl K(q_k, q_l) p_k . p_l:

    dq_k/dt =  dH/dp_k = sum_l K(q_k, q_l) p_l
    dp_k/dt = -dH/dq_k = sum_l 2 / width^2 K(q_k, q_l) (p_k . p_l) (q_k - q_l)

This is the deformation model of Bône et al. (2020), "Learning the spatiotemporal variability in
longitudinal shape data sets", International Journal of Computer Vision. Any other point is carried along by
v_t. Being the flow of a smooth field, the map never folds; the momenta run backwards give its inverse.
"""

import numpy as np

from dualcontrast.errors import SettingError


def _displacements(points: np.ndarray, centres: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return x - q_k as (2, n, P, K), and the kernel K(x, q_k) as (n, P, K)."""
    # Coordinates first: each is then one contiguous block, which numpy handles several times faster than
    # a trailing axis of length two.
    difference = points.transpose(2, 0, 1)[..., :, None] - centres.transpose(2, 0, 1)[..., None, :]
    kernel = np.exp((difference[0] ** 2 + difference[1] ** 2) * (-1.0 / width**2))
    return difference, kernel


def _derivatives(
    control_points: np.ndarray, momenta: np.ndarray, points: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right-hand sides of Hamilton's equations and of the flow of `points`."""
    difference, kernel = _displacements(control_points, control_points, width)
    control_velocity = kernel @ momenta
    pull = 2.0 / width**2 * kernel * (momenta @ momenta.transpose(0, 2, 1))
    force = (pull * difference).sum(axis=-1).transpose(1, 2, 0)
    _, kernel = _displacements(points, control_points, width)
    return control_velocity, force, kernel @ momenta


def hamiltonian(control_points: np.ndarray, momenta: np.ndarray, width: float) -> np.ndarray:
    """Energy H = 1/2 sum_kl K(q_k, q_l) p_k . p_l, which a geodesic keeps constant.

    Parameters
    ----------
    control_points, momenta : numpy.ndarray, shape (n, K, 2)
        Control points and momenta of n flows.
    width : float
        Width of the Gaussian kernel, in the unit of the coordinates.

    Returns
    -------
    numpy.ndarray, shape (n,)
        The energies.
    """
    _, kernel = _displacements(control_points, control_points, width)
    return 0.5 * np.einsum("nkl,nkd,nld->n", kernel, momenta, momenta)


def shoot(
    control_points: np.ndarray,
    momenta: np.ndarray,
    points: np.ndarray,
    *,
    width: float,
    steps: int = 10,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow n geodesics from time 0 to time 1 by the classical Runge-Kutta method of order 4.

    Parameters
    ----------
    control_points, momenta : numpy.ndarray, float64, shape (n, K, 2)
        Where the control points start, and with which momenta.
    points : numpy.ndarray, float64, shape (n, P, 2)
        Points to carry along. They exert no force.
    width : float
        Width of the Gaussian kernel, in the unit of the coordinates.
    steps : int
        Number of equal time steps.

    Returns
    -------
    control_points, momenta, points : numpy.ndarray
        All three at time 1, of the shapes that were given. Shooting them again with the momenta negated
        leads back to the start.

    Raises
    ------
    SettingError
        When `width` or `steps` is not positive.
    """
    if not width > 0:
        raise SettingError(f"width: {width} is not allowed; give a number above 0")
    if steps < 1:
        raise SettingError(f"steps: {steps} is not allowed; give a whole number of at least 1")
    state = (control_points, momenta, points)
    step = 1.0 / steps
    for _ in range(steps):
        first = _derivatives(*state, width)
        second = _derivatives(*_advance(state, first, step / 2), width)
        third = _derivatives(*_advance(state, second, step / 2), width)
        fourth = _derivatives(*_advance(state, third, step), width)
        mean = tuple(
            (a + 2 * (b + c) + d) / 6 for a, b, c, d in zip(first, second, third, fourth, strict=True)
        )
        state = _advance(state, mean, step)
    return state


def _advance(
    state: tuple[np.ndarray, ...], slopes: tuple[np.ndarray, ...], step: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Move every part of the state along its slope."""
    control_points, momenta, points = (
        value + step * slope for value, slope in zip(state, slopes, strict=True)
    )
    return control_points, momenta, points
