"""Sorting particles that lie alike into states: conformations of one particle.

Particles laid on the mean of all lie wrong in two ways. Where the particle is nearly symmetric, copies of one
state lie in several orientations that the mean cannot tell apart; and where states differ much, the mean is
blurred. So states are found in rounds, each of three steps:

1. *Pieces*: k-means of the principal components of the volumes as they lie, into many more clusters than
   states. Particles of one state in two orientations fall into different pieces.
2. *Joining*: the two pieces whose means, laid on each other by the best of all rotations, differ least are
   joined, until as many are left as states are asked for (Ward 1963). Of a symmetric particle, this brings
   the copies of a state together.
3. *Sorting*: each particle goes to the state that it resembles most, in its own best orientation, and the
   means are computed again: expectation maximisation with hard assignments.

The first rounds look for twice as many states as are asked for: means of fewer particles that are more alike
are less blurred, and particles find their orientation on them.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dualcontrast.averaging.expectation import lay_on, means_of
from dualcontrast.averaging.search import Poses, Search, scores
from dualcontrast.averaging.turns import Turns

PIECES, LEAST_PIECES, LEAST_IN_PIECE = 4, 24, 20
COMPONENTS = 20
# Orientations of the grid from which the best of all rotations of a mean is looked for.
STARTS = 10
LAYING_WIDTHS = (6.0, 3.0, 1.5)
# States of each round, in units of those that are asked for.
ROUNDS = (2, 5 / 3, 4 / 3, 7 / 6, 1, 1)
SORTINGS = 4
FIRST_WIDTH, LAST_WIDTH = 4.0, 2.0
# Measured: what belongs together differs 1.1 to 1.8 times as much as noise alone makes it.
HARDLY_APART = 2.0


def sort_into_states(
    search: Search, poses: Poses, count: int, report: Callable[[str, float], None]
) -> float | None:
    """Find states; changes how the particles lie, and to which state they belong.

    States lie alike: what they have in common is where it is in the first one.

    Parameters
    ----------
    search : Search
        The particles.
    poses : Poses
        How they lie, on one mean.
    count : int
        Number of states; fewer are found where particles do not differ.
    report : callable
        Told the stage and the share of it that is done.

    Returns
    -------
    float or None
        By how much the two states that are most alike differ, in units of what two halves of one state differ
        by noise alone; None for one state.
    """
    separation = None
    for number, share in enumerate(ROUNDS):
        wanted = min(math.ceil(share * count), max(count, len(search.spectra) // LEAST_IN_PIECE))
        separation = _join(search, poses, _pieces(search, poses, wanted), wanted)
        for step in range(SORTINGS):
            means = means_of(search, poses)
            width = FIRST_WIDTH * (LAST_WIDTH / FIRST_WIDTH) ** (step / (SORTINGS - 1))
            done = number * SORTINGS + step
            # A look at all orientations costs most, and every other time is enough.
            lay_on(search, poses, means, width, 3 * done, everywhere=step % 2 == 0)
            search.centre(poses, means.shrunk)
            report("sorting", (done + 1) / (len(ROUNDS) * SORTINGS))
    return separation


def _pieces(search: Search, poses: Poses, count: int) -> np.ndarray:
    """Cluster the volumes as they lie; returns the piece of each, numbered without gaps."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    laid = search.laid(poses).double().numpy()
    most = max(count, len(laid) // LEAST_IN_PIECE)
    pieces = min(max(LEAST_PIECES, PIECES * count), most)
    found = PCA(min(COMPONENTS, len(laid) - 1), random_state=0).fit_transform(laid)
    clusters = KMeans(pieces, n_init=10, random_state=0)  # pyright: ignore[reportArgumentType]
    return np.unique(clusters.fit_predict(found), return_inverse=True)[1]


def _join(search: Search, poses: Poses, pieces: np.ndarray, count: int) -> float | None:
    """Join pieces until `count` are left, and lay them all on the first; see `sort_into_states`."""
    laid = search.laid(poses)
    sizes = np.bincount(pieces).astype(float)
    piece_of = torch.from_numpy(pieces)
    sums = torch.zeros(len(sizes), laid.shape[1]).index_add_(0, piece_of, laid)
    means = list(sums / torch.from_numpy(sizes).float()[:, None])
    noise = float((laid - torch.stack(means)[piece_of]).square().sum()) / max(1, len(laid) - len(sizes))
    # How each piece is turned onto the state that it came to.
    turned = Turns.none(len(sizes), search.highest)
    groups = [[piece] for piece in range(len(sizes))]
    costs = np.full((len(sizes),) * 2, np.inf)

    def weigh(group: int, others: list[int]) -> None:
        """Compute what it costs to join a group with others: the squared error that is added."""
        if others:
            found = distances(search, means[group], [means[other] for other in others])
            for other, apart in zip(others, found, strict=True):
                weight = sizes[group] * sizes[other] / (sizes[group] + sizes[other])
                costs[min(group, other), max(group, other)] = weight * apart

    def lay(group: int, on: int) -> Tensor:
        _, turns = _laid_on(search, means[group][None], [means[on]])
        turned[groups[group]] = turned[groups[group]].then(turns)
        return search.waves.turned(means[group][None], turns.wigner)[0]

    for group in range(len(means)):
        weigh(group, list(range(group)))
    while len(means) > count:
        one, other = (int(place) for place in np.unravel_index(np.argmin(costs), costs.shape))
        both = sizes[one] * means[one] + sizes[other] * lay(other, one)
        sizes[one] += sizes[other]
        means[one] = both / sizes[one]
        groups[one] += groups[other]
        del means[other], groups[other]
        sizes = np.delete(sizes, other)
        costs = np.delete(np.delete(costs, other, axis=0), other, axis=1)
        weigh(one, [group for group in range(len(means)) if group != one])
    for group in range(1, len(means)):
        means[group] = lay(group, 0)
    states = np.empty(len(turned), dtype=np.int64)
    for state, members in enumerate(groups):
        states[members] = state
    poses.turns = poses.turns.then(turned[piece_of])
    poses.references = torch.from_numpy(states)[piece_of]
    return float(costs.min() / noise) if len(means) > 1 else None


def distances(search: Search, mean: Tensor, others: list[Tensor]) -> list[float]:
    """Squared distances of a mean (Q,) from others, each time laid on it by the best of all rotations."""
    products, _ = _laid_on(search, mean.expand(len(others), -1), others)
    pairs = zip(others, products.tolist(), strict=True)
    return [float(mean.square().sum() + other.square().sum()) - 2 * product for other, product in pairs]


def _laid_on(search: Search, coefficients: Tensor, means: list[Tensor]) -> tuple[Tensor, Turns]:
    """Find the best of all rotations that lay means on others: products (n,), and turns."""
    targets = torch.stack(means)
    found = scores(search.waves.products(coefficients, targets[:, None], search.degree), search.grid)[:, 0]
    starts = found.topk(STARTS, dim=1).indices
    repeated = coefficients.repeat_interleave(STARTS, dim=0), targets.repeat_interleave(STARTS, dim=0)
    products, turns = search.polish(*repeated, search.grid[starts.flatten()], LAYING_WIDTHS, 0)
    best = products.view(-1, STARTS).argmax(dim=1) + torch.arange(len(targets)) * STARTS
    return products[best], turns[best]
