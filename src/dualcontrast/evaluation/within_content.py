"""Is the state told within one identity? Over all of them, a code that only names identities may seem to."""

from typing import Any

import numpy as np

from dualcontrast.codes import Codes
from dualcontrast.data.labels import Factor, LabelTable, Role
from dualcontrast.evaluation.clustering import matched_accuracy
from dualcontrast.evaluation.d_score import score_factor
from dualcontrast.evaluation.mixture import partition
from dualcontrast.evaluation.regression import standardise

MEASURES = ("from_content", "from_transformation", "chance", "ari", "gmm_accuracy")


def within_content(
    codes: Codes, labels: LabelTable, train_ids: np.ndarray, test_ids: np.ndarray, seed: int = 0
) -> dict[str, Any]:
    """Score the first discrete transformation factor within each value of the first discrete content factor.

    Accuracies are those of the D_score, fitted and measured on particles of one identity. Clusters are those
    that `partition` finds among the transformation codes of all particles of the identity, as many as there
    are states; they are compared with the states of the held-out ones.

    Parameters
    ----------
    codes : Codes
        Codes of all particles.
    labels : LabelTable
        Ground truth; particles without a row are left out.
    train_ids, test_ids : numpy.ndarray of str
        The split.
    seed : int
        Of samples and clusters.

    Returns
    -------
    dict
        `content` and `transformation` (names of the factors), `classes` (one entry for each identity:
        `name`, `from_content`, `from_transformation`, `chance`, `ari` (adjusted Rand index), `gmm_accuracy`,
        `states`, `train_images`, `test_images`, `reason`), the means of the five measures over the
        identities that could be scored, and `reason`, why there are none.
    """
    content, transformation = first_discrete(labels, "content"), first_discrete(labels, "transformation")
    found: dict[str, Any] = {
        "content": content and content.name,
        "transformation": transformation and transformation.name,
        "classes": [],
        "reason": None,
    }
    if content is None or transformation is None:
        missing = "content" if content is None else "transformation"
        return found | dict.fromkeys(MEASURES) | {"reason": f"the images have no discrete {missing} labels"}
    for value in np.unique(content.values):
        of_class = labels.ids[content.values == value]
        train, test = (ids[np.isin(ids, of_class)] for ids in (train_ids, test_ids))
        found["classes"].append(
            {"name": str(value)} | _score_class(transformation.name, codes, labels, train, test, seed)
        )
    scored = [entry for entry in found["classes"] if entry["reason"] is None]
    for measure in MEASURES:
        found[measure] = float(np.mean([entry[measure] for entry in scored])) if scored else None
    if not scored:
        found["reason"] = found["classes"][0]["reason"] if found["classes"] else "no image has a label"
    return found


def _score_class(
    name: str, codes: Codes, labels: LabelTable, train_ids: np.ndarray, test_ids: np.ndarray, seed: int
) -> dict[str, Any]:
    entry: dict[str, Any] = dict.fromkeys(MEASURES) | {
        "states": 0,
        "train_images": len(train_ids),
        "test_images": len(test_ids),
        "reason": None,
    }
    if not len(train_ids) or not len(test_ids):
        return entry | {"reason": "no training image, or no held-out image, of this kind has a label"}
    train, test = ((codes.select(ids), labels.select(ids)) for ids in (train_ids, test_ids))
    score = score_factor("transformation", name, train, test, seed)
    if score["reason"]:
        return entry | {"reason": score["reason"]}
    states = _named(test[1], name)
    count = len(np.unique(np.concatenate((_named(train[1], name), states))))
    clusters = _clusters(codes, train_ids, test_ids, count, seed)
    from sklearn.metrics import adjusted_rand_score

    return entry | {
        "from_content": score["from_content"],
        "from_transformation": score["from_transformation"],
        "chance": score["chance"],
        "ari": float(adjusted_rand_score(states, clusters)),
        "gmm_accuracy": matched_accuracy(states, clusters),
        "states": count,
    }


def _clusters(codes: Codes, train_ids: np.ndarray, test_ids: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Divide the transformation codes of one identity; return the clusters of the held-out particles."""
    # In the order of the ids, so that nothing depends on the order of a file.
    ids = np.sort(np.concatenate((train_ids, test_ids)))
    z = codes.select(ids).transformation
    if standardise(z)[0].shape[1] == 0:
        return np.zeros(len(test_ids), dtype=np.int64)
    found = partition(z, min(count, len(z)), seed=seed).labels
    return found[np.searchsorted(ids, test_ids)]


def first_discrete(labels: LabelTable, role: Role) -> Factor | None:
    """Return the first discrete factor of a role; None where there is none."""
    return next((factor for factor in labels.of_role(role) if not factor.is_continuous), None)


def _named(labels: LabelTable, name: str) -> np.ndarray:
    return next(factor.values for factor in labels.of_role("transformation") if factor.name == name)
