"""An encoder and a decoder of volumes that work on ball harmonics instead of voxels."""

import torch
from torch import Tensor, nn

from dualcontrast.ball_harmonics import BallHarmonics
from dualcontrast.methods.base import Encoding, Posterior

HIDDEN = 512
BRANCH = 256


class HarmonicEncoder(nn.Module):
    """q(c, z | x) with a content code that no rotation of the volume changes.

    c is a linear function of the rotation invariants, normalised over the batch; z comes from two hidden
    layers on the coefficients, which do tell how the volume lies.

    Parameters
    ----------
    content_dim, transformation_dim : int
        Lengths of the codes.
    harmonics : BallHarmonics
        Of the volumes' shape.
    """

    def __init__(self, content_dim: int, transformation_dim: int, harmonics: BallHarmonics) -> None:
        super().__init__()
        self.harmonics = harmonics
        # Powers add up those of the signal and of the noise, so those of views with half the signal differ
        # from those of untouched volumes, whatever is learned: each has its own mean and scale.
        self.normalise_views = nn.BatchNorm1d(harmonics.invariant_count, affine=False)
        self.normalise_untouched = nn.BatchNorm1d(harmonics.invariant_count, affine=False)
        self.content_mean = nn.Linear(harmonics.invariant_count, content_dim, bias=False)
        self.content_log_variance = nn.Linear(harmonics.invariant_count, content_dim)
        self.features = nn.Sequential(
            nn.Linear(harmonics.coefficient_count, HIDDEN, bias=False),
            nn.BatchNorm1d(HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(HIDDEN, HIDDEN, bias=False),
            nn.BatchNorm1d(HIDDEN),
            nn.ReLU(inplace=True),
        )
        self.transformation_mean = nn.Linear(HIDDEN, transformation_dim)
        self.transformation_log_variance = nn.Linear(HIDDEN, transformation_dim)
        self.centre_content = nn.BatchNorm1d(content_dim, affine=False)
        self.centre_transformation = nn.BatchNorm1d(transformation_dim, affine=False)
        # Start with little noise on the codes: at a variance of 1 the decoder learns to ignore them.
        for head in (self.content_log_variance, self.transformation_log_variance):
            nn.init.constant_(head.bias, -2.0)

    def forward(self, volumes: Tensor, untouched: bool = False) -> Encoding:
        """Infer both posteriors, see `Method.encode`; `untouched` volumes are not views of others."""
        coefficients = self.harmonics.coefficients(volumes)
        normalise = self.normalise_untouched if untouched else self.normalise_views
        invariants = normalise(self.harmonics.invariants(coefficients))
        features = self.features(coefficients)
        return Encoding(
            Posterior(
                self.centre_content(self.content_mean(invariants)), self.content_log_variance(invariants)
            ),
            Posterior(
                self.centre_transformation(self.transformation_mean(features)),
                self.transformation_log_variance(features),
            ),
        )

    def observe_untouched(self, volumes: Tensor) -> None:
        """Take a batch into the statistics of untouched volumes; without effect once the training is done."""
        if self.training:
            with torch.no_grad():
                self.normalise_untouched(self.harmonics.invariants(self.harmonics.coefficients(volumes)))


class HarmonicDecoder(nn.Module):
    """p(x | c, z): fully connected layers to the coefficients of ball harmonics, which are added up.

    The codes enter as in `FullyConnectedDecoder`, by a layer each. Volumes are 0 outside the ball, and not
    bounded.

    Parameters
    ----------
    content_dim, transformation_dim : int
        Lengths of the codes.
    harmonics : BallHarmonics
        Of the volumes' shape.
    """

    def __init__(self, content_dim: int, transformation_dim: int, harmonics: BallHarmonics) -> None:
        super().__init__()
        self.harmonics = harmonics
        self.from_content = nn.Linear(content_dim, BRANCH)
        self.from_transformation = nn.Linear(transformation_dim, BRANCH)
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Linear(2 * BRANCH, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, harmonics.coefficient_count),
        )

    def forward(self, content: Tensor, transformation: Tensor) -> Tensor:
        """Generate volumes, shape (N, C, D, H, W)."""
        joined = torch.cat((self.from_content(content), self.from_transformation(transformation)), dim=1)
        return self.harmonics.volumes(self.layers(joined))
