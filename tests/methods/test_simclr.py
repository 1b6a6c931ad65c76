"""NT-Xent against a loop in float64 and a library; which codes the loss of SimCLR reaches."""

import numpy as np
import pytest
import torch

from dualcontrast.losses import nt_xent
from dualcontrast.methods.base import Batch
from dualcontrast.methods.simclr import SimCLR, SimCLRConfig
from dualcontrast.methods.simclr_generative import SimCLRGenerative, SimCLRGenerativeConfig
from dualcontrast.model import Model
from dualcontrast.views import ViewConfig, view_pair
from toy_images import bar_source, bars


def nt_xent_by_hand(a: np.ndarray, b: np.ndarray, temperature: float) -> float:
    """Chen et al. 2020, equation 1, pair by pair."""
    codes = np.concatenate((a, b))

    def similarity(i: int, j: int) -> float:
        return codes[i] @ codes[j] / (np.linalg.norm(codes[i]) * np.linalg.norm(codes[j])) / temperature

    losses = []
    for i in range(len(codes)):
        partner = (i + len(a)) % len(codes)
        others = sum(np.exp(similarity(i, k)) for k in range(len(codes)) if k != i)
        losses.append(-np.log(np.exp(similarity(i, partner)) / others))
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_nt_xent_equals_its_definition_and_a_library(rng, temperature):
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    a, b = rng.normal(size=(7, 4)), rng.normal(size=(7, 4))
    computed = nt_xent(torch.as_tensor(a), torch.as_tensor(b), temperature).item()
    assert computed == pytest.approx(nt_xent_by_hand(a, b, temperature), rel=1e-10)
    library = SelfSupervisedLoss(NTXentLoss(temperature=temperature))(torch.as_tensor(a), torch.as_tensor(b))
    assert computed == pytest.approx(library.item(), rel=1e-6)


def test_nt_xent_of_perfect_pairs_on_an_orthonormal_frame():
    # Two equal views of N orthogonal codes: the partner scores 1/τ, the 2N - 2 others 0.
    n, temperature = 5, 0.5
    codes = torch.eye(n, dtype=torch.float64)
    expected = -1 / temperature + np.log(np.exp(1 / temperature) + 2 * n - 2)
    assert nt_xent(codes, codes, temperature).item() == pytest.approx(expected, rel=1e-12)


def batch_of_bars() -> Batch:
    return Batch(torch.from_numpy(bars(8, (16, 16))[0]))


def test_the_loss_reaches_the_content_outputs_only():
    method = SimCLR(SimCLRConfig(content_dim=3, transformation_dim=2), (1, 16, 16), bounded=True)
    method.losses(batch_of_bars(), torch.Generator().manual_seed(0), "all")["nt_xent"].backward()
    gradient = method.encoder[-1].weight.grad
    assert (gradient[:3].abs().sum(dim=1) > 0).all()
    assert (gradient[3:] == 0).all()


def test_generative_terms_reach_both_codes_and_the_contrast_only_content():
    method = SimCLRGenerative(
        SimCLRGenerativeConfig(content_dim=3, transformation_dim=2), (1, 16, 16), bounded=True
    )
    generator = torch.Generator().manual_seed(0)
    heads = method.encoder.content_mean, method.encoder.transformation_mean
    method.losses(batch_of_bars(), generator, "all")["nt_xent"].backward()
    content, transformation = (head.weight.grad for head in heads)
    assert content.any() and not transformation.any()
    method.losses(batch_of_bars(), generator, "all")["reconstruction"].backward()
    assert heads[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("method_class", "config_class"),
    [(SimCLR, SimCLRConfig), (SimCLRGenerative, SimCLRGenerativeConfig)],
)
def test_untouched_volumes_are_encoded_as_the_views_that_were_seen(method_class, config_class):
    """Turning smooths noise: codes of untouched noise lie elsewhere than those of all views."""
    torch.manual_seed(0)
    config = config_class(views=ViewConfig(both=True, mask=0.85))
    method = method_class(config, (1, 16, 16, 16), bounded=False).eval()
    volumes = torch.randn(64, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    views, _ = view_pair(volumes, config.views, torch.Generator().manual_seed(2))
    with torch.no_grad():
        if method_class is SimCLR:
            seen = method.encoder(views.images)[:, : config.content_dim]
        else:
            seen = method.encoder(views.images).content.mean
        untouched = method.encode(volumes).content.mean
        spread = untouched.std(dim=0) / seen.std(dim=0)
        assert (spread > 0.8).all() and (spread < 1.25).all()
        # The mask of the views hides the corners here too.
        outside = volumes.clone()
        outside[..., :2, :2, :2] += 5
        assert (method.encode(outside).content.mean - untouched).abs().max() < 0.02 * untouched.std()


@pytest.mark.parametrize("config_class", [SimCLRConfig, SimCLRGenerativeConfig])
def test_a_contrast_of_single_numbers_is_doubted(config_class):
    method_class = SimCLR if config_class is SimCLRConfig else SimCLRGenerative
    single = method_class(config_class(content_dim=1), (1, 16, 16), bounded=True)
    assert "c is one number" in single.doubts(100, 1000)[0]
    assert not method_class(config_class(content_dim=2), (1, 16, 16), bounded=True).doubts(100, 1000)


def test_training_makes_rotated_copies_alike():
    source = bar_source(200, (16, 16))
    images = torch.from_numpy(source.read(np.arange(200)))
    turned = torch.rot90(images, 1, (2, 3)).numpy()

    def movement(model: Model) -> float:
        here, there = model.encode(images).content, model.encode(turned).content
        here, there = (code / np.linalg.norm(code, axis=1, keepdims=True) for code in (here, there))
        between = np.linalg.norm(here[:, None] - here[None], axis=-1).mean()
        return float(np.linalg.norm(here - there, axis=1).mean() / between)

    options = {"batch_size": 50, "learning_rate": 1e-3, "schedule": "constant"}
    untrained = Model(
        "simclr", "short", epochs=1, progress=False, device="cpu", **options | {"learning_rate": 1e-9}
    )
    trained = Model("simclr", "short", epochs=40, progress=False, device="cpu", **options)
    assert movement(trained.fit(source)) < 0.6 * movement(untrained.fit(source))
