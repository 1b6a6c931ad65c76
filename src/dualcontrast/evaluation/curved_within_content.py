"""Whether a measured state is told within one identity, in whatever form and frame the code has it.

The D_score asks for one linear map for all identities. A code may know how each object is seen and still
fail it: nothing tells without labels where the azimuth of a duck begins and where that of a car.
"""

from typing import Any

import numpy as np

from dualcontrast.codes import Codes
from dualcontrast.data.labels import LabelTable
from dualcontrast.evaluation.regression import kernel_predict, r_squared
from dualcontrast.evaluation.within_content import first_discrete
from dualcontrast.random_streams import numpy_stream

MOST_FITTED = 1_000
FEWEST = 10


def curved_within_content(
    codes: Codes, labels: LabelTable, train_ids: np.ndarray, test_ids: np.ndarray, seed: int = 0
) -> list[dict[str, Any]]:
    """Predict every continuous transformation factor within each value of the first discrete content factor.

    A Gaussian-kernel ridge regression (see `kernel_predict`) is fitted on at most 1,000 training images of
    one identity and scored by its R² on the held-out ones.

    Parameters
    ----------
    codes, labels, train_ids, test_ids, seed
        As for `d_score`; the seed chooses the images that are fitted.

    Returns
    -------
    list of dict
        For each factor its `name`, `from_content` and `from_transformation` (means over the identities), and
        `identities`, how many have at least ten training and ten held-out images; those are scored. Empty
        where there are no such identities or factors.
    """
    # In the order of the ids, so that nothing depends on the order of a file.
    labels = labels.select(np.sort(labels.ids))
    content = first_discrete(labels, "content")
    measured = [factor for factor in labels.of_role("transformation") if factor.is_continuous]
    if content is None or not measured:
        return []
    rng = numpy_stream(seed, "curved within content")
    truth = np.stack([factor.values for factor in measured], axis=1)
    known = codes.select(labels.ids)
    of_part = [np.isin(labels.ids, ids) for ids in (train_ids, test_ids)]
    scores = []
    values, counts = np.unique(content.values, return_counts=True)
    for value in values[counts >= 2 * FEWEST]:
        train, test = (np.flatnonzero(part & (content.values == value)) for part in of_part)
        if min(len(train), len(test)) >= FEWEST:
            train = np.sort(rng.permutation(train)[:MOST_FITTED])
            both = (known.content, known.transformation)
            scores.append([_r_squared_of_each(code, truth, train, test) for code in both])
    if not scores:
        return []
    means = np.mean(scores, axis=0).T
    return [
        {
            "name": factor.name,
            "from_content": float(from_content),
            "from_transformation": float(from_transformation),
            "identities": len(scores),
        }
        for factor, (from_content, from_transformation) in zip(measured, means, strict=True)
    ]


def _r_squared_of_each(
    code: np.ndarray, truth: np.ndarray, train: np.ndarray, test: np.ndarray
) -> list[float]:
    """R² of every column of `truth` (N, k) on the held-out rows, from one code (N, d)."""
    predicted = kernel_predict(code[train], truth[train], code[test])
    return [r_squared(truth[test][:, [k]], predicted[:, [k]]) for k in range(truth.shape[1])]
