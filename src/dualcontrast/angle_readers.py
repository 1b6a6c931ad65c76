"""What reads the known angle between an image and its view from their transformation codes.

No label is needed: the angle is the one that made the view. Each reader gives the error that its code leaves,
with angles as fractions of the largest.
"""

import math
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

    A difference that is off by half a turn is no error: a shape that looks the same upside down cannot show
    it, and if it lies in all poses alike, no w · z could lower the mean squared error of its differences.

    Parameters
    ----------
    code_size : int
        Length of z.
    half_turn : float
        180° as a fraction of the largest angle.
    """

    def __init__(self, code_size: int, half_turn: float) -> None:
        super().__init__(code_size)
        self.half_turn = half_turn
        self.slope = nn.Parameter(torch.ones(1))
        self.offset = nn.Parameter(torch.zeros(1))

    @property
    def shared_pose(self) -> Tensor:
        """How surely images share an upright pose, from 0 to 1: 1 from a slope of 0.9 on, 0 up to 0.7.

        The slope is var α / var(θ + α): 1 where all images stand upright, 0.9 where they lie a third as far
        from it as views are turned, 0.7 at two thirds, ½ where they are turned as much as views.
        """
        return ((self.slope.detach() - 0.7) / 0.2).clamp(0, 1)

    def error(self, z: Tensor, z_view: Tensor, known: Tensor) -> Tensor:
        """Error of the differences, up to half turns, and mean squared error of the views alone."""
        alone = self.slope * self(z_view) + self.offset
        return half_turn_error(self(z_view - z), known, self.half_turn) + squared_error(alone, known)


AngleReader = PairReader | DifferenceReader


def build_angle_reader(kind: RotationReader, code_size: int, dimension: int, max_angle: float) -> AngleReader:
    """Build the reader of a setting; rotations of volumes do not add up and are read from the pair always."""
    if dimension == 3:
        return PairReader(code_size, 3)
    if kind == "pair":
        return PairReader(code_size, 1)
    if kind == "difference":
        return DifferenceReader(code_size)
    return UprightReader(code_size, 180 / max_angle)


def squared_error(read: Tensor, known: Tensor) -> Tensor:
    """Mean of (read - known)²."""
    return F.mse_loss(*_alike(read, known))


def half_turn_error(read: Tensor, known: Tensor, half_turn: float) -> Tensor:
    """Mean of (h² / 2 π²) (1 - cos(2 π (read - known) / h)): the square of small errors, 0 again at h."""
    read, known = _alike(read, known)
    unit = 2 * math.pi / half_turn
    return 2 / unit**2 * (1 - torch.cos(unit * (read - known))).mean()


def _alike(read: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Bring both to the wider of their types, as older PyTorch does not."""
    wider = torch.promote_types(read.dtype, known.dtype)
    return read.to(wider), known.to(wider)
