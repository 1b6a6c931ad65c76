"""Zarr stores: one chunked array of images, alone or in a group (formats 2 and 3)."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from dualcontrast.data.limits import LARGE, MOST_PACKED, check_count, check_unpacked
from dualcontrast.data.source import ImageSource
from dualcontrast.data.stored import StoredSource, checked_voxel_size
from dualcontrast.errors import DataError

NAMES = ("images", "volumes")
_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
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
        When the store is damaged, holds no such array or less than its shape needs, or its chunks
        are packed by a codec that runs code.
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

    check_stored(path, array)
    size = checked_voxel_size({**attributes, **array.attrs}.get("voxel_size"), str(path))
    dtype = np.dtype(array.dtype)
    return StoredSource(
        str(path),
        tuple(array.shape),
        dtype,
        lambda rows: read_rows(array, rows, path),
        voxel_size=size,
        block_size=array.chunks[0],
    )


def check_stored(path: str | Path, array: Any) -> None:
    """Refuse an array that promises more than its store can hold, before anything is made for it.

    Raises
    ------
    DataError
        When it has more rows than the store has bytes beside its metadata, or chunks or rows that unpack to
        far more than the store holds.
    """
    if not array.shape or 0 in array.shape:
        return
    if 0 in array.chunks:
        raise DataError(f"{path}: has chunks without length; write it again")
    row = math.prod(array.shape[1:]) * np.dtype(array.dtype).itemsize
    largest = max(row, math.prod(array.chunks) * np.dtype(array.dtype).itemsize)
    enough = max(array.shape[0], largest // MOST_PACKED + 1 if largest > LARGE else 0)
    stored = 0
    for folder, _, names in os.walk(path):
        for name in names:
            if name not in _METADATA:
                # A link that leads nowhere is found out by whoever reads the chunk.
                with contextlib.suppress(OSError):
                    stored += Path(folder, name).stat().st_size
        if stored >= enough:
            return
    check_count(path, array.shape[0], stored)
    check_unpacked(path, largest, stored)


def read_rows(array: Any, rows: np.ndarray, path: str | Path) -> np.ndarray:
    """Read rows of a Zarr array, every chunk once.

    Parameters
    ----------
    array : zarr.Array, shape (N, ...)
        With chunks along the first axis.
    rows : numpy.ndarray of int64, shape (n,)
        In rising order.
    path : str or Path
        Of the store, for messages.

    Raises
    ------
    DataError
        When a chunk cannot be read.
    """
    found = np.empty((len(rows), *array.shape[1:]), dtype=array.dtype)
    # Zarr's own selection of rows is a hundred times slower where chunks lie in shards.
    new_chunk = np.flatnonzero(np.diff(rows // array.chunks[0])) + 1
    try:
        for part in np.split(np.arange(len(rows)), new_chunk) if len(rows) else ():
            first, last = int(rows[part[0]]), int(rows[part[-1]])
            stored = np.asarray(array[first : last + 1])
            found[part] = stored if len(stored) == len(part) else stored[rows[part] - first]
    except Exception as error:
        raise DataError(f"{path}: a chunk cannot be read ({_reason(error)}); copy the store again") from None
    return found


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
