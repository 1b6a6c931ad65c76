"""Gradients in float64 against finite differences: every loss, every warp, every term of every method."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from dualcontrast import losses, rigid, views, wedge
from dualcontrast.fourier import fourier_crop, fourier_pad, low_pass
from dualcontrast.methods.base import Batch, Posterior
from dualcontrast.methods.registry import all_methods
from toy_images import bars


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


# The names of `test_losses.py` are left out.
LOSSES = {
    "absolute_cosine": lambda a, b: losses.absolute_cosine(a, b),
    "signed_cosine_distance": lambda a, b: losses.signed_cosine_distance(a, b),
    "kl_to_standard_normal": lambda a, b: losses.kl_to_standard_normal(Posterior(a, b)),
    "info_nce": lambda a, b: losses.info_nce(a, b, 0.3),
    "nt_xent": lambda a, b: losses.nt_xent(a, b, 0.3),
    "mutual_information": lambda a, b: losses.mutual_information(a, b),
    "whiten": lambda a, b: losses.whiten(torch.cat((a, b))),
    "whitened_gaussian_kernel": lambda a, b: losses.whitened_gaussian_kernel(torch.cat((a, b))),
    "alignment": lambda a, b: losses.alignment(a @ a.T, b @ b.T),
    "unbiased_hsic": lambda a, b: losses.unbiased_hsic(losses.pairs_of(a @ a.T), losses.pairs_of(b @ b.T)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    a, b = (draw(6, 3, seed=seed).requires_grad_() for seed in (0, 1))
    assert gradcheck(LOSSES[name], (a, b))


def turns(count, seed=0):
    """Rotation matrices of random angles, which put no pixel on another, where interpolation has a kink."""
    return views.rotation_matrices(draw(count, 3, seed=seed) * 40)


def flat_turns(count, seed=0):
    return views.rotation_matrices(draw(count, seed=seed) * 40)


WARPS = {
    "rotate, images": (views.rotate, (draw(2, 1, 5, 6), draw(2, seed=1) * 40)),
    "rotate, volumes": (views.rotate, (draw(1, 1, 4, 5, 4), draw(1, 3, seed=1) * 40)),
    "sample, images": (
        views.sample,
        (draw(2, 2, 5, 6), torch.cat((flat_turns(2), draw(2, 2, 1) * 0.05), dim=2)),
    ),
    "sample, volumes": (
        views.sample,
        (draw(1, 1, 4, 5, 4), torch.cat((turns(1), draw(1, 3, 1) * 0.05), dim=2)),
    ),
    "sample, displaced": (views.sample, (draw(1, 1, 5, 6), flat_turns(1), draw(1, 2, 5, 6, seed=2) * 0.03)),
    "rigid, images": (lambda codes: rigid.poses(codes, 0.5), (draw(3, 3),)),
    "rigid, volumes": (lambda codes: rigid.poses(codes, 0.5), (draw(3, 6),)),
    "rigid, inverse": (lambda codes: rigid.inverse(rigid.poses(codes, 0.5)), (draw(2, 6),)),
    "rigid, drawn": (
        lambda x, codes: views.sample(x, rigid.poses(codes, 0.2)),
        (draw(1, 1, 5, 6), draw(1, 3) * 0.4),
    ),
    "crop, odd from even": (lambda x: fourier_crop(x, 5), (draw(1, 1, 8, 8, 8),)),
    "crop, even from even": (lambda x: fourier_crop(x, 4), (draw(1, 1, 8, 8),)),
    "pad": (lambda x: fourier_pad(x, 7), (draw(1, 1, 4, 4, 4),)),
    "low-pass": (lambda x: low_pass(x, 0.25), (draw(1, 1, 6, 6, 6),)),
    "wedge, volumes and weights": (wedge.apply_wedge, (draw(1, 1, 4, 4, 6), draw(1, 4, 4, 4, seed=1).abs())),
    "wedge, moved": (lambda w, m: wedge.move_wedges(w, m, 6), (draw(1, 6, 6, 4).abs(), turns(1, seed=3))),
    "masked": (lambda x: views.masked(x, views.ViewConfig(mask=0.8)), (draw(1, 1, 6, 6, 6),)),
    "smoothed as views": (views.smoothed_as_views, (draw(1, 1, 5, 5, 5),)),
}


@pytest.mark.parametrize("name", WARPS)
def test_warps(name):
    function, inputs = WARPS[name]
    inputs = tuple(value.clone().requires_grad_() for value in inputs)
    # `fast_mode` compares along random directions, as the outputs are hundreds of voxels.
    torch.manual_seed(0)
    assert gradcheck(function, inputs, fast_mode=True)


METHODS = [
    pytest.param(name, dimension, preset, id=f"{name}-{dimension}d")
    for name, method in all_methods().items()
    for dimension in method.spatial_dims
    for preset in ("subtomogram" if dimension == 3 and "subtomogram" in method.presets else "default",)
]


@pytest.mark.parametrize(("name", "dimension", "preset"), METHODS)
def test_terms_of_methods(name, dimension, preset, monkeypatch):
    """Along a random direction of all weights of a phase, every term changes as its gradient says."""
    shape = (1, *(16,) * dimension)
    method_class = all_methods()[name]
    torch.manual_seed(0)
    config = method_class.presets[preset].config
    if hasattr(config, "positive_z_trains"):
        # By default the decoder of this term is not trained by it.
        config = replace(config, positive_z_trains="all")
    method = method_class(config, shape, True).double().train()
    images = torch.from_numpy(bars(4, shape[1:])[0]).double().reshape(4, *shape)
    # A term that takes a code as given has another gradient than its value: here all depend on all weights.
    monkeypatch.setattr(torch.Tensor, "detach", lambda tensor: tensor)
    # Finite differences need more digits than what the methods do in single precision at least.
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor.double())
    checked = 0
    for phase in method.phases():
        weights = [weight for weight in phase.parameters if weight.requires_grad]
        generator = torch.Generator().manual_seed(1)
        directions = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in weights]
        length = torch.sqrt(sum(direction.square().sum() for direction in directions))
        directions = [direction / length for direction in directions]

        def terms(phase=phase):
            return method.losses(Batch(images), torch.Generator().manual_seed(2), phase.name)

        found = terms()
        expected = {}
        for term, value in found.items():
            gradients = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
            expected[term] = sum(
                (gradient * direction).sum().item()
                for gradient, direction in zip(gradients, directions, strict=True)
                if gradient is not None
            )
        step = 1e-6
        ends = []
        with torch.no_grad():
            # Forward by one step, back by two, and forward again to where it began.
            for move in (step, -2 * step, step):
                for weight, direction in zip(weights, directions, strict=True):
                    weight.add_(direction, alpha=move)
                ends.append({term: value.item() for term, value in terms().items()})
        for term, slope in expected.items():
            numeric = (ends[0][term] - ends[1][term]) / (2 * step)
            scale = abs(found[term].item()) + abs(numeric) + 1e-3
            assert abs(numeric - slope) < 1e-4 * scale, (phase.name, term, numeric, slope)
            checked += 1
    assert checked
