"""Images in one large array of a container file, read piece by piece."""

from collections.abc import Callable, Sequence

import numpy as np

from dualcontrast.data.labels import check_unique
from dualcontrast.data.pixels import as_float32, bounds, channel_axis, check_finite, check_stored_type
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError


class StoredSource(ImageSource):
    """Images that a function reads by position.

    Parameters
    ----------
    location : str
        Used in messages.
    shape : tuple of int
        Of all images together, as `ArraySource` takes them.
    dtype : numpy.dtype
        What `read_rows` returns.
    read_rows : callable
        Takes positions, int64, shape (n,), in rising order and each once; returns shape `(n, *shape[1:])`.
    ids : sequence of str, shape (N,), optional
        Particle ids; `0` … `N-1` unless given.
    voxel_size : float, optional
        Edge of a voxel in Å.
    block_size : int
        How many images are stored together (see `ImageSource.blocks_of`), counted from the first.

    Raises
    ------
    DataError
        When type or shape is not one of images.
    """

    def __init__(
        self,
        location: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        read_rows: Callable[[np.ndarray], np.ndarray],
        *,
        ids: Sequence[str] | None = None,
        voxel_size: float | None = None,
        block_size: int = 1,
    ) -> None:
        check_stored_type(dtype, location)
        self._axis = channel_axis(shape, location)
        self._shape, self._dtype, self._read_rows = shape, dtype, read_rows
        self.location = location
        self.stored_type = dtype.name
        spatial = tuple(length for axis, length in enumerate(shape) if axis not in (0, self._axis))
        self.image_shape = (1 if self._axis is None else shape[self._axis], *spatial)
        self.ids = np.asarray(np.arange(shape[0]) if ids is None else ids).astype(str)
        self.voxel_size = voxel_size
        self._block_size = block_size
        check_unique(self.ids, location)

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read images as float32, shape (n, C, *spatial); see `ImageSource.read`."""
        rows, place = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        stored = self._read_rows(rows) if len(rows) else np.empty((0, *self._shape[1:]), self._dtype)
        if stored.shape != (len(rows), *self._shape[1:]):
            raise DataError(
                f"{self.location}: images of shape {stored.shape[1:]}, but {self._shape[1:]} at opening; "
                "leave the file unchanged while in use"
            )
        images = as_float32(stored)
        images = images[:, None] if self._axis is None else np.moveaxis(images, self._axis, 1)
        if self.stored_range is None:
            check_finite(images, self.ids[rows], self.location)
        in_order = np.array_equal(place, np.arange(len(place)))
        return np.ascontiguousarray(images if in_order else images[place])

    def blocks_of(self, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
        """Say which images are stored together; see `ImageSource.blocks_of`."""
        if self._block_size == 1:
            return None
        return np.asarray(indices, dtype=np.int64) // self._block_size

    @property
    def stored_range(self) -> tuple[float, float] | None:
        """Lowest and highest value that `read` can return, where the stored type bounds them."""
        return bounds(self._dtype)


def checked_voxel_size(value: object, where: str) -> float | None:
    """Turn an attribute of a container into a voxel size in Å: one number, or equal ones along the axes.

    None where there is no attribute, or where it is 0.

    Raises
    ------
    DataError
        When it is no number, negative, or the edges differ by more than 1 %.
    """
    if value is None:
        return None
    try:
        edges = np.atleast_1d(np.asarray(value, dtype=np.float64)).ravel()
    except (TypeError, ValueError):
        edges = np.array([np.nan])
    if not len(edges) or not np.isfinite(edges).all() or (edges < 0).any():
        raise DataError(f"{where}: voxel size {value!r} is no length in Å; correct the attribute")
    if edges.max() > 1.01 * edges.min():
        raise DataError(f"{where}: voxels of {edges.tolist()} Å are no cubes; resample the volumes")
    return float(edges[0]) or None
