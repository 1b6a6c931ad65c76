"""Harmony (Uddin et al. 2022): two views of an image are brought into one pose, and must then look alike."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from dualcontrast import rigid
from dualcontrast.errors import SettingError
from dualcontrast.methods.base import Batch, CodeSize, Encoding, Method, Posterior, Preset, Recipe, Weight
from dualcontrast.networks import check_image_shape, feature_count, paper_encoder
from dualcontrast.views import ViewConfig, random_view, sample

# A shift of 1 in the code is half the width.
SHIFT_UNIT = 0.5
DARKEST, BRIGHTEST = 0.8, 1.5


@dataclass(frozen=True)
class HarmonyWeights:
    """Weight of every term; the published loss has all 1, besides the factor γ within the first two."""

    reconstruction: Weight = 1.0
    canonical_agreement: Weight = 1.0
    kl_between_views: Weight = 1.0


@dataclass(frozen=True)
class HarmonyConfig:
    """Settings of Harmony.

    Attributes
    ----------
    content_dim : int
        Length of the content code; 1 in the authors' code.
    views : ViewConfig
        How the second view of an image is made.
    max_shift : float
        Largest shift of the transformation code along an axis, as a fraction of the width.
    contrast_factor : bool
        A factor of contrast is a fourth number of the transformation code (colour images only). Published
        for colour; left out here, since the loss drives it to its lower limit for every image.
    hidden : int
        Units of the wide hidden layers (2-D).
    weights : HarmonyWeights
        Of the terms of the loss.
    """

    content_dim: CodeSize = 10
    # 3 pixels of 28.
    views: ViewConfig = field(default_factory=lambda: ViewConfig(shift=0.107))
    max_shift: Annotated[float, Field(gt=0)] = 0.2
    contrast_factor: bool = False
    hidden: Annotated[int, Field(ge=1, le=8192)] = 512
    weights: HarmonyWeights = field(default_factory=HarmonyWeights)


def tanh_layers(sizes: Sequence[int]) -> nn.Sequential:
    """Fully connected layers with tanh after each."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        linear = nn.Linear(inputs, outputs)
        # PyTorch's own start shrinks a signal by half in every layer; after five of them little is left.
        nn.init.xavier_uniform_(linear.weight, gain=nn.init.calculate_gain("tanh"))
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers)


class CanonicalDecoder(nn.Module):
    """The image in canonical pose from a content code.

    2-D: fully connected, content_dim → 128 → 512×4 → pixels with tanh between. 3-D: the encoder mirrored, 512
    channels on a grid of at most 4 points a side, then transposed convolutions of size 4 and stride 2 with
    128, 64 and 32 channels up to the volume; what goes beyond it is cut off.

    Parameters
    ----------
    content_dim : int
        Length of the content code.
    image_shape : tuple of int
        `(C, H, W)` or `(C, D, H, W)`.
    hidden : int
        Units of the wide layers (2-D).
    bounded : bool
        End in a sigmoid, for images in [0, 1].
    """

    def __init__(self, content_dim: int, image_shape: tuple[int, ...], hidden: int, bounded: bool) -> None:
        super().__init__()
        self.image_shape = image_shape
        channels, *spatial = image_shape
        ending: list[nn.Module] = [nn.Sigmoid()] if bounded else []
        if len(spatial) == 2:
            flat = nn.Linear(hidden, math.prod(image_shape))
            unfold = nn.Unflatten(1, image_shape)
            self.layers = nn.Sequential(tanh_layers((content_dim, 128, *[hidden] * 4)), flat, unfold, *ending)
            return
        doublings = math.ceil(math.log2(max(spatial) / 4))
        coarse = tuple(-(-length // 2**doublings) for length in spatial)
        layers: list[nn.Module] = [
            nn.Linear(content_dim, 512),
            nn.LeakyReLU(inplace=True),
            nn.Linear(512, 128 * math.prod(coarse)),
            nn.Unflatten(1, (128, *coarse)),
        ]
        width = 128
        for step in range(doublings):
            narrower = channels if step == doublings - 1 else max(32, width // 2)
            layers += [
                nn.LeakyReLU(inplace=True),
                nn.ConvTranspose3d(width, narrower, 4, stride=2, padding=1),
            ]
            width = narrower
        self.layers = nn.Sequential(*layers, *ending)

    def forward(self, content: Tensor) -> Tensor:
        """Generate canonical images, shape (N, C, *spatial)."""
        inside = tuple(slice(length) for length in self.image_shape[1:])
        return self.layers(content)[(..., *inside)]


class Harmony(Method):
    """A content code of the image in canonical pose, and the pose in which the image shows it.

    The transformation code is that of `rigid.poses`, with a shift of 1 standing for half the width: (angle,
    x, y) in 2-D, (rotation vector, x, y, z) in 3-D. It is a point, without a posterior.
    """

    name = "harmony"
    Config = HarmonyConfig
    presets = {  # noqa: RUF012
        "default": Preset(HarmonyConfig(), Recipe(epochs=100, batch_size=100, learning_rate=1e-4)),
        "short": Preset(
            HarmonyConfig(), Recipe(epochs=15, batch_size=100, learning_rate=1e-3, schedule="one_cycle")
        ),
        "subtomogram": Preset(
            # 4 voxels of 32.
            HarmonyConfig(content_dim=50, views=ViewConfig(shift=0.125)),
            Recipe(epochs=200, batch_size=50, learning_rate=1e-4),
        ),
    }

    config: HarmonyConfig

    def __init__(self, config: HarmonyConfig, image_shape: tuple[int, ...], bounded: bool) -> None:
        super().__init__(config, image_shape, bounded)
        check_image_shape(image_shape)
        if config.views.both or config.views.split_noise:
            raise SettingError(
                "harmony brings an image and one view of it to the same pose; set views.both and "
                "views.split_noise to false"
            )
        self.config, self.image_shape, self.bounded = config, tuple(image_shape), bounded
        dimension = len(image_shape) - 1
        self.motion_length = rigid.code_length(dimension)
        self.has_contrast = config.contrast_factor and len(image_shape) == 3 and image_shape[0] == 3
        self.parts_of_code = (self.motion_length - dimension, self.motion_length)
        if len(image_shape) == 3:
            self.features: nn.Module = nn.Sequential(
                nn.Flatten(), tanh_layers((math.prod(image_shape), *[config.hidden] * 4, 128))
            )
        else:
            self.features = paper_encoder(self.image_shape, "none")
        self.heads = nn.Linear(
            feature_count(self.features, self.image_shape), 2 * config.content_dim + self.transformation_dim
        )
        with torch.no_grad():
            # Start with little noise on c: at a variance of 1 the decoder learns to ignore it.
            self.heads.bias[config.content_dim : 2 * config.content_dim] = -4.0
            # And with every image in the pose it has: random poses are fled by shifting images away.
            self.heads.weight[2 * config.content_dim :] *= 0.01
            self.heads.bias[2 * config.content_dim :] = 0.0
        self.decoder = CanonicalDecoder(config.content_dim, self.image_shape, config.hidden, bounded)

    @property
    def transformation_dim(self) -> int:
        """3 in 2-D, and 4 where contrast is a part of it; 6 in 3-D."""
        return self.motion_length + int(self.has_contrast)

    def encode(self, images: Tensor) -> Encoding:
        """Infer the posterior over c and the pose of a batch (N, C, *spatial)."""
        size = self.config.content_dim
        parts = self.heads(self.features(images)).split((size, size, self.transformation_dim), dim=1)
        mean, log_variance, transformation = parts
        rotation, shift, contrast = transformation.tensor_split(self.parts_of_code, dim=1)
        # The loss has a second minimum, 0, where every image is shifted out of its box.
        limit = self.config.max_shift / SHIFT_UNIT
        pose = torch.cat(
            (
                rotation,
                limit * torch.tanh(shift / limit),
                contrast.clamp(DARKEST - 1, BRIGHTEST - 1),
            ),
            dim=1,
        )
        return Encoding(Posterior(mean, log_variance), Posterior(pose))

    def decode(self, content: Tensor, transformation: Tensor) -> Tensor:
        """Generate images (N, C, *spatial): decode c (N, content_dim) in canonical pose, then apply T⁻¹.

        The transformation code has shape (N, transformation_dim).
        """
        canonical = self.decoder(content)
        return self._in_range(
            self._move(canonical, self._poses(transformation)) / self._contrast(transformation)
        )

    def canonical(self, images: Tensor, transformation: Tensor) -> Tensor:
        """Apply T: bring images (N, C, *spatial) out of the poses (N, transformation_dim) they are in."""
        moved = self._move(images, rigid.inverse(self._poses(transformation)))
        return self._in_range(moved * self._contrast(transformation))

    def _poses(self, transformation: Tensor) -> Tensor:
        return rigid.poses(transformation[:, : self.motion_length], SHIFT_UNIT)

    def _move(self, images: Tensor, matrices: Tensor) -> Tensor:
        return sample(images.float(), matrices.float())

    def _contrast(self, transformation: Tensor) -> Tensor:
        """Factor by which T multiplies, in the shape of an image of one pixel."""
        if not self.has_contrast:
            return transformation.new_ones(())
        return (1 + transformation[:, -1])[:, None, None, None]

    def _in_range(self, images: Tensor) -> Tensor:
        return images.clamp(0, 1) if self.bounded and self.has_contrast else images

    def transformation_parameters(self, transformation: Tensor) -> dict[str, Tensor]:
        """Name what codes (N, transformation_dim) mean: see `rigid.parameters`.

        For colour images `contrast` besides: that of the image, relative to the canonical image.
        """
        named = rigid.parameters(self._poses(transformation), self.image_shape[-1])
        return named | (
            {"contrast": 1 / self._contrast(transformation).flatten()} if self.has_contrast else {}
        )

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights as set."""
        return asdict(self.config.weights)

    def losses(self, batch: Batch, generator: torch.Generator, phase: str) -> dict[str, Tensor]:
        """Compute the three terms, the first two summed over pixels; see the base class."""
        count, pixels = len(batch.images), batch.images[0].numel()
        view = random_view(batch.images, self.config.views, generator, batch.wedges, batch.progress).images
        both = torch.cat((batch.images, view))
        encoding = self.encode(both)
        canonical = self.canonical(both, encoding.transformation.mean)
        decoded = self.decoder(encoding.content.sample(generator))
        first, second = canonical.split(count)
        gamma = math.ceil(pixels / (1000 * count))
        # The authors' code for colour has γ on the reconstruction only.
        agreement_gamma = 1 if self.has_contrast else gamma
        return {
            "reconstruction": gamma * (decoded - canonical).square().sum() / count,
            "canonical_agreement": agreement_gamma * (first - second).square().sum() / count,
            "kl_between_views": self._kl_between_views(encoding.content) / self.config.content_dim,
        }

    @staticmethod
    def _kl_between_views(content: Posterior) -> Tensor:
        """KL(q₁ ‖ q₂), q₁ the first half of the posteriors: summed over the code, mean over the images."""
        assert content.log_variance is not None
        (mean_1, mean_2), (log_1, log_2) = content.mean.chunk(2), content.log_variance.chunk(2)
        ratio = log_1 - log_2
        distance = (mean_1 - mean_2).square() * torch.exp(-log_2)
        return 0.5 * (ratio.exp() + distance - 1 - ratio).sum(dim=1).mean()
