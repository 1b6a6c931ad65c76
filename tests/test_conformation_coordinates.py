"""Coordinates of conformations against what they are by definition."""

import numpy as np
import torch

from dualcontrast.averaging.coordinates import COMPONENTS, conformation_axes


def coordinates(laid: torch.Tensor, states: torch.Tensor, count: int) -> torch.Tensor:
    """Coordinates of the particles that the axes were made of."""
    return conformation_axes(laid, states, count).coordinates(laid)


def test_of_two_states_it_is_the_line_through_both_means():
    generator = np.random.default_rng(0)
    states = np.repeat([0, 1], [30, 50])
    apart = generator.normal(size=12)
    laid = generator.normal(0, 0.1, (80, 12)) + states[:, None] * apart
    found = coordinates(torch.from_numpy(laid).float(), torch.from_numpy(states), 2).numpy()
    line = laid[states == 1].mean(axis=0) - laid[states == 0].mean(axis=0)
    expected = (laid - laid.mean(axis=0)) @ line / np.linalg.norm(line)
    assert found.shape == (80, 1)
    assert np.allclose(found[:, 0] * np.sign(found[-1, 0] * expected[-1]), expected, atol=1e-4)


def test_of_one_state_they_are_principal_components():
    laid = np.random.default_rng(1).normal(size=(60, 20)) * np.linspace(3, 1, 20)
    found = coordinates(torch.from_numpy(laid), torch.zeros(60, dtype=torch.long), 1).numpy()
    expected = np.linalg.svd(laid - laid.mean(axis=0), full_matrices=False)
    assert np.allclose(np.linalg.norm(found, axis=0), expected[1][:COMPONENTS], rtol=1e-4)
    assert np.allclose(np.abs(found), np.abs(expected[0] * expected[1])[:, :COMPONENTS], atol=1e-3)


def test_states_that_were_not_found_have_no_axis():
    laid = torch.from_numpy(np.random.default_rng(2).normal(size=(20, 3)))
    found = coordinates(laid, torch.arange(20) % 2, 6)
    assert found.shape == (20, 5)
    assert (found[:, 0] != 0).all() and (found[:, 1:] == 0).all()
