"""Zarr stores: one chunked array of images, alone or in a group (formats 2 and 3)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from dualcontrast.data.source import ImageSource
from dualcontrast.data.stored import StoredSource, checked_voxel_size
from dualcontrast.errors import DataError

NAMES = ("images", "volumes")
_MARKERS = ("zarr.json", ".zarray", ".zgroup")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return path.is_dir() and any((path / marker).is_file() for marker in _MARKERS)


def open_zarr(path: str | Path) -> ImageSource:
    """Open a Zarr store; ids are `0` … `N-1`.

    The store is an array, or a group with an array `images` or `volumes` or with a single array: `(N, H, W)`,
    `(N, C, H, W)`, `(N, D, H, W)` or `(N, C, D, H, W)`. The attribute `voxel_size` of the array, or else of
    the group, is the edge of a voxel in Å. A chunk that is not there holds the fill value, as the format has
    it; an image without any chunk is therefore constant.

    Raises
    ------
    DataError
        When the store is damaged, holds no such array, or its chunks are packed by a codec that runs code.
    """
    try:
        node = zarr.open(str(path), mode="r")
        array, attributes = _array_of(node, path), dict(node.attrs)
        metadata = array.metadata.to_dict()
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{path}: not a Zarr store that can be read ({_reason(error)}); write it again"
        ) from None
    # Numcodecs' pickle codec would run whatever code its chunks hold.
    if any("pickle" in text for text in _strings(metadata)):
        raise DataError(f"{path}: packed by the codec `pickle`, which runs code; store plain numbers")

    def read_rows(rows: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(array.oindex[rows])
        except Exception as error:
            raise DataError(
                f"{path}: a chunk cannot be read ({_reason(error)}); copy the store again"
            ) from None

    size = checked_voxel_size({**attributes, **array.attrs}.get("voxel_size"), str(path))
    dtype = np.dtype(array.dtype)
    return StoredSource(str(path), tuple(array.shape), dtype, read_rows, voxel_size=size)


def _array_of(node: Any, path: str | Path) -> Any:
    """Find the array of images."""
    if isinstance(node, zarr.Array):
        return node
    arrays = dict(node.arrays())
    named = [arrays[name] for name in NAMES if name in arrays] or list(arrays.values())
    if len(named) != 1:
        found = ", ".join(sorted(arrays)) or "none"
        raise DataError(f"{path}: has no array `images` or `volumes` (arrays: {found}); name one so")
    return named[0]


def _strings(metadata: Any) -> Iterator[str]:
    """All strings in nested metadata but those that users wrote."""
    if isinstance(metadata, dict):
        for key, value in metadata.items():
            if key != "attributes":
                yield from _strings(value)
    elif isinstance(metadata, list | tuple):
        for value in metadata:
            yield from _strings(value)
    elif metadata is not None:
        yield str(metadata)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
