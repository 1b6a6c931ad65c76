"""Probabilities averaged over posteriors, against integrals that are computed in another way."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from dualcontrast.evaluation.expected import POINTS, Posteriors, expected_responsibilities
from dualcontrast.evaluation.mixture import partition


def logistic(x):
    """Responsibilities of two unit Gaussians at -1 and 1, equally many."""
    right = 1 / (1 + np.exp(-2 * x[:, 0]))
    return np.stack([1 - right, right], axis=1)


def test_it_is_the_integral_by_quadrature():
    means = np.array([-3.0, -0.4, 0.0, 0.7, 2.0])
    variances = np.array([0.01, 0.5, 2.0, 4.0, 1.0])
    found = expected_responsibilities(logistic, Posteriors(means[:, None], variances[:, None], np.eye(1)))
    for row, (mean, variance) in enumerate(zip(means, variances, strict=True)):
        spread = np.sqrt(variance)

        def integrand(u, mean=mean, spread=spread):
            return norm.pdf(u, mean, spread) / (1 + np.exp(-2 * u))

        integral, _ = quad(integrand, mean - 9 * spread, mean + 9 * spread)
        # A Latin hypercube is a fine quadrature in one dimension.
        assert found[row, 1] == pytest.approx(integral, abs=2e-3)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_posteriors_of_no_width_change_nothing(rng):
    x = rng.normal(size=(50, 1))
    found = expected_responsibilities(logistic, Posteriors(x, np.zeros((50, 1)), np.eye(1)))
    np.testing.assert_allclose(found, logistic(x))


def test_a_hard_border_gives_the_share_of_the_posterior_beyond_it(rng):
    """In six dimensions, along an oblique direction: the share is a normal distribution function."""
    direction = rng.normal(size=6)
    direction /= np.linalg.norm(direction)
    means, variances = rng.normal(size=(40, 6)), rng.uniform(0.2, 2, size=(40, 6))
    scale = np.diag([1.0, 2.0, 0.5, 1.0, 3.0, 1.0])

    def beyond(x):
        right = (x @ direction > 0).astype(float)
        return np.stack([1 - right, right], axis=1)

    found = expected_responsibilities(beyond, Posteriors(means, variances, scale))[:, 1]
    deviation = np.sqrt(variances @ (scale @ direction) ** 2)
    share = norm.cdf(means @ direction / deviation)
    # Plain draws have a standard deviation of √(p (1 - p) / 128).
    z = (found - share) / np.sqrt(share * (1 - share) / POINTS)
    assert np.abs(z).max() < 4
    assert np.sqrt(np.mean(z**2)) < 1.3


def test_the_same_seed_gives_the_same_draws_and_rows_do_not_matter(rng):
    means, variances = rng.normal(size=(30, 1)), rng.uniform(size=(30, 1))
    first = expected_responsibilities(logistic, Posteriors(means, variances, np.eye(1)), seed=4)
    again = expected_responsibilities(logistic, Posteriors(means[::-1], variances[::-1], np.eye(1)), seed=4)
    np.testing.assert_array_equal(first, again[::-1])
    other = expected_responsibilities(logistic, Posteriors(means, variances, np.eye(1)), seed=5)
    assert np.abs(first - other).max() > 0


def test_expected_probabilities_of_a_mixture_are_those_of_drawn_codes(rng):
    """Against plain draws from every posterior, and a mixture whose components were widened by hand."""
    count = 1500
    true = rng.integers(2, size=count)
    means = np.array([[-1.5, 0], [1.5, 1]])[true] + rng.normal(size=(count, 2)) * [0.6, 1.0]
    variances = rng.uniform(0.1, 0.9, size=(count, 2))
    found = partition(means, 2, variances=variances)
    assert np.abs(found.expected - found.responsibilities).max() > 0.1
    # In the units of the codes, with the fitted responsibilities as weights (the M-step of a mixture).
    draws = np.random.default_rng(1).normal(size=(4000, 2))
    weights, components = found.responsibilities, []
    for k in range(2):
        share = weights[:, k] / weights[:, k].sum()
        centre = share @ means
        covariance = (share[:, None] * (means - centre)).T @ (means - centre) + np.diag(share @ variances)
        components.append((weights[:, k].mean(), centre, covariance))
    for row in range(0, count, 150):
        codes = means[row] + draws * np.sqrt(variances[row])
        joint = np.stack([p * multivariate_normal.pdf(codes, m, c) for p, m, c in components], axis=1)
        expected = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
        np.testing.assert_allclose(found.expected[row], expected, atol=0.03)


def test_a_wide_dimension_in_which_means_lie_close_does_not_blur_the_classes(rng):
    """As a code has it that is nearly dead: its draws scatter far beyond the means, and tell nothing."""
    labels = np.repeat([0, 1], 200)
    means = np.stack([labels * 10 + rng.normal(size=400), rng.normal(size=400) * 0.01], axis=1)
    variances = np.tile([0.01, 1.0], (400, 1))
    found = partition(means, 2, variances=variances)
    np.testing.assert_array_equal(found.labels == found.labels[0], labels == 0)
    assert found.expected[np.arange(400), found.labels].min() > 0.99


def test_k_means_gets_the_share_of_the_posterior_nearest_each_centre(rng):
    means = np.concatenate([rng.normal(-1, 0.3, 100), rng.normal(1, 0.3, 100)])[:, None]
    found = partition(means, 2, "kmeans", variances=np.full((200, 1), 0.49))
    border = found.centres.mean()
    right = int(found.centres[:, 0].argmax())
    np.testing.assert_allclose(found.expected[:, right], norm.sf(border, means[:, 0], 0.7), atol=0.01)
    assert set(np.unique(found.responsibilities)) == {0, 1}


@pytest.mark.parametrize("dimensions", [3, 40])
def test_classes_do_not_depend_on_the_posteriors(rng, dimensions):
    """Nor do they in few of many directions, where variances are turned with the codes."""
    codes = rng.normal(size=(120, dimensions))
    codes[:60] += 8
    bare = partition(codes, 2)
    found = partition(codes, 2, variances=np.full(codes.shape, 0.01))
    np.testing.assert_array_equal(found.labels, bare.labels)
    np.testing.assert_array_equal(found.responsibilities, bare.responsibilities)
    np.testing.assert_allclose(bare.expected, bare.responsibilities, atol=1e-12)
    assert found.expected[np.arange(120), found.labels].min() > 0.95
