"""Harmony: geometry against SciPy, its loss by hand, and the recovery of known poses."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import ndimage
from torch.distributions import Independent, Normal, kl_divergence

from dualcontrast.errors import SettingError
from dualcontrast.methods.base import Batch
from dualcontrast.methods.harmony import Harmony, HarmonyConfig
from dualcontrast.views import ViewConfig, random_view
from turned_object import turned_objects


def untrained(image_shape: tuple[int, ...], bounded: bool = True, **settings) -> Harmony:
    torch.manual_seed(0)
    config = HarmonyConfig(**{"content_dim": 3, "hidden": 32} | settings)
    return Harmony(config, image_shape, bounded).eval()


@pytest.mark.parametrize("setting", ["both", "split_noise"])
def test_a_second_view_that_it_would_not_make_cannot_be_asked_for(setting):
    with pytest.raises(SettingError, match="one view"):
        untrained((1, 16, 16), views=ViewConfig(**{setting: True}))


@torch.no_grad()
def drawn(network: Harmony, *pose: float) -> np.ndarray:
    return network.decode(torch.tensor([[0.5, -1.0, 2.0]]), torch.tensor([pose]))[0].numpy()


def test_an_angle_turns_the_decoded_image_counter_clockwise():
    network = untrained((1, 25, 25))
    upright = drawn(network, 0, 0, 0)
    expected = ndimage.rotate(upright[0], 30.0, reshape=False, order=1, mode="grid-constant")
    assert_allclose(drawn(network, math.radians(30.0), 0, 0)[0], expected, atol=1e-5)


def test_a_shift_moves_the_decoded_image_right_and_down():
    network = untrained((1, 20, 40))
    moved, upright = drawn(network, 0, 3 / 20, -2 / 20), drawn(network, 0, 0, 0)
    assert_allclose(moved[:, :-2, 3:], upright[:, 2:, :-3], atol=1e-5)
    named = network.transformation_parameters(torch.tensor([[math.radians(-30.0), 3 / 20, -2 / 20]]))
    values = [float(named[name]) for name in ("angle_deg", "shift_x_px", "shift_y_px")]
    assert_allclose(values, [-30, 3, -2], rtol=1e-5)


def test_the_canonical_image_is_the_object_upright():
    """T takes out the pose in which the formula draws the object."""
    angles, shifts = np.array([25.0, -70.0, 160.0]), np.array([[3.0, -1.0], [0.0, 2.5], [-2.0, -2.0]])
    images = torch.tensor(turned_objects(angles, (40, 40), shifts))
    codes = torch.tensor(np.column_stack((np.deg2rad(angles), shifts / 20)), dtype=torch.float32)
    upright = torch.tensor(turned_objects(np.zeros(3), (40, 40)))
    assert_allclose(untrained((1, 40, 40)).canonical(images, codes), upright, atol=0.06)


@pytest.mark.parametrize("shape", [(1, 20, 20), (3, 20, 20), (1, 20, 20, 20)])
def test_decoding_undoes_the_way_to_the_canonical_image(shape):
    network = untrained(shape, contrast_factor=True)
    pose = torch.tensor([[0.2, -0.1, 0.15, 0.2], [-0.2, 0.15, 0.1, -0.1]])
    pose = torch.cat((pose, pose), dim=1)[:, : network.transformation_dim]
    # A blob, which interpolation does not change much, in the place of what the decoder draws.
    axes = torch.meshgrid(*[torch.linspace(-1, 1, length) for length in shape[1:]], indexing="ij")
    square = sum((axis - 0.1 * i) ** 2 for i, axis in enumerate(axes))
    blobs = 0.5 * torch.exp(-torch.as_tensor(square) / 0.2).expand(2, *shape).clone()
    canonical = network.canonical(blobs, pose)
    assert (canonical - blobs).abs().amax() > 0.1
    network.decoder.forward = lambda content: canonical  # type: ignore[method-assign]
    assert_allclose(network.decode(torch.zeros(2, 3), pose), blobs, atol=0.04)


def test_contrast_is_a_fourth_number_for_colour():
    network = untrained((3, 20, 20), contrast_factor=True)
    images = torch.full((2, 3, 20, 20), 0.4)
    codes = torch.tensor([[0, 0, 0, 0.25], [0, 0, 0, -0.2]])
    canonical = network.canonical(images, codes)[:, 0, 10, 10]
    assert_allclose(canonical, [0.5, 0.32], rtol=1e-5)
    assert_allclose(network.transformation_parameters(codes)["contrast"], [0.8, 1.25], rtol=1e-5)
    with torch.no_grad():
        network.heads.weight[-1] = 0
        for outputs, kept in ((7.0, 0.5), (-7.0, -0.2)):
            network.heads.bias[-1] = outputs
            assert_allclose(network.encode(images).transformation.mean[:, 3], [kept, kept], rtol=1e-5)
    assert untrained((3, 20, 20)).transformation_dim == 3
    assert untrained((1, 20, 20), contrast_factor=True).transformation_dim == 3


@pytest.mark.parametrize("count", [2, 12])
def test_terms_are_the_published_loss(count):
    network = untrained((1, 60, 60)).double()
    images = torch.rand(count, 1, 60, 60, dtype=torch.float64)
    terms = network.losses(Batch(images), torch.Generator().manual_seed(5), "all")
    generator = torch.Generator().manual_seed(5)
    both = torch.cat((images, random_view(images, network.config.views, generator).images))
    content, pose = network.encode(both)
    decoded = network.decoder(content.sample(generator))
    canonical = network.canonical(both, pose.mean)
    # γ = ceil(3600 / (1000 · batch)): 2 for two images, 1 for twelve.
    gamma = {2: 2, 12: 1}[count]

    def squares(a: torch.Tensor, b: torch.Tensor) -> float:
        return (a - b).square().sum().item() / count

    assert terms["reconstruction"].item() == pytest.approx(gamma * squares(decoded, canonical))
    agreement = gamma * squares(canonical[:count], canonical[count:])
    assert terms["canonical_agreement"].item() == pytest.approx(agreement)
    assert content.log_variance is not None
    normal = Normal(content.mean, (content.log_variance / 2).exp())
    first, second = (
        Independent(Normal(normal.mean[part], normal.stddev[part]), 1)
        for part in (slice(0, count), slice(count, None))
    )
    expected = kl_divergence(first, second).mean().item() / 3
    assert terms["kl_between_views"].item() == pytest.approx(expected)


def test_an_image_cannot_be_shifted_out_of_its_box():
    network = untrained((1, 20, 20), max_shift=0.15)
    with torch.no_grad():
        network.heads.bias[-2:] = torch.tensor([50.0, -50.0])
    pose = network.encode(torch.rand(2, 1, 20, 20)).transformation.mean.detach()
    named = network.transformation_parameters(pose)
    assert_allclose(named["shift_x_px"], [3, 3], rtol=1e-4)
    assert_allclose(named["shift_y_px"], [-3, -3], rtol=1e-4)
