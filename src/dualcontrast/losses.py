"""The terms that methods sum: pure functions of codes and images, each with its equation."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast.methods.base import Posterior


def absolute_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Absolute cosine of the angle between paired codes: |a·b| / (‖a‖ ‖b‖), shape (N,)."""
    return F.cosine_similarity(a, b, dim=-1, eps=1e-8).abs()


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """L_dist of a positive pair: mean over the batch of 1 - |cos(a, b)| (paper, section 3.4)."""
    return 1 - absolute_cosine(a, b).mean()


def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """L_sim of a negative pair: mean over the batch of |cos(a, b)| (paper, section 3.4)."""
    return absolute_cosine(a, b).mean()


def kl_to_standard_normal(posterior: Posterior) -> Tensor:
    """KL(q ‖ N(0, I)) = ½ Σ (μ² + σ² - 1 - log σ²), summed over the code and averaged over the batch.

    Paper, equation 1.
    """
    mean, log_variance = posterior
    assert log_variance is not None, "the KL term needs a posterior with a variance"
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()


def derangement(count: int, generator: torch.Generator) -> Tensor:
    """Draw a permutation that leaves no index in place, shape (count,).

    The positions are shuffled and each takes the next one's index, so the permutation is one cycle.
    A batch of one has no derangement and keeps its only index.
    """
    order = torch.randperm(count, generator=generator, device=generator.device)
    partner = torch.empty_like(order)
    partner[order] = order.roll(-1)
    return partner
