"""In what particles differ that lie alike: their conformations, as a few numbers each."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Of one mean; of several, the differences between them say how many.
COMPONENTS = 10


@dataclass(frozen=True)
class ConformationAxes:
    """The space in which the states of a class differ.

    Attributes
    ----------
    centre : Tensor, float64, shape (Q,)
        Mean of the particles that the axes were made of.
    axes : Tensor, float64, shape (d, Q)
        Orthonormal, along the axis of largest variance first; zero beyond those that were found.
    """

    centre: Tensor
    axes: Tensor

    def coordinates(self, laid: Tensor) -> Tensor:
        """Coordinates, float32, shape (N, d), of ball harmonics (N, Q) of particles laid alike."""
        return ((laid.double() - self.centre) @ self.axes.T).float()


def conformation_axes(laid: Tensor, references: Tensor, states: int) -> ConformationAxes:
    """Find the axes of the space in which the states of particles differ.

    They are the principal axes of the means of the states, each mean weighted by its particles; of one
    state, those of the particles themselves, where noise counts as well.

    Parameters
    ----------
    laid : Tensor, shape (N, Q)
        Ball harmonics of the particles, laid alike.
    references : Tensor of int, shape (N,)
        State of each.
    states : int
        States that were asked for: there are one axis fewer, or ten of one state.
    """
    centre = laid.double().mean(dim=0)
    off = laid.double() - centre
    spread = off
    if states > 1:
        members = torch.bincount(references, minlength=states).double()
        sums = torch.zeros(len(members), off.shape[1], dtype=off.dtype).index_add_(0, references, off)
        spread = sums / members.clamp(min=1).sqrt()[:, None]
    count = states - 1 if states > 1 else COMPONENTS
    _, sizes, axes = torch.linalg.svd(spread, full_matrices=False)
    axes = axes[:count] * (sizes[:count, None] > 1e-9 * sizes[0])
    # Axes have no direction of their own: that of their largest entry is made positive.
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    return ConformationAxes(centre, torch.nn.functional.pad(axes, (0, 0, 0, count - len(axes))))
