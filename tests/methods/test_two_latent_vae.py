"""The VAE with two codes is DualContrast without contrast, and obeys equation 2 written out."""

import numpy as np
import pytest
import torch

from dualcontrast.methods.base import Batch
from dualcontrast.methods.dualcontrast import DualContrastMethod, Weights
from dualcontrast.methods.two_latent_vae import TwoLatentVAE, TwoLatentVAEConfig
from toy_images import bars

SHAPE = (1, 16, 16)


def build() -> TwoLatentVAE:
    torch.manual_seed(0)
    return TwoLatentVAE(TwoLatentVAEConfig(content_dim=3, transformation_dim=2), SHAPE, bounded=True)


def test_terms_equal_equation_2_in_float64():
    method = build()
    images = torch.from_numpy(bars(6, (16, 16))[0])
    terms = method.losses(Batch(images), torch.Generator().manual_seed(5), "all")

    encoding = method.encode(images)
    generator = torch.Generator().manual_seed(5)
    codes = []
    for name, posterior in encoding._asdict().items():
        mean, log_variance = (value.detach().double().numpy() for value in posterior)
        noise = torch.randn(mean.shape, generator=generator).double().numpy()
        codes.append(torch.from_numpy(mean + np.exp(log_variance / 2) * noise).float())
        kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1).mean()
        assert terms[f"kl_{name}"].item() == pytest.approx(kl / 256, rel=1e-5)
    decoded = method.decode(*codes).detach().double().numpy()
    error = np.mean((decoded - images.double().numpy()) ** 2)
    assert terms["reconstruction"].item() == pytest.approx(error, rel=1e-5)


def test_same_networks_and_terms_as_dualcontrast_without_contrast():
    off = {f"con_{code}_{sign}": 0.0 for code in "cz" for sign in ("positive", "negative")}
    paper = DualContrastMethod.presets["paper"].config
    torch.manual_seed(0)
    settings = {**vars(paper), "content_dim": 3, "transformation_dim": 2, "weights": Weights(**off)}
    other = DualContrastMethod(type(paper)(**settings), SHAPE, bounded=True)
    method = build()
    for (name, mine), theirs in zip(method.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    shared = {"reconstruction", "kl_content", "kl_transformation"}
    batch = Batch(torch.from_numpy(bars(6, (16, 16))[0]))
    terms = other.losses(batch, torch.Generator().manual_seed(0), "all")
    assert set(terms) == shared
    weights = other.weights(0.0)
    assert {name: weights[name] for name in shared} == method.weights(0.0)
