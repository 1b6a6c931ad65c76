"""C-VITAE: the order of its networks, the terms of its loss, and that it finds a common pose."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import bernoulli, norm

from dualcontrast import losses
from dualcontrast.errors import DataError
from dualcontrast.methods.base import Batch, Posterior
from dualcontrast.methods.vitae import VITAE, VITAEConfig, sampled_kl
from dualcontrast.model import Model
from dualcontrast.random_streams import torch_stream
from dualcontrast.training.engine import build_method

SHAPE = (1, 16, 20)


def method_of(shape: tuple[int, ...] = SHAPE, bounded: bool = True, **changes) -> VITAE:
    method = build_method(VITAE, VITAEConfig(**changes), shape, bounded, seed=0)
    assert isinstance(method, VITAE)
    return method


def images(count: int = 12, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(5))


def deforms_strongly(method: VITAE) -> VITAE:
    torch.nn.init.normal_(method.velocity_decoder[-1].bias, generator=torch.Generator().manual_seed(1))
    return method.eval()


def test_training_starts_near_the_identity():
    method = method_of()
    theta = method.transformation_parameters(torch.randn(50, 10))["theta"]
    assert theta.shape == (50, 30)
    points = torch.rand(100, 2)
    moved = (method.diffeomorphism.transform(points, theta) - points).norm(dim=-1)
    assert 0 < moved.mean() < 0.005


def test_content_is_read_from_the_image_in_its_common_pose():
    method, batch = deforms_strongly(method_of()), images()
    content, transformation = method.encode(batch)
    theta = method.transformation_parameters(transformation.mean)["theta"]
    posed = method.diffeomorphism.warp(batch, -theta)
    assert_allclose(content.mean.detach(), method.content_encoder(posed).mean.detach(), atol=1e-6)
    assert (content.mean - method.content_encoder(batch).mean).abs().max() > 0.01


def test_decoding_undoes_what_encoding_did():
    method, z = deforms_strongly(method_of()), torch.zeros(1, 10)
    theta = method.transformation_parameters(z)["theta"]
    smooth = torch.from_numpy(np.hanning(16)[:, None] * np.hanning(20)).float()[None, None]
    posed = method.diffeomorphism.warp(smooth, -theta)
    assert (posed - smooth).abs().max() > 0.2
    torch.nn.init.zeros_(method.image_decoder[-2].weight)
    method.image_decoder[-2].bias.data = torch.logit(posed.flatten().clamp(1e-6, 1 - 1e-6))
    # Interpolated twice, so not exactly.
    assert_allclose(method.decode(torch.zeros(1, 10), z).detach(), smooth, atol=0.1)


@pytest.mark.parametrize("bounded", [True, False])
def test_reconstruction_is_the_negative_log_likelihood_in_nats_an_image(bounded):
    method, batch = method_of(bounded=bounded), images().round()
    theta_free = method.losses(Batch(batch), torch_stream(0, "step"), "all")["reconstruction"]
    generator = torch_stream(0, "step")
    z = method.transformation_encoder(batch).sample(generator)
    posed = method.diffeomorphism.warp(batch, -method.velocity_decoder(z))
    drawn = method.decode(method.content_encoder(posed).sample(generator), z).detach().numpy()
    log_likelihood = bernoulli.logpmf(batch, drawn) if bounded else norm.logpdf(batch, drawn) - norm.logpdf(0)
    assert theta_free.item() == pytest.approx(-log_likelihood.sum(axis=(1, 2, 3)).mean(), rel=1e-4)


def test_certain_and_wrong_pixels_cost_what_the_clamp_allows():
    wrong = method_of()._negative_log_likelihood(torch.ones(2, *SHAPE), torch.zeros(2, *SHAPE))
    assert wrong.item() == pytest.approx(-16 * 20 * np.log(1e-5), rel=1e-4)


def test_sampled_kl_is_on_average_the_exact_one():
    posterior = Posterior(torch.tensor([[0.5, -1.0, 2.0]]), torch.tensor([[0.0, -2.0, 0.5]]))
    many = Posterior(*(values.expand(200_000, 3) for values in posterior))
    estimate = sampled_kl(many, many.sample(torch_stream(0, "test")))
    assert estimate.item() == pytest.approx(losses.kl_to_standard_normal(posterior).item(), rel=0.01)


@pytest.mark.parametrize(
    ("warm_up", "progress", "expected"),
    [(0.5, 0, 0), (0.5, 0.25, 1), (0.5, 0.5, 2), (0.5, 0.9, 2), (0, 0, 2)],
)
def test_kl_terms_are_warmed_up(warm_up, progress, expected):
    weights = method_of(kl=2.0, warm_up=warm_up).weights(progress)
    assert weights == {"reconstruction": 1.0, "kl_content": expected, "kl_transformation": expected}


@pytest.mark.parametrize(("shape", "bounded"), [((3, 17, 16), True), ((3, 17, 16), False)])
def test_two_colour_images_can_be_trained_on(shape, bounded):
    method = method_of(shape, bounded)
    terms = method.losses(Batch(images(2, shape)), torch_stream(0, "step"), "all")
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    assert method.decode(torch.zeros(2, 10), torch.zeros(2, 10)).shape == (2, *shape)


def test_code_sizes_are_free():
    encoding = method_of(content_dim=3, transformation_dim=7).eval().encode(images())
    assert encoding.content.mean.shape == (12, 3) and encoding.transformation.mean.shape == (12, 7)


def test_volumes_are_refused_with_the_reason():
    with pytest.raises(
        DataError, match=r"vitae takes 2-D images only.*diffeomorphisms of the plane.*harmony"
    ):
        build_method(VITAE, VITAEConfig(), (1, 16, 16, 16), True, 0)


def test_one_object_in_many_places_is_brought_to_one():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.35, 0.65, (2, 200, 1, 1))
    rows, columns = np.meshgrid(np.linspace(0, 1, 16), np.linspace(0, 1, 16), indexing="ij")
    places = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 0.12**2))[:, None].astype(np.float32)
    model = Model(
        "vitae",
        "short",
        device="cpu",
        progress=False,
        epochs=40,
        batch_size=50,
        content_dim=1,
        steps=20,
        transformation_dim=2,
    ).fit(places)
    network = model.network
    assert isinstance(network, VITAE)
    theta = network.transformation_parameters(torch.as_tensor(model.encode(places).transformation))["theta"]
    posed = network.diffeomorphism.warp(torch.as_tensor(places), -theta).detach()
    assert posed.var(dim=0).mean() < 0.1 * places.var(axis=0).mean()
