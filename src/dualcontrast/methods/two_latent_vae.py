"""A VAE with two codes and nothing that tells them apart (paper, Table 1, "VAE with two latent space")."""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast import losses
from dualcontrast.methods.base import Batch, CodeSize, Encoding, Method, Preset, Recipe, Weight
from dualcontrast.networks import FullyConnectedDecoder, TwoCodeEncoder


@dataclass(frozen=True)
class VAEWeights:
    """Weight of every term: those of the paper's equation 2."""

    reconstruction: Weight = 1.0
    kl_content: Weight = 0.01
    kl_transformation: Weight = 0.01


@dataclass(frozen=True)
class TwoLatentVAEConfig:
    """Settings of the VAE with two codes.

    Attributes
    ----------
    content_dim, transformation_dim : int
        Lengths of the codes c and z.
    weights : VAEWeights
        Of the terms of the loss.
    """

    content_dim: CodeSize = 10
    transformation_dim: CodeSize = 10
    weights: VAEWeights = field(default_factory=VAEWeights)


RECIPE = Recipe(epochs=100, batch_size=100, learning_rate=1e-4, schedule="step", decay=0.1, decay_epochs=50)
SHORT = Recipe(epochs=15, batch_size=100, learning_rate=1e-3, schedule="one_cycle")


class TwoLatentVAE(Method):
    """DualContrast without its contrastive losses: same networks, same variational terms."""

    name = "two_latent_vae"
    Config: ClassVar[type] = TwoLatentVAEConfig
    presets = {  # noqa: RUF012
        "default": Preset(TwoLatentVAEConfig(), RECIPE),
        "short": Preset(TwoLatentVAEConfig(), SHORT),
    }

    def __init__(self, config: Any, image_shape: tuple[int, ...], bounded: bool) -> None:
        super().__init__(config, image_shape, bounded)
        self.config, self.image_shape = config, tuple(image_shape)
        sizes = (config.content_dim, config.transformation_dim)
        self.encoder = TwoCodeEncoder(*sizes, self.image_shape)
        self.decoder = FullyConnectedDecoder(*sizes, self.image_shape, bounded)

    def encode(self, images: Tensor) -> Encoding:
        """Infer both posteriors of a batch (N, C, *spatial)."""
        return self.encoder(images)

    def decode(self, content: Tensor, transformation: Tensor) -> Tensor:
        """Generate images (N, C, *spatial) from codes (N, content_dim) and (N, transformation_dim)."""
        return self.decoder(content, transformation)

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights as set."""
        return asdict(self.config.weights)

    def losses(self, batch: Batch, generator: torch.Generator, phase: str) -> dict[str, Tensor]:
        """Compute the terms of equation 2; see the base class for the parameters."""
        return self.variational_terms(batch.images, self.encode(batch.images), generator)

    def variational_terms(
        self, images: Tensor, encoding: Encoding, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Equation 2 for images (N, C, *spatial) of known posteriors, each a mean over images and pixels."""
        c, z = encoding.content.sample(generator), encoding.transformation.sample(generator)
        pixels = images[0].numel()
        return {
            "reconstruction": F.mse_loss(self.decode(c, z), images),
            "kl_content": losses.kl_to_standard_normal(encoding.content) / pixels,
            "kl_transformation": losses.kl_to_standard_normal(encoding.transformation) / pixels,
        }
