"""What reads the known angle between an image and its view from their transformation codes.

No label is needed: the angle is the one that made the view. Each reader gives the error that its code leaves,
with angles as fractions of the largest.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RotationReader = Literal["pair", "difference", "upright"]


class PairReader(nn.Sequential):
    """A small network that sees both codes; z may hold the angle in any form that such a network undoes.

    Parameters
    ----------
    code_size : int
        Length of z.
    angles : int
        1 in 2-D, 3 in 3-D.
    """

    def __init__(self, code_size: int, angles: int) -> None:
        super().__init__(nn.Linear(2 * code_size, 128), nn.ReLU(), nn.Linear(128, angles))

    def error(self, z: Tensor, z_view: Tensor, known: Tensor) -> Tensor:
        """Mean squared error of the angles.

        Parameters
        ----------
        z, z_view : Tensor, shape (N, code_size)
            Codes of images and of their views.
        known : Tensor, shape (N, 1) or (N, 3)
            Angles from the image to the view.
        """
        return squared_error(self(torch.cat((z, z_view), dim=1)), known)


class DifferenceReader(nn.Linear):
    """w · (z' - z): one direction of z becomes linear in the angle. Of angles that add up, so in 2-D only."""

    def __init__(self, code_size: int) -> None:
        super().__init__(code_size, 1, bias=False)

    def error(self, z: Tensor, z_view: Tensor, known: Tensor) -> Tensor:
        """Mean squared error of the angles, see `PairReader.error`."""
        return squared_error(self(z_view - z), known)


class UprightReader(DifferenceReader):
    """The same, and the angle from the view alone: a · w · z' + b.

    Of images that lie in any pose only the difference can be told. But where the images share an upright
    pose, or most lie near one, the angle that a view was turned by tells how it lies now: of an image at θ
    turned by α, the mean of α given θ + α rises with θ + α, by less than θ + α where θ varies. So a and b are
    learned, and w keeps its scale from the difference. Where no pose is upright a goes to 0.
    """

    def __init__(self, code_size: int) -> None:
        super().__init__(code_size)
        self.slope = nn.Parameter(torch.ones(1))
        self.offset = nn.Parameter(torch.zeros(1))

    def error(self, z: Tensor, z_view: Tensor, known: Tensor) -> Tensor:
        """Sum of both mean squared errors, see `PairReader.error`."""
        alone = self.slope * self(z_view) + self.offset
        return super().error(z, z_view, known) + squared_error(alone, known)


AngleReader = PairReader | DifferenceReader


def build_angle_reader(kind: RotationReader, code_size: int, dimension: int) -> AngleReader:
    """Build the reader of a setting; rotations of volumes do not add up and are read from the pair always."""
    if dimension == 3:
        return PairReader(code_size, 3)
    if kind == "pair":
        return PairReader(code_size, 1)
    return DifferenceReader(code_size) if kind == "difference" else UprightReader(code_size)


def squared_error(read: Tensor, known: Tensor) -> Tensor:
    """Mean of (read - known)², in the wider of both types, as older PyTorch does not bring them together."""
    wider = torch.promote_types(read.dtype, known.dtype)
    return F.mse_loss(read.to(wider), known.to(wider))
