"""In what particles differ that lie alike: their conformations, as a few numbers each."""

import torch
from torch import Tensor

# Of one mean; of several, the differences between them say how many.
COMPONENTS = 10


def conformation_coordinates(laid: Tensor, references: Tensor, states: int) -> Tensor:
    """Return the coordinates of particles in the space in which their states differ.

    Its axes are the principal axes of the means of the states, each mean weighted by its particles; of one
    state, those of the particles themselves, where noise counts as well.

    Parameters
    ----------
    laid : Tensor, shape (N, Q)
        Ball harmonics of the particles, laid alike.
    references : Tensor of int, shape (N,)
        State of each.
    states : int
        States that were asked for; axes beyond those that were found are zero.

    Returns
    -------
    Tensor, float32, shape (N, states - 1), or (N, 10) of one state
        Along the axis of largest variance first.
    """
    off = laid.double() - laid.double().mean(dim=0)
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
    found = off @ (axes * torch.where(largest < 0, -1.0, 1.0)).T
    return torch.nn.functional.pad(found, (0, count - found.shape[1])).float()
