"""MNIST with every digit turned by a known angle, so that both kinds of labels exist."""

from collections.abc import Sequence

import numpy as np

from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.data.mnist import open_mnist
from dualcontrast.data.source import ImageSource
from dualcontrast.random_streams import stream_seed

MAX_ANGLE = 90.0
SEED = 0


class RotatedSource(ImageSource):
    """Images of another source, each turned about its centre by an angle of its own.

    They are turned when they are read, by bilinear interpolation; pixels from outside the image are 0.

    Parameters
    ----------
    source : ImageSource
        2-D images with values in [0, 1].
    angles : numpy.ndarray, shape (N,)
        Degrees, counter-clockwise as the image is displayed (see `views.rotation_matrices`). They become the
        transformation label `rotation`.
    """

    def __init__(self, source: ImageSource, angles: np.ndarray) -> None:
        self._source = source
        self._angles = np.asarray(angles, dtype=np.float64)
        self.location = source.location
        self.ids = source.ids
        self.image_shape = source.image_shape
        self.fixed_split = source.fixed_split
        rotation = LabelTable(source.ids, (Factor("rotation", "transformation", self._angles),))
        self.labels = rotation if source.labels is None else source.labels.joined(rotation)

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read images as float32, shape (n, C, H, W); see `ImageSource.read`."""
        import torch

        from dualcontrast.views import rotate

        indices = np.asarray(indices, dtype=np.int64)
        images = torch.from_numpy(self._source.read(indices))
        angles = torch.from_numpy(self._angles[indices]).float()
        # Sums of rounded weights may exceed 1 by a little.
        return rotate(images, angles).clamp_(0, 1).numpy()

    @property
    def stored_range(self) -> tuple[float, float] | None:
        """Lowest and highest value that `read` can return."""
        return 0.0, 1.0


def random_angles(ids: np.ndarray, max_angle: float = MAX_ANGLE, seed: int = SEED) -> np.ndarray:
    """Draw an angle for every id from U(-max_angle, max_angle).

    An angle depends on the id and the seed alone, not on which other images there are, or on their order.

    Parameters
    ----------
    ids : numpy.ndarray of str, shape (N,)
        Particle ids.
    max_angle : float
        Degrees.
    seed : int
        Of the draw.

    Returns
    -------
    numpy.ndarray, float64, shape (N,)
        Degrees.
    """
    drawn = np.array([stream_seed(seed, "rotated-mnist", particle) for particle in ids.tolist()])
    return (2 * (drawn / 2.0**63) - 1) * max_angle


def open_rotated_mnist() -> RotatedSource:
    """Open MNIST with every image turned by an angle from U(-90°, 90°), always the same one for each.

    Content label `digit`, transformation label `rotation` (degrees); ids and split are those of MNIST.

    Raises
    ------
    DataError
        As `open_mnist`.
    """
    source = open_mnist()
    rotated = RotatedSource(source, random_angles(source.ids))
    rotated.location = "rotated-mnist"
    return rotated
