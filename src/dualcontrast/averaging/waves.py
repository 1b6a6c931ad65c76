"""Ball harmonics of volumes that may be moved, by way of their plane waves."""

import math

import numpy as np
import torch
from torch import Tensor

from dualcontrast.ball_harmonics import FINEST_WAVE, ball_harmonics


class Waves:
    """Ball harmonics as sums of plane waves, so that shifts cost a factor instead of a resampling."""

    def __init__(self, box: int, diameter: float) -> None:
        centre = (float(box // 2),) * 3
        inside, harmonics = ball_harmonics((box,) * 3, centre, diameter * box / 2)
        self.waves = [degree.shape[0] for degree in harmonics]
        self.box = box
        flat = torch.zeros(sum(len(h) * h.shape[1] for h in harmonics), box**3)
        flat[:, torch.from_numpy(inside)] = torch.from_numpy(
            np.concatenate([h.reshape(-1, len(inside)) for h in harmonics])
        )
        kz = torch.fft.fftfreq(box)[:, None, None]
        ky = torch.fft.fftfreq(box)[None, :, None]
        kx = torch.fft.rfftfreq(box)[None, None, :]
        radius = (kz**2 + ky**2 + kx**2).sqrt()
        self.kept = torch.nonzero((radius <= 1 / FINEST_WAVE + 1 / box).flatten())[:, 0]
        grid = torch.stack(torch.broadcast_tensors(kx, ky, kz), dim=-1).reshape(-1, 3)
        self.frequencies = grid[self.kept]
        # A real volume has each frequency twice but for those with kx = 0; scaled so that products of
        # spectra are products of volumes.
        self.scale = torch.where(self.frequencies[:, 0] > 0, math.sqrt(2), 1.0) / math.sqrt(box**3)
        self.matrix = torch.cat([self.spectra(part.view(-1, 1, *(box,) * 3)) for part in flat.split(64)]).T

    def spectra(self, volumes: Tensor) -> Tensor:
        """Plane waves of volumes (N, 1, D, H, W): real parts, then imaginary parts, shape (N, 2 K)."""
        # Phases are measured from voxel n // 2.
        rolled = torch.fft.ifftshift(volumes[:, 0].float(), dim=(1, 2, 3))
        spectrum = torch.fft.rfftn(rolled, dim=(1, 2, 3)).flatten(1)[:, self.kept] * self.scale
        return torch.cat((spectrum.real, spectrum.imag), dim=1)

    def centred(self, spectra: Tensor, shifts: Tensor) -> Tensor:
        """Spectra of the volumes moved back by shifts (N, 3) in voxels (x, y, z)."""
        phase = 2 * math.pi * (shifts @ self.frequencies.T)
        real, imaginary = spectra.chunk(2, dim=1)
        cosine, sine = phase.cos(), phase.sin()
        return torch.cat((real * cosine - imaginary * sine, real * sine + imaginary * cosine), dim=1)

    def coefficients(self, spectra: Tensor, shifts: Tensor | None = None) -> Tensor:
        """Ball harmonics of spectra, moved back by shifts; shape (N, Q)."""
        return (spectra if shifts is None else self.centred(spectra, shifts)) @ self.matrix

    def by_degree(self, coefficients: Tensor) -> list[Tensor]:
        """Take coefficients (…, Q) apart: one (…, waves, 2 l + 1) for each degree."""
        parts, start = [], 0
        for degree, waves in enumerate(self.waves):
            length = waves * (2 * degree + 1)
            parts.append(coefficients[..., start : start + length].unflatten(-1, (waves, 2 * degree + 1)))
            start += length
        return parts

    def turned(self, coefficients: Tensor, turns: list[Tensor]) -> Tensor:
        """Coefficients a (N, Q) of f(p) become those of f(R p): a D(R)."""
        parts = zip(self.by_degree(coefficients), turns, strict=True)
        return torch.cat([(a @ matrix).flatten(1) for a, matrix in parts], dim=1)

    def products(self, coefficients: Tensor, means: Tensor, degree: int) -> Tensor:
        """Σ_k a_klm b_klm' for degrees up to `degree`, shape (N, R, n).

        Of a (N, Q) with b (R, Q), the means of all, or with b (N, R, Q), the means of each volume.
        """
        pairs = list(zip(self.by_degree(coefficients[:, None]), self.by_degree(means), strict=True))
        return torch.cat([(a.mT @ b).flatten(2) for a, b in pairs[: degree + 1]], dim=2)
