from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from dualcontrast.evaluation.background_mixture import BackgroundMixture
from dualcontrast.evaluation.gaussian_mixture import fit_mixture


def test_more_starts_are_at_least_as_good(rng):
    x = rng.normal(size=(200, 3))
    many = fit_mixture(x, 6, np.random.default_rng(0)).bic
    assert many <= fit_mixture(x, 6, np.random.default_rng(0), starts=1).bic


def test_many_long_groups_are_found():
    """The fit is as likely as the mixture that the rows were drawn from; k-means and random rows end below.

    Fifteen groups in ten dimensions, long in some directions and thin in others, of 133 to 400 rows.
    """
    rng = np.random.default_rng(1)
    count, dimensions = 15, 10
    means = rng.normal(size=(count, dimensions)) / 2
    sizes = rng.integers(133, 400, size=count)
    groups, covariances = [], []
    for mean, size in zip(means, sizes, strict=True):
        axes = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
        widths = 0.2 * np.exp(rng.uniform(-1.2, 1.2, size=dimensions))
        covariances.append((axes * widths**2) @ axes.T)
        groups.append(rng.multivariate_normal(mean, covariances[-1], size=size))
    x = np.concatenate(groups)
    density = sum(
        size / len(x) * multivariate_normal.pdf(x, mean, covariance)
        for mean, covariance, size in zip(means, covariances, sizes, strict=True)
    )
    fitted = fit_mixture(x, count, np.random.default_rng(0), starts=3).mixture
    assert fitted.score(x) > np.log(density).mean()
    assert adjusted_rand_score(np.repeat(np.arange(count), sizes), fitted.predict(x)) > 0.95


def groups_in_a_background(rng: np.random.Generator, lost: int) -> tuple[np.ndarray, np.ndarray]:
    """Nine groups of 200 rows in four dimensions, two of them near each other, and rows that lie between."""
    centres = np.concatenate((np.eye(4), -np.eye(4), [[0.4, 0, 0, -1]])) * 2
    labels = np.repeat(np.arange(9), 200)
    groups = centres[labels] + 0.15 * rng.normal(size=(1800, 4))
    return labels, np.concatenate((groups, rng.normal(size=(lost, 4))))


@pytest.mark.parametrize("lost", [150, 300])
def test_what_lies_between_the_groups_does_not_make_one_of_two(rng, lost):
    """A mixture of nine spends a component on it; with a background all nine groups are found."""
    labels, x = groups_in_a_background(rng, lost)
    alone = GaussianMixture(9, reg_covar=1e-4, n_init=5, random_state=0).fit(x)
    assert adjusted_rand_score(labels, alone.predict(x)[:1800]) < 0.9
    found = fit_mixture(x, 9, np.random.default_rng(0), starts=3)
    assert adjusted_rand_score(labels, found.mixture.predict(x)[:1800]) > 0.99
    assert found.mixture.n_components == 9
    np.testing.assert_allclose(np.asarray(found.mixture.weights_), 1 / 9, atol=0.01)
    assert found.bic < alone.bic(x)


def test_where_nothing_lies_between_the_groups_there_is_no_background(rng):
    labels, x = groups_in_a_background(rng, lost=0)
    found = fit_mixture(x, 9, np.random.default_rng(0), starts=3)
    assert adjusted_rand_score(labels, found.mixture.predict(x)) > 0.99
    # The criterion by its definition: 9 means and covariances, and 8 free weights.
    free = 9 * (4 + 10) + 8
    expected = -2 * found.mixture.score_samples(x).sum() + free * np.log(len(x))
    np.testing.assert_allclose(found.bic, expected)


def test_of_the_background_the_weight_is_fitted_and_nothing_else(rng):
    """Against the likelihood by its definition, and the share of rows that were drawn from it."""
    x = np.concatenate((rng.normal(size=(3000, 2)) * 0.1, rng.normal(size=(1000, 2)) * 2))
    mean = np.array([0.2, -0.1])
    covariance: Any = 4 * np.eye(2)
    fitted = BackgroundMixture(
        mean,
        covariance,
        n_components=2,
        means_init=[[0, 0], mean],
        precisions_init=[np.eye(2), np.eye(2) / 4],
        weights_init=[0.5, 0.5],
    ).fit(x)
    np.testing.assert_array_equal(fitted.means_[1], mean)
    np.testing.assert_array_equal(fitted.covariances_[1], covariance)
    np.testing.assert_allclose(fitted.weights_, [0.75, 0.25], atol=0.01)
    np.testing.assert_allclose(fitted.covariances_[0], 0.01 * np.eye(2), atol=0.001)
    density = fitted.weights_[0] * multivariate_normal.pdf(x, fitted.means_[0], fitted.covariances_[0])
    density += fitted.weights_[1] * multivariate_normal.pdf(x, mean, covariance)
    # A mean and a covariance of one component, and one free weight.
    expected = -2 * np.log(density).sum() + (2 + 3 + 1) * np.log(len(x))
    np.testing.assert_allclose(fitted.bic(x), expected)
    assert fitted.without_background().weights_ == [1]


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])
def test_few_rows_have_as_many_groups_as_are_asked_for_and_there_are(rng, count):
    x = rng.normal(size=(5, 2))
    found = fit_mixture(x, count, np.random.default_rng(0))
    assert found.mixture.n_components == min(count, 5)
    assert np.isfinite(found.bic)
    assert set(found.mixture.predict(x)) <= set(range(count))
