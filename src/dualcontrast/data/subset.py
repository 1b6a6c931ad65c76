"""Some of a source's images, as a source."""

from collections.abc import Sequence

import numpy as np

from dualcontrast.data.labels import check_unique, positions_of
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError


class SubsetSource(ImageSource):
    """A view of the images with the given ids, in the order of the ids.

    The published split keeps what is left of it, or goes where one side is empty.

    Parameters
    ----------
    source : ImageSource
        Where the images are.
    ids : sequence of str, shape (n,)
        Ids of `source`, each once.

    Raises
    ------
    DataError
        When there are no ids, one is repeated, or `source` lacks one.
    """

    def __init__(self, source: ImageSource, ids: Sequence[str] | np.ndarray) -> None:
        self._source = source
        self.ids = np.asarray(ids, dtype=str)
        self.location = source.location
        self.stored_type = source.stored_type
        self.image_shape = source.image_shape
        self.voxel_size = source.voxel_size
        self.tilt_range = source.tilt_range
        self.star_file, self.prepared = source.star_file, source.prepared
        check_unique(self.ids, source.location)
        if not len(self.ids):
            raise DataError(f"{source.location}: a subset without images; choose at least one")
        self._positions = positions_of(self.ids, source.ids)
        if (self._positions < 0).any():
            missing = self.ids[self._positions < 0]
            raise DataError(f"{source.location}: lacks {len(missing)} of the images, first '{missing[0]}'")
        # The range of all images may be wider than that of some.
        self.known_range = source.known_range if len(self.ids) == len(source) else None
        self.labels = None if source.labels is None else source.labels.select(self.ids)
        if source.fixed_split is not None:
            kept = {part: all_ids[np.isin(all_ids, self.ids)] for part, all_ids in source.fixed_split.items()}
            self.fixed_split = kept if all(map(len, kept.values())) else None

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read images as float32, shape (n, C, *spatial); see `ImageSource.read`."""
        return self._source.read(self._positions[np.asarray(indices, dtype=np.int64)])

    def blocks_of(self, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
        """Say which images are stored together; see `ImageSource.blocks_of`."""
        return self._source.blocks_of(self._positions[np.asarray(indices, dtype=np.int64)])

    def read_wedges(self, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
        """Read Fourier weights; see `ImageSource.read_wedges`."""
        return self._source.read_wedges(self._positions[np.asarray(indices, dtype=np.int64)])

    @property
    def stored_range(self) -> tuple[float, float] | None:
        """Lowest and highest value that `read` can return, where the stored type bounds them."""
        return self._source.stored_range
