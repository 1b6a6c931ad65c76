"""Are nine in ten of what is 0.9 sure right? Reliability bins and the expected calibration error."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dualcontrast.errors import SettingError

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Predictions of about the same confidence.

    Attributes
    ----------
    low, high : float
        Confidences of the bin: above `low`, up to and with `high`; the first holds 0 as well.
    count : int
        Predictions in it.
    confidence : float
        Their mean confidence; NaN where there are none.
    right : float
        The share of them that is right; NaN where there are none.
    """

    low: float
    high: float
    count: int
    confidence: float
    right: float


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Divide predictions into bins of equal width by their confidence.

    Parameters
    ----------
    confidence : numpy.ndarray, shape (N,)
        From 0 to 1.
    right : numpy.ndarray of bool, shape (N,)
        Whether each prediction is right.
    bins : int
        How many, at least 1.

    Raises
    ------
    SettingError
        For no bins, no predictions, as many answers as there are not predictions, or confidences that are no
        numbers from 0 to 1.
    """
    confidence, right = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if bins < 1:
        raise SettingError(f"{bins} bins: give at least 1")
    if confidence.shape != right.shape or confidence.ndim != 1 or not len(confidence):
        raise SettingError(
            f"calibration of {confidence.shape} confidences and {right.shape} answers: give a list of each, "
            "equally long"
        )
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise SettingError(
            "calibration: confidences have to be from 0 to 1; leave out those that are not known"
        )
    edges = np.linspace(0, 1, bins + 1)
    # A confidence that is an edge belongs to the bin below it, so that 1 has one.
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = np.bincount(places, confidence, bins) / counts
        shares = np.bincount(places, right, bins) / counts
    return [
        Bin(float(edges[n]), float(edges[n + 1]), int(counts[n]), float(means[n]), float(shares[n]))
        for n in range(bins)
    ]


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Mean distance of confidence and share of right predictions, over bins weighted by their predictions.

    ECE = Σₙ |Bₙ| / N · |right(Bₙ) − confidence(Bₙ)| (Guo et al. 2017, who take 15 bins of equal width). 0 is
    perfect. A confidence that is the same for all, and equal to the accuracy, is perfectly calibrated and
    says nothing: look at the accuracy of the most and the least confident too.

    Parameters
    ----------
    confidence, right, bins
        See `reliability`.
    """
    filled = [one for one in reliability(confidence, right, bins) if one.count]
    return sum(one.count * abs(one.right - one.confidence) for one in filled) / len(confidence)


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> dict[str, Any]:
    """Collect how far a confidence can be believed.

    Parameters
    ----------
    confidence, right, bins
        See `reliability`.

    Returns
    -------
    dict
        `ece`; `confidence`, the mean; `accuracy` of all, `accuracy_most_confident_half` and
        `accuracy_least_confident_tenth` (of equal confidences, the first; at least one prediction each); and
        `bins`, the filled ones, as dicts of `low`, `high`, `count`, `confidence` and `right`.
    """
    ece = expected_calibration_error(confidence, right, bins)
    order = np.argsort(-np.asarray(confidence), kind="stable")
    sure, unsure = max(1, len(order) // 2), max(1, len(order) // 10)
    return {
        "ece": ece,
        "confidence": float(np.mean(confidence)),
        "accuracy": float(np.mean(right)),
        "accuracy_most_confident_half": float(np.mean(right[order[:sure]])),
        "accuracy_least_confident_tenth": float(np.mean(right[order[-unsure:]])),
        "bins": [vars(one) for one in reliability(confidence, right, bins) if one.count],
    }
