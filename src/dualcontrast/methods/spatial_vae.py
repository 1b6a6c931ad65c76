"""SpatialVAE (Bepler et al. 2019): a decoder that draws pixel by pixel, at turned and shifted coordinates."""

import math
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from dualcontrast import losses, rigid
from dualcontrast.full_precision import full_precision
from dualcontrast.methods.base import Batch, CodeSize, Encoding, Method, Posterior, Preset, Recipe, Weight
from dualcontrast.networks import check_image_shape, feature_count, paper_encoder
from dualcontrast.spread import by_rows

# A code of 1 shifts by a tenth of half the width.
SHIFT_UNIT = 0.05
# Pixels that are decoded at once, of all images together: 130 MB a layer of 500 units.
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class SpatialVAEWeights:
    """Weight of every term; all 1 make the evidence lower bound."""

    reconstruction: Weight = 1.0
    kl_content: Weight = 1.0
    kl_rotation: Weight = 1.0
    kl_shift: Weight = 1.0


@dataclass(frozen=True)
class SpatialVAEConfig:
    """Settings of SpatialVAE.

    Attributes
    ----------
    content_dim : int
        Length of the unconstrained code; 2 in the authors' code.
    rotation_prior : {'auto', 'normal', 'flat'}
        What is known of the angle beforehand. `normal`: N(0, σ²). `flat`: the KL term takes no account of
        the posterior's mean. `auto`: `normal` for pixels in [0, 1], `flat` for standardised ones.
    rotation_deviation : float or None
        σ in degrees; None is 45 for `normal` and 180 for `flat`.
    hidden : int
        Units of a hidden layer, in the encoder (2-D) and in the decoder.
    detail : float
        How much steeper than PyTorch's own start the decoder's layer of the coordinates starts. More than 1
        draws details, and fits, sooner.
    decoded_pixels : int or None
        Draw only so many pixels a step, the same random ones of every image of the batch. The likelihood of
        all pixels is estimated from them without bias, at a cost in proportion. None draws all.
    weights : SpatialVAEWeights
        Of the terms of the loss.
    """

    content_dim: CodeSize = 10
    rotation_prior: Literal["auto", "normal", "flat"] = "auto"
    rotation_deviation: Annotated[float, Field(gt=0)] | None = None
    hidden: Annotated[int, Field(ge=1, le=8192)] = 500
    detail: Annotated[float, Field(gt=0)] = 1.0
    decoded_pixels: Annotated[int, Field(ge=1)] | None = None
    weights: SpatialVAEWeights = field(default_factory=SpatialVAEWeights)


class CoordinateDecoder(nn.Module):
    """p(x | c) at coordinates of the canonical image: from a position and a content code to one pixel.

    Parameters
    ----------
    content_dim, dimension, channels : int
        Length of the content code, number of coordinates, number of logits.
    hidden : int
        Units of both hidden layers.
    detail : float
        How much steeper than PyTorch's own start the layer of the coordinates starts.
    """

    def __init__(self, content_dim: int, dimension: int, channels: int, hidden: int, detail: float) -> None:
        super().__init__()
        self.from_coordinates = nn.Linear(dimension, hidden)
        self.from_content = nn.Linear(content_dim, hidden, bias=False)
        self.hidden = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, channels)
        with torch.no_grad():
            self.from_coordinates.weight.mul_(detail)
            self.from_coordinates.bias.mul_(detail)

    @by_rows("content", "back")
    def forward(self, content: Tensor, pixels: Tensor, back: Tensor) -> Tensor:
        """Draw pixels as logits.

        Parameters
        ----------
        content : Tensor, shape (N, content_dim)
            Codes.
        pixels : Tensor, shape (P, d)
            Positions (x, y[, z]) in the image, in half-widths from the centre.
        back : Tensor, shape (N, d, d + 1)
            Motions from the image to the canonical image, with shifts in half-widths.

        Returns
        -------
        Tensor, shape (N, P, channels)
        """
        first = self._first_layer(content, pixels, back)
        # All pixels of all images in one matrix product.
        rows = self.hidden(first.flatten(0, 1)).tanh_()
        return self.out(rows).unflatten(0, first.shape[:2])

    @full_precision
    def _first_layer(self, content: Tensor, pixels: Tensor, back: Tensor) -> Tensor:
        # W (B p + b) = (W B) p + W b: the motion of each image is put into its own first layer, and the
        # coordinates themselves are never made.
        layer, moved = self.from_coordinates, back.to(pixels)
        slopes = moved[..., :-1].mT @ layer.weight.T
        start = self.from_content(content.to(pixels)) + moved[..., -1] @ layer.weight.T + layer.bias
        # A coordinate that is always 1 carries the start, so that one product makes the layer.
        positions = F.pad(pixels, (0, 1), value=1.0).expand(len(content), -1, -1)
        return torch.bmm(positions, torch.cat((slopes, start[:, None]), dim=1)).tanh_()


class SpatialVAE(Method):
    """A VAE whose transformation code is a rotation and a shift of the decoder's coordinates.

    The code is that of `rigid.poses`, with a shift of 1 standing for a tenth of half the width: (angle, x, y)
    in 2-D, (rotation vector, x, y, z) in 3-D.
    """

    name = "spatial_vae"
    Config = SpatialVAEConfig
    presets = {  # noqa: RUF012
        "default": Preset(SpatialVAEConfig(), Recipe(epochs=100, batch_size=100, learning_rate=1e-4)),
        "short": Preset(
            SpatialVAEConfig(decoded_pixels=64),
            Recipe(epochs=15, batch_size=100, learning_rate=1e-3, schedule="one_cycle"),
        ),
        "subtomogram": Preset(
            SpatialVAEConfig(content_dim=50, decoded_pixels=2048),
            Recipe(epochs=100, batch_size=50, learning_rate=1e-4),
        ),
    }

    config: SpatialVAEConfig
    pixels: Tensor

    def __init__(self, config: SpatialVAEConfig, image_shape: tuple[int, ...], bounded: bool) -> None:
        super().__init__(config, image_shape, bounded)
        check_image_shape(image_shape)
        self.config, self.image_shape, self.bounded = config, tuple(image_shape), bounded
        channels, *spatial = image_shape
        dimension, hidden = len(spatial), config.hidden
        outputs = 2 * (self.transformation_dim + config.content_dim)
        if dimension == 2:
            self.encoder = nn.Sequential(
                nn.Flatten(),
                nn.Linear(math.prod(image_shape), hidden),
                nn.Tanh(),
                nn.Linear(hidden, hidden),
                nn.Tanh(),
                nn.Linear(hidden, outputs),
            )
        else:
            features = paper_encoder(self.image_shape, "none")
            self.encoder = nn.Sequential(
                features, nn.Linear(feature_count(features, self.image_shape), outputs)
            )
        self.decoder = CoordinateDecoder(config.content_dim, dimension, channels, hidden, config.detail)
        axes = [torch.arange(length) - (length - 1) / 2 for length in spatial]
        positions = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1).reshape(-1, dimension)
        self.register_buffer("pixels", positions * (2 / spatial[-1]), persistent=False)
        flat = config.rotation_prior == "flat" or (config.rotation_prior == "auto" and not bounded)
        self.flat_rotation_prior = flat
        self.rotation_deviation = math.radians(config.rotation_deviation or (180.0 if flat else 45.0))

    @property
    def transformation_dim(self) -> int:
        """3 in 2-D, 6 in 3-D."""
        return rigid.code_length(len(self.image_shape) - 1)

    def encode(self, images: Tensor) -> Encoding:
        """Infer both posteriors of a batch (N, C, *spatial)."""
        mean, log_deviation = self.encoder(images).chunk(2, dim=1)
        sizes = (self.transformation_dim, self.config.content_dim)
        parts = zip(mean.split(sizes, dim=1), (2 * log_deviation).split(sizes, dim=1), strict=True)
        transformation, content = (Posterior(*part) for part in parts)
        return Encoding(content, transformation)

    def decode(self, content: Tensor, transformation: Tensor) -> Tensor:
        """Generate images (N, C, *spatial) from codes (N, content_dim) and (N, transformation_dim)."""
        at_once = max(1, ROWS_AT_ONCE // max(1, len(content)))
        parts = [self._logits(content, transformation, part) for part in self.pixels.split(at_once)]
        images = torch.cat(parts, dim=1).mT.reshape(-1, *self.image_shape)
        return images.sigmoid() if self.bounded else images

    def _logits(self, content: Tensor, transformation: Tensor, pixels: Tensor) -> Tensor:
        back = rigid.inverse(rigid.poses(transformation, SHIFT_UNIT))
        # From fractions of the width to half-widths.
        back = torch.cat((back[..., :-1], 2 * back[..., -1:]), dim=-1)
        return self.decoder(content, pixels, back)

    def transformation_parameters(self, transformation: Tensor) -> dict[str, Tensor]:
        """Name angles and shifts of codes (N, transformation_dim); see `rigid.parameters`."""
        return rigid.parameters(rigid.poses(transformation, SHIFT_UNIT), self.image_shape[-1])

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights as set."""
        return asdict(self.config.weights)

    def losses(self, batch: Batch, generator: torch.Generator, phase: str) -> dict[str, Tensor]:
        """Compute the terms of the evidence lower bound, in nats an image; see the base class."""
        images, encoding = batch.images.flatten(2), self.encode(batch.images)
        c, z = encoding.content.sample(generator), encoding.transformation.sample(generator)
        pixels, count = self.pixels, self.config.decoded_pixels
        if count is not None and count < len(pixels):
            drawn = torch.randperm(len(pixels), generator=generator, device=pixels.device)[:count]
            pixels, images = pixels[drawn], images[:, :, drawn]
        logits = self._logits(c, z, pixels).mT
        if self.bounded:
            error = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        else:
            error = 0.5 * F.mse_loss(logits, images, reduction="sum")
        angles = 1 if self.transformation_dim == 3 else 3
        mean, log_variance = encoding.transformation
        assert log_variance is not None
        return {
            "reconstruction": error * (len(self.pixels) / len(pixels) / len(images)),
            "kl_content": losses.kl_to_standard_normal(encoding.content),
            "kl_rotation": self._kl_rotation(mean[:, :angles], log_variance[:, :angles]),
            "kl_shift": losses.kl_to_standard_normal(Posterior(mean[:, angles:], log_variance[:, angles:])),
        }

    def _kl_rotation(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """KL(N(μ, s²) ‖ N(0, σ²)), without its part of μ where the prior is flat."""
        scale = self.rotation_deviation
        mean = torch.zeros_like(mean) if self.flat_rotation_prior else mean / scale
        return losses.kl_to_standard_normal(Posterior(mean, log_variance - 2 * math.log(scale)))
