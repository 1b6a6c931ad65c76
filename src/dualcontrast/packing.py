"""Writing a pack: a set of images stored once, prepared or not, so that training can stream it."""

import hashlib
import math
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from dualcontrast.data.labels import Factor
from dualcontrast.data.pack import FORMAT, MARK, SPLIT_PARTS
from dualcontrast.data.pixels import check_finite, name_some
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError, SettingError
from dualcontrast.files import atomic_folder
from dualcontrast.prepare import Preparation, choose_preparation
from dualcontrast.training.batches import read_prepared, read_wedges

DTYPES = ("auto", "float16", "float32")
BLOCK_BYTES, SHARD_BYTES = 2 << 20, 256 << 20
TEXTS_A_CHUNK = 65_536
# Reads faster than Zarr's own zstd; noise hardly shrinks with either.
COMPRESSION = BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle")


def pack(
    source: ImageSource,
    output: str | Path,
    *,
    normalisation: str = "auto",
    contrast: str | None = None,
    box: int | None = None,
    lowpass: float | None = None,
    mask_diameter: float | None = None,
    dtype: str = "auto",
    shard: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Preparation | None:
    """Write images, ids, labels, Fourier weights and split into one Zarr store.

    Where none of `normalisation`, `contrast`, `box`, `lowpass` and `mask_diameter` is given, images are
    stored as they are read, and a training prepares them. Where one is given, they are stored ready for the
    networks, and the store says how they were prepared: a run that is trained on it is the run that would
    have been trained on `source` with these options.

    Parameters
    ----------
    source : ImageSource
        Read once, in order; may be larger than memory.
    output : str or Path
        The store, a folder; it appears when it is complete.
    normalisation, contrast, box, lowpass, mask_diameter, seed : optional
        See `choose_preparation`.
    dtype : {'auto', 'float16', 'float32'}
        How pixels are stored. `auto` loses nothing: float32, or the 8 or 16 bits that they were stored in.
        `float16` keeps 11 bits, which is far below the noise of subtomograms, in half of the space.
    shard : int, optional
        Images in a file; unless given, as many as make 256 MiB.
    seed : int
        Of the samples by which a preparation is chosen.
    overwrite : bool
        Replace a pack that is there.
    progress : callable, optional
        Called with the number of images written so far.

    Returns
    -------
    Preparation or None
        What was done to the images.

    Raises
    ------
    RunError
        When `output` exists and `overwrite` is not set, or it is no pack.
    SettingError
        For a type or a preparation that does not fit the images.
    DataError
        When an image cannot be read, is constant, or is too large for float16.
    """
    output = Path(output)
    if output.suffix != ".zarr":
        raise SettingError(f"{output}: packs are Zarr stores; give a name that ends in .zarr")
    if shard is not None and shard < 1:
        raise SettingError(f"shard {shard}: give a number of images a file, at least 1")
    wanted = (None if normalisation == "auto" else normalisation, contrast, box, lowpass, mask_diameter)
    preparation = None
    if any(choice is not None for choice in wanted) or source.prepared is not None:
        preparation = choose_preparation(
            source,
            normalisation,
            seed,
            contrast=contrast,
            box=box,
            lowpass=lowpass,
            mask_diameter=mask_diameter,
        )
    stored = _stored_type(source, preparation, dtype)
    with atomic_folder(output, MARK, overwrite) as temporary:
        writer = _Writer(temporary, source, preparation, stored, shard)
        writer.write_tables()
        writer.write_images(progress)
        writer.write_attributes()
    return preparation


def _stored_type(source: ImageSource, preparation: Preparation | None, dtype: str) -> np.dtype:
    if dtype not in DTYPES:
        raise SettingError(f"dtype '{dtype}': choose one of {', '.join(DTYPES)}")
    if preparation is None and source.stored_range is not None:
        # What is read of them is scaled to [0, 1], and is so from the pack.
        if dtype != "auto":
            raise SettingError(
                f"{source.location}: pixels are {source.stored_type}, which is exact; leave --dtype out"
            )
        return np.dtype(np.uint16 if source.stored_type == "uint16" else np.uint8)
    return np.dtype(np.float32 if dtype == "auto" else dtype)


class _Writer:
    """Writes one pack into an empty folder."""

    def __init__(
        self,
        path: Path,
        source: ImageSource,
        preparation: Preparation | None,
        dtype: np.dtype,
        shard: int | None,
    ) -> None:
        self._source, self._preparation, self._dtype = source, preparation, dtype
        self._group = zarr.open_group(str(path), mode="w", zarr_format=3)
        shape = source.image_shape if preparation is None else preparation.image_shape
        each = math.prod(shape) * dtype.itemsize
        count = len(source)
        block = min(max(1, BLOCK_BYTES // each), count, shard or count)
        self._shard = max(1, min(shard or SHARD_BYTES // each, count) // block) * block
        self._shape = shape
        self._images = self._create("images", (count, *shape), dtype, block, self._shard)
        self._low, self._high = math.inf, -math.inf
        self._wedges: Any = None
        self._known_wedges: dict[bytes, int] = {}
        self._new_wedges: list[np.ndarray] = []
        self._wedge_of: list[np.ndarray] = []

    def write_tables(self) -> None:
        """Write ids, labels and the published split."""
        source = self._source
        self._write_column("ids", source.ids)
        labels = source.labels
        if labels is not None:
            for number, factor in enumerate(labels.select(source.ids).factors):
                self._write_factor(number, factor)
        if source.fixed_split is not None:
            split = np.zeros(len(source), dtype=np.uint8)
            for mark, part in SPLIT_PARTS.items():
                split[np.isin(source.ids, source.fixed_split[part])] = mark
            self._write_column("split", split)

    def write_images(self, progress: Callable[[int], None] | None) -> None:
        """Read, prepare and write all images, a file at a time."""
        count = len(self._source)
        # As many as are prepared at once when they are read; a shard of large originals would not fit.
        step = max(1, min(self._shard, (64 << 20) // (4 * math.prod(self._source.image_shape))))
        for first in range(0, count, self._shard):
            last = min(first + self._shard, count)
            buffer = np.empty((last - first, *self._shape), dtype=self._dtype)
            for start in range(first, last, step):
                rows = np.arange(start, min(start + step, last))
                buffer[rows - first] = self._checked(rows, self._read(rows))
                self._take_wedges(rows)
                if progress is not None:
                    progress(int(rows[-1]) + 1)
            self._images[first:last] = buffer
        self._write_wedges()
        if self._wedges is not None:
            self._write_column("wedge_of", np.concatenate(self._wedge_of))

    def write_attributes(self) -> None:
        """Say what the pack is; a store without this is none."""
        source, preparation = self._source, self._preparation
        # Names of data sets stay names.
        where = {
            name: str(Path(path).resolve()) if path is not None and Path(path).exists() else path
            for name, path in (("location", source.location), ("star_file", source.star_file))
        }
        self._group.attrs.update(
            {
                MARK: FORMAT,
                **where,
                "stored_type": source.stored_type,
                "voxel_size": source.voxel_size if preparation is None else preparation.voxel_size,
                "preparation": None if preparation is None else preparation.to_dict(),
                "range": [self._low, self._high],
                "written_by": f"dualcontrast {version('dualcontrast')}",
            }
        )

    def _read(self, rows: np.ndarray) -> np.ndarray:
        if self._preparation is None:
            return self._source.read(rows)
        return read_prepared(self._source, self._preparation, rows).numpy()

    def _checked(self, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Bring images to the type they are stored in, and refuse those that no training takes."""
        source = self._source
        if self._dtype.kind == "u":
            stored = np.round(images * np.iinfo(self._dtype).max).astype(self._dtype)
        else:
            with np.errstate(over="ignore"):
                stored = images.astype(self._dtype)
            if self._dtype == np.float16:
                images = stored.astype(np.float32)
                check_finite(images, source.ids[rows], f"{source.location}: as float16")
        flat = images.reshape(len(images), -1)
        lowest, highest = flat.min(axis=1), flat.max(axis=1)
        constant = source.ids[rows[lowest == highest]]
        if len(constant):
            raise DataError(
                f"{source.location}: all pixels are equal in {name_some(constant)}; "
                "an image without contrast shows nothing, leave it out (--skip-bad)"
            )
        self._low, self._high = min(self._low, float(lowest.min())), max(self._high, float(highest.max()))
        return stored

    def _take_wedges(self, rows: np.ndarray) -> None:
        """Number the Fourier weights of some volumes; those that were there before are stored once."""
        if self._preparation is None:
            wedges = self._source.read_wedges(rows)
        else:
            prepared = read_wedges(self._source, self._preparation, rows)
            wedges = None if prepared is None else prepared.numpy()
        if wedges is None:
            return
        numbers = np.empty(len(rows), dtype=np.int32)
        for place, wedge in enumerate(wedges):
            digest = hashlib.blake2b(np.ascontiguousarray(wedge).data, digest_size=16).digest()
            if digest not in self._known_wedges:
                self._known_wedges[digest] = len(self._known_wedges)
                self._new_wedges.append(np.array(wedge, dtype=np.float32))
                if len(self._new_wedges) * wedge.size * 4 >= SHARD_BYTES:
                    self._write_wedges()
            numbers[place] = self._known_wedges[digest]
        self._wedge_of.append(numbers)

    def _write_wedges(self) -> None:
        if not self._new_wedges:
            return
        new = np.stack(self._new_wedges)
        self._new_wedges = []
        if self._wedges is None:
            block = max(1, min(len(new), BLOCK_BYTES // (4 * new[0].size)))
            shard = max(1, len(new) // block) * block
            self._wedges = self._create("wedges", (0, *new.shape[1:]), new.dtype, block, shard)
        first = self._wedges.shape[0]
        self._wedges.resize((first + len(new), *new.shape[1:]))
        self._wedges[first:] = new

    def _write_factor(self, number: int, factor: Factor) -> None:
        column = self._write_column(f"labels/{number}", factor.values)
        column.attrs.update({"name": factor.name, "role": factor.role})

    def _write_column(self, name: str, values: np.ndarray) -> Any:
        if values.dtype.kind not in "fiu":
            array = self._group.create_array(
                name, shape=values.shape, dtype="string", chunks=(min(len(values), TEXTS_A_CHUNK),)
            )
            for first in range(0, len(values), TEXTS_A_CHUNK):
                array[first : first + TEXTS_A_CHUNK] = values[first : first + TEXTS_A_CHUNK].astype(object)
        else:
            array = self._create(name, values.shape, values.dtype, min(len(values), 1 << 20))
            array[:] = values
        return array

    def _create(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype, block: int, shard: int | None = None
    ) -> Any:
        return self._group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=(block, *shape[1:]),
            shards=None if shard is None else (shard, *shape[1:]),
            compressors=COMPRESSION,
            fill_value=0,
        )
