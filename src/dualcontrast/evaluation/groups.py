"""The D_scores of content without labels: groups of c in place of the labels that nobody has."""

from dataclasses import dataclass

import numpy as np

from dualcontrast.evaluation.regression import standardise
from dualcontrast.random_streams import numpy_stream, stream_seed

MOST_GROUPS = 10
# Fewer images a group would be told by chance.
FEWEST_IN_GROUP = 10
FOLDS, STARTS, ITERATIONS = 3, 5, 1_000


@dataclass(frozen=True)
class GroupScores:
    """How well groups of c are told.

    Attributes
    ----------
    count : int
        Number of groups.
    from_content : float
        Cohen's kappa of the groups that images fall into as they are, and turned: 1 where c puts every image
        and its turned copy into the same group, 0 for chance.
    from_transformation : float
        Cohen's kappa of the groups and those that a linear classifier reads from z, three-fold: 0 where z
        does not tell them, 1 where it tells them all.
    """

    count: int
    from_content: float
    from_transformation: float


def group_scores(
    content: np.ndarray, turned_content: np.ndarray, transformation: np.ndarray, seed: int = 0
) -> GroupScores | None:
    """Measure both; negative values, which are worse than chance, are reported as 0.

    The groups are those of k-means on standardised codes, at most 10, and at least 10 images to each: they
    need not be the identities, only a content that is known of every image.

    Parameters
    ----------
    content, turned_content : numpy.ndarray, shape (N, content_dim)
        Posterior means of c of the images, and of the same images turned.
    transformation : numpy.ndarray, shape (N, transformation_dim)
        Posterior means of z of the images as they are.
    seed : int
        Of the groups and folds.

    Returns
    -------
    GroupScores or None
        None where c does not vary, or there are fewer than 20 images.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import cohen_kappa_score
    from threadpoolctl import threadpool_limits

    c, turned = standardise(content, turned_content)
    count = min(MOST_GROUPS, len(c) // FEWEST_IN_GROUP)
    if c.shape[1] == 0 or count < 2:
        return None
    with threadpool_limits(1):
        random_state = stream_seed(seed, "evaluation", "groups") % 2**31
        means = KMeans(count, n_init=STARTS, random_state=random_state)  # pyright: ignore[reportArgumentType]
        groups = means.fit_predict(c)
        again = means.predict(turned)
        read = _read_groups(transformation, groups, seed)
    return GroupScores(
        count,
        max(0.0, float(cohen_kappa_score(groups, again))),
        max(0.0, float(cohen_kappa_score(groups, read))),
    )


def _read_groups(transformation: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Read the group of every image from its z, by a classifier that has not seen the image."""
    from sklearn.linear_model import LogisticRegression

    read = np.full(len(groups), np.bincount(groups).argmax())
    rng = numpy_stream(seed, "evaluation", "groups", "folds")
    for held_out in np.array_split(rng.permutation(len(groups)), FOLDS):
        fitted = np.setdiff1d(np.arange(len(groups)), held_out)
        z, others = standardise(transformation[fitted], transformation[held_out])
        if z.shape[1] and len(np.unique(groups[fitted])) > 1:
            read[held_out] = LogisticRegression(max_iter=ITERATIONS).fit(z, groups[fitted]).predict(others)
    return read
