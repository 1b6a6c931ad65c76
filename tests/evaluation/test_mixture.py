import numpy as np
import pytest

from dualcontrast.errors import SettingError
from dualcontrast.evaluation.mixture import partition

CENTRES = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]])
SIZES = (90, 60, 40, 30)


def blobs(rng, dimensions=3, spread=1.0):
    """Four round groups of different sizes, nine standard deviations apart, in random order."""
    labels = rng.permutation(np.repeat(np.arange(4), SIZES))
    codes = np.zeros((len(labels), dimensions))
    codes[:, :3] = CENTRES[labels]
    return labels, codes + rng.normal(size=codes.shape) * spread


@pytest.mark.parametrize("method", ["gmm", "kmeans"])
def test_known_groups_are_found_exactly_and_numbered_by_size(rng, method):
    labels, codes = blobs(rng)
    found = partition(codes, 4, method)
    np.testing.assert_array_equal(found.labels, labels)
    means = np.stack([codes[labels == label].mean(axis=0) for label in range(4)])
    np.testing.assert_allclose(found.centres, means, atol=0.02)
    np.testing.assert_allclose(found.responsibilities.sum(axis=1), 1)
    np.testing.assert_array_equal(found.responsibilities.argmax(axis=1), labels)
    assert found.converged and found.dimensions == 3


def test_bic_chooses_the_true_number(rng):
    labels, codes = blobs(rng)
    found = partition(codes, (1, 8))
    np.testing.assert_array_equal(found.labels, labels)
    assert sorted(found.bic) == list(range(1, 9))
    assert min(found.bic, key=lambda n: found.bic[n]) == 4


def test_bic_is_that_of_the_formula(rng):
    codes = rng.normal(size=(200, 2)) @ np.array([[2.0, 0.3], [0.0, 0.5]])
    x = (codes - codes.mean(axis=0)) / codes.std(axis=0)
    # One Gaussian: 2 means and 3 covariances; the floor of 1e-4 is added to the diagonal.
    covariance = np.cov(x.T, bias=True) + 1e-4 * np.eye(2)
    square = np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x)
    log_likelihood = -0.5 * (square + np.log(np.linalg.det(2 * np.pi * covariance))).sum()
    found = partition(codes, 1)
    assert found.bic[1] == pytest.approx(5 * np.log(200) - 2 * log_likelihood, rel=1e-6)
    np.testing.assert_allclose(found.distances, np.sqrt(square), rtol=1e-5)


def test_groups_among_many_empty_dimensions_are_not_hidden_by_the_price_of_covariances(rng):
    labels, codes = blobs(rng, dimensions=40)
    found = partition(codes, (1, 6))
    np.testing.assert_array_equal(found.labels, labels)


def test_one_group_is_not_cut(rng):
    assert len(partition(rng.normal(size=(300, 20)), (1, 4)).centres) == 1


def test_few_rows_are_clustered_in_few_directions(rng):
    codes = rng.normal(size=(60, 30)) * 0.1
    codes[:20] += 5
    found = partition(codes, 2)
    # Five rows for each component and dimension: 60 / (5 · 2).
    assert found.dimensions == 6
    np.testing.assert_array_equal(found.labels, np.repeat([1, 0], (20, 40)))


def test_the_same_seed_gives_the_same_classes(rng):
    codes = rng.normal(size=(150, 4))
    first, second = partition(codes, 5, seed=3), partition(codes, 5, seed=3)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.responsibilities, second.responsibilities)


def test_responsibilities_are_bayes_rule(rng):
    # Two unit Gaussians at -2 and 2, equally many: P(right | x) = 1 / (1 + exp(-4 x)).
    codes = np.concatenate([rng.normal(-2, 1, 4000), rng.normal(2, 1, 4000)])[:, None]
    found = partition(codes, 2)
    right = int(found.centres[:, 0].argmax())
    expected = 1 / (1 + np.exp(-4 * codes[:, 0]))
    assert np.abs(found.responsibilities[:, right] - expected).max() < 0.1


def test_a_dead_code_is_one_class(rng):
    dead = np.full((50, 3), 0.7)
    assert set(partition(dead).labels) == {0}
    with pytest.raises(SettingError, match="same code"):
        partition(dead, 3)


@pytest.mark.parametrize(
    ("count", "method", "message"),
    [
        (0, "gmm", "at least 1"),
        ((5, 2), "gmm", "rises"),
        (31, "gmm", "31 clusters of 30 particles"),
        (None, "kmeans", "k-means cannot choose"),
        ((2, 4), "kmeans", "k-means cannot choose"),
        (2, "dbscan", "unknown clustering"),
    ],
)
def test_settings_that_cannot_be_used(rng, count, method, message):
    with pytest.raises(SettingError, match=message):
        partition(rng.normal(size=(30, 2)), count, method)


def test_the_range_ends_at_a_tenth_of_the_particles(rng):
    assert sorted(partition(rng.normal(size=(45, 2)), (1, 10)).bic) == [1, 2, 3, 4]
