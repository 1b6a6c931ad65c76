"""The one interface through which images reach everything else."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from dualcontrast.data.labels import LabelTable


class ImageSource(ABC):
    """Images of one shape, read by index, each with a particle id.

    A format is one subclass in one file. Nothing is read before it is asked for, so a source may be larger
    than memory.

    Attributes
    ----------
    location : str
        Path or name that `dualcontrast.open_source` opened; used in messages and recorded in runs.
    stored_type : str
        Name of the type that the pixels are stored in, for example `uint8`.
    ids : numpy.ndarray of str, shape (N,)
        Unique particle ids in the order of the images.
    image_shape : tuple of int
        `(C, H, W)` or `(C, D, H, W)`.
    labels : LabelTable or None
        Labels and metadata by particle id.
    fixed_split : dict of str to numpy.ndarray, or None
        Ids of a published split (`train` and `test`), where the data set has one.
    voxel_size : float or None
        Edge of a voxel in Å, the same for every image; None where it is not known.
    tilt_range : tuple of float, or None
        First and last tilt in degrees (see `tilt_wedge`) of the tilt series that all volumes come from, where
        the user gave them; they come before what the files say.
    star_file : str or None
        STAR file whose `rlnImageName` are the ids, where the particles come from one.
    prepared : mapping or None
        What was done to the images before they were stored (`Preparation.to_dict`), where they are stored
        ready for the networks; None for images as they were measured.
    known_range : tuple of float, or None
        Lowest and highest pixel of all images, where each was looked at before, found finite and not
        constant.
    skipped : mapping of str to str
        Ids of particles that were left out because they cannot be used, with the reason.
    """

    location: str
    stored_type: str = "float32"
    ids: np.ndarray
    image_shape: tuple[int, ...]
    labels: LabelTable | None = None
    fixed_split: dict[str, np.ndarray] | None = None
    voxel_size: float | None = None
    tilt_range: tuple[float, float] | None = None
    star_file: str | None = None
    prepared: Mapping[str, Any] | None = None
    known_range: tuple[float, float] | None = None
    skipped: Mapping[str, str] = MappingProxyType({})

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read images.

        Parameters
        ----------
        indices : sequence of int, shape (n,)
            Positions in `ids`, in any order.

        Returns
        -------
        numpy.ndarray, float32, shape (n, C, *spatial)
            8- and 16-bit unsigned integers are scaled to [0, 1] by their type's largest value; other types
            are returned as they are stored.

        Raises
        ------
        DataError
            When an image cannot be read, has another shape, or holds NaN or infinite pixels. The message
            names the file.
        """

    @property
    def stored_range(self) -> tuple[float, float] | None:
        """Lowest and highest value that `read` can return, where the stored type bounds them."""
        return None

    def blocks_of(self, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
        """Say which images are stored together, so that reading one costs as much as reading all of them.

        Parameters
        ----------
        indices : sequence of int, shape (n,)
            Positions in `ids`, in any order.

        Returns
        -------
        numpy.ndarray or None, int64, shape (n,)
            Number of the block of each image. None where every image is read by itself.
        """
        return None

    def read_wedges(self, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
        """Read how much of every Fourier component of some volumes was measured.

        Parameters
        ----------
        indices : sequence of int, shape (n,)
            Positions in `ids`, in any order.

        Returns
        -------
        numpy.ndarray or None, float32, shape (n, D, H, W // 2 + 1)
            Weights in [0, 1] in the layout of `numpy.fft.rfftn` (zero frequency first): 0 in a missing wedge,
            1 where everything was measured. None where the source does not know them.

        Raises
        ------
        DataError
            When a file of weights cannot be read or does not fit the volumes.
        """
        if self.tilt_range is None:
            return None
        from dualcontrast.wedge import tilt_wedge

        depth, height, width = self.image_shape[1:]
        wedge = tilt_wedge((depth, height, width), *self.tilt_range).numpy()
        return np.broadcast_to(wedge, (len(indices), *wedge.shape))
