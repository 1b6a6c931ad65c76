"""Which dimensions of a code are alive, and whether a code has collapsed."""

from dataclasses import dataclass

import numpy as np
import torch

from dualcontrast.methods.base import Posterior

ACTIVE_SHARE = 0.01
ACTIVE_KL = 0.05
LEAST_DECODER_USE = 0.01


@dataclass(frozen=True)
class Activity:
    """How much of a code is used.

    Attributes
    ----------
    by_variance : int
        Dimensions whose posterior mean varies over the images with more than 0.01 of the variance of all that
        the posterior draws, var(mean) + mean of the posterior variance. That sum is about 1 where the KL term
        is obeyed, which makes this the rule of Burda et al. (2016); where the KL term is weak a code may be
        alive on a smaller scale. Codes without a posterior have no scale of their own; there a dimension
        counts when it has more than 0.01 of the variance of the liveliest one.
    by_kl : int or None
        Dimensions whose mean KL divergence from the prior is above 0.05 nats; None without a posterior.
    effective : float
        (Σ λ)² / Σ λ² over the eigenvalues λ of the code's covariance: how many dimensions share the variance.
    of : int
        Length of the code.
    """

    by_variance: int
    by_kl: int | None
    effective: float
    of: int


def activity(posterior: Posterior) -> Activity:
    """Count the live dimensions of one code, from the posteriors of N images."""
    mean = posterior.mean.double()
    variance = mean.var(dim=0, correction=0)
    if posterior.log_variance is None:
        scale = variance.max()
        by_kl = None
    else:
        scale = variance + posterior.log_variance.double().exp().mean(dim=0)
        log_variance = posterior.log_variance.double()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean(dim=0)
        by_kl = int((kl > ACTIVE_KL).sum())
    eigenvalues = torch.linalg.eigvalsh(torch.cov(mean.T, correction=0).reshape(len(variance), -1)).clamp(
        min=0
    )
    total = float(eigenvalues.sum())
    effective = total**2 / float(eigenvalues.square().sum()) if total > 1e-12 else 0.0
    active = variance > (ACTIVE_SHARE * scale).clamp(min=1e-12)
    return Activity(int(active.sum()), by_kl, float(np.round(effective, 6)), len(variance))


@dataclass(frozen=True)
class Collapse:
    """Verdict on one code.

    Attributes
    ----------
    collapsed : bool
        The code says nothing about the image, or the decoder does not listen to it.
    why : str
        The finding in words.
    """

    collapsed: bool
    why: str


def collapse(activity: Activity, decoder_use: float | None) -> Collapse:
    """Judge one code.

    It has collapsed when none of its dimensions is active (the encoder says the same of every image), or when
    taking it from another image changes the decoded image by less than 1 % of what taking both codes does
    (the decoder ignores it).

    Parameters
    ----------
    activity : Activity
        Of the code.
    decoder_use : float or None
        See `Swaps`; None for a method without a decoder.
    """
    if activity.by_variance == 0:
        return Collapse(True, f"none of its {activity.of} dimensions varies from image to image")
    if decoder_use is not None and decoder_use < LEAST_DECODER_USE:
        return Collapse(
            True,
            f"the decoder ignores it: exchanging it changes the image by {decoder_use:.1%} of a full "
            "exchange",
        )
    used = (
        f", and exchanging it changes the image by {decoder_use:.0%} of a full exchange"
        if decoder_use
        else ""
    )
    return Collapse(False, f"{activity.by_variance} of its {activity.of} dimensions vary{used}")
