"""How images are made ready for the networks: chosen once, recorded, and applied again at encoding."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from dualcontrast.contrast import ContrastEvidence, measure_contrast
from dualcontrast.data.check import survey_images
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError, SettingError
from dualcontrast.fourier import crop_wedges, fourier_crop, low_pass
from dualcontrast.mask import spherical_mask

Normalisation = Literal["unit", "standardize"]
Contrast = Literal["as-is", "light", "dark"]
CHOICES = ("auto", "unit", "standardize")
CONTRASTS = ("auto", "light", "dark", "as-is")
# Two voxel sizes that differ by less are the same, rounded by different programs.
VOXEL_SIZE_TOLERANCE = 0.01

_SAMPLE_IMAGES = 512
_SAMPLE_BYTES = 64 << 20
# Of the trained range: 8 bits read as a part of 16, or values divided by 255 twice, fill far less.
_FAINT = 0.1
# Images of which none is brighter than this have much of [0, 1] unused, as 12-bit pixels in 16 bits do.
_WELL_FILLED = 0.5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparation:
    """What is done to images, in this order: crop, low-pass, scaling of the pixels, contrast, mask.

    Attributes
    ----------
    normalisation : {'unit', 'standardize'}
        `unit` maps `low` to 0 and `high` to 1, and clips. `standardize` brings every image to zero mean and
        unit standard deviation over its channels and pixels, or over the mask where there is one; a constant
        image becomes zero.
    low, high : float
        The range that `unit` maps to [0, 1], in the values that `ImageSource.read` returns.
    image_shape : tuple of int
        Shape of prepared images, `(C, H, W)` or `(C, D, H, W)`: what the networks take.
    source_shape : tuple of int
        Shape of the images that are prepared; images of another shape are refused. That of prepared images
        unless given.
    contrast : {'as-is', 'light', 'dark'}
        How particles stand out in the source. Those that are `dark` are inverted, so that prepared particles
        are always light; `as-is` leaves images alone.
    contrast_evidence : ContrastEvidence or None
        What the contrast was decided by; None where it was given.
    lowpass : float or None
        Resolution in Å beyond which nothing is kept (see `low_pass_weights`); None for no filter.
    mask_diameter : float or None
        Diameter of a soft spherical mask, as a share of the box; None for no mask. Outside the mask, images
        are 0.
    source_voxel_size, voxel_size : float or None
        Edge of a voxel in Å, of the source and of prepared images; None where it is not known.
    """

    normalisation: Normalisation
    low: float
    high: float
    image_shape: tuple[int, ...]
    source_shape: tuple[int, ...] = ()
    contrast: Contrast = "as-is"
    contrast_evidence: ContrastEvidence | None = None
    lowpass: float | None = None
    mask_diameter: float | None = None
    source_voxel_size: float | None = None
    voxel_size: float | None = None

    def __post_init__(self) -> None:
        if not self.source_shape:
            object.__setattr__(self, "source_shape", self.image_shape)

    @property
    def bounded(self) -> bool:
        """Whether prepared pixels lie in [0, 1]."""
        return self.normalisation == "unit"

    @property
    def of_volumes(self) -> bool:
        """Whether prepared images are volumes, `(C, D, H, W)`."""
        return len(self.image_shape) == 4

    def check_shape(self, image_shape: tuple[int, ...], location: str = "images") -> None:
        """Raise `DataError` for images of another shape than the one prepared for."""
        if tuple(image_shape) != self.source_shape:
            raise DataError(
                f"{location}: images of shape {tuple(image_shape)}, but the model takes {self.source_shape}; "
                "give images like those it was trained on"
            )

    def check_source(self, source: ImageSource) -> None:
        """Raise `DataError` for a source that is unlike the one prepared for, in a way that can be told.

        That is another shape; a voxel size that is more than 1 % off; pixels that fill less than a tenth of
        the range (`unit`), which are in other units; and volumes of particles that are clearly dark where
        those were clearly light, or the other way round. Images that are stored ready for the networks must
        have been prepared in this very way.
        """
        if source.prepared is not None:
            if Preparation.from_dict(source.prepared) != self:
                raise DataError(
                    f"{source.location}: its images were prepared in another way than those of the model; "
                    "pack them as those it was trained on"
                )
            return
        self.check_shape(source.image_shape, source.location)
        recorded, given = self.source_voxel_size, source.voxel_size
        if recorded and given and abs(given - recorded) > VOXEL_SIZE_TOLERANCE * recorded:
            raise DataError(
                f"{source.location}: voxels of {given:.4g} Å, but the model was trained on {recorded:.4g} Å; "
                "extract the particles again with that voxel size"
            )
        if recorded and not given:
            logger.warning(
                "%s: does not say how large a voxel is; taken for the %.4g Å that the model was trained on.",
                source.location,
                recorded,
            )
        self._check_units(source)
        self._check_contrast(source)

    def _check_units(self, source: ImageSource) -> None:
        if not self.bounded:
            return
        low, high = _sample_range(source, seed=0)
        if 0 < high - low < _FAINT * (self.high - self.low):
            raise DataError(
                f"{source.location}: pixels from {low:.4g} to {high:.4g}, but the model was trained "
                f"on {self.low:.4g} to {self.high:.4g}; scale them as the training images were"
            )

    def _check_contrast(self, source: ImageSource) -> None:
        # Where the contrast was given and not measured, the user knows better.
        was = self.contrast_evidence
        if was is None or not was.decisive:
            return
        now = measure_contrast(source)
        if now.decisive and (now.difference > 0) != (was.difference > 0):
            found, trained = ("light", "dark") if now.difference > 0 else ("dark", "light")
            raise DataError(
                f"{source.location}: particles are {found} (t = {now.t:.1f}), but those that the model was "
                f"trained on are {trained} (t = {was.t:.1f}); invert the volumes"
            )

    def apply(self, images: Tensor) -> Tensor:
        """Prepare images.

        Parameters
        ----------
        images : Tensor, shape (n, *source_shape)
            As `ImageSource.read` returns them.

        Returns
        -------
        Tensor, float32, shape (n, *image_shape)
            On the same device; a new tensor.

        Raises
        ------
        DataError
            For images of another shape, or (`unit`) pixels further outside the range than the range is
            wide, which are in other units than the training images.
        """
        self.check_shape(tuple(images.shape[1:]))
        images = images.to(torch.float32)
        if self.image_shape != self.source_shape:
            images = fourier_crop(images, self.image_shape[-1])
        if self.lowpass is not None and self.voxel_size is not None:
            images = low_pass(images, self.voxel_size / self.lowpass)
        mask = None
        if self.mask_diameter is not None:
            spatial = self.image_shape[1:]
            mask = spherical_mask(spatial, self.mask_diameter * min(spatial)).to(images.device)
        scaled = self._to_unit(images) if self.bounded else _standardize(images, mask)
        if self.contrast == "dark":
            scaled = 1 - scaled if self.bounded else -scaled
        if mask is not None:
            scaled = scaled * mask
        return scaled

    def apply_to_wedges(self, wedges: Tensor) -> Tensor:
        """Crop the Fourier weights of volumes as `apply` crops the volumes.

        Filter and mask leave them alone: they say what was measured, not what was kept.

        Parameters
        ----------
        wedges : Tensor, shape (n, D, H, W // 2 + 1)
            Of volumes of the source, as `ImageSource.read_wedges` returns them.

        Returns
        -------
        Tensor, shape (n, D', H', W' // 2 + 1)
            Of prepared volumes.

        Raises
        ------
        DataError
            For weights that do not belong to volumes of `source_shape`.
        """
        *spatial, width = self.source_shape[1:]
        if tuple(wedges.shape[1:]) != (*spatial, width // 2 + 1):
            raise DataError(
                f"Fourier weights of shape {tuple(wedges.shape[1:])} for volumes of shape "
                f"{self.source_shape[1:]}; give weights of shape {(*spatial, width // 2 + 1)}"
            )
        if self.image_shape == self.source_shape:
            return wedges
        return crop_wedges(wedges, width, self.image_shape[-1])

    def contradiction(
        self,
        contrast: str | None = None,
        box: int | None = None,
        lowpass: float | None = None,
        mask_diameter: float | None = None,
        normalisation: str = "auto",
    ) -> str | None:
        """Say what is recorded where a choice differs from it; None where all given choices agree."""
        if normalisation not in ("auto", self.normalisation):
            return f"normalisation '{self.normalisation}'"
        if contrast not in (None, "auto") and (contrast == "dark") != (self.contrast == "dark"):
            return f"contrast '{self.contrast}'"
        if box is not None and box != self.image_shape[-1]:
            return f"box {self.image_shape[-1]}"
        if lowpass is not None and lowpass != self.lowpass:
            return f"lowpass {self.lowpass}"
        if mask_diameter is not None and mask_diameter > 1 and self.voxel_size is not None:
            mask_diameter = mask_diameter / (self.voxel_size * min(self.image_shape[1:]))
        if mask_diameter is not None and not math.isclose(mask_diameter, self.mask_diameter or 0.0):
            return f"mask_diameter {self.mask_diameter} (a share of the box)"
        return None

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
        evidence = self.contrast_evidence
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "image_shape": list(self.image_shape),
            "source_shape": list(self.source_shape),
            "contrast_evidence": None if evidence is None else evidence.to_dict(),
        }

    @classmethod
    def from_dict(cls, recorded: Mapping[str, Any]) -> "Preparation":
        """Build from what `to_dict` returned, now or in an earlier version that recorded less.

        Raises
        ------
        SettingError
            When a value is missing or makes no sense.
        """
        if not isinstance(recorded, Mapping):
            raise SettingError("preparation: is no record; restore it")
        for name in ("image_shape", "source_shape"):
            if not isinstance(recorded.get(name, ()), list | tuple):
                raise SettingError(f"preparation: `{name}` is no list of lengths; restore the record")

        def number(name: str) -> float | None:
            return None if recorded.get(name) is None else float(recorded[name])

        try:
            evidence = recorded.get("contrast_evidence")
            preparation = cls(
                normalisation=recorded["normalisation"],
                low=float(recorded["low"]),
                high=float(recorded["high"]),
                image_shape=tuple(int(length) for length in recorded["image_shape"]),
                source_shape=tuple(int(length) for length in recorded.get("source_shape", ())),
                contrast=recorded.get("contrast", "as-is"),
                contrast_evidence=None if evidence is None else ContrastEvidence.from_dict(evidence),
                lowpass=number("lowpass"),
                mask_diameter=number("mask_diameter"),
                source_voxel_size=number("source_voxel_size"),
                voxel_size=number("voxel_size"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SettingError(
                f"preparation: `{error}` is missing or no number; restore the record"
            ) from None
        if preparation.normalisation not in CHOICES[1:] or not preparation.high > preparation.low:
            raise SettingError(
                f"preparation: normalisation '{preparation.normalisation}' from {preparation.low} to "
                f"{preparation.high}; restore the record"
            )
        if preparation.contrast not in CONTRASTS[1:]:
            raise SettingError(f"preparation: contrast '{preparation.contrast}'; restore the record")
        return preparation


def _standardize(images: Tensor, mask: Tensor | None = None) -> Tensor:
    """Bring images to zero mean and unit deviation, both weighted by the mask where there is one."""
    axes = tuple(range(1, images.ndim))
    # The weights have mean 1, so that a mean of weighted voxels is a weighted mean.
    weights = 1.0 if mask is None else mask / mask.mean()
    centred = images - (weights * images).mean(dim=axes, keepdim=True)
    # The mean of large pixels is off by rounding; what it is off by is small, and its mean is exact enough.
    centred -= (weights * centred).mean(dim=axes, keepdim=True)
    deviation = (weights * centred.square()).mean(dim=axes, keepdim=True).sqrt_()
    # Below this the deviation is rounding error, as of a constant image, and not to be blown up to noise.
    floor = 1e-6 * images.abs().amax(dim=axes, keepdim=True) + torch.finfo(torch.float32).tiny
    return centred.div_(torch.maximum(deviation, floor))


def check_choices(
    normalisation: str = "auto",
    contrast: str | None = None,
    box: int | None = None,
    lowpass: float | None = None,
    mask_diameter: float | None = None,
) -> None:
    """Refuse what no source can be prepared by; the arguments are those of `choose_preparation`.

    Raises
    ------
    SettingError
        With what can be chosen.
    """
    if normalisation not in CHOICES:
        raise SettingError(
            f"normalisation is '{normalisation}'; choose {', '.join(CHOICES[:-1])} or {CHOICES[-1]}"
        )
    if contrast is not None and contrast not in CONTRASTS:
        raise SettingError(f"contrast is '{contrast}'; choose {', '.join(CONTRASTS[:-1])} or {CONTRASTS[-1]}")
    if box is not None and box < 1:
        raise SettingError(f"box is {box}; give a number of voxels a side")
    for name, value in (("lowpass", lowpass), ("mask_diameter", mask_diameter)):
        if value is not None and not 0 < value < math.inf:
            raise SettingError(f"{name} is {value}; give a length above 0, in Å")


def choose_preparation(
    source: ImageSource,
    normalisation: str = "auto",
    seed: int = 0,
    *,
    contrast: str | None = None,
    box: int | None = None,
    lowpass: float | None = None,
    mask_diameter: float | None = None,
) -> Preparation:
    """Choose how a source's images are prepared; of images that are stored prepared, it is known already.

    Parameters
    ----------
    source : ImageSource
        The training images.
    normalisation : {'auto', 'unit', 'standardize'}
        `auto` is `unit` for pixels stored as 8- or 16-bit unsigned integers and for values in [0, 1], else
        `standardize`. `unit` keeps [0, 1] as it is where the values fill it, and otherwise maps the range
        measured over all images to [0, 1].
    seed : int
        Of the samples that `auto` looks at.
    contrast : {'auto', 'light', 'dark', 'as-is'}, optional
        How particles stand out in the source. `auto`, the default for volumes, measures it (see
        `measure_contrast`), logs what it found, and leaves the volumes as they are where they do not say.
        Images in two dimensions are left `as-is` by default.
    box : int, optional
        Crop in Fourier space to so many pixels or voxels a side.
    lowpass : float, optional
        Leave out what is finer than this resolution in Å.
    mask_diameter : float, optional
        Diameter of a soft spherical mask: in Å, or, up to 1, as a share of the box.

    Raises
    ------
    SettingError
        For a choice that does not exist or that the source does not allow: a box that is larger than the
        source's or not for boxes of equal sides, a length in Å where the voxel size is not known, a
        resolution that the voxels cannot show, a mask larger than the box; or one that contradicts how
        stored images were prepared.
    DataError
        When an image cannot be read, or all pixels of all images are equal.
    """
    check_choices(normalisation, contrast, box, lowpass, mask_diameter)
    if source.prepared is not None:
        recorded = Preparation.from_dict(source.prepared)
        other = recorded.contradiction(contrast, box, lowpass, mask_diameter, normalisation)
        if other:
            raise SettingError(
                f"{source.location}: was packed with {other}; leave the option out, or pack the images again"
            )
        return recorded
    chosen = _choose_geometry(source, box, lowpass, mask_diameter)
    chosen = _choose_scale(chosen, source, normalisation, seed)
    volumes = len(source.image_shape) == 4
    return _choose_contrast(chosen, source, contrast or ("auto" if volumes else "as-is"), seed)


def _choose_geometry(
    source: ImageSource, box: int | None, lowpass: float | None, mask_diameter: float | None
) -> Preparation:
    """Settle box, resolution, mask and voxel size; the scaling stays to be settled."""
    where, shape, voxel_size = source.location, source.image_shape, source.voxel_size
    sides = set(shape[1:])
    if box is not None and (len(sides) > 1 or box > min(sides)):
        size = "×".join(map(str, shape[1:]))
        raise SettingError(
            f"box {box}: {where} has boxes of {size}; give a number of voxels from 1 to {min(sides)}"
            if len(sides) == 1
            else f"box {box}: {where} has boxes of {size}, whose sides differ; leave the option out"
        )
    cropped = voxel_size if box is None or voxel_size is None else voxel_size * min(sides) / box
    prepared = shape if box is None else (shape[0], *(box for _ in shape[1:]))
    in_angstrom = [("lowpass", lowpass)] if lowpass else []
    if mask_diameter is not None and mask_diameter > 1:
        in_angstrom.append(("mask_diameter", mask_diameter))
    if cropped is None:
        for name, value in in_angstrom:
            raise SettingError(
                f"{name} {value:g}: is in Å, but {where} does not say how large a voxel is; "
                "give files that do (MRC with a voxel size, a STAR file with a pixel size)"
                + (", or a share of the box, up to 1" if name == "mask_diameter" else "")
            )
    else:
        side = cropped * min(prepared[1:])
        if lowpass is not None and not 2 * cropped < lowpass <= side / 2:
            raise SettingError(
                f"lowpass {lowpass:g}: voxels of {cropped:.4g} Å in a box of {side:.4g} Å hold resolutions "
                f"from {2 * cropped:.4g} to {side / 2:.4g} Å; give one of these"
            )
        if mask_diameter is not None and mask_diameter > 1:
            if mask_diameter > side:
                raise SettingError(
                    f"mask_diameter {mask_diameter:g}: is more than the box of {side:.4g} Å; give less"
                )
            mask_diameter = mask_diameter / side
    return Preparation(
        "standardize",
        0.0,
        1.0,
        prepared,
        source_shape=shape,
        lowpass=lowpass,
        mask_diameter=mask_diameter,
        source_voxel_size=voxel_size,
        voxel_size=cropped,
    )


def _choose_scale(
    standardize: Preparation, source: ImageSource, normalisation: str, seed: int
) -> Preparation:
    """Settle how pixels are scaled, by the pixels of the source."""
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
    return replace(standardize, normalisation="unit", low=low, high=high)


def _choose_contrast(chosen: Preparation, source: ImageSource, contrast: str, seed: int) -> Preparation:
    """Settle whether particles are light or dark, and say by what it was decided."""
    if contrast != "auto":
        return replace(chosen, contrast=cast(Contrast, contrast))
    evidence = measure_contrast(source, seed)
    measured = (
        f"centre minus surroundings is {evidence.difference:+.3f} standard deviations, "
        f"t = {evidence.t:.1f}, in {evidence.volumes:,} volumes"
    )
    if not evidence.decisive:
        logger.warning(
            "Contrast: cannot be told (%s); taken as it is. Give --contrast light or dark if you know it.",
            measured,
        )
        return replace(chosen, contrast="as-is", contrast_evidence=evidence)
    found: Contrast = "light" if evidence.difference > 0 else "dark"
    done = "left as they are" if found == "light" else "inverted"
    logger.info("Contrast: particles are %s (%s); volumes are %s.", found, measured, done)
    return replace(chosen, contrast=found, contrast_evidence=evidence)


def _within_unit(low: float, high: float) -> bool:
    return low >= 0 and high <= 1


def _sample_range(source: ImageSource, seed: int) -> tuple[float, float]:
    """Lowest and highest value of some images, chosen at random."""
    count = min(len(source), _SAMPLE_IMAGES, max(1, _SAMPLE_BYTES // (4 * math.prod(source.image_shape))))
    rows = np.random.default_rng(seed).choice(len(source), size=count, replace=False)
    images = source.read(np.sort(rows))
    return float(images.min()), float(images.max())
