"""SimCLR with rotation, discriminative (von Kügelgen et al. 2021; paper, Table 1, "SimCLR (Disc)")."""

from dataclasses import dataclass, field
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from dualcontrast.losses import nt_xent
from dualcontrast.methods.base import (
    Batch,
    CodeSize,
    Encoding,
    Method,
    Posterior,
    Preset,
    Recipe,
    doubt_of_cosines,
)
from dualcontrast.networks import feature_count, paper_encoder
from dualcontrast.views import ViewConfig, as_a_view, view_pair


@dataclass(frozen=True)
class SimCLRConfig:
    """Settings of SimCLR.

    Attributes
    ----------
    content_dim : int
        Leading outputs of the encoder, which the loss compares.
    transformation_dim : int
        Remaining outputs, which no loss reaches: they read the features that the content code has formed.
    temperature : float
        τ of the NT-Xent loss; 1 in the code of von Kügelgen et al.
    views : ViewConfig
        What separates the two views of an image: two random rotations.
    """

    content_dim: CodeSize = 10
    transformation_dim: CodeSize = 10
    temperature: Annotated[float, Field(gt=0)] = 1.0
    views: ViewConfig = field(default_factory=lambda: ViewConfig(both=True))


class SimCLR(Method):
    """An encoder whose leading outputs are the same for two rotations of an image, and for no other image."""

    name = "simclr"
    Config = SimCLRConfig
    presets = {  # noqa: RUF012
        "default": Preset(SimCLRConfig(), Recipe(epochs=100, batch_size=100, learning_rate=1e-4)),
        "short": Preset(
            SimCLRConfig(), Recipe(epochs=15, batch_size=100, learning_rate=1e-3, schedule="one_cycle")
        ),
    }
    generative = False

    config: SimCLRConfig

    def __init__(self, config: SimCLRConfig, image_shape: tuple[int, ...], bounded: bool) -> None:
        super().__init__(config, image_shape, bounded)
        self.config, self.image_shape = config, tuple(image_shape)
        features = paper_encoder(self.image_shape, "instance" if len(image_shape) == 3 else "none")
        head = nn.Linear(
            feature_count(features, self.image_shape), config.content_dim + config.transformation_dim
        )
        self.encoder = nn.Sequential(features, head)

    def encode(self, images: Tensor) -> Encoding:
        """Infer both codes of a batch (N, C, *spatial)."""
        # Turning smooths the noise of volumes, so that untouched ones look like no view.
        return self._encode_views(as_a_view(images, self.config.views) if images.ndim == 5 else images)

    def _encode_views(self, images: Tensor) -> Encoding:
        """Split the outputs of the encoder into both codes."""
        content, transformation = self.encoder(images).split(
            (self.config.content_dim, self.config.transformation_dim), dim=1
        )
        return Encoding(Posterior(content), Posterior(transformation))

    def weights(self, progress: float) -> dict[str, float]:
        """One term, of weight 1."""
        return {"nt_xent": 1.0}

    def doubts(self, batch_size: int, images: int) -> list[str]:
        """Say so where c is one number, of which the contrast sees nothing."""
        return [doubt_of_cosines("c")] if self.config.content_dim == 1 else []

    def losses(self, batch: Batch, generator: torch.Generator, phase: str) -> dict[str, Tensor]:
        """Compute NT-Xent of the content codes of two views; see the base class for the parameters."""
        first, second = view_pair(batch.images, self.config.views, generator, batch.wedges, batch.progress)
        encoding = self._encode_views(torch.cat((first.images, second.images)))
        c_first, c_second = encoding.content.mean.split(len(batch.images))
        return {"nt_xent": nt_xent(c_first, c_second, self.config.temperature)}
