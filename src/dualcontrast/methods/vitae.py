"""C-VITAE (Skafte Detlefsen & Hauberg, NeurIPS 2019) with CPAB diffeomorphisms."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from dualcontrast.cpab import CPAB
from dualcontrast.losses import at_least_float32
from dualcontrast.methods.base import Batch, CodeSize, Encoding, Method, Posterior, Preset, Recipe, Weight

Cells = Annotated[int, Field(ge=1, le=16)]


@dataclass(frozen=True)
class VITAEConfig:
    """Settings of C-VITAE.

    Attributes
    ----------
    content_dim, transformation_dim : int
        Lengths of the codes c and z.
    cells : tuple of int
        Rectangles of the tessellation along x and along y; four triangles each.
    steps : int
        Steps of the integration of the velocity field.
    kl : float
        Weight of both KL terms (β) once they are warm.
    warm_up : float
        Share of the training over which the weight of the KL terms rises from 0.
    """

    content_dim: CodeSize = 10
    transformation_dim: CodeSize = 10
    cells: tuple[Cells, Cells] = (2, 4)
    steps: Annotated[int, Field(ge=1, le=1000)] = 50
    kl: Weight = 1.0
    warm_up: Annotated[float, Field(ge=0, le=1)] = 0.5


class VITAE(Method):
    """An image is put into a common pose, read there, drawn there, and put back."""

    name = "vitae"
    Config = VITAEConfig
    presets = {  # noqa: RUF012
        "default": Preset(VITAEConfig(), Recipe(epochs=100, batch_size=256, learning_rate=1e-4)),
        "short": Preset(
            VITAEConfig(), Recipe(epochs=15, batch_size=256, learning_rate=1e-3, schedule="one_cycle")
        ),
    }
    spatial_dims = (2,)
    other_dimensions = (
        "its transformations are diffeomorphisms of the plane and were never defined for volumes; "
        "use --method dualcontrast, harmony or spatial_vae"
    )

    config: VITAEConfig

    def __init__(self, config: VITAEConfig, image_shape: tuple[int, ...], bounded: bool) -> None:
        super().__init__(config, image_shape, bounded)
        self.config, self.image_shape, self.bounded = config, tuple(image_shape), bounded
        pixels = math.prod(image_shape)
        self.diffeomorphism = CPAB(config.cells, config.steps)
        self.transformation_encoder = GaussianEncoder(pixels, config.transformation_dim)
        self.content_encoder = GaussianEncoder(pixels, config.content_dim)
        self.velocity_decoder = decoder(config.transformation_dim, self.diffeomorphism.dim)
        # Start near the identity: images that are torn apart teach the other networks nothing.
        output = self.velocity_decoder[-1]
        assert isinstance(output, nn.Linear)
        nn.init.normal_(output.weight, std=1e-2)
        nn.init.zeros_(output.bias)
        self.image_decoder = decoder(config.content_dim, pixels)
        if bounded:
            self.image_decoder.append(nn.Sigmoid())

    def encode(self, images: Tensor) -> Encoding:
        """Infer z from images (N, C, H, W), and c from the images in the pose that z takes them to."""
        transformation = self.transformation_encoder(images)
        return Encoding(self._read_content(images, transformation.mean), transformation)

    def _read_content(self, images: Tensor, transformation: Tensor) -> Posterior:
        theta = self.velocity_decoder(transformation)
        return self.content_encoder(self.diffeomorphism.warp(images, -theta))

    def decode(self, content: Tensor, transformation: Tensor) -> Tensor:
        """Draw c (N, content_dim) in the common pose and deform it by θ(z): images (N, C, H, W)."""
        drawn = self.image_decoder(content).reshape(-1, *self.image_shape)
        return self.diffeomorphism.warp(drawn, self.velocity_decoder(transformation))

    def transformation_parameters(self, transformation: Tensor) -> dict[str, Tensor]:
        """θ of every code, (N, dim of the velocity fields): see `CPAB`, whose unit of length is the image."""
        return {"theta": self.velocity_decoder(transformation)}

    def weights(self, progress: float) -> dict[str, float]:
        """The KL terms are warmed up, so that the codes are in use before they cost anything."""
        kl = self.config.kl * (min(progress / self.config.warm_up, 1) if self.config.warm_up else 1)
        return {"reconstruction": 1.0, "kl_content": kl, "kl_transformation": kl}

    def losses(self, batch: Batch, generator: torch.Generator, phase: str) -> dict[str, Tensor]:
        """Compute the three terms of the evidence lower bound, in nats an image; see the base class."""
        transformation = self.transformation_encoder(batch.images)
        z = transformation.sample(generator)
        content = self._read_content(batch.images, z)
        c = content.sample(generator)
        return {
            "reconstruction": self._negative_log_likelihood(batch.images, self.decode(c, z)),
            "kl_content": sampled_kl(content, c),
            "kl_transformation": sampled_kl(transformation, z),
        }

    def _negative_log_likelihood(self, images: Tensor, drawn: Tensor) -> Tensor:
        images, drawn = at_least_float32(images), at_least_float32(drawn)
        if self.bounded:
            drawn = drawn.clamp(1e-5, 1 - 1e-5)
            each = -(images * drawn.log() + (1 - images) * (1 - drawn).log())
        else:
            each = (images - drawn).square() / 2
        return each.flatten(1).sum(dim=1).mean()


class GaussianEncoder(nn.Module):
    """q(code | image): batch-normalised pixels, 512 and 256 hidden units, a head for each parameter.

    Parameters
    ----------
    pixels : int
        Numbers in an image.
    code_dim : int
        Length of the code.
    """

    def __init__(self, pixels: int, code_dim: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Flatten(),
            nn.BatchNorm1d(pixels),
            nn.Linear(pixels, 512),
            nn.LeakyReLU(),
            nn.Linear(512, 256),
            nn.LeakyReLU(),
        )
        self.mean = nn.Linear(256, code_dim)
        self.variance = nn.Linear(256, code_dim)

    def forward(self, images: Tensor) -> Posterior:
        """Infer the posterior of images (N, C, H, W)."""
        features = self.features(images)
        variance = F.softplus(at_least_float32(self.variance(features)))
        return Posterior(self.mean(features), (variance + 1e-6).log())


def decoder(code_dim: int, outputs: int) -> nn.Sequential:
    """Build a network from a code by 256 and 512 hidden units to linear outputs."""
    return nn.Sequential(
        nn.Linear(code_dim, 256), nn.LeakyReLU(), nn.Linear(256, 512), nn.LeakyReLU(), nn.Linear(512, outputs)
    )


def sampled_kl(posterior: Posterior, code: Tensor) -> Tensor:
    """Estimate KL(q ‖ N(0, I)), in nats an image, by log q - log p of codes (N, dim) drawn from q."""
    mean, log_variance = posterior
    assert log_variance is not None, "a Gaussian encoder gives a variance"
    log_q = -(log_variance + (code - mean).square() / log_variance.exp()) / 2
    log_p = -code.square() / 2
    return (log_q - log_p).sum(dim=1).mean()
