"""One step of expectation maximisation: means of the particles as they lie, and particles laid on means."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dualcontrast.averaging.search import GRID, Poses, Search, scores
from dualcontrast.averaging.turns import Turns


@dataclass
class Means:
    """Means of states, and what a particle is compared with.

    Attributes
    ----------
    overall : Tensor, shape (Q,)
        The mean of all particles.
    plain, shrunk : Tensor, shape (S, Q)
        The mean of each state; and moved towards the mean of all, as far as noise asks for it.
    kept : Tensor, shape (S, Q)
        Share of a state's difference from the mean of all that is kept.
    members : Tensor, shape (S,)
        Particles of each.
    noise : float
        Mean square of what the means do not explain of one coefficient of a particle.
    """

    overall: Tensor
    plain: Tensor
    shrunk: Tensor
    kept: Tensor
    members: Tensor
    noise: float


def means_of(search: Search, poses: Poses) -> Means:
    """Average the particles of each state as they lie."""
    laid = search.laid(poses)
    members = torch.bincount(poses.references).float()
    sums = torch.zeros(len(members), laid.shape[1]).index_add_(0, poses.references, laid)
    plain = sums / members.clamp(min=1)[:, None] / search.share
    unexplained = laid - search.share * plain[poses.references]
    noise = float(unexplained.square().mean())
    overall = laid.mean(dim=0) / search.share
    off = plain - overall
    weights = (members / members.sum())[:, None]
    of_mean = noise / search.share**2 / members.clamp(min=1)[:, None]
    kept = []
    for part in search.waves.by_degree(off):
        flat = part.flatten(1)
        # Of a degree, how much states differ beyond what noise makes their means differ.
        signal = float((weights * (flat.square().mean(dim=1, keepdim=True) - of_mean)).sum().clamp(min=0))
        kept.append((signal / (signal + of_mean)).expand_as(flat))
    share_kept = torch.cat(kept, dim=1)
    return Means(overall, plain, overall + share_kept * off, share_kept, members, noise)


def lay_on(
    search: Search,
    poses: Poses,
    means: Means,
    width: float,
    draw: int,
    *,
    everywhere: bool,
    further: bool = False,
) -> None:
    """Give each particle the state and the orientation in which it resembles its mean most.

    A particle's own noise is in the mean of its state: it is taken out before they are compared. Noise also
    gives every mean energy, more to those of few particles, which is taken out as well.

    Parameters
    ----------
    search : Search
        The particles.
    poses : Poses
        How they lie; changed.
    means : Means
        Of the particles in these poses.
    width : float
        Of the small rotations that are tried, in degrees.
    draw : int
        Number of the first of three sets of them.
    everywhere : bool
        Begin not only from how a particle lies, but from the best of all orientations as well.
    further : bool
        The means are of other particles, and hold nothing of these.
    """
    states = len(means.members)
    on_grid = search.energy_seen(means.shrunk, search.grid, search.degree)
    energies = search.energy_seen(means.shrunk, search.grid)
    of_noise = means.noise / search.share / means.members.clamp(min=1) * means.kept.square().sum(dim=1)
    energies = energies - of_noise[:, None]
    widths = (1.5 * width, width, width / 2)
    for rows in search.rows(GRID * states):
        coefficients = search.centred(poses, rows)
        count = len(coefficients)
        own = poses.references[rows]
        without = means.shrunk[own]
        if not further:
            laid = search.waves.turned(coefficients, poses.turns[rows].wigner) / search.share
            others = (means.members[own] - 1).clamp(min=1)[:, None]
            kept = means.kept[own]
            without = without + kept * (means.plain[own] - laid) / others
            without += (1 - kept) * (means.overall - laid) / max(1, len(search.spectra) - 1)
        found = search.waves.products(coefficients, means.shrunk, search.degree)
        places = (scores(found, search.grid) - 0.5 * on_grid).argmax(dim=2) if everywhere else None
        best = torch.full((count,), -torch.inf)
        turns = poses.turns[rows][torch.arange(count)]
        chosen = own.clone()
        for state in range(states):
            if further and means.members[state] == 0:
                # Where none belongs, there is no mean of their own.
                continue
            target = torch.where((own == state)[:, None], without, means.shrunk[state])
            starts = [poses.turns[rows]]
            if places is not None:
                starts.append(search.grid[places[:, state]])
            for start in starts:
                products, there = search.polish(coefficients, target, start, widths, draw)
                likelihood = products - 0.5 * _at(energies[state], there, search.grid)
                better = torch.nonzero(likelihood > best)[:, 0]
                best[better] = likelihood[better]
                turns[better] = there[better]
                chosen[better] = state
        poses.turns[rows] = turns
        poses.references[rows] = chosen


def _at(energies: Tensor, turns: Turns, grid: Turns) -> Tensor:
    """Energies (1,) or (G,) in the orientations of the grid that are nearest some turns."""
    if len(energies) == 1:
        return energies
    return energies[(turns.rotations.flatten(1) @ grid.rotations.flatten(1).T).argmax(dim=1)]
