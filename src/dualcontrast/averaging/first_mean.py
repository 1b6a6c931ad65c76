"""A first mean of volumes in unknown orientations, from nothing."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dualcontrast.averaging.search import Search
from dualcontrast.averaging.turns import Turns, grid
from dualcontrast.averaging.waves import Waves
from dualcontrast.random_streams import numpy_stream, torch_stream

GRID, DEGREE = 1152, 5


@dataclass(frozen=True)
class Beginning:
    """One way to find a first mean.

    Attributes
    ----------
    particles : int
        How many begin; the others are then laid on their mean.
    shifted : bool
        Weigh shifts as well as orientations.
    steps : int
        Of expectation maximisation.
    """

    particles: int
    shifted: bool
    steps: int


# Particles whose noise is weak begin with their shifts. Where it is strong, each would find some of the many
# poses in which it seems to fit; a mean of more particles, blurred by their shifts, is the better beginning.
BEGINNINGS = (Beginning(150, True, 20), Beginning(1000, False, 60))


def first_mean(
    search: Search, beginning: Beginning, shifts: Tensor, report: Callable[[str, float], None]
) -> Tensor:
    """Find a mean of some of the volumes by expectation maximisation over a coarse grid of poses.

    It begins with volumes turned at random, low degrees and soft assignments, and sharpens all three.

    Parameters
    ----------
    search : Search
        The volumes.
    beginning : Beginning
        From which of them, and how.
    shifts : Tensor, shape (T, 3)
        The shifts that are weighed, in voxels.
    report : callable
        Told the stage and the share of it that is done.

    Returns
    -------
    Tensor, shape (Q,)
        Ball harmonics of the mean.
    """
    waves, steps = search.waves, beginning.steps
    count = min(len(search.spectra), beginning.particles)
    order = numpy_stream(search.seed, "beginners").permutation(len(search.spectra))
    some = search.spectra[torch.from_numpy(order[:count])]
    tried = shifts if beginning.shifted else torch.zeros(1, 3)
    moved = torch.stack([waves.coefficients(some, shift.expand(count, 3)) for shift in tried], dim=1)
    moved = moved.flatten(0, 1)
    turns = grid(GRID, search.highest)
    first = torch.randint(GRID, (len(moved),), generator=torch_stream(search.seed, "orientations"))
    mean = waves.turned(moved, turns[first].wigner).mean(dim=0) / search.share
    power = float(moved.square().sum(dim=1).mean())
    for step in range(steps):
        done = step / steps
        degree = min(3 + int(5 * done), DEGREE, search.highest)
        seen = search.energy_seen(mean[None], turns, degree)
        found = search.likelihoods(moved, mean[None], seen, turns, degree)[:, 0].view(count, -1)
        unexplained = power - search.share * float(mean.square().sum())
        # Of what was measured.
        noise = max(unexplained, 1e-3 * power) / len(mean) / search.share
        soft = (found * (min(1.0, 0.2 + 5 / 3 * done) / noise)).softmax(dim=1).view(len(moved), -1)
        mean = soft_sums(waves, soft.T @ moved, turns) / len(moved) * (len(tried) / search.share)
        report("first mean", (step + 1) / steps)
    return _in_the_middle(waves, mean)


def soft_sums(waves: Waves, sums: Tensor, turns: Turns) -> Tensor:
    """Add up what lies in each orientation, sums (G, Q) over volumes that are not turned yet; shape (Q,)."""
    laid = zip(waves.by_degree(sums), turns.wigner, strict=True)
    return torch.cat([(a @ turn).sum(dim=0).flatten() for a, turn in laid])


def _in_the_middle(waves: Waves, mean: Tensor) -> Tensor:
    """Move a mean so that its energy lies around the middle of the box."""
    box = waves.box
    spectrum = torch.zeros(box * box * (box // 2 + 1), dtype=torch.complex64)
    real, imaginary = (mean @ waves.matrix.T).chunk(2)
    spectrum[waves.kept] = torch.complex(real, imaginary) / waves.scale
    volume = torch.fft.irfftn(spectrum.view(box, box, -1), s=(box,) * 3)
    energy = torch.fft.fftshift(volume).square()
    axis = torch.arange(box) - float(box // 2)
    total = energy.sum()
    middle = torch.stack([(energy.sum(dim=d) * axis).sum() for d in ((0, 1), (0, 2), (1, 2))]) / total
    moved = waves.centred((mean @ waves.matrix.T)[None], middle[None])
    return waves.coefficients(moved)[0]
