"""Small images that every test may train on."""

import numpy as np

from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.labels import Factor, LabelTable


def bars(count: int, shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw one or two bars at random angles: images (N, 1, *shape), number of bars, angle in degrees."""
    rng = np.random.default_rng(seed)
    number, angle = rng.integers(1, 3, count), rng.uniform(-60, 60, count)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    y, x = axes[-2:]
    slope = np.deg2rad(angle).reshape(-1, *[1] * len(shape))
    across = x * np.sin(slope) + y * np.cos(slope)
    gap = 0.35 * (number - 1).reshape(slope.shape)
    images = np.exp(-((np.abs(across) - gap) ** 2) / 0.02) * (sum(a**2 for a in axes) < 0.9)
    return images[:, None].astype(np.float32), number, angle


def bar_source(count: int, shape: tuple[int, ...] = (16, 16), seed: int = 0) -> ArraySource:
    """Bars as a labelled source."""
    images, number, angle = bars(count, shape, seed)
    ids = np.array([f"bar-{i:04d}" for i in range(count)])
    factors = (Factor("bars", "content", number), Factor("angle", "transformation", angle))
    return ArraySource(images, ids=ids, labels=LabelTable(ids, factors), location="bars")
