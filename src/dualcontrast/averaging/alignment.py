"""Finding how each volume of a set lies, and the mean of all once they lie alike, with no template.

Volumes of one particle in unknown orientations are laid over each other by expectation maximisation, as in
subtomogram averaging (Scheres et al. 2009, Structure 17:1563), but on ball harmonics, where the score of
thousands of orientations is one matrix product: for the coefficients a of a volume and b of a mean,

    <a turned by R, b> = Σ_l Σ_mm' D^l_mm'(R) Σ_k a_klm b_klm'.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dualcontrast.averaging.expectation import Means, lay_on, means_of
from dualcontrast.averaging.first_mean import BEGINNINGS, Beginning, first_mean
from dualcontrast.averaging.search import GRID, Poses, Search
from dualcontrast.averaging.states import sort_into_states
from dualcontrast.averaging.waves import Waves
from dualcontrast.errors import DataError

REFINEMENTS = 8
# Widths, in degrees, of the rotations tried around the best so far.
FIRST_WIDTH, LAST_WIDTH = 8.0, 2.0
# Widths of those tried for volumes that are laid on means which are there.
FURTHER_WIDTHS = (6.0, 4.0, 3.0, 2.0)
# By how much volumes have to agree more on the mean of another beginning.
CLEARLY_MORE = 1.05


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
    separation : float or None
        By how much the two means that are most alike differ, in units of what two halves of the volumes of
        one mean differ by noise; near 1, they are one and the same. None for one mean.
    means, waves, seen, full : Means, Waves, Tensor or None, int
        What further volumes are laid on, see `align_further`, and what `align` was given.
    """

    rotations: Tensor
    shifts: Tensor
    references: Tensor
    coefficients: Tensor
    separation: float | None
    means: Means
    waves: Waves
    seen: Tensor | None
    full: int

    def part(self, rows: slice) -> "Alignment":
        """Return what is known of some of the volumes."""
        return replace(
            self,
            rotations=self.rotations[rows],
            shifts=self.shifts[rows],
            references=self.references[rows],
            coefficients=self.coefficients[rows],
        )


def align(
    spectra: Tensor,
    waves: Waves,
    full: int,
    references: int = 1,
    *,
    seen: Tensor | None = None,
    seed: int = 0,
    report: Callable[[str, float], None] = lambda stage, share: None,
) -> Alignment:
    """Lay volumes of one particle over each other.

    With several references, the volumes are sorted by which of as many means they resemble most, each in its
    own best orientation: conformations of one particle.

    Parameters
    ----------
    spectra : Tensor, shape (N, 2 K)
        Plane waves of the volumes, far fewer numbers than these; see `particles.read_spectra`.
    waves : Waves
        Of their box, see `particles.waves_for`; boxes of more than 32 voxels are aligned at 32.
    full : int
        Box of the volumes, in whose voxels shifts are given.
    references : int
        Number of means.
    seen : Tensor, shape (K,), optional
        How much of each plane wave was measured, on average over the volumes; it decides how much of a mean
        is seen in each orientation.
    seed : int
        Of the first orientations.
    report : callable
        Told the stage and the share of it that is done.

    Raises
    ------
    DataError
        For fewer than two volumes for each reference.
    """
    if len(spectra) < 2 * references:
        raise DataError(f"{len(spectra)} volumes are too few for {references} means; take fewer")
    search = Search(waves, spectra, seen, max_shift=waves.box / 10, seed=seed)
    shifts = _coarse_shifts(search)
    first, second = (
        _on_one_mean(search, beginning, shifts, _numbered(report, number))
        for number, beginning in enumerate(BEGINNINGS, 1)
    )
    # The mean on which the volumes agree more is right; nearly the same says nothing.
    better = _agreement(search, second) > CLEARLY_MORE * _agreement(search, first)
    poses = second if better else first
    separation = sort_into_states(search, poses, references, report) if references > 1 else None
    return _alignment(search, poses, separation, means_of(search, poses), full)


def align_further(spectra: Tensor, found: Alignment, *, seed: int = 0) -> Alignment:
    """Lay more volumes on the means that others were aligned to, which stay as they are.

    Parameters
    ----------
    spectra : Tensor, shape (N, 2 K)
        Plane waves of volumes that were prepared as those of the alignment.
    found : Alignment
        What `align` returned for the others.
    seed : int
        Of the rotations that are tried.
    """
    waves, means = found.waves, found.means
    search = Search(waves, spectra, found.seen, max_shift=waves.box / 10, seed=seed)
    poses = _coarse(search, means.overall, _coarse_shifts(search), lambda stage, share: None)
    search.centre(poses, means.overall[None])
    for step, width in enumerate(FURTHER_WIDTHS):
        # Where a particle lies on the mean of all need not be where it lies on its own.
        lay_on(search, poses, means, width, 3 * step, everywhere=step % 2 == 0, further=True)
        search.centre(poses, means.shrunk)
    return _alignment(search, poses, found.separation, means, found.full)


def _alignment(search: Search, poses: Poses, separation: float | None, means: Means, full: int) -> Alignment:
    return Alignment(
        poses.turns.rotations,
        poses.shifts * (full / search.waves.box),
        poses.references,
        search.laid(poses),
        separation,
        means,
        search.waves,
        search.seen,
        full,
    )


def _coarse_shifts(search: Search) -> Tensor:
    axis = torch.tensor([-1.0, 0.0, 1.0]) * search.max_shift * 2 / 3
    return torch.cartesian_prod(axis, axis, axis)


def _numbered(report: Callable[[str, float], None], number: int) -> Callable[[str, float], None]:
    """Say of every stage which of the beginnings it belongs to."""
    return lambda stage, share: report(f"{stage} ({number} of {len(BEGINNINGS)})", share)


def _agreement(search: Search, poses: Poses) -> float:
    """Energy of the mean of all volumes as they lie."""
    return float(search.laid(poses).mean(dim=0).square().sum())


def _on_one_mean(
    search: Search, beginning: Beginning, shifts: Tensor, report: Callable[[str, float], None]
) -> Poses:
    """Find a mean of all, and how each volume lies on it."""
    mean = first_mean(search, beginning, shifts, report)
    poses = _coarse(search, mean, shifts, report)
    means = mean[None]
    for step in range(REFINEMENTS):
        width = FIRST_WIDTH * (LAST_WIDTH / FIRST_WIDTH) ** (step / (REFINEMENTS - 1))
        means = search.refine(poses, means, width, step)
        report("refining", (step + 1) / REFINEMENTS)
    return poses


def _coarse(search: Search, mean: Tensor, shifts: Tensor, report: Callable[[str, float], None]) -> Poses:
    """Find the best orientation and shift of every volume on coarse grids."""
    best = torch.full((len(search.spectra),), -torch.inf)
    place = torch.zeros(len(search.spectra), dtype=torch.long)
    moved = torch.zeros(len(search.spectra), 3)
    seen = search.energy_seen(mean[None], search.grid, search.degree)
    for number, shift in enumerate(shifts):
        for rows in search.rows(GRID):
            spectra = search.spectra[rows]
            coefficients = search.waves.coefficients(spectra, shift.expand(len(spectra), 3))
            found = search.likelihoods(coefficients, mean[None], seen, search.grid, search.degree)
            score, there = found[:, 0].max(dim=1)
            better = score > best[rows]
            place[rows] = torch.where(better, there, place[rows])
            moved[rows] = torch.where(better[:, None], shift, moved[rows])
            best[rows] = torch.where(better, score, best[rows])
        report("coarse search", (number + 1) / len(shifts))
    return Poses(search.grid[place], moved, torch.zeros_like(place))
