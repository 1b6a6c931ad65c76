import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, LeaveOneOut
from sklearn.preprocessing import StandardScaler

from dualcontrast.evaluation.regression import (
    KERNEL_PENALTIES,
    cross_fitted_r_squared,
    kernel_predict,
    r_squared,
    ridge_predict,
    standardise,
)


def test_standardise_uses_the_training_rows_only(rng):
    train, test = rng.normal(5, 3, (50, 4)), rng.normal(2, 1, (20, 4))
    scaler = StandardScaler().fit(train)
    ours = standardise(train, test)
    np.testing.assert_allclose(ours[0], scaler.transform(train))
    np.testing.assert_allclose(ours[1], scaler.transform(test))


def test_standardise_drops_a_dead_column_however_it_is_scaled(rng):
    noise = np.float32(1e-8) * rng.normal(size=40)
    train = np.column_stack((rng.normal(size=40), np.full(40, 7.0), 3 + noise))
    assert standardise(train)[0].shape == (40, 1)


def test_standardise_keeps_a_small_lively_column(rng):
    assert standardise(1e-4 * rng.normal(size=(40, 2)))[0].shape == (40, 2)


def test_ridge_agrees_with_scikit_learn(rng):
    train, test = rng.normal(size=(60, 5)), rng.normal(size=(30, 5))
    targets = np.column_stack((train @ rng.normal(size=5), rng.normal(size=60)))
    scaler = StandardScaler().fit(train)
    reference = Ridge(alpha=1.0).fit(scaler.transform(train), targets).predict(scaler.transform(test))
    np.testing.assert_allclose(ridge_predict(train, targets, test), reference)


def test_r_squared_is_pooled_by_variance(rng):
    truth = rng.normal(size=(40, 3)) * [1, 2, 3]
    predicted = truth + rng.normal(size=(40, 3))
    assert r_squared(truth, predicted) == pytest.approx(
        r2_score(truth, predicted, multioutput="variance_weighted")
    )


def test_r_squared_is_never_negative_and_a_constant_explains_nothing():
    truth = np.array([[0.0], [1.0]])
    assert r_squared(truth, 1 - truth) == 0
    assert r_squared(np.ones((5, 1)), np.ones((5, 1))) == 0


@pytest.mark.parametrize("predict", [ridge_predict, kernel_predict])
def test_a_dead_code_predicts_the_mean(predict, rng):
    targets = rng.normal(size=(30, 2))
    predicted = predict(np.ones((30, 4)), targets, np.ones((7, 4)))
    np.testing.assert_allclose(predicted, np.repeat(targets.mean(axis=0)[None], 7, axis=0))


def test_cross_fitting_does_not_reward_fitting_noise(rng):
    codes, targets = rng.normal(size=(60, 40)), rng.normal(size=(60, 1))
    assert r_squared(targets, ridge_predict(codes, targets, codes)) > 0.5
    assert cross_fitted_r_squared(codes, targets, rng) < 0.1


def test_only_the_kernel_sees_a_parabola(rng):
    codes = rng.normal(size=(800, 3))
    targets = codes[:, :1] ** 2
    assert cross_fitted_r_squared(codes, targets, rng) < 0.1
    assert cross_fitted_r_squared(codes, targets, rng, nonlinear=True) > 0.8


def test_the_kernel_sees_products_of_many_numbers(rng):
    """Sums of two squared numbers of twenty, of which the largest penalty shows less than half."""
    codes = rng.normal(size=(600, 20))
    targets = codes[:, 0:3] ** 2 + codes[:, 3:6] ** 2
    assert cross_fitted_r_squared(codes, targets, rng, nonlinear=True) > 0.7


@pytest.mark.parametrize("noise", [0.05, 3.0])
def test_the_penalty_is_the_one_that_scikit_learn_finds_by_leaving_one_out(noise, rng):
    train, test = rng.normal(size=(60, 4)), rng.normal(size=(20, 4))
    targets = np.sin(2 * train[:, :2]) + noise * rng.normal(size=(60, 2))
    train_rows, test_rows = standardise(train, test)
    search = GridSearchCV(
        KernelRidge(kernel="rbf", gamma=1 / 8),
        {"alpha": KERNEL_PENALTIES},
        scoring="neg_mean_squared_error",
        cv=LeaveOneOut(),
    )
    found = kernel_predict(train, targets, test)
    for column, mean in enumerate(targets.mean(axis=0)):
        expected = search.fit(train_rows, targets[:, column] - mean).predict(test_rows) + mean
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-6)


def test_the_kernel_finds_nothing_in_independent_codes(rng):
    codes, targets = rng.normal(size=(800, 10)), rng.normal(size=(800, 10))
    assert cross_fitted_r_squared(codes, targets, rng, nonlinear=True) < 0.02
