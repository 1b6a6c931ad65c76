"""Whether a measured state is told within one identity, in whatever form and frame the code has it.

The D_score asks for one linear map for all identities. A code may know how each object is seen and still
fail it: nothing tells without labels where the azimuth of a duck begins and where that of a car.
"""

from typing import Any

import numpy as np

from dualcontrast.codes import Codes
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.evaluation.regression import kernel_predict, r_squared
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
    content = next((factor for factor in labels.of_role("content") if not factor.is_continuous), None)
    measured = [factor for factor in labels.of_role("transformation") if factor.is_continuous]
    if content is None or not measured:
        return []
    rng = numpy_stream(seed, "curved within content")
    scores = []
    of_part = [np.isin(labels.ids, ids) for ids in (train_ids, test_ids)]
    for value in np.unique(content.values):
        # In the order of the ids, so that nothing depends on the order of a file.
        train, test = (np.sort(labels.ids[part & (content.values == value)]) for part in of_part)
        if min(len(train), len(test)) >= FEWEST:
            train = np.sort(rng.permutation(train)[:MOST_FITTED])
            scores.append(_r_squared_of(measured, codes, labels, train, test))
    if not scores:
        return []
    means = np.mean(scores, axis=0)
    return [
        {
            "name": factor.name,
            "from_content": float(from_content),
            "from_transformation": float(from_transformation),
            "identities": len(scores),
        }
        for factor, (from_content, from_transformation) in zip(measured, means, strict=True)
    ]


def _r_squared_of(
    measured: list[Factor], codes: Codes, labels: LabelTable, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """R² of each factor from c and from z on one identity, shape (factors, 2)."""
    names = {factor.name for factor in measured}
    truths = [
        np.stack(
            [f.values for f in labels.select(ids).of_role("transformation") if f.name in names], axis=1
        ).astype(np.float64)
        for ids in (train, test)
    ]
    fitted, held_out = codes.select(train), codes.select(test)
    scores = []
    for known, unseen in (
        (fitted.content, held_out.content),
        (fitted.transformation, held_out.transformation),
    ):
        predicted = kernel_predict(known, truths[0], unseen)
        scores.append([r_squared(truths[1][:, [k]], predicted[:, [k]]) for k in range(truths[1].shape[1])])
    return np.array(scores).T
