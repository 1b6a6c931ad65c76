"""The average of volumes that lie in known ways and come in parts."""

import torch
from torch import Tensor

from dualcontrast.averaging.alignment import Alignment
from dualcontrast.views import sample
from dualcontrast.wedge import move_wedges

# Components that hardly any particle measured are noise; they are not blown up.
LEAST_COVERAGE = 0.1


class MapSum:
    """Adds volumes up as they lie alike, each Fourier component over those that measured it."""

    def __init__(self) -> None:
        self.count = 0
        self._total = torch.zeros((), dtype=torch.float64)
        self._coverage: Tensor | None = None

    def add(self, volumes: Tensor, wedges: Tensor | None, alignment: Alignment, rows: Tensor) -> None:
        """Add some rows of aligned volumes (N, 1, L, L, L), with wedges (1 or N, L, L, L // 2 + 1)."""
        width = volumes.shape[-1]
        # `sample` turns about the middle of the box, alignments about voxel n // 2.
        middle = torch.full((3, 1), width // 2 - (width - 1) / 2)
        for part in rows.split(128):
            back = alignment.rotations[part].mT
            # p in the volume comes from Aᵀ (p - t).
            shift = middle - back @ (middle + alignment.shifts[part, :, None])
            self._total = self._total + sample(volumes[part], torch.cat((back, shift / width), dim=2)).sum(
                dim=0, dtype=torch.float64
            )
            if wedges is not None:
                own = wedges.expand(len(volumes), *wedges.shape[1:])[part]
                seen = move_wedges(own, back, width).sum(dim=0, dtype=torch.float64)
                self._coverage = seen if self._coverage is None else self._coverage + seen
            self.count += len(part)

    def average(self) -> Tensor:
        """Return the map, shape (1, L, L, L)."""
        mean = self._total / self.count
        if self._coverage is None:
            return mean.float()
        axes = (-3, -2, -1)
        share = (self._coverage / self.count).clamp(min=LEAST_COVERAGE)
        return torch.fft.irfftn(torch.fft.rfftn(mean, dim=axes) / share, s=mean.shape[1:]).float()
