"""D_score: how well a ground-truth factor can be predicted from one code (paper, section 4)."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dualcontrast.codes import BOTH_CODES, Codes
from dualcontrast.data.labels import Factor, LabelTable, Role
from dualcontrast.evaluation.regression import r_squared, ridge_predict, standardise
from dualcontrast.random_streams import numpy_stream

TRAINING_ROWS = 50_000
LARGEST_CLASS_COUNT = 1_000


@dataclass(frozen=True)
class Predictivity:
    """How well one factor is predicted from one code.

    Attributes
    ----------
    score : float
        Accuracy for a discrete factor, R² for a continuous one (0 where it would be negative).
    chance : float
        What guessing reaches on the same images: the share of the class that is most common in training, or
        an R² of 0.
    converged : bool
        Whether the fit reached its optimum.
    """

    score: float
    chance: float
    converged: bool = True


def stratified_rows(values: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    """Choose at most about `limit` rows that keep the distribution of `values`.

    Rows are sorted by value, in random order within a value, and taken at even steps, so that every class (or
    every stretch of a continuous factor) keeps its share. A class too rare to be hit keeps one row.
    """
    if len(values) <= limit:
        return np.arange(len(values))
    order = rng.permutation(len(values))
    order = order[np.argsort(values[order], kind="stable")]
    chosen = order[np.linspace(0, len(order) - 1, limit).round().astype(np.int64)]
    if np.issubdtype(values.dtype, np.floating):
        return np.sort(chosen)
    _, first = np.unique(values[order], return_index=True)
    rare = order[first][~np.isin(values[order[first]], values[chosen])]
    return np.sort(np.concatenate((chosen, rare)))


def chance_of_naming(train_labels: np.ndarray, test_labels: np.ndarray) -> float:
    """Share of held-out images that are of the class that is most common in training."""
    classes, counts = np.unique(train_labels, return_counts=True)
    return float(np.mean(test_labels == classes[np.argmax(counts)]))


def classification_score(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> Predictivity:
    """Accuracy of a multinomial logistic regression on held-out images.

    scikit-learn's `LogisticRegression` with its default penalty (C = 1) on standardised codes, run to a
    gradient below 1e-6. A label that occurs in no training image cannot be predicted, so its images count as
    errors.

    Parameters
    ----------
    train, test : numpy.ndarray, shape (N, d), (M, d)
        Codes.
    train_labels, test_labels : numpy.ndarray, shape (N,), (M,)
        Integers or strings.
    """
    chance = chance_of_naming(train_labels, test_labels)
    x, x_test = standardise(train, test)
    if len(np.unique(train_labels)) == 1 or x.shape[1] == 0:
        return Predictivity(chance, chance)
    model, converged = _fit_to_convergence(x, train_labels)
    return Predictivity(float(np.mean(model.predict(x_test) == test_labels)), chance, converged)


def _fit_to_convergence(codes: np.ndarray, labels: np.ndarray) -> tuple[Any, bool]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    model = None
    # Newton's method is slower with many classes but does not stall on badly conditioned codes.
    for solver in ("lbfgs", "newton-cholesky"):
        model = LogisticRegression(solver=solver, tol=1e-6, max_iter=5_000)
        # Two threads take longer than one over matrices as narrow as codes are.
        with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
            warnings.simplefilter("always")
            model.fit(codes, labels)
        if not any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
            return model, True
    return model, False


def regression_score(
    train: np.ndarray, train_values: np.ndarray, test: np.ndarray, test_values: np.ndarray
) -> Predictivity:
    """R² of a ridge regression (penalty 1, standardised codes) on held-out images.

    Arguments as for `classification_score`, with floats for labels.
    """
    predicted = ridge_predict(train, train_values[:, None], test)
    return Predictivity(r_squared(test_values[:, None].astype(np.float64), predicted), 0.0)


def cross_fitted_accuracy(
    codes: np.ndarray, labels: np.ndarray, rng: np.random.Generator, folds: int = 5
) -> Predictivity:
    """Accuracy where every row is named by a classifier that has not seen it; see `classification_score`.

    Parameters
    ----------
    codes : numpy.ndarray, shape (N, d)
        Codes to predict from.
    labels : numpy.ndarray, shape (N,)
        Integers or strings.
    rng : numpy.random.Generator
        Shuffles the rows into folds.
    folds : int
        Number of parts; each in turn is predicted from the others.
    """
    parts = np.array_split(rng.permutation(len(codes)), folds)
    found = []
    for held_out in parts:
        fitted = np.setdiff1d(np.arange(len(codes)), held_out)
        found.append(classification_score(codes[fitted], labels[fitted], codes[held_out], labels[held_out]))
    sizes = [len(part) for part in parts]
    return Predictivity(
        float(np.average([part.score for part in found], weights=sizes)),
        float(np.average([part.chance for part in found], weights=sizes)),
        all(part.converged for part in found),
    )


def why_not_scored(factor: Factor, train_values: np.ndarray, test_values: np.ndarray) -> str | None:
    """Say why a factor cannot be scored, or None when it can."""
    if len(train_values) < 2 or len(test_values) < 2:
        return f"too few labelled images ({len(train_values)} training, {len(test_values)} held out)"
    distinct = len(np.unique(train_values))
    if distinct == 1:
        return "every training image has the same value"
    if not factor.is_continuous and distinct > min(LARGEST_CLASS_COUNT, len(train_values) / 2):
        return (
            f"{distinct:,} different values in {len(train_values):,} training images are too many for "
            "classes; "
            "write them with a decimal point if they are measurements"
        )
    return None


def d_score(
    codes: Codes, labels: LabelTable, train_ids: np.ndarray, test_ids: np.ndarray, seed: int = 0
) -> dict:
    """Score every content and transformation factor from both codes.

    Classifiers and regressions are fitted on the training images and scored on the held-out ones. Above
    50,000 training images a stratified, seeded sample of that many is fitted.

    Parameters
    ----------
    codes : Codes
        Codes of all particles.
    labels : LabelTable
        Ground truth; particles without a row are left out.
    train_ids, test_ids : numpy.ndarray of str
        The split.
    seed : int
        Chooses the sample.

    Returns
    -------
    dict
        `content` and `transformation`, each with `from_content`, `from_transformation` (means over the role's
        factors, or None), `chance`, `measure` ('accuracy', 'r2' or 'mean of accuracy and r2'), `reason`
        (why it is None) and `factors` (one entry a factor).
    """
    train_ids, test_ids = (ids[np.isin(ids, labels.ids)] for ids in (train_ids, test_ids))
    train = (codes.select(train_ids), labels.select(train_ids)) if len(train_ids) else None
    test = (codes.select(test_ids), labels.select(test_ids)) if len(test_ids) else None
    scores: dict[str, Any] = {}
    for role in BOTH_CODES:
        names = [factor.name for factor in labels.of_role(role)]
        if not names:
            scores[role] = summarise([], f"the images have no {role} labels")
        elif train is None or test is None:
            scores[role] = summarise([], "no training image, or no held-out image, has a label")
        else:
            factors = [score_factor(role, name, train, test, seed) for name in names]
            scores[role] = summarise(factors, "no factor could be scored")
    return scores


def score_factor(
    role: Role, name: str, train: tuple[Codes, LabelTable], test: tuple[Codes, LabelTable], seed: int
) -> dict[str, Any]:
    """Score one factor from both codes: an entry of `factors` in what `d_score` returns."""

    def column(table: LabelTable) -> Factor:
        return next(factor for factor in table.of_role(role) if factor.name == name)

    factor = column(train[1])
    train_values, test_values = factor.values, column(test[1]).values
    kind: Literal["r2", "accuracy"] = "r2" if factor.is_continuous else "accuracy"
    entry: dict[str, Any] = {
        "name": name,
        "measure": kind,
        "from_content": None,
        "from_transformation": None,
        "chance": None,
        "reason": why_not_scored(factor, train_values, test_values),
    }
    if entry["reason"]:
        return entry
    chosen = stratified_rows(train_values, TRAINING_ROWS, numpy_stream(seed, "d_score", role, name))
    train_values = train_values[chosen]
    measure = regression_score if factor.is_continuous else classification_score
    results = {
        code: measure(
            getattr(train[0], code)[chosen],
            train_values,
            getattr(test[0], code),
            test_values,
        )
        for code in BOTH_CODES
    }
    if not factor.is_continuous:
        entry["classes"] = len(np.unique(train_values))
    return entry | {
        "from_content": results["content"].score,
        "from_transformation": results["transformation"].score,
        "chance": results["content"].chance,
        "converged": all(result.converged for result in results.values()),
        "train_images": len(chosen),
        "test_images": len(test_values),
    }


def summarise(factors: list[dict[str, Any]], reason: str) -> dict[str, Any]:
    """Average the scored factors of one role; keep `reason` when there are none."""
    scored = [factor for factor in factors if factor["reason"] is None]
    measures = {factor["measure"] for factor in scored}

    def mean(key: str) -> float | None:
        return float(np.mean([factor[key] for factor in scored])) if scored else None

    return {
        "from_content": mean("from_content"),
        "from_transformation": mean("from_transformation"),
        "chance": mean("chance"),
        "measure": measures.pop() if len(measures) == 1 else "mean of accuracy and r2" if measures else None,
        "reason": None if scored else factors[0]["reason"] if len(factors) == 1 else reason,
        "factors": factors,
    }
