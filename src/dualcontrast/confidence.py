"""How sure the class of a particle is, by its posterior and by what other trainings make of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualcontrast.data.labels import positions_of
from dualcontrast.errors import SettingError
from dualcontrast.evaluation.matching import match_names

# At this temperature little more is left of probabilities than their order.
HOTTEST = 50.0
SMALLEST = 1e-12
DIGITS = 6


@dataclass(frozen=True)
class RunClasses:
    """The classes that one training gives to its particles.

    Attributes
    ----------
    ids : numpy.ndarray of str, shape (N,)
        Particles.
    labels : numpy.ndarray of int, shape (N,)
        Class of each.
    expected : numpy.ndarray, shape (N, K)
        Probability of each class, averaged over the posterior of each code.
    """

    ids: np.ndarray
    labels: np.ndarray
    expected: np.ndarray


@dataclass(frozen=True)
class Confidence:
    """How sure the class of each particle is; numbers from 0 to 1, of six digits, as they are written.

    Attributes
    ----------
    expected : numpy.ndarray, shape (N,)
        Probability of the class, averaged over the posterior of the code.
    agreement : numpy.ndarray, shape (N,)
        Share of the other runs that put the particle into the class; NaN where no other run has it. The run
        itself is not counted: it always agrees with itself, and says nothing by that.
    confidence : numpy.ndarray, shape (N,)
        Of all runs that have the particle, the mean probability of its class; see `combine`.
    """

    expected: np.ndarray
    agreement: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class Combination:
    """What `combine` found.

    Attributes
    ----------
    confidence : Confidence
        Of every particle.
    temperature : float
        By which all probabilities were softened; 1 where they were left as they are.
    shared : list of int
        Particles that each other run has, too.
    agreement : list of float
        The share of these that it puts into the class of the run.
    """

    confidence: Confidence
    temperature: float
    shared: list[int]
    agreement: list[float]


def combine(ours: RunClasses, others: Sequence[RunClasses]) -> Combination:
    """Combine the classes of a run with those of other trainings to a confidence.

    Classes of each other run are matched one to one to those of the run, over the particles that both have
    (Hungarian method). The confidence is the mean, over the run and the others that have the particle, of the
    expected probability of its class; a class that no class of a run is matched to has the probability 0
    there.

    Probabilities of one run know nothing of how its classes would have come out by another seed, and are too
    high where that matters. All are therefore softened by one temperature, pᵢ^(1/T) / Σⱼ pⱼ^(1/T), until the
    mean confidence is no higher than the mean agreement of the run with the others. That agreement is what
    stands in for labels: where trainings differ as the truth may differ from them, so that the mean vote of
    many would be calibrated, two agree on average as often as one of them is right (Jiang et al. 2022,
    "Assessing generalization of SGD via disagreement"). Nothing is ever sharpened, since mistakes that all
    trainings make raise the agreement too.

    Parameters
    ----------
    ours : RunClasses
        Of the run.
    others : sequence of RunClasses
        Of other trainings; particles that the run lacks do not count. None leaves the expected probability
        as it is.
    """
    own = ours.expected[np.arange(len(ours.ids)), ours.labels]
    if not others:
        unknown = np.full(len(own), np.nan)
        return Combination(_rounded(own, unknown, own), 1.0, [], [])
    views = [_View.of(ours, other) for other in others]
    counts = np.sum([view.there for view in views], axis=0)
    with np.errstate(invalid="ignore"):
        agreement = np.sum([view.agrees for view in views], axis=0) / counts
    known = counts > 0
    everyone = [_View(np.ones(len(own), dtype=bool), ours.labels, ours.expected, ours.labels), *views]

    def at(temperature: float) -> np.ndarray:
        return np.sum([view.probability(temperature) for view in everyone], axis=0) / (counts + 1)

    temperature = _temperature(lambda t: float(at(t)[known].mean() - agreement[known].mean()))
    return Combination(
        _rounded(own, agreement, at(temperature)),
        temperature,
        [int(view.there.sum()) for view in views],
        [float(view.agrees[view.there].mean()) for view in views],
    )


@dataclass(frozen=True)
class _View:
    """What a run makes of the particles of ours, in their order.

    Attributes
    ----------
    there : numpy.ndarray of bool, shape (N,)
        Which particles it has.
    place : numpy.ndarray of int, shape (N,)
        Which of its classes is matched to the class of the particle; -1 where none is.
    expected : numpy.ndarray, shape (N, K)
        Its probabilities; 0 for particles that it has not.
    labels : numpy.ndarray of int, shape (N,)
        Its classes; -2 for particles that it has not.
    """

    there: np.ndarray
    place: np.ndarray
    expected: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, ours: RunClasses, other: RunClasses) -> "_View":
        rows = positions_of(ours.ids, other.ids)
        there = rows >= 0
        partner = match_names(other.labels[rows[there]], ours.labels[there])
        by_label = np.array([int(partner.get(str(label), -1)) for label in range(ours.labels.max() + 1)])
        expected = np.where(there[:, None], other.expected[rows], 0.0)
        return cls(there, by_label[ours.labels], expected, np.where(there, other.labels[rows], -2))

    @property
    def agrees(self) -> np.ndarray:
        return self.labels == self.place

    def probability(self, temperature: float) -> np.ndarray:
        """Probability of the class of each particle at a temperature; 0 for particles that are not there."""
        softened = np.maximum(self.expected, SMALLEST) ** (1 / temperature)
        chosen = softened[np.arange(len(softened)), self.place] / softened.sum(axis=1)
        return np.where(self.there & (self.place >= 0), chosen, 0.0)


def _temperature(excess: Callable[[float], float]) -> float:
    """Find the lowest temperature, at least 1, at which a mean confidence is not above what it should be."""
    from scipy.optimize import brentq

    if excess(1.0) <= 0:
        return 1.0
    if excess(HOTTEST) >= 0:
        # Runs that agree less often than classes given by chance would.
        return HOTTEST
    found: Any = brentq(lambda logarithm: excess(float(np.exp(logarithm))), 0, np.log(HOTTEST), xtol=1e-6)
    return float(np.exp(found))


def _rounded(expected: np.ndarray, agreement: np.ndarray, confidence: np.ndarray) -> Confidence:
    return Confidence(
        *(np.clip(np.round(values, DIGITS), 0, 1) for values in (expected, agreement, confidence))
    )


def check_confidence(least: float | None) -> None:
    """Raise `SettingError` for a least confidence that is no share."""
    if least is not None and not 0 <= least <= 1:
        raise SettingError(f"--min-confidence {least:g}: give a number from 0 to 1")
