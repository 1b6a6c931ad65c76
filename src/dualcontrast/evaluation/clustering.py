"""Gaussian-mixture clustering of the content codes, compared with labels."""

from typing import Any

import numpy as np

from dualcontrast.codes import Codes
from dualcontrast.data.labels import LabelTable
from dualcontrast.evaluation.d_score import why_not_scored
from dualcontrast.evaluation.gaussian_mixture import fit_mixture
from dualcontrast.evaluation.matching import matched
from dualcontrast.evaluation.mixture import FITTED_ROWS
from dualcontrast.evaluation.regression import standardise
from dualcontrast.random_streams import numpy_stream


def matched_accuracy(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Share of images whose cluster is the one matched to their label.

    Clusters and labels are matched one to one so that the share is as large as it can be (Hungarian method).

    Parameters
    ----------
    labels, clusters : numpy.ndarray, shape (N,)
        Two ways of naming the same images.
    """
    return float(matched(labels, clusters).mean())


def fit_and_assign(train: np.ndarray, test: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, bool]:
    """Fit a Gaussian mixture to training codes and assign held-out codes to its components.

    See `fit_mixture`; standardised codes, at most 20,000 fitted rows, the likeliest of 30 starts.

    Parameters
    ----------
    train, test : numpy.ndarray, shape (N, d), (M, d)
        Codes.
    count : int
        Number of components.
    seed : int
        Of the starts.

    Returns
    -------
    clusters : numpy.ndarray of int, shape (M,)
        Component of each held-out code; all 0 where the codes do not vary.
    converged : bool
        Whether the best start reached its optimum.
    """
    rng = numpy_stream(seed, "clustering")
    rows = rng.permutation(len(train))[:FITTED_ROWS]
    x, x_test = standardise(train[rows], test)
    if x.shape[1] == 0:
        return np.zeros(len(test), dtype=np.int64), True
    best = fit_mixture(x, count, rng).mixture
    return best.predict(x_test), bool(best.converged_)


def clustering(
    codes: Codes, labels: LabelTable, train_ids: np.ndarray, test_ids: np.ndarray, seed: int = 0
) -> dict:
    """Compare clusters of the content codes with every discrete content factor.

    The mixture has as many components as the factor has values; it is fitted to the content codes of all
    training images, without their labels, and compared with the labels of the held-out images.

    Parameters
    ----------
    codes : Codes
        Codes of all particles.
    labels : LabelTable
        Ground truth of the run's particles; those without a row are left out.
    train_ids, test_ids : numpy.ndarray of str
        The split.
    seed : int
        Of the sample and the starts.

    Returns
    -------
    dict
        `gmm_accuracy`, `ari` (adjusted Rand index), `nmi` (normalised mutual information), each the mean over
        the factors or None, `reason` and `factors` (one entry a factor).
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    test_ids = test_ids[np.isin(test_ids, labels.ids)]
    factors: list[dict[str, Any]] = []
    discrete = [factor for factor in labels.of_role("content") if not factor.is_continuous]
    reason = None if discrete else "the images have no discrete content labels"
    train = codes.select(train_ids).content
    for factor in discrete if len(test_ids) and len(train) else ():
        values = next(f.values for f in labels.select(test_ids).of_role("content") if f.name == factor.name)
        entry: dict[str, Any] = {"name": factor.name, "reason": why_not_scored(factor, factor.values, values)}
        if entry["reason"] is None:
            count = len(np.unique(factor.values))
            clusters, converged = fit_and_assign(train, codes.select(test_ids).content, count, seed)
            entry |= {
                "clusters": count,
                "converged": converged,
                "gmm_accuracy": matched_accuracy(values, clusters),
                "ari": float(adjusted_rand_score(values, clusters)),
                "nmi": float(normalized_mutual_info_score(values, clusters)),
            }
        factors.append(entry)
    scored = [factor for factor in factors if factor["reason"] is None]
    if not scored and reason is None:
        reason = (
            factors[0]["reason"]
            if factors
            else "no held-out image has a label, or there is no training image"
        )
    means = {
        key: float(np.mean([factor[key] for factor in scored])) if scored else None
        for key in ("gmm_accuracy", "ari", "nmi")
    }
    return means | {"reason": reason, "factors": factors}
