"""Finding how each volume of a set lies, and the mean of all once they lie alike, with no template.

Volumes of one particle in unknown orientations are laid over each other by expectation maximisation, as in
subtomogram averaging (Scheres et al. 2009, Structure 17:1563), but on ball harmonics, where the score of
thousands of orientations is one matrix product: for the coefficients a of a volume and b of a mean,

    <a turned by R, b> = Σ_l Σ_mm' D^l_mm'(R) Σ_k a_klm b_klm'.

It begins with volumes turned at random, low degrees and soft assignments, and sharpens all three.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast.ball_harmonics import FINEST_WAVE, LARGEST_BOX, ball_harmonics
from dualcontrast.errors import DataError
from dualcontrast.fourier import crop_wedges, fourier_crop
from dualcontrast.random_streams import numpy_stream, torch_stream
from dualcontrast.wigner import rotation_grid, wigner_matrices

# Enough to find a first mean; the others are then laid on it.
BEGINNERS = 150
BEGINNING_GRID, GRID = 1152, 4608
BEGINNING_DEGREE, SEARCH_DEGREE = 5, 6
BEGINNING_STEPS, REFINEMENTS, SORTINGS = 20, 8, 12
NEARBY = 150
# Widths, in degrees, of the rotations tried around the best so far.
FIRST_WIDTH, LAST_WIDTH = 8.0, 2.0
# Share of the box around which the particle is looked for.
DIAMETER = 0.85
# Largest product of one step of the search, in numbers: bounds the memory.
AT_ONCE = 2**26


@dataclass(frozen=True)
class Alignment:
    """How volumes lie, and which mean they resemble.

    Attributes
    ----------
    rotations : Tensor, shape (N, 3, 3)
        A of every volume: what stands at p in the mean stands at `A p + t` in the volume, positions being
        (x, y, z) measured from voxel n // 2.
    shifts : Tensor, shape (N, 3)
        t, in voxels along (x, y, z).
    references : Tensor of int, shape (N,)
        Which mean each volume resembles most; 0 where there is one.
    coefficients : Tensor, shape (N, Q)
        Ball harmonics of the volumes laid alike.
    """

    rotations: Tensor
    shifts: Tensor
    references: Tensor
    coefficients: Tensor


class _Waves:
    """Ball harmonics as sums of plane waves, so that shifts cost a factor instead of a resampling."""

    def __init__(self, box: int) -> None:
        centre = (float(box // 2),) * 3
        inside, harmonics = ball_harmonics((box,) * 3, centre, DIAMETER * box / 2)
        self.waves = [degree.shape[0] for degree in harmonics]
        self.box = box
        flat = torch.zeros(sum(len(h) * h.shape[1] for h in harmonics), box**3)
        flat[:, torch.from_numpy(inside)] = torch.from_numpy(
            np.concatenate([h.reshape(-1, len(inside)) for h in harmonics])
        )
        kz = torch.fft.fftfreq(box)[:, None, None]
        ky = torch.fft.fftfreq(box)[None, :, None]
        kx = torch.fft.rfftfreq(box)[None, None, :]
        radius = (kz**2 + ky**2 + kx**2).sqrt()
        self.kept = torch.nonzero((radius <= 1 / FINEST_WAVE + 1 / box).flatten())[:, 0]
        grid = torch.stack(torch.broadcast_tensors(kx, ky, kz), dim=-1).reshape(-1, 3)
        self.frequencies = grid[self.kept]
        # A real volume has each frequency twice but for those with kx = 0; scaled so that products of
        # spectra are products of volumes.
        self.scale = torch.where(self.frequencies[:, 0] > 0, math.sqrt(2), 1.0) / math.sqrt(box**3)
        self.matrix = torch.cat([self.spectra(part.view(-1, 1, *(box,) * 3)) for part in flat.split(64)]).T

    def spectra(self, volumes: Tensor) -> Tensor:
        """Plane waves of volumes (N, 1, D, H, W): real parts, then imaginary parts, shape (N, 2 K)."""
        # Phases are measured from voxel n // 2.
        rolled = torch.fft.ifftshift(volumes[:, 0].float(), dim=(1, 2, 3))
        spectrum = torch.fft.rfftn(rolled, dim=(1, 2, 3)).flatten(1)[:, self.kept] * self.scale
        return torch.cat((spectrum.real, spectrum.imag), dim=1)

    def centred(self, spectra: Tensor, shifts: Tensor) -> Tensor:
        """Spectra of the volumes moved back by shifts (N, 3) in voxels (x, y, z)."""
        phase = 2 * math.pi * (shifts @ self.frequencies.T)
        real, imaginary = spectra.chunk(2, dim=1)
        cosine, sine = phase.cos(), phase.sin()
        return torch.cat((real * cosine - imaginary * sine, real * sine + imaginary * cosine), dim=1)

    def coefficients(self, spectra: Tensor, shifts: Tensor | None = None) -> Tensor:
        """Ball harmonics of spectra, moved back by shifts; shape (N, Q)."""
        return (spectra if shifts is None else self.centred(spectra, shifts)) @ self.matrix

    def by_degree(self, coefficients: Tensor) -> list[Tensor]:
        """Take coefficients (…, Q) apart: one (…, waves, 2 l + 1) for each degree."""
        parts, start = [], 0
        for degree, waves in enumerate(self.waves):
            length = waves * (2 * degree + 1)
            parts.append(coefficients[..., start : start + length].unflatten(-1, (waves, 2 * degree + 1)))
            start += length
        return parts

    def turned(self, coefficients: Tensor, turns: list[Tensor]) -> Tensor:
        """Coefficients a (N, Q) of f(p) become those of f(R p): a D(R)."""
        parts = zip(self.by_degree(coefficients), turns, strict=True)
        return torch.cat([(a @ matrix).flatten(1) for a, matrix in parts], dim=1)

    def products(self, coefficients: Tensor, means: Tensor, degree: int) -> Tensor:
        """Σ_k a_klm b_klm' for degrees up to `degree`, shape (N, R, n).

        Of a (N, Q) with b (R, Q), the means of all, or with b (N, R, Q), the means of each volume.
        """
        pairs = list(zip(self.by_degree(coefficients[:, None]), self.by_degree(means), strict=True))
        return torch.cat([(a.mT @ b).flatten(2) for a, b in pairs[: degree + 1]], dim=2)


def align(
    volumes: Tensor,
    references: int = 1,
    *,
    wedges: Tensor | None = None,
    seed: int = 0,
    report: Callable[[str, float], None] = lambda stage, share: None,
) -> Alignment:
    """Lay volumes of one particle over each other.

    With several references, the volumes are sorted by which of as many means they resemble most, each in its
    own best orientation: conformations of one particle.

    Parameters
    ----------
    volumes : Tensor, shape (N, 1, L, L, L)
        Prepared volumes; boxes of more than 32 voxels are aligned at 32.
    references : int
        Number of means.
    wedges : Tensor, shape (1 or N, D, H, W // 2 + 1), optional
        Fourier weights of what was measured, in the box of the volumes. Their mean over the volumes decides
        how much of a mean is seen in each orientation.
    seed : int
        Of the first orientations.
    report : callable
        Told the stage and the share of it that is done.

    Raises
    ------
    DataError
        For boxes that are no cubes, or fewer than two volumes for each reference.
    """
    sides = set(volumes.shape[2:])
    if len(sides) != 1 or volumes.shape[1] != 1:
        raise DataError(
            f"volumes of shape {tuple(volumes.shape[1:])} cannot be aligned; give cubes of one channel"
        )
    if len(volumes) < 2 * references:
        raise DataError(f"{len(volumes)} volumes are too few for {references} means; take fewer")
    full = sides.pop()
    box = min(full, LARGEST_BOX)
    waves = _Waves(box)
    parts = volumes.split(256)
    spectra = torch.cat([waves.spectra(p if box == full else fourier_crop(p, box)) for p in parts])
    search = _Search(waves, spectra, _seen(waves, wedges, full), max_shift=box / 10, seed=seed)
    mean = search.begin(report)
    state = search.coarse(mean, report)
    means = mean[None]
    for step in range(REFINEMENTS):
        width = FIRST_WIDTH * (LAST_WIDTH / FIRST_WIDTH) ** (step / (REFINEMENTS - 1))
        means = search.refine(state, means, width, step)
        report("refining", (step + 1) / REFINEMENTS)
    if references > 1:
        means = search.split(state, references)
        for step in range(SORTINGS):
            search.choose(state, means)
            width = FIRST_WIDTH / 2 * (LAST_WIDTH / FIRST_WIDTH * 2) ** (step / (SORTINGS - 1))
            means = search.refine(state, means, width, REFINEMENTS + step)
            report("sorting", (step + 1) / SORTINGS)
    laid = search.laid(state, slice(None))
    return Alignment(state.rotations, state.shifts * (full / box), state.references, laid)


@dataclass
class _State:
    """What is known of the volumes so far; `turns` are the Wigner matrices of `rotations`."""

    rotations: Tensor
    turns: list[Tensor]
    shifts: Tensor
    references: Tensor


class _Search:
    """The steps of the search, over volumes whose spectra are at hand."""

    def __init__(
        self, waves: _Waves, spectra: Tensor, seen: Tensor | None, max_shift: float, seed: int
    ) -> None:
        self.waves, self.spectra, self.seen, self.seed = waves, spectra, seen, seed
        self.highest = len(waves.waves) - 1
        self.degree = min(SEARCH_DEGREE, self.highest)
        self.max_shift = max_shift
        self.grid, self.turns = _grid(GRID, self.highest)
        steps = torch.tensor([-1.0, 0.0, 1.0]) * max_shift * 2 / 3
        self.steps = torch.cartesian_prod(steps, steps, steps)
        # A mean over all orientations holds, of each component, the share that was measured.
        self.share = 1.0 if seen is None else float(seen.mean())

    def begin(self, report: Callable[[str, float], None]) -> Tensor:
        """Find a first mean from some of the volumes, in every shift of a coarse grid; shape (Q,)."""
        count = min(len(self.spectra), BEGINNERS)
        some = torch.from_numpy(numpy_stream(self.seed, "beginners").permutation(len(self.spectra))[:count])
        moved = torch.stack(
            [self.waves.coefficients(self.spectra[some], s.expand(count, 3)) for s in self.steps], dim=1
        ).flatten(0, 1)
        _, turns = _grid(BEGINNING_GRID, self.highest)
        first = torch.randint(
            BEGINNING_GRID, (len(moved),), generator=torch_stream(self.seed, "orientations")
        )
        mean = self.waves.turned(moved, [turn[first] for turn in turns]).mean(dim=0) / self.share
        power = float(moved.square().sum(dim=1).mean())
        for step in range(BEGINNING_STEPS):
            degree = min(3 + step // 4, BEGINNING_DEGREE, self.highest)
            seen = self._energy_seen(mean[None], turns)
            scores = self._likelihoods(moved, mean[None], seen, turns, degree)[:, 0].view(count, -1)
            noise = max(power - float(mean.square().sum()), 1e-3 * power) / len(mean)
            soft = (scores * (min(1.0, 0.2 + step / 12) / noise)).softmax(dim=1).view(len(moved), -1)
            mean = self._soft_mean(moved, soft, turns) * (len(self.steps) / self.share)
            report("first mean", (step + 1) / BEGINNING_STEPS)
        return self._in_the_middle(mean)

    def coarse(self, mean: Tensor, report: Callable[[str, float], None]) -> _State:
        """Find the best orientation and shift of every volume on coarse grids."""
        best = torch.full((len(self.spectra),), -torch.inf)
        place = torch.zeros(len(self.spectra), dtype=torch.long)
        shifts = torch.zeros(len(self.spectra), 3)
        seen = self._energy_seen(mean[None], self.turns)
        for number, step in enumerate(self.steps):
            for rows in self._rows(GRID):
                spectra = self.spectra[rows]
                moved = self.waves.coefficients(spectra, step.expand(len(spectra), 3))
                scores = self._likelihoods(moved, mean[None], seen, self.turns, self.degree)
                score, found = scores[:, 0].max(dim=1)
                better = score > best[rows]
                place[rows] = torch.where(better, found, place[rows])
                shifts[rows] = torch.where(better[:, None], step, shifts[rows])
                best[rows] = torch.where(better, score, best[rows])
            report("coarse search", (number + 1) / len(self.steps))
        return _State(self.grid[place], [t[place] for t in self.turns], shifts, torch.zeros_like(place))

    def choose(self, state: _State, means: Tensor) -> None:
        """Give every volume, where it stands, the mean and the orientation that it resembles most."""
        seen = self._energy_seen(means, self.turns)
        for rows in self._rows(GRID * len(means)):
            moved = self.waves.coefficients(self.spectra[rows], state.shifts[rows])
            scores = self._likelihoods(moved, means, seen, self.turns, self.degree)
            found = scores.flatten(1).argmax(dim=1)
            state.references[rows], place = found // GRID, found % GRID
            state.rotations[rows] = self.grid[place]
            for turn, of_grid in zip(state.turns, self.turns, strict=True):
                turn[rows] = of_grid[place]

    def refine(self, state: _State, means: Tensor, width: float, step: int) -> Tensor:
        """Improve orientations and shifts, then the means; returns those, shape (R, Q)."""
        for draw in range(2):
            nearby, turns = _nearby(self.seed, 2 * step + draw, width, self.highest)
            for rows in self._rows(NEARBY):
                own = means[state.references[rows]][:, None]
                products = self.waves.products(self.laid(state, rows), own, self.highest)
                best = _scores(products, turns)[:, 0].argmax(dim=1)
                state.rotations[rows] = state.rotations[rows] @ nearby[best]
                for turn, further in zip(state.turns, turns, strict=True):
                    turn[rows] = turn[rows] @ further[best]
        self._centre(state, means)
        return self._means(state, self.laid(state, slice(None)), means)

    def split(self, state: _State, count: int) -> Tensor:
        """Begin several means from clusters of the volumes as they lie; sets the references."""
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA

        laid = self.laid(state, slice(None))
        found = PCA(min(10, len(laid) - 1), random_state=0).fit_transform(laid.double().numpy())
        clusters = KMeans(count, n_init=10, random_state=0)  # pyright: ignore[reportArgumentType]
        labels = clusters.fit_predict(found)
        state.references = torch.from_numpy(labels).long()
        return self._means(state, laid, laid.mean(dim=0).expand(count, -1) / self.share)

    def _means(self, state: _State, laid: Tensor, former: Tensor) -> Tensor:
        """Average the volumes of each reference as they lie; one without volumes stays as it was."""
        sums = torch.zeros_like(former).index_add_(0, state.references, laid)
        members = torch.bincount(state.references, minlength=len(former))[:, None]
        return torch.where(members > 0, sums / members.clamp(min=1) / self.share, former)

    def laid(self, state: _State, rows: slice) -> Tensor:
        """Ball harmonics of volumes, turned and moved back to lie alike."""
        coefficients = self.waves.coefficients(self.spectra[rows], state.shifts[rows])
        return self.waves.turned(coefficients, [turn[rows] for turn in state.turns])

    def _likelihoods(
        self, coefficients: Tensor, means: Tensor, seen: Tensor, turns: list[Tensor], degree: int
    ) -> Tensor:
        """Log-likelihood times the noise's variance, but for a constant; shape (N, R, G)."""
        return _scores(self.waves.products(coefficients, means, degree), turns) - 0.5 * seen

    def _energy_seen(self, means: Tensor, turns: list[Tensor]) -> Tensor:
        """Energy of each mean in each orientation, as far as it was measured; shape (R, G or 1)."""
        if self.seen is None:
            return means.square().sum(dim=1, keepdim=True)
        energies = []
        for mean in means:
            # What lays a volume on the mean is D(R); the mean is laid on the volume by its transpose.
            for part in zip(*(turn.mT.split(512) for turn in turns), strict=True):
                turned = self.waves.turned(mean.expand(len(part[0]), -1), list(part))
                energies.append((turned @ self.waves.matrix.T).square() @ self.seen.repeat(2))
        return torch.cat(energies).view(len(means), -1)

    def _soft_mean(self, coefficients: Tensor, soft: Tensor, turns: list[Tensor]) -> Tensor:
        laid = zip(self.waves.by_degree(soft.T @ coefficients), turns, strict=True)
        return torch.cat([(a @ turn).sum(dim=0).flatten() for a, turn in laid]) / len(coefficients)

    def _in_the_middle(self, mean: Tensor) -> Tensor:
        """Move a mean so that its energy lies around the middle of the box."""
        box = self.waves.box
        spectrum = torch.zeros(box * box * (box // 2 + 1), dtype=torch.complex64)
        real, imaginary = (mean @ self.waves.matrix.T).chunk(2)
        spectrum[self.waves.kept] = torch.complex(real, imaginary) / self.waves.scale
        volume = torch.fft.irfftn(spectrum.view(box, box, -1), s=(box,) * 3)
        energy = torch.fft.fftshift(volume).square()
        axis = torch.arange(box) - float(box // 2)
        total = energy.sum()
        middle = torch.stack([(energy.sum(dim=d) * axis).sum() for d in ((0, 1), (0, 2), (1, 2))]) / total
        moved = self.waves.centred((mean @ self.waves.matrix.T)[None], middle[None])
        return self.waves.coefficients(moved)[0]

    def _centre(self, state: _State, means: Tensor) -> None:
        """Find the shifts at which volumes match their means best, to a fraction of a voxel."""
        reach = math.ceil(self.max_shift * 1.25)
        axis = torch.arange(-reach, reach + 1).float()
        places = torch.cartesian_prod(axis, axis, axis)
        phase = 2 * math.pi * (places @ self.waves.frequencies.T)
        waves = torch.cat((phase.cos(), -phase.sin()), dim=1)
        length = len(axis)
        for rows in self._rows(len(places)):
            turns = [turn[rows].mT for turn in state.turns]
            expected = self.waves.turned(means[state.references[rows]], turns) @ self.waves.matrix.T
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
            state.shifts[rows] = axis[peak] + _parabola(match, peak)

    def _rows(self, numbers: int) -> list[slice]:
        """Cut the volumes into parts for which `numbers` numbers each fit."""
        size = max(1, AT_ONCE // numbers // 4)
        return [slice(i, min(i + size, len(self.spectra))) for i in range(0, len(self.spectra), size)]


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def _grid(count: int, highest: int) -> tuple[Tensor, list[Tensor]]:
    """Rotations of a grid, shape (count, 3, 3), and their Wigner matrices."""
    rotations = rotation_grid(count)
    return torch.from_numpy(rotations).float(), wigner_matrices(rotations, highest)


def _scores(products: Tensor, turns: list[Tensor]) -> Tensor:
    """Score of each rotation, shape (N, R, G), from `_Waves.products`."""
    flat, length = [], 0
    for turn in turns:
        if length == products.shape[2]:
            break
        flat.append(turn.flatten(1))
        length += flat[-1].shape[1]
    return products @ torch.cat(flat, dim=1).T


# As many as one alignment uses, so that all classes of a run share them.
@lru_cache(maxsize=2 * (REFINEMENTS + SORTINGS))
@torch.inference_mode(False)
def _nearby(seed: int, draw: int, width: float, highest: int) -> tuple[Tensor, list[Tensor]]:
    """Small rotations of a width in degrees, none the first, and their Wigner matrices."""
    vectors = numpy_stream(seed, "nearby", draw).normal(size=(NEARBY, 3))
    vectors[0] = 0
    rotations = Rotation.from_rotvec(vectors * math.radians(width)).as_matrix()
    return torch.from_numpy(rotations).float(), wigner_matrices(rotations, highest)


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


def _seen(waves: _Waves, wedges: Tensor | None, full: int) -> Tensor | None:
    """Mean weight of every frequency in use, shape (K,)."""
    if wedges is None:
        return None
    mean = wedges.mean(dim=0, keepdim=True)
    cropped = mean if waves.box == full else crop_wedges(mean, full, waves.box)
    return cropped.flatten()[waves.kept]
