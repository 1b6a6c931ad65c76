"""Labels read from the codes in whatever form these have them, beside the linear maps of the D_score.

A code that is kept from telling a label to a linear map may tell it all the same: the term `independence`,
whose kernel is as wide as codes lie apart, sees little else than what is linear.
"""

from typing import Any

import numpy as np

from dualcontrast.codes import BOTH_CODES, Codes
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.evaluation.d_score import chance_of_naming, summarise, why_not_scored
from dualcontrast.evaluation.regression import kernel_predict, r_squared
from dualcontrast.random_streams import numpy_stream

MOST_FITTED = 2_000


def curved_read_out(
    codes: Codes, labels: LabelTable, train_ids: np.ndarray, test_ids: np.ndarray, seed: int = 0
) -> dict[str, Any]:
    """Score every content and transformation factor from both codes by Gaussian-kernel ridge regression.

    The regression (see `kernel_predict`) is fitted on at most 2,000 training images and scored on the
    held-out ones. For a discrete factor it predicts for each class whether an image is of it, and the largest
    prediction names the class. More images to learn from would show more: it is a lower bound.

    Parameters
    ----------
    codes, labels, train_ids, test_ids
        As for `d_score`.
    seed : int
        Chooses the images to learn from.

    Returns
    -------
    dict
        As `d_score` returns it, without `converged` and the numbers of images; `train_images` is that of all.
    """
    # In the order of the ids, so that nothing depends on the order of a file.
    train_ids, test_ids = (np.sort(ids[np.isin(ids, labels.ids)]) for ids in (train_ids, test_ids))
    train_ids = np.sort(numpy_stream(seed, "curved read-out").permutation(train_ids)[:MOST_FITTED])
    if not len(train_ids) or not len(test_ids):
        return {
            role: summarise([], "no training image, or no held-out image, has a label") for role in BOTH_CODES
        }
    train, test = labels.select(train_ids), labels.select(test_ids)
    pairs = [
        (a, b) for role in BOTH_CODES for a, b in zip(train.of_role(role), test.of_role(role), strict=True)
    ]
    reasons = [why_not_scored(a, a.values, b.values) for a, b in pairs]
    scored = [pair for pair, reason in zip(pairs, reasons, strict=True) if reason is None]
    read = {}
    if scored:
        targets = [_columns(factor) for factor, _ in scored]
        ends = np.cumsum([columns.shape[1] for columns in targets])[:-1]
        of_train, of_test = codes.select(train_ids), codes.select(test_ids)
        for code in BOTH_CODES:
            predicted = kernel_predict(
                getattr(of_train, code), np.concatenate(targets, axis=1), getattr(of_test, code)
            )
            read[code] = np.split(predicted, ends, axis=1)
    found: dict[str, list[dict[str, Any]]] = {role: [] for role in BOTH_CODES}
    number = 0
    for (factor, held_out), reason in zip(pairs, reasons, strict=True):
        entry = {
            "name": factor.name,
            "measure": "r2" if factor.is_continuous else "accuracy",
            "from_content": None,
            "from_transformation": None,
            "chance": None,
            "reason": reason,
        }
        if reason is None:
            for code in BOTH_CODES:
                entry[f"from_{code}"] = _score(factor, held_out, read[code][number])
            chance = 0.0 if factor.is_continuous else chance_of_naming(factor.values, held_out.values)
            entry |= {"chance": chance, "train_images": len(train_ids)}
            number += 1
        found[factor.role].append(entry)
    return {
        role: summarise(
            found[role], "no factor could be scored" if found[role] else f"the images have no {role} labels"
        )
        for role in BOTH_CODES
    }


def _columns(factor: Factor) -> np.ndarray:
    """What is predicted: the values (N, 1), or for each class whether an image is of it (N, classes)."""
    if factor.is_continuous:
        return factor.values[:, None].astype(np.float64)
    return (factor.values[:, None] == np.unique(factor.values)).astype(np.float64)


def _score(factor: Factor, held_out: Factor, predicted: np.ndarray) -> float:
    if factor.is_continuous:
        return r_squared(held_out.values[:, None].astype(np.float64), predicted)
    named = np.unique(factor.values)[predicted.argmax(axis=1)]
    return float(np.mean(named == held_out.values))
