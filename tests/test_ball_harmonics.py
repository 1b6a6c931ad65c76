"""Ball harmonics and their rotation invariants, against closed formulas and objects drawn in other poses."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dualcontrast.ball_harmonics import BallHarmonics, ball_harmonics, wave_numbers
from dualcontrast.errors import SettingError
from dualcontrast.views import quarter_turns

# Centres (as fractions of the width), widths and heights of the parts of an object without symmetry.
PARTS = (((0.18, 0.02, -0.05), 0.07, 1.0), ((-0.1, 0.15, 0.03), 0.09, 0.7), ((0.0, -0.12, 0.16), 0.06, 1.3))


def drawn_object(size: int, rotation: Rotation) -> torch.Tensor:
    """Gaussians in a pose, from the formula and without interpolation, shape (1, 1, size, size, size)."""
    axis = (np.arange(size) - (size - 1) / 2) / size
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = np.zeros((size,) * 3)
    for centre, width, height in PARTS:
        cx, cy, cz = rotation.apply(centre)
        square = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2
        volume += height * np.exp(-square / (2 * width**2))
    return torch.from_numpy(volume).float()[None, None]


def invariants_of(network: BallHarmonics, volumes: torch.Tensor) -> torch.Tensor:
    return network.invariants(network.coefficients(volumes))


def test_wave_numbers_are_the_tabulated_zeros():
    """Abramowitz and Stegun, table 10.6: zeros of j_0 are multiples of π, those of j_1 solve tan x = x."""
    assert wave_numbers(0, 10) == pytest.approx([math.pi, 2 * math.pi, 3 * math.pi])
    assert wave_numbers(1, 11) == pytest.approx([4.493409, 7.725252, 10.904122], abs=1e-6)
    assert wave_numbers(3, 7) == pytest.approx([6.987932], abs=1e-6)
    assert wave_numbers(10, 10) == []


def test_harmonics_are_orthonormal():
    _, harmonics = ball_harmonics((24, 24, 24), (11.5,) * 3, 10.2)
    flat = np.concatenate([degree.reshape(-1, degree.shape[-1]) for degree in harmonics])
    assert np.abs(flat @ flat.T - np.eye(len(flat))).max() < 0.01


def test_a_single_wave_has_its_power_in_one_place():
    """j_2(k r) Y_20 by its closed formula: all power in P_2(k, k), 1 / √5 for a wave of norm 1."""
    size, radius = 24, 12.0
    axis = np.arange(size) - (size - 1) / 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    distance = np.sqrt(x**2 + y**2 + z**2)
    t = wave_numbers(2, 20)[1] * distance / radius
    wave = ((3 / t**3 - 1 / t) * np.sin(t) - 3 * np.cos(t) / t**2) * (3 * (z / distance) ** 2 - 1)
    wave *= distance < radius
    volume = torch.from_numpy(wave / np.linalg.norm(wave)).float()[None, None]
    network = BallHarmonics((1, size, size, size))
    values = invariants_of(network, volume)[0]
    first, second = (waves * (waves + 1) // 2 for waves in network.waves[:2])
    # Row by row of the upper triangle: (0, 0), (0, 1), …, then (1, 1).
    place = network.waves[0] + first + second + network.waves[2]
    assert values[place].item() == pytest.approx(1 / math.sqrt(5), rel=0.01)
    values[place] = 0
    assert values.abs().max().item() < 0.01


def test_white_noise_has_the_power_of_its_degrees():
    """The mean of P_l(k, k') is √(2 l + 1) for k = k', and 0 otherwise."""
    network = BallHarmonics((1, 16, 16, 16))
    noise = torch.randn(3000, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    mean = invariants_of(network, noise).mean(dim=0)[network.waves[0] :]
    expected = torch.cat(
        [
            math.sqrt(2 * degree + 1) * torch.eye(waves)[*torch.triu_indices(waves, waves)]
            for degree, waves in enumerate(network.waves)
        ]
    )
    assert (mean - expected).abs().max().item() < 0.15


@pytest.mark.parametrize("size", [24, 25])
def test_invariants_do_not_change_in_any_pose(size):
    network = BallHarmonics((1, size, size, size), diameter=0.9)
    poses = [Rotation.identity(), *Rotation.random(6, random_state=0)]
    values = torch.cat([invariants_of(network, drawn_object(size, pose)) for pose in poses])
    scale = values.abs().max()
    assert ((values - values[0]).abs().max() / scale).item() < 0.002
    # Another object has others.
    other = invariants_of(network, drawn_object(size, Rotation.identity()).roll(3, dims=2))
    assert ((other - values[0]).abs().max() / scale).item() > 0.05


@pytest.mark.parametrize("size", [24, 48, 51])
def test_invariants_survive_quarter_turns_of_noise(size):
    """Exactly, so the ball stands on the centre that views turn about, in cropped boxes too."""
    network = BallHarmonics((2, size, size, size))
    noise = torch.randn(1, 2, size, size, size, generator=torch.Generator().manual_seed(0))
    if size > 32:
        # Cropping treats the highest frequency of both directions as one; smooth volumes have none.
        noise = torch.cat([drawn_object(size, Rotation.random(random_state=i)) for i in (1, 2)], dim=1)
    values = torch.cat([invariants_of(network, turned) for turned in quarter_turns(noise)])
    assert torch.allclose(values, values[:1].expand_as(values), atol=1e-4 * values.abs().max().item())


def test_large_boxes_give_what_small_ones_do():
    small, large = (
        invariants_of(
            BallHarmonics((1, size, size, size)), drawn_object(size, Rotation.random(random_state=3))
        )
        for size in (32, 64)
    )
    assert torch.allclose(small, large, atol=0.005 * small.abs().max().item())


@pytest.mark.parametrize("shape", [(2, 24, 24, 24), (1, 20, 24, 28), (1, 48, 48, 48), (1, 51, 51, 51)])
def test_volumes_are_drawn_from_their_coefficients(shape):
    """Both ways and back are the same for what waves can hold."""
    network = BallHarmonics(shape, diameter=0.9)
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.randn(3, network.coefficient_count, generator=generator)
    drawn = network.volumes(coefficients)
    assert drawn.shape == (3, *shape)
    again = network.coefficients(drawn)
    # Sampling leaves the waves of small balls a few per cent short of orthogonal.
    assert (again - coefficients).square().mean().sqrt() < 0.02
    assert drawn[..., 0, 0, 0].abs().max() < 0.02 * drawn.abs().max()


@pytest.mark.parametrize("size", [32, 64])
def test_a_drawn_object_is_most_of_the_object(size):
    network = BallHarmonics((1, size, size, size))
    volume = drawn_object(size, Rotation.random(random_state=1))
    error = network.volumes(network.coefficients(volume)) - volume
    assert (error.square().sum() / volume.square().sum()).item() < 0.02


def test_images_are_refused():
    with pytest.raises(SettingError, match="'harmonic' are for volumes"):
        BallHarmonics((1, 32, 32))
