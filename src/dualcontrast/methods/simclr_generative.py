"""SimCLR with rotation and a decoder (paper, Table 1, "SimCLR (Gen)"): NT-Xent on c beside a VAE."""

from dataclasses import dataclass, field
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from dualcontrast.losses import nt_xent
from dualcontrast.methods.base import Batch, Encoding, Preset, Recipe, Weight, doubt_of_cosines
from dualcontrast.methods.two_latent_vae import TwoLatentVAE, TwoLatentVAEConfig, VAEWeights
from dualcontrast.views import ViewConfig, as_a_view, view_pair


@dataclass(frozen=True)
class SimCLRGenerativeWeights(VAEWeights):
    """Weight of every term; those of the VAE, and of the contrast."""

    nt_xent: Weight = 1.0


@dataclass(frozen=True)
class SimCLRGenerativeConfig(TwoLatentVAEConfig):
    """Settings of generative SimCLR; lengths of the codes as in `TwoLatentVAEConfig`.

    Attributes
    ----------
    weights : SimCLRGenerativeWeights
        Of the terms of the loss.
    temperature : float
        τ of the NT-Xent loss.
    views : ViewConfig
        What separates the two views of an image: two random rotations.
    """

    weights: SimCLRGenerativeWeights = field(default_factory=SimCLRGenerativeWeights)
    temperature: Annotated[float, Field(gt=0)] = 1.0
    views: ViewConfig = field(default_factory=lambda: ViewConfig(both=True))


class SimCLRGenerative(TwoLatentVAE):
    """The VAE with two codes, whose content is the same for two rotations of an image and for no other."""

    name = "simclr_generative"
    Config = SimCLRGenerativeConfig
    presets = {  # noqa: RUF012
        "default": Preset(SimCLRGenerativeConfig(), Recipe(epochs=100, batch_size=100, learning_rate=1e-4)),
        "short": Preset(
            SimCLRGenerativeConfig(),
            Recipe(epochs=15, batch_size=100, learning_rate=1e-3, schedule="one_cycle"),
        ),
    }

    def encode(self, images: Tensor) -> Encoding:
        """Infer both posteriors of a batch (N, C, *spatial)."""
        # Turning smooths the noise of volumes, so that untouched ones look like no view.
        return self.encoder(as_a_view(images, self.config.views) if images.ndim == 5 else images)

    def doubts(self, batch_size: int, images: int) -> list[str]:
        """Say so where c is one number, of which the contrast sees nothing."""
        return [doubt_of_cosines("c")] if self.config.content_dim == 1 else []

    def losses(self, batch: Batch, generator: torch.Generator, phase: str) -> dict[str, Tensor]:
        """Compute NT-Xent of the content codes, and the VAE's terms on both views."""
        first, second = view_pair(batch.images, self.config.views, generator, batch.wedges, batch.progress)
        both = torch.cat((first.images, second.images))
        encoding: Encoding = self.encoder(both)
        c_first, c_second = encoding.content.mean.split(len(batch.images))
        terms = self.variational_terms(both, encoding, generator)
        return terms | {"nt_xent": nt_xent(c_first, c_second, self.config.temperature)}
