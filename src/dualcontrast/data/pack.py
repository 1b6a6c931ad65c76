"""Packs: Zarr stores of images with all that belongs to them, as `dualcontrast data pack` writes them.

A pack is a Zarr group (format 3). Its arrays:

- `images`, shape (N, C, *spatial): in chunks of images that are read together, many chunks to a file (shard).
- `ids`, shape (N,): particle ids.
- `labels/0`, `labels/1`, …, shape (N,) each: columns of labels and metadata, with `name` and `role` as
  attributes.
- `split`, shape (N,): 1 in the published training set, 2 in the test set, 0 in neither.
- `wedges`, shape (K, D, H, W // 2 + 1), and `wedge_of`, shape (N,): the Fourier weights that differ, and
  which of them belongs to each volume.

The attributes of the group say where the images came from and how they were prepared.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.data.stored import StoredSource
from dualcontrast.data.zarr_store import is_zarr, read_rows
from dualcontrast.errors import DataError

FORMAT, MARK = 1, "dualcontrast_pack"
SPLIT_PARTS = {1: "train", 2: "test"}
# Fourier weights that are kept in memory rather than read again.
_KEPT_WEDGES = 128 << 20


def is_pack(path: Path) -> bool:
    """Whether a folder is a pack."""
    if not is_zarr(path):
        return False
    try:
        return MARK in zarr.open_group(str(path), mode="r").attrs
    except Exception:
        return False


class PackSource(StoredSource):
    """Images of a pack.

    Parameters
    ----------
    path : str or Path
        The store.

    Attributes
    ----------
    attributes : mapping
        What the pack says of itself.

    Raises
    ------
    DataError
        When it is incomplete, damaged, or of a later version.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self._group = zarr.open_group(str(path), mode="r")
            self.attributes: Mapping[str, Any] = dict(self._group.attrs)
            if self.attributes[MARK] != FORMAT:
                raise DataError(
                    f"{path}: a pack of format {self.attributes[MARK]}, but this version reads {FORMAT}; "
                    "update dualcontrast, or pack the images again"
                )
            images: Any = self._group["images"]
            ids = read_texts(self._group["ids"])
            self._check_shards(Path(path), images)
            super().__init__(
                str(path),
                tuple(images.shape),
                np.dtype(images.dtype),
                lambda rows: read_rows(images, rows, path),
                ids=ids,  # pyright: ignore[reportArgumentType]
                voxel_size=self.attributes["voxel_size"],
                block_size=images.chunks[0],
            )
            self.star_file = self.attributes["star_file"]
            self.prepared = self.attributes["preparation"]
            low, high = self.attributes["range"]
            self.known_range = (float(low), float(high))
            if "split" in self._group:
                of_part = np.asarray(self._group["split"])
                self.fixed_split = {part: ids[of_part == mark] for mark, part in SPLIT_PARTS.items()}
            self._wedge_of = np.asarray(self._group["wedge_of"]) if "wedges" in self._group else None
        except DataError:
            raise
        except Exception as error:
            raise _damaged(path, error) from None

    @cached_property
    def labels(self) -> LabelTable | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Labels and metadata; read when first asked for."""
        if "labels" not in self._group:
            return None
        try:
            columns: Any = self._group["labels"]
            factors = []
            for number in range(len(list(columns.array_keys()))):
                column = columns[str(number)]
                values = np.asarray(column[:]) if column.dtype.kind in "fi" else read_texts(column)
                factors.append(Factor(column.attrs["name"], column.attrs["role"], values))
        except Exception as error:
            raise _damaged(self.location, error) from None
        return LabelTable(self.ids, tuple(factors))

    def read_wedges(self, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
        """Read Fourier weights; see `ImageSource.read_wedges`."""
        if self.tilt_range is not None or self._wedge_of is None:
            return super().read_wedges(indices)
        which, place = np.unique(self._wedge_of[np.asarray(indices, dtype=np.int64)], return_inverse=True)
        return self._read_kept_wedges(which)[place]

    def _read_kept_wedges(self, which: np.ndarray) -> np.ndarray:
        array: Any = self._group["wedges"]
        if array.nbytes > _KEPT_WEDGES:
            return read_rows(array, which, self.location)
        return self._all_wedges[which]

    @cached_property
    def _all_wedges(self) -> np.ndarray:
        array: Any = self._group["wedges"]
        return read_rows(array, np.arange(array.shape[0]), self.location)

    def _check_shards(self, path: Path, images: Any) -> None:
        """Refuse a store that lacks a file: Zarr takes what is not there for images of zeros."""
        expected = -(-images.shape[0] // (images.shards or images.chunks)[0])
        found = sum(1 for entry in (path / "images" / "c").iterdir() if entry.is_dir())
        if found != expected:
            raise DataError(f"{path}: {found} of {expected} shards of images are there; copy the store again")


def read_texts(array: Any) -> np.ndarray:
    """Read an array of strings, shape (N,), as NumPy's strings of fixed length."""
    step = array.chunks[0]
    # In parts: Python's strings take several times the memory.
    parts = [
        np.array(np.asarray(array[first : first + step]).tolist(), dtype=str)
        for first in range(0, array.shape[0], step)
    ]
    return np.concatenate(parts) if parts else np.array([], dtype=str)


def _damaged(path: str | Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: not a whole pack ({reason}); copy or pack it again")
