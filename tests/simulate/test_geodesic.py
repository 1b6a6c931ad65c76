"""The geodesic flow against an independent integrator, conservation laws and closed forms."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from dualcontrast.errors import SettingError
from dualcontrast.simulate.geodesic import hamiltonian, shoot

WIDTH = 0.45


@pytest.fixture
def start() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three flows of five control points and seven points, strong enough that the forces matter."""
    rng = np.random.default_rng(1)
    return rng.uniform(-0.7, 0.7, (3, 5, 2)), rng.normal(0, 0.4, (3, 5, 2)), rng.uniform(-1, 1, (3, 7, 2))


def energy(q: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """H written out pair by pair."""
    pairs = [(k, m) for k in range(len(q)) for m in range(len(q))]
    return sum(0.5 * torch.exp(-((q[k] - q[m]) ** 2).sum() / WIDTH**2) * (p[k] @ p[m]) for k, m in pairs)


def slopes(_: float, state: np.ndarray) -> np.ndarray:
    """Hamilton's equations by automatic differentiation of H, and the field at each point."""
    q = torch.tensor(state[:10].reshape(5, 2), requires_grad=True)
    p = torch.tensor(state[10:20].reshape(5, 2), requires_grad=True)
    by_q, by_p = torch.autograd.grad(energy(q, p), (q, p))
    velocity = [
        sum(
            np.exp(-((x - a) ** 2).sum() / WIDTH**2) * b
            for a, b in zip(q.detach().numpy(), p.detach().numpy(), strict=True)
        )
        for x in state[20:].reshape(-1, 2)
    ]
    return np.concatenate([by_p.numpy().ravel(), -by_q.numpy().ravel(), np.ravel(velocity)])


def test_agrees_with_scipy_on_the_differentiated_hamiltonian(start):
    q, p, x = shoot(*start, width=WIDTH)
    for flow in range(3):
        state = np.concatenate([part[flow].ravel() for part in start])
        reference = solve_ivp(slopes, (0, 1), state, method="DOP853", rtol=1e-9, atol=1e-11).y[:, -1]
        found = np.concatenate([q[flow].ravel(), p[flow].ravel(), x[flow].ravel()])
        # Forces and interactions must matter, or the comparison shows nothing.
        assert np.abs(reference[10:20] - state[10:20]).max() > 0.05
        np.testing.assert_allclose(found, reference, atol=2e-5)


def test_error_falls_with_the_fourth_power_of_the_step(start):
    exact = shoot(*start, width=WIDTH, steps=160)[2]
    coarse, fine = (np.abs(shoot(*start, width=WIDTH, steps=n)[2] - exact).max() for n in (10, 20))
    assert 10 < coarse / fine < 24


def test_energy_and_total_momentum_are_conserved(start):
    control_points, momenta, points = start
    q, p, _ = shoot(control_points, momenta, points, width=WIDTH)
    np.testing.assert_allclose(
        hamiltonian(q, p, WIDTH), hamiltonian(control_points, momenta, WIDTH), rtol=2e-5
    )
    # H does not change when everything is shifted, so the sum of the momenta is conserved.
    np.testing.assert_allclose(p.sum(axis=1), momenta.sum(axis=1), atol=1e-12)
    expected = [
        float(energy(torch.tensor(a), torch.tensor(b))) for a, b in zip(control_points, momenta, strict=True)
    ]
    np.testing.assert_allclose(hamiltonian(control_points, momenta, WIDTH), expected, rtol=1e-12)


def test_one_control_point_moves_straight_by_its_momentum():
    start, momentum = np.array([[[0.2, -0.1]]]), np.array([[[0.3, -0.4]]])
    q, p, x = shoot(start, momentum, start.copy(), width=WIDTH)
    np.testing.assert_allclose(q, start + momentum, atol=1e-12)
    np.testing.assert_allclose(p, momentum, atol=1e-12)
    # A carried point that starts on the control point stays on it.
    np.testing.assert_allclose(x, q, atol=1e-12)


def test_flowing_back_undoes_the_flow(start):
    q, p, x = shoot(*start, width=WIDTH, steps=40)
    back_q, back_p, back_x = shoot(q, -p, x, width=WIDTH, steps=40)
    np.testing.assert_allclose(back_x, start[2], atol=1e-6)
    np.testing.assert_allclose(back_q, start[0], atol=1e-6)
    np.testing.assert_allclose(-back_p, start[1], atol=1e-6)
    assert np.abs(x - start[2]).max() > 0.1


@pytest.mark.parametrize(
    ("width", "steps", "name"), [(0.0, 10, "width"), (np.nan, 10, "width"), (0.5, 0, "steps")]
)
def test_bad_arguments_name_the_argument(start, width, steps, name):
    with pytest.raises(SettingError, match=name):
        shoot(*start, width=width, steps=steps)
