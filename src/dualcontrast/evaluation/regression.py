"""Standardised codes and how well one set of numbers predicts another on rows that were not fitted."""

import numpy as np

RIDGE_PENALTY = 1.0
# Of the kernel regression. With the largest alone, a code of forty numbers that tells a third of another by
# products of its numbers seems to tell a twentieth.
KERNEL_PENALTIES = (1.0, 0.1, 0.01, 0.001)
MOST_LEFT_OUT = 1_000
# Predicted at once: 65 MB of kernel values with 2,000 rows to learn from.
ROWS_AT_ONCE = 4_096
SMALLEST_SPREAD = 1e-6


def standardise(train: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Give every column zero mean and unit variance on `train`, and apply the same map to the others.

    Columns that do not vary (standard deviation below 1e-6 of their size) are dropped: dividing by a spread
    that is rounding noise would turn a dead code into a lively one.

    Parameters
    ----------
    train : numpy.ndarray, shape (N, d)
        Rows that fix the mean and the standard deviation.
    *others : numpy.ndarray, shape (M, d)
        Rows to map in the same way.

    Returns
    -------
    tuple of numpy.ndarray, float64
        `train` and the others, each with the columns that vary.
    """
    rows = train.astype(np.float64)
    centre, spread = rows.mean(axis=0), rows.std(axis=0)
    varies = spread > SMALLEST_SPREAD * np.maximum(np.abs(centre), 1e-3)
    return tuple(
        (block.astype(np.float64)[:, varies] - centre[varies]) / spread[varies] for block in (train, *others)
    )


def r_squared(truth: np.ndarray, predicted: np.ndarray, centre: np.ndarray | None = None) -> float:
    """Share of the variance that a prediction explains, pooled over columns; never below 0.

    R² = 1 - Σ (y - ŷ)² / Σ (y - ȳ)², both sums over rows and columns, so a column counts by its variance. A
    prediction worse than the mean explains nothing and scores 0.

    Parameters
    ----------
    truth, predicted : numpy.ndarray, shape (N, k)
        Values and their predictions.
    centre : numpy.ndarray or None, shape (k,)
        ȳ; the mean of `truth` by default.
    """
    centre = truth.mean(axis=0) if centre is None else centre
    total = np.square(truth - centre).sum()
    if total == 0:
        return 0.0
    return float(max(0.0, 1 - np.square(truth - predicted).sum() / total))


def ridge_predict(train: np.ndarray, targets: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Fit a ridge regression on standardised codes and predict held-out targets.

    Parameters
    ----------
    train : numpy.ndarray, shape (N, d)
        Codes to fit.
    targets : numpy.ndarray, shape (N, k)
        What to predict.
    test : numpy.ndarray, shape (M, d)
        Codes to predict from.

    Returns
    -------
    numpy.ndarray, float64, shape (M, k)
        Predictions; the mean of `targets` where the codes do not vary.
    """
    x, x_test = standardise(train, test)
    centre = targets.astype(np.float64).mean(axis=0)
    gram = x.T @ x + RIDGE_PENALTY * np.eye(x.shape[1])
    return x_test @ np.linalg.solve(gram, x.T @ (targets - centre)) + centre


def kernel_predict(train: np.ndarray, targets: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Fit a kernel ridge regression with a Gaussian kernel and predict held-out targets.

    The kernel is exp(-‖u - v‖² / m) on standardised codes, m the mean squared distance of two training rows,
    so its width follows the number of dimensions. It sees dependence that no linear map shows. Of four
    penalties, from that of a smooth map to that of one that follows each row, the one is taken, for each
    target, with which training rows predict each other best (leave-one-out; at most about 1,000 of them).
    Arguments and result as for `ridge_predict`.
    """
    from scipy.spatial.distance import cdist

    x, x_test = standardise(train, test)
    centre = targets.astype(np.float64).mean(axis=0)
    if x.shape[1] == 0:
        return np.repeat(centre[None], len(test), axis=0)
    # Standardised rows are on average √(2 d) apart.
    width = 2.0 * x.shape[1]
    kernel, wanted = np.exp(-cdist(x, x, "sqeuclidean") / width), targets - centre
    some = slice(None, None, -(-len(x) // MOST_LEFT_OUT))
    chosen = _penalties_by_leave_one_out(kernel[some, some], wanted[some])
    weights = np.empty(targets.shape)
    for penalty in np.unique(chosen):
        columns = chosen == penalty
        weights[:, columns] = np.linalg.solve(kernel + penalty * np.eye(len(kernel)), wanted[:, columns])
    parts = [x_test[start : start + ROWS_AT_ONCE] for start in range(0, len(x_test), ROWS_AT_ONCE)]
    predicted = [np.exp(-cdist(part, x, "sqeuclidean") / width) @ weights for part in parts]
    return np.concatenate([np.empty((0, targets.shape[1])), *predicted]) + centre


def _penalties_by_leave_one_out(kernel: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Penalty, for each of the targets (N, k), with which rows that are left out are predicted best."""
    best = np.full(targets.shape[1], KERNEL_PENALTIES[0])
    least = np.full(targets.shape[1], np.inf)
    # From the largest on, for as long as any target gets better.
    for penalty in KERNEL_PENALTIES:
        inverse = np.linalg.inv(kernel + penalty * np.eye(len(kernel)))
        # What a row is off by when it is left out, without fitting the others again (Golub et al. 1979).
        errors = np.square(inverse @ targets / np.diagonal(inverse)[:, None]).sum(axis=0)
        better = errors < least
        if not better.any():
            break
        best, least = np.where(better, penalty, best), np.minimum(errors, least)
    return best


def cross_fitted_r_squared(
    codes: np.ndarray,
    targets: np.ndarray,
    rng: np.random.Generator,
    *,
    nonlinear: bool = False,
    folds: int = 5,
) -> float:
    """R² of predictions in which every row is predicted by a regression that has not seen it.

    Parameters
    ----------
    codes : numpy.ndarray, shape (N, d)
        Codes to predict from.
    targets : numpy.ndarray, shape (N, k)
        What to predict.
    rng : numpy.random.Generator
        Shuffles the rows into folds.
    nonlinear : bool
        Use `kernel_predict` instead of `ridge_predict`.
    folds : int
        Number of parts; each in turn is predicted from the others.
    """
    predict = kernel_predict if nonlinear else ridge_predict
    predicted = np.empty(targets.shape, dtype=np.float64)
    for held_out in np.array_split(rng.permutation(len(codes)), folds):
        fitted = np.ones(len(codes), dtype=bool)
        fitted[held_out] = False
        predicted[held_out] = predict(codes[fitted], targets[fitted], codes[held_out])
    return r_squared(targets, predicted)
