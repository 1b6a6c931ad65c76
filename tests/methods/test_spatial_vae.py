"""SpatialVAE: geometry against SciPy, its loss by hand, and the recovery of known poses."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch.distributions import Independent, Normal, kl_divergence

from dualcontrast.methods.base import Batch, Posterior
from dualcontrast.methods.spatial_vae import SpatialVAE, SpatialVAEConfig


def untrained(image_shape: tuple[int, ...], bounded: bool = False, **settings) -> SpatialVAE:
    """A network with random weights: what it draws is as good a picture as any to turn."""
    torch.manual_seed(0)
    network = SpatialVAE(
        SpatialVAEConfig(**{"content_dim": 3, "hidden": 32} | settings), image_shape, bounded
    )
    with torch.no_grad():
        # Structure at the scale of a few pixels.
        network.decoder.from_coordinates.weight *= 4
    return network.eval()


@torch.no_grad()
def drawn(network: SpatialVAE, *pose: float) -> np.ndarray:
    content = torch.tensor([[0.5, -1.0, 2.0]])
    return network.decode(content, torch.tensor([pose]))[0].numpy()


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 24, 36)])
def test_an_angle_turns_the_image_counter_clockwise(shape):
    network = untrained(shape)
    turned, upright = drawn(network, math.radians(30.0), 0, 0), drawn(network, 0, 0, 0)
    expected = ndimage.rotate(upright, 30.0, axes=(1, 2), reshape=False, order=3, mode="grid-constant")
    y, x = np.indices(shape[1:])
    # Away from the borders, where SciPy takes in zeros.
    inside = np.hypot(x - (shape[2] - 1) / 2, y - (shape[1] - 1) / 2) < shape[1] / 2 - 3
    spread = upright[:, inside].std()
    assert spread > 0.02
    assert_allclose(turned[:, inside], expected[:, inside], atol=0.03 * spread)


def test_a_quarter_turn_is_exact():
    network = untrained((1, 20, 20), bounded=True)
    assert_allclose(
        drawn(network, math.pi / 2, 0, 0), np.rot90(drawn(network, 0, 0, 0), axes=(1, 2)), atol=1e-5
    )


@pytest.mark.parametrize("shape", [(1, 30, 30), (3, 20, 40)])
def test_a_shift_moves_the_image_right_and_down(shape):
    network, width = untrained(shape), shape[2]
    # A code of 1 is a tenth of half the width.
    per_pixel = 1 / (0.1 * width / 2)
    moved, upright = drawn(network, 0, 3 * per_pixel, -2 * per_pixel), drawn(network, 0, 0, 0)
    assert_allclose(moved[:, :-2, 3:], upright[:, 2:, :-3], atol=1e-5)
    named = network.transformation_parameters(torch.tensor([[0.0, 3 * per_pixel, -2 * per_pixel]]))
    assert float(named["shift_x_px"]) == pytest.approx(3) and float(named["shift_y_px"]) == pytest.approx(-2)


def test_volumes_are_turned_and_shifted_as_their_parameters_say():
    network = untrained((1, 20, 20, 20))
    code = (0.3, -0.4, 0.5, 1.0, -2.0, 0.5)
    moved, upright = drawn(network, *code)[0], drawn(network, *[0] * 6)[0]
    named = network.transformation_parameters(torch.tensor([code]))
    angles = [float(named[name]) for name in ("rot_deg", "tilt_deg", "psi_deg")]
    shift = np.array([float(named[f"shift_{axis}_voxels"]) for axis in "xyz"])
    # RELION: the reference has at R (r - shift) what the particle has at r, both from voxel n // 2.
    relion = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix()
    axes = np.eye(3)[::-1]  # (z, y, x) of arrays to (x, y, z) and back
    matrix, centre = axes @ relion @ axes, np.full(3, 10.0)
    expected = ndimage.affine_transform(
        upright, matrix, centre - matrix @ (centre + shift[::-1]), order=3, mode="grid-constant"
    )
    z, y, x = np.indices(upright.shape) - 9.5
    inside = np.sqrt(x**2 + y**2 + z**2) < 5
    assert_allclose(moved[inside], expected[inside], atol=0.03 * upright[inside].std())


def test_terms_are_the_evidence_lower_bound():
    network = untrained((1, 16, 16), bounded=True).double()
    images = torch.rand(4, 1, 16, 16, dtype=torch.float64)
    terms = network.losses(Batch(images), torch.Generator().manual_seed(5), "all")
    encoding = network.encode(images)
    generator = torch.Generator().manual_seed(5)
    c, z = encoding.content.sample(generator), encoding.transformation.sample(generator)
    p = network.decode(c, z)
    likelihood = (images * p.log() + (1 - images) * (1 - p).log()).sum(dim=(1, 2, 3))
    assert_allclose(terms["reconstruction"].item(), -likelihood.mean().item(), rtol=1e-9)

    def divergence(posterior: Posterior, part: slice, deviation: float) -> float:
        assert posterior.log_variance is not None
        q = Normal(posterior.mean[:, part], (posterior.log_variance[:, part] / 2).exp())
        p = Normal(torch.zeros_like(q.mean), deviation)
        return kl_divergence(Independent(q, 1), Independent(p, 1)).mean().item()

    angle, shift = slice(0, 1), slice(1, 3)
    assert terms["kl_content"].item() == pytest.approx(divergence(encoding.content, slice(None), 1.0))
    assert terms["kl_rotation"].item() == pytest.approx(
        divergence(encoding.transformation, angle, math.pi / 4)
    )
    assert terms["kl_shift"].item() == pytest.approx(divergence(encoding.transformation, shift, 1.0))


def test_standardised_images_have_a_gaussian_likelihood_and_a_flat_prior():
    network = untrained((1, 16, 16)).double()
    images = torch.randn(4, 1, 16, 16, dtype=torch.float64)
    terms = network.losses(Batch(images), torch.Generator().manual_seed(5), "all")
    encoding = network.encode(images)
    generator = torch.Generator().manual_seed(5)
    c, z = encoding.content.sample(generator), encoding.transformation.sample(generator)
    squares = (network.decode(c, z) - images).square().sum(dim=(1, 2, 3))
    assert terms["reconstruction"].item() == pytest.approx(0.5 * squares.mean().item())
    log_variance = encoding.transformation.log_variance
    assert log_variance is not None
    deviation = (log_variance[:, 0] / 2).exp()
    flat = -torch.log(deviation / math.pi) + deviation**2 / (2 * math.pi**2) - 0.5
    assert terms["kl_rotation"].item() == pytest.approx(flat.mean().item())


def test_few_pixels_estimate_the_likelihood_of_all():
    images = Batch(torch.rand(4, 3, 16, 16))
    every, some = untrained((3, 16, 16), True), untrained((3, 16, 16), True, decoded_pixels=64)
    generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def mean_of(network: SpatialVAE, count: int) -> float:
        return float(
            np.mean([network.losses(images, generator, "all")["reconstruction"] for _ in range(count)])
        )

    assert mean_of(some, 200) == pytest.approx(mean_of(every, 20), rel=0.01)
