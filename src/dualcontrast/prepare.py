"""How pixels are scaled for the networks: chosen once, recorded, and applied again at encoding."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from dualcontrast.data.check import survey_images
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError, SettingError

Normalisation = Literal["unit", "standardize"]
CHOICES = ("auto", "unit", "standardize")

_SAMPLE_IMAGES = 512
_SAMPLE_BYTES = 64 << 20
# Images of which none is brighter than this have much of [0, 1] unused, as 12-bit pixels in 16 bits do.
_WELL_FILLED = 0.5


@dataclass(frozen=True)
class Preparation:
    """The scaling of pixels.

    Attributes
    ----------
    normalisation : {'unit', 'standardize'}
        `unit` maps `low` to 0 and `high` to 1, and clips. `standardize` brings every image to zero mean and
        unit standard deviation over its channels and pixels; a constant image becomes zero.
    low, high : float
        The range that `unit` maps to [0, 1], in the values that `ImageSource.read` returns.
    image_shape : tuple of int
        `(C, H, W)` or `(C, D, H, W)`; images of another shape are refused.
    """

    normalisation: Normalisation
    low: float
    high: float
    image_shape: tuple[int, ...]

    @property
    def bounded(self) -> bool:
        """Whether prepared pixels lie in [0, 1]."""
        return self.normalisation == "unit"

    def check_shape(self, image_shape: tuple[int, ...], location: str = "images") -> None:
        """Raise `DataError` for images of another shape than the one prepared for."""
        if tuple(image_shape) != self.image_shape:
            raise DataError(
                f"{location}: images of shape {tuple(image_shape)}, but the model takes {self.image_shape}; "
                "give images like those it was trained on"
            )

    def apply(self, images: Tensor) -> Tensor:
        """Prepare images.

        Parameters
        ----------
        images : Tensor, shape (n, C, *spatial)
            As `ImageSource.read` returns them.

        Returns
        -------
        Tensor, float32, shape (n, C, *spatial)
            On the same device; a new tensor.

        Raises
        ------
        DataError
            For images of another shape, or (`unit`) pixels further outside the range than the range is
            wide, which are in other units than the training images.
        """
        self.check_shape(tuple(images.shape[1:]))
        images = images.to(torch.float32)
        return self._to_unit(images) if self.bounded else _standardize(images)

    def _to_unit(self, images: Tensor) -> Tensor:
        scaled = (images - self.low) / (self.high - self.low)
        if len(scaled):
            lowest, highest = (value.item() for value in torch.aminmax(scaled))
            if lowest < -1 or highest > 2:
                raise DataError(
                    f"pixels from {images.min():.4g} to {images.max():.4g}, but the model was trained "
                    f"on {self.low:.4g} to {self.high:.4g}; scale them as the training images were"
                )
        return scaled.clamp_(0, 1)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for YAML or JSON."""
        return {
            "normalisation": self.normalisation,
            "low": self.low,
            "high": self.high,
            "image_shape": list(self.image_shape),
        }

    @classmethod
    def from_dict(cls, recorded: Mapping[str, Any]) -> "Preparation":
        """Build from what `to_dict` returned.

        Raises
        ------
        SettingError
            When a value is missing or makes no sense.
        """
        try:
            normalisation = recorded["normalisation"]
            low, high = float(recorded["low"]), float(recorded["high"])
            image_shape = tuple(int(length) for length in recorded["image_shape"])
        except (KeyError, TypeError, ValueError) as error:
            raise SettingError(
                f"preparation: `{error}` is missing or no number; restore the record"
            ) from None
        if normalisation not in CHOICES[1:] or not high > low:
            raise SettingError(
                f"preparation: normalisation '{normalisation}' from {low} to {high}; restore the record"
            )
        return cls(normalisation, low, high, image_shape)


def _standardize(images: Tensor) -> Tensor:
    axes = tuple(range(1, images.ndim))
    centred = images - images.mean(dim=axes, keepdim=True)
    # The mean of large pixels is off by rounding; what it is off by is small, and its mean is exact enough.
    centred -= centred.mean(dim=axes, keepdim=True)
    deviation = centred.square().mean(dim=axes, keepdim=True).sqrt_()
    # Below this the deviation is rounding error, as of a constant image, and not to be blown up to noise.
    floor = 1e-6 * images.abs().amax(dim=axes, keepdim=True) + torch.finfo(torch.float32).tiny
    return centred.div_(torch.maximum(deviation, floor))


def choose_preparation(source: ImageSource, normalisation: str = "auto", seed: int = 0) -> Preparation:
    """Choose how a source's pixels are scaled.

    `auto` is `unit` for pixels stored as 8- or 16-bit unsigned integers and for values in [0, 1], else
    `standardize`. `unit` keeps [0, 1] as it is where the values fill it, and otherwise maps the range
    measured over all images to [0, 1].

    Parameters
    ----------
    source : ImageSource
        The training images.
    normalisation : {'auto', 'unit', 'standardize'}
        `auto` decides by the images.
    seed : int
        Of the sample that `auto` looks at first.

    Raises
    ------
    SettingError
        For another value of `normalisation`.
    DataError
        When an image cannot be read, or all pixels of all images are equal.
    """
    if normalisation not in CHOICES:
        raise SettingError(
            f"normalisation is '{normalisation}'; choose {', '.join(CHOICES[:-1])} or {CHOICES[-1]}"
        )
    standardize = Preparation("standardize", 0.0, 1.0, source.image_shape)
    if normalisation == "standardize":
        return standardize
    low, high = _sample_range(source, seed)
    bounded = source.stored_range is not None
    if not (bounded and high >= _WELL_FILLED):
        if normalisation == "auto" and not bounded and not _within_unit(low, high):
            return standardize
        # A sample may miss the brightest pixel; the range that is recorded must hold for every image.
        survey = survey_images(source)
        low, high = survey.low, survey.high
        if normalisation == "auto" and not bounded and not _within_unit(low, high):
            return standardize
    if low == high:
        raise DataError(
            f"{source.location}: every pixel of every image is {low:.4g}; give images that show something"
        )
    if _within_unit(low, high) and high >= _WELL_FILLED:
        low, high = 0.0, 1.0
    return Preparation(cast(Normalisation, "unit"), low, high, source.image_shape)


def _within_unit(low: float, high: float) -> bool:
    return low >= 0 and high <= 1


def _sample_range(source: ImageSource, seed: int) -> tuple[float, float]:
    """Lowest and highest value of some images, chosen at random."""
    count = min(len(source), _SAMPLE_IMAGES, max(1, _SAMPLE_BYTES // (4 * math.prod(source.image_shape))))
    rows = np.random.default_rng(seed).choice(len(source), size=count, replace=False)
    images = source.read(np.sort(rows))
    return float(images.min()), float(images.max())
