"""Are particles lighter or darker than what surrounds them? Measured, not asked."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dualcontrast.data.source import ImageSource
from dualcontrast.mask import distance_from_centre
from dualcontrast.random_streams import numpy_stream

# Radii as shares of half the box. A sphere this large holds the rim of a hollow particle too.
INSIDE, SHELL = 0.7, (0.85, 1.0)
# |t| below which the volumes do not say.
DECISIVE = 4.0
SAMPLE_VOLUMES = 512
_SAMPLE_BYTES = 256 << 20
_BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class ContrastEvidence:
    """What a sample of volumes says about their contrast.

    Attributes
    ----------
    difference : float
        Mean of the central sphere minus mean of the outer shell, in standard deviations of the volume,
        averaged over the sample. Positive where particles are lighter.
    t : float
        The average divided by its standard error; 0 where it cannot be told.
    volumes : int
        Number of volumes in the sample.
    """

    difference: float
    t: float
    volumes: int

    @property
    def decisive(self) -> bool:
        """Whether the average is so far from 0 that chance is no explanation."""
        return abs(self.t) >= DECISIVE

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for YAML or JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, recorded: Mapping[str, Any]) -> "ContrastEvidence":
        """Build from what `to_dict` returned; `KeyError`, `TypeError` or `ValueError` where it cannot be."""
        return cls(float(recorded["difference"]), float(recorded["t"]), int(recorded["volumes"]))


def measure_contrast(source: ImageSource, seed: int = 0) -> ContrastEvidence:
    """Compare the centre of some volumes with their surroundings.

    Centre: a sphere of 0.7 of half the box. Surroundings: the shell from 0.85 of half the box to the whole.

    Parameters
    ----------
    source : ImageSource
        Images or volumes with the particle at the centre.
    seed : int
        Of the sample, at most 512 volumes or 256 MiB. It depends on the ids, not on their order.

    Returns
    -------
    ContrastEvidence
    """
    count = min(len(source), SAMPLE_VOLUMES, max(2, _SAMPLE_BYTES // (4 * math.prod(source.image_shape))))
    by_id = np.argsort(source.ids, kind="stable")
    chosen = by_id[np.sort(numpy_stream(seed, "contrast").choice(len(source), size=count, replace=False))]
    spatial = source.image_shape[1:]
    radius = distance_from_centre(spatial).numpy() / (min(spatial) / 2)
    inside, shell = radius <= INSIDE, (radius > SHELL[0]) & (radius <= SHELL[1])
    size = max(1, _BLOCK_BYTES // (4 * math.prod(source.image_shape)))
    found = []
    for start in range(0, count, size):
        volumes = source.read(chosen[start : start + size]).astype(np.float64).mean(axis=1)
        flat = volumes.reshape(len(volumes), -1)
        deviation = flat.std(axis=1)
        difference = flat[:, inside.ravel()].mean(axis=1) - flat[:, shell.ravel()].mean(axis=1)
        found.append(difference / np.where(deviation > 0, deviation, 1.0))
    differences = np.concatenate(found)
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    return ContrastEvidence(mean, mean / error if error > 0 else 0.0, count)
