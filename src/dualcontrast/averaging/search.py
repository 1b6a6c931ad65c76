"""How volumes of known spectra lie best on known means: orientations, then shifts."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from dualcontrast.averaging.turns import Turns, grid, nearby
from dualcontrast.averaging.waves import Waves

GRID, DEGREE = 4608, 6
# Largest product of one step of the search, in numbers: bounds the memory.
AT_ONCE = 2**26


@dataclass
class Poses:
    """What is known of the volumes so far.

    Attributes
    ----------
    turns : Turns of N
        A of every volume: what stands at p in the mean stands at `A p + t` in the volume.
    shifts : Tensor, shape (N, 3)
        t, in voxels along (x, y, z).
    references : Tensor of int, shape (N,)
        The mean that each volume belongs to.
    """

    turns: Turns
    shifts: Tensor
    references: Tensor


class Search:
    """The steps of a search over volumes whose spectra are at hand.

    Parameters
    ----------
    waves : Waves
        The ball harmonics of the box.
    spectra : Tensor, shape (N, 2 K)
        Plane waves of the volumes.
    seen : Tensor, shape (K,), optional
        How much of each plane wave is measured.
    max_shift : float
        Farthest that volumes are looked for, in voxels along each axis.
    seed : int
        Of the rotations that are tried.
    """

    def __init__(
        self, waves: Waves, spectra: Tensor, seen: Tensor | None, max_shift: float, seed: int
    ) -> None:
        self.waves, self.spectra, self.seen, self.seed = waves, spectra, seen, seed
        self.highest = len(waves.waves) - 1
        self.degree = min(DEGREE, self.highest)
        self.max_shift = max_shift
        self.grid = grid(GRID, self.highest)
        # A mean over all orientations holds, of each component, the share that was measured.
        self.share = 1.0 if seen is None else float(seen.mean())

    def rows(self, numbers: int) -> list[slice]:
        """Cut the volumes into parts for which `numbers` numbers each fit."""
        size = max(1, AT_ONCE // numbers // 4)
        return [slice(i, min(i + size, len(self.spectra))) for i in range(0, len(self.spectra), size)]

    def centred(self, poses: Poses, rows: slice) -> Tensor:
        """Ball harmonics of volumes, moved back but not turned; shape (n, Q)."""
        return self.waves.coefficients(self.spectra[rows], poses.shifts[rows])

    def laid(self, poses: Poses, rows: slice = slice(None)) -> Tensor:
        """Ball harmonics of volumes, turned and moved back to lie alike; shape (n, Q)."""
        return self.waves.turned(self.centred(poses, rows), poses.turns[rows].wigner)

    def likelihoods(
        self, coefficients: Tensor, means: Tensor, seen: Tensor, turns: Turns, degree: int
    ) -> Tensor:
        """Log-likelihood times the noise's variance, but for a constant; shape (N, R, G)."""
        return scores(self.waves.products(coefficients, means, degree), turns) - 0.5 * seen

    def energy_seen(self, means: Tensor, turns: Turns, degree: int | None = None) -> Tensor:
        """Energy of each mean in each orientation, as far as it was measured; shape (R, G or 1).

        Up to a degree, where products are: what a mean has beyond it can match nothing there, and would count
        against the mean that has more of it.
        """
        if degree is not None:
            kept = sum(part[0].numel() for part in self.waves.by_degree(means)[: degree + 1])
            means = torch.cat((means[:, :kept], torch.zeros_like(means[:, kept:])), dim=1)
        if self.seen is None:
            return means.square().sum(dim=1, keepdim=True)
        energies = []
        for mean in means:
            # What lays a volume on the mean is D(R); the mean is laid on the volume by its transpose.
            for part in zip(*(turn.mT.split(512) for turn in turns.wigner), strict=True):
                turned = self.waves.turned(mean.expand(len(part[0]), -1), list(part))
                energies.append((turned @ self.waves.matrix.T).square() @ self.seen.repeat(2))
        return torch.cat(energies).view(len(means), -1)

    def polish(
        self, coefficients: Tensor, means: Tensor, turns: Turns, widths: Iterable[float], draw: int
    ) -> tuple[Tensor, Turns]:
        """Turn volumes a little so that each lies better on its mean.

        Parameters
        ----------
        coefficients : Tensor, shape (n, Q)
            Of the volumes, moved back but not turned.
        means : Tensor, shape (n, Q)
            What each is laid on.
        turns : Turns of n
            How they lie so far.
        widths : iterable of float
            Of the small rotations, in degrees, one set after the other.
        draw : int
            Number of the first set.

        Returns
        -------
        tuple of Tensor, shape (n,), and Turns
            Products of the volumes with their means, and how they lie.
        """
        best = torch.empty(0)
        for number, width in enumerate(widths):
            small = nearby(self.seed, draw + number, width, self.highest)
            products = self.waves.products(
                self.waves.turned(coefficients, turns.wigner), means[:, None], self.highest
            )
            best, place = scores(products, small)[:, 0].max(dim=1)
            turns = turns.then(small[place])
        return best, turns

    def refine(self, poses: Poses, means: Tensor, width: float, step: int) -> Tensor:
        """Improve orientations and shifts, then the means; returns those, shape (R, Q)."""
        for rows in self.rows(8 * self.spectra.shape[1]):
            own = means[poses.references[rows]]
            coefficients = self.centred(poses, rows)
            _, poses.turns[rows] = self.polish(coefficients, own, poses.turns[rows], (width,) * 2, 2 * step)
        self.centre(poses, means)
        return self.means(poses, self.laid(poses), means)

    def means(self, poses: Poses, laid: Tensor, former: Tensor) -> Tensor:
        """Average the volumes of each reference as they lie; one without volumes stays as it was."""
        sums = torch.zeros_like(former).index_add_(0, poses.references, laid)
        members = torch.bincount(poses.references, minlength=len(former))[:, None]
        return torch.where(members > 0, sums / members.clamp(min=1) / self.share, former)

    def centre(self, poses: Poses, means: Tensor) -> None:
        """Find the shifts at which volumes match their means best, to a fraction of a voxel."""
        reach = math.ceil(self.max_shift * 1.25)
        axis = torch.arange(-reach, reach + 1).float()
        places = torch.cartesian_prod(axis, axis, axis)
        phase = 2 * math.pi * (places @ self.waves.frequencies.T)
        waves = torch.cat((phase.cos(), -phase.sin()), dim=1)
        length = len(axis)
        for rows in self.rows(len(places)):
            turns = [turn.mT for turn in poses.turns[rows].wigner]
            expected = self.waves.turned(means[poses.references[rows]], turns) @ self.waves.matrix.T
            real, imaginary = self.spectra[rows].chunk(2, dim=1)
            mean_real, mean_imaginary = expected.chunk(2, dim=1)
            product = torch.cat(
                (
                    real * mean_real + imaginary * mean_imaginary,
                    imaginary * mean_real - real * mean_imaginary,
                ),
                dim=1,
            )
            match = (product @ waves.T).view(-1, length, length, length)
            inner = match[:, 1:-1, 1:-1, 1:-1].flatten(1).argmax(dim=1)
            width = length - 2
            peak = torch.stack((inner // width**2, inner // width % width, inner % width), dim=1) + 1
            poses.shifts[rows] = axis[peak] + _parabola(match, peak)


def scores(products: Tensor, turns: Turns) -> Tensor:
    """Score of each rotation, shape (N, R, G), from `Waves.products`."""
    flat, length = [], 0
    for turn in turns.wigner:
        if length == products.shape[2]:
            break
        flat.append(turn.flatten(1))
        length += flat[-1].shape[1]
    return products @ torch.cat(flat, dim=1).T


def _parabola(match: Tensor, peak: Tensor) -> Tensor:
    """Offsets of the maxima from the peaks (N, 3), by a parabola along each axis."""
    rows = torch.arange(len(match))
    offsets = []
    for axis in range(3):
        step = torch.zeros(3, dtype=torch.long)
        step[axis] = 1
        before, at, after = (match[rows, *(peak + sign * step).unbind(dim=1)] for sign in (-1, 0, 1))
        offsets.append(0.5 * (before - after) / (before - 2 * at + after).clamp(max=-1e-12))
    return torch.stack(offsets, dim=1).clamp(-0.5, 0.5)
