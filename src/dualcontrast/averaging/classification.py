"""Sorting the particles of all classes by which average each resembles: 3-D classification, no template.

The content codes of very noisy particles divide them badly, yet well enough to begin with. The average of
each class then shows what most of its members are, and particles can be compared with all averages, whatever
class they came from. Each round takes some of the particles and computes the probability of every class,
orientation and shift for each (on a grid, from the same products of ball harmonics as in `alignment`):

    log p(x | k, R, t) = (<x moved back by t and turned by R, m_k> - ½ |m_k|²) / σ² + const,

both terms up to the same degree and as far as m_k, turned back, was measured, σ² being of what was measured;
then every average anew, from all particles as probable as they are there (expectation maximisation, Scheres
et al. 2007, Nature Methods 4:27). Sums are carried over from round to round and forgotten by halves (Cappé
and Moulines 2009, J. R. Stat. Soc. B 71:593), so a round needs no more than some hundred particles of each
class, and the work does not grow with their number until all of them are compared with the last averages.

Nothing is decided before the end: of weak particles, no single orientation is right with any certainty, and
one that seems best says less about the class than all of them together.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dualcontrast.averaging.first_mean import BEGINNINGS, GRID, first_mean, soft_sums
from dualcontrast.averaging.search import AT_ONCE, Search, scores
from dualcontrast.averaging.states import distances
from dualcontrast.averaging.turns import Turns, grid
from dualcontrast.averaging.waves import Waves
from dualcontrast.random_streams import numpy_stream

# Particles of each class that are looked at in one round.
EACH = 400
# Share of the new sums in those that are carried on.
NEW = 0.5
# The comparison at the end goes up to this degree.
LAST_DEGREE = 8
# Between neighbouring shifts along an axis, as a share of the box.
SPACING = 1.5 / 32
# Orientations of each class in which particles that are not sure of theirs are looked at more closely.
PROBABLE = 100
# Rounds end where particles are this sure of their class, but not before the averages had time to change.
SURE, LEAST_ROUNDS = 0.995, 12
READ_AT_ONCE = 1024


@dataclass(frozen=True)
class Classification:
    """Particles sorted by which average each resembles.

    Attributes
    ----------
    means : Tensor, shape (K, Q)
        Ball harmonics of the averages.
    log_likelihoods : Tensor, shape (N, K)
        Of each particle in each class, summed over orientations and shifts; but for a constant of each
        particle.
    separation : float or None
        By how much the two averages that are most alike differ when one is laid on the other, in units of
        what noise makes averages of as many particles differ; near 1, they are one and the same. None for
        one.
    rounds : int
        Rounds that were made.
    """

    means: Tensor
    log_likelihoods: Tensor
    separation: float | None
    rounds: int

    @property
    def probabilities(self) -> np.ndarray:
        """Of each class for each particle, all classes being as frequent; float64, shape (N, K)."""
        return self.log_likelihoods.double().softmax(dim=1).numpy()


def classify(
    read: Callable[[np.ndarray], Tensor],
    classes: Sequence[np.ndarray],
    waves: Waves,
    seen: Tensor | None = None,
    *,
    rounds: int = 40,
    seed: int = 0,
    report: Callable[[str, float], None] = lambda stage, share: None,
) -> Classification:
    """Sort particles into as many classes as they come in, by the averages of these.

    Parameters
    ----------
    read : callable
        Takes rows (n,) of particles, returns their plane waves (n, 2 K); see `particles.spectra_of`.
    classes : sequence of numpy.ndarray of int
        Rows of each class to begin with, the surest first. Together, every row from 0 once.
    waves : Waves
        The ball harmonics of the box.
    seen : Tensor, shape (K,), optional
        How much of each plane wave is measured.
    rounds : int
        At the most.
    seed : int
        Of the first orientations, and of the order of the particles.
    report : callable
        Told the stage and the share of it that is done.
    """
    count = sum(map(len, classes))
    generator = numpy_stream(seed, "rounds")
    beginning = BEGINNINGS[1]

    def search_in(rows: np.ndarray) -> Search:
        return Search(waves, read(rows), seen, max_shift=waves.box / 10, seed=seed)

    found = []
    for number, members in enumerate(classes):
        search = search_in(members[: beginning.particles])
        found.append(first_mean(search, beginning, torch.zeros(1, 3), lambda stage, share: None))
        report("first averages", (number + 1) / len(classes))
    means, shifts = torch.stack(found), shift_lattice(waves.box)
    turns = grid(GRID, len(waves.waves) - 1)
    sums, weights = torch.zeros_like(means), torch.zeros(len(means))
    noise, made = 0.0, 0
    queue = np.empty(0, dtype=np.int64)
    while made < rounds:
        size = min(EACH * len(classes), count)
        while len(queue) < size:
            queue = np.concatenate((queue, generator.permutation(count)))
        search, queue = search_in(queue[:size]), queue[size:]
        power = float(waves.coefficients(search.spectra).square().sum(dim=1).mean())
        explained = search.share * float(means.square().sum(dim=1).mean())
        noise = max(power - explained, 1e-3 * power) / means.shape[1]
        expected = _expect(search, means, shifts, turns, search.share / noise)
        share = max(NEW, 1 / (made + 1))
        sums = (1 - share) * sums + share * expected.sums
        weights = (1 - share) * weights + share * expected.weights
        # A class that nobody belongs to keeps its average.
        means = torch.where(
            weights[:, None] > 1e-3, sums / weights[:, None].clamp(min=1e-3) / search.share, means
        )
        made += 1
        report("sorting", made / rounds)
        sure = float(expected.log_likelihoods.softmax(dim=1).max(dim=1).values.mean())
        if made >= LEAST_ROUNDS and sure > SURE:
            break
    parts = []
    for start in range(0, count, READ_AT_ONCE):
        search = search_in(np.arange(start, min(start + READ_AT_ONCE, count)))
        parts.append(compare(search, means, noise))
        report("all particles", min(1.0, (start + READ_AT_ONCE) / count))
    likelihoods = torch.cat(parts)
    members = torch.bincount(likelihoods.argmax(dim=1), minlength=len(means))
    behind = torch.minimum(weights * (2 - NEW) / NEW, members).clamp(min=1)
    separation = _separation(search_in(np.arange(1)), means, behind, noise)
    return Classification(means, likelihoods, separation, made)


def compare(search: Search, means: Tensor, noise: float) -> Tensor:
    """Compare particles with averages in all orientations and shifts.

    Parameters
    ----------
    search : Search
        The particles.
    means : Tensor, shape (K, Q)
        Ball harmonics of the averages.
    noise : float
        Mean square of the noise in one coefficient of a particle, measured or not.

    Returns
    -------
    Tensor, shape (N, K)
        Log-likelihood of each average, summed over poses; but for a constant of each particle.
    """
    degree = min(LAST_DEGREE, search.highest)
    energies = search.energy_seen(means, search.grid, degree)
    compared = _Compared(means, energies, search.grid, degree, search.share / noise)
    parts: list[Tensor] = []
    for _, logs in _poses(search, compared, shift_lattice(search.waves.box)):
        found = logs.logsumexp(dim=3).logsumexp(dim=1)
        unsure = found.softmax(dim=1).max(dim=1).values < SURE
        for place in torch.nonzero(unsure)[:, 0].tolist():
            spectrum = search.spectra[sum(map(len, parts)) + place]
            found[place] += _by_finer_shifts(search, compared, spectrum, logs[place])
        parts.append(found)
    return torch.cat(parts)


def _by_finer_shifts(search: Search, compared: "_Compared", spectrum: Tensor, logs: Tensor) -> Tensor:
    """What half the distance between shifts adds to the log-likelihoods of a particle, shape (K,).

    In the most probable orientations of each class, and taken to be as much in all others.
    """
    means, seen = compared.means, compared.seen
    shifts = shift_lattice(search.waves.box, finer=True)
    moved = search.waves.coefficients(spectrum.expand(len(shifts), -1), shifts)
    products = search.waves.products(moved, means, compared.degree)
    before, places = logs.logsumexp(dim=0).topk(PROBABLE, dim=1)
    after = []
    for number, there in enumerate(places):
        energy = seen[number] if seen.shape[1] == 1 else seen[number, there]
        score = scores(products[:, number : number + 1], compared.turns[there])[:, 0] - 0.5 * energy
        after.append(score.mul_(compared.scale).flatten().logsumexp(dim=0))
    return torch.stack(after) - before.logsumexp(dim=1)


def shift_lattice(box: int, *, finer: bool = False) -> Tensor:
    """Shifts that are tried, in voxels, shape (35, 3) or, half as far apart, (189, 3).

    A body-centred lattice: of as many points, it leaves the least distance to the nearest.
    """
    reach, points = SPACING * box, 5 if finer else 3
    corners = torch.linspace(-reach, reach, points)
    middles = (corners[1:] + corners[:-1]) / 2
    return torch.cat((torch.cartesian_prod(*[corners] * 3), torch.cartesian_prod(*[middles] * 3)))


@dataclass(frozen=True)
class _Compared:
    """What particles are compared with: means (K, Q), and their energies as far as they are seen, in `turns`.

    Both up to a degree, log-likelihoods being scores times `scale`, one over the variance of the noise in a
    coefficient that was measured.
    """

    means: Tensor
    seen: Tensor
    turns: Turns
    degree: int
    scale: float


@dataclass(frozen=True)
class _Expected:
    """Sums over particles (K, Q), how many particles are in each (K,), and log-likelihoods (N, K)."""

    sums: Tensor
    weights: Tensor
    log_likelihoods: Tensor


def _expect(search: Search, means: Tensor, shifts: Tensor, turns: Turns, scale: float) -> _Expected:
    """Add particles up as they may lie in each class, each pose by its probability."""
    waves, classes = search.waves, len(means)
    sums = torch.zeros(classes, len(turns), means.shape[1])
    weights, likelihoods = torch.zeros(classes), []
    energies = search.energy_seen(means, turns, search.degree)
    compared = _Compared(means, energies, turns, search.degree, scale)
    for coefficients, logs in _poses(search, compared, shifts):
        of_classes = logs.logsumexp(dim=3).logsumexp(dim=1)
        likelihoods.append(of_classes)
        probable = logs.sub_(of_classes.logsumexp(dim=1)[:, None, None, None]).exp_()
        weights += probable.sum(dim=(0, 1, 3))
        for number in range(classes):
            sums[number] += probable[:, :, number].flatten(0, 1).T @ coefficients
    return _Expected(torch.stack([soft_sums(waves, s, turns) for s in sums]), weights, torch.cat(likelihoods))


def _poses(search: Search, compared: _Compared, shifts: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Go through the particles: coefficients (n T, Q), and log-likelihoods (n, T, K, G) of all poses."""
    size = max(1, AT_ONCE // 4 // (len(compared.means) * len(shifts) * len(compared.turns)))
    for spectra in search.spectra.split(size):
        count = len(spectra)
        moved = [search.waves.coefficients(spectra, shift.expand(count, 3)) for shift in shifts]
        coefficients = torch.stack(moved, dim=1).flatten(0, 1)
        found = search.likelihoods(
            coefficients, compared.means, compared.seen, compared.turns, compared.degree
        )
        yield coefficients, found.mul_(compared.scale).unflatten(0, (count, len(shifts)))


def _separation(search: Search, means: Tensor, members: Tensor, noise: float) -> float | None:
    """By how much the two averages that are most alike differ, in units of noise."""
    least = math.inf
    for one in range(len(means) - 1):
        found = distances(search, means[one], list(means[one + 1 :]))
        for other, apart in enumerate(found, start=one + 1):
            # As an average is a sum over the share that was measured, its noise is one over its square.
            of_one = noise * means.shape[1] / search.share**2
            by_noise = of_one * float(1 / members[one] + 1 / members[other])
            least = min(least, apart / by_noise)
    return None if len(means) == 1 else least
