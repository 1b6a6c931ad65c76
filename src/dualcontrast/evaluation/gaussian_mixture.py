"""Fitting a Gaussian mixture to codes: from many starts, with and without a background."""

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sklearn.mixture import GaussianMixture

    from dualcontrast.evaluation.background_mixture import BackgroundMixture

# From k-means, from random rows and from hierarchical clustering, each.
STARTS = 10
# Hierarchical clustering needs all distances between rows.
WARD_ROWS = 2_000
COVARIANCE_FLOOR = 1e-4
# Shares of the rows that may lie between the groups, to find the groups that a fit begins with.
BETWEEN = (0.1, 0.2)
BACKGROUND = 0.05


class Fit(NamedTuple):
    """A mixture that was fitted.

    Attributes
    ----------
    mixture : sklearn.mixture.GaussianMixture
        One component for each group; the background is left out.
    bic : float
        Bayesian information criterion (Schwarz 1978), with the background where there is one; the lower the
        better.
    """

    mixture: "GaussianMixture"
    bic: float


def fit_mixture(x: np.ndarray, count: int, rng: np.random.Generator, starts: int = STARTS) -> Fit:
    """Fit a Gaussian mixture, and keep the start of the best likelihood.

    Full covariances with a floor of 1e-4 on the diagonal. A third of the starts are from k-means, a third
    from random rows, and a third from Ward's hierarchical clustering of random rows (Ward 1963), since on
    codes with several good-looking partitions a single start can land on a poor one.

    Codes that lie between the groups cost a mixture so much that the likeliest one spends a component on them
    and makes one group of two. So as many starts, from Ward's clustering of the rows that lie densest, have a
    background as well (`BackgroundMixture`), which is kept where the Bayesian information criterion is lower
    with it. Its rows then belong to the likeliest of the groups.

    Parameters
    ----------
    x : numpy.ndarray, shape (N, d)
        Standardised codes.
    count : int
        Number of groups; at most N are fitted.
    rng : numpy.random.Generator
        Seeds the starts.
    starts : int
        How many of each kind.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    from dualcontrast.evaluation.background_mixture import BackgroundMixture

    count = min(count, len(x))
    # Threads cost more than they bring to so little work, most of all on a machine that is busy.
    with warnings.catch_warnings(), threadpool_limits(1):
        # What counts is whether the best start converged, and that is returned.
        warnings.simplefilter("ignore", ConvergenceWarning)
        plain, with_background = _unfitted(x, count, rng, starts)
        fits = [
            Fit(best, float(best.bic(x)))
            for best in (_likeliest(mixtures, x) for mixtures in (plain, with_background) if mixtures)
        ]
    best = min(fits, key=lambda fit: fit.bic)
    if isinstance(best.mixture, BackgroundMixture):
        return Fit(best.mixture.without_background(), best.bic)
    return best


def _likeliest(mixtures: "Sequence[GaussianMixture]", x: np.ndarray) -> "GaussianMixture":
    """Fit all, and return the one of the best likelihood."""
    return max((mixture.fit(x) for mixture in mixtures), key=lambda mixture: mixture.lower_bound_)


def _unfitted(
    x: np.ndarray, count: int, rng: np.random.Generator, starts: int
) -> "tuple[list[GaussianMixture], list[BackgroundMixture]]":
    """Set up mixtures without and with a background, each with what it starts from."""
    from sklearn.mixture import GaussianMixture

    from dualcontrast.evaluation.background_mixture import BackgroundMixture

    settings: dict[str, Any] = {"reg_covar": COVARIANCE_FLOOR, "max_iter": 500}
    plain: list[GaussianMixture] = [
        GaussianMixture(
            count, init_params=start, n_init=starts, random_state=int(rng.integers(2**31)), **settings
        )
        for start in ("kmeans", "random_from_data")
    ]
    with_background: list[BackgroundMixture] = []
    # One component has one fit, as have as many as rows.
    if count == 1 or count > WARD_ROWS or count == len(x):
        return plain, with_background
    mean, covariance = x.mean(axis=0), np.atleast_2d(np.cov(x.T, bias=True))
    covariance += COVARIANCE_FLOOR * np.eye(len(mean))
    settings |= {"init_params": "random_from_data", "random_state": 0}
    # Of few rows, another draw would be the same.
    all_drawn = len(x) <= WARD_ROWS
    for number in range(len(BETWEEN) if all_drawn else starts):
        some = x[rng.permutation(len(x))[:WARD_ROWS]]
        if number == 0 or not all_drawn:
            plain.append(_from(GaussianMixture, *_ward(some, count), **settings))
        weights, means, covariances = _ward(_densest(some, count, BETWEEN[number % len(BETWEEN)]), count)
        weights = np.append(weights * (1 - BACKGROUND), BACKGROUND)
        means, covariances = np.vstack((means, mean)), np.concatenate((covariances, covariance[None]))
        about = {"mean": mean, "covariance": covariance}
        with_background.append(_from(BackgroundMixture, weights, means, covariances, **about, **settings))
    return plain, with_background


def _from(
    kind: "type[Any]", weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, **settings: Any
) -> Any:
    """Set up a mixture that starts from given components."""
    return kind(
        n_components=len(weights),
        weights_init=weights,
        means_init=means,
        precisions_init=np.linalg.inv(covariances),
        **settings,
    )


def _densest(x: np.ndarray, count: int, share: float) -> np.ndarray:
    """Leave out the share of the rows that are farthest from their tenth neighbour, but keep `count`."""
    from sklearn.neighbors import NearestNeighbors

    distances = NearestNeighbors(n_neighbors=min(10, len(x) - 1)).fit(x).kneighbors()[0][:, -1]
    return x[np.argsort(distances, kind="stable")[: max(count, round(len(x) * (1 - share)))]]


def _ward(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and covariances of the groups that Ward's clustering finds, to start a mixture from.

    The covariance of a group of n rows is mixed with the mean one W of all groups, (n S + d W) / (n + d), so
    that groups of few rows have one.
    """
    from sklearn.cluster import AgglomerativeClustering

    groups = AgglomerativeClustering(count, linkage="ward").fit_predict(x)
    member = np.eye(count)[groups]
    sizes, dimensions = member.sum(axis=0), x.shape[1]
    means = (member.T @ x) / sizes[:, None]
    apart = x - means[groups]
    floor = COVARIANCE_FLOOR * np.eye(dimensions)
    shared = apart.T @ apart / len(x) + floor
    scatter = np.stack([apart[groups == group].T @ apart[groups == group] for group in range(count)])
    covariances = (scatter + dimensions * shared) / (sizes + dimensions)[:, None, None] + floor
    return sizes / len(x), means, covariances
