"""Images in an array: in memory, or memory-mapped from `.npy` and `.npz` files."""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dualcontrast.data.labels import Factor, LabelTable, Role, check_unique, parse_header
from dualcontrast.data.limits import check_unpacked
from dualcontrast.data.pixels import as_float32, bounds, channels_first, check_finite, check_stored_type
from dualcontrast.data.source import ImageSource
from dualcontrast.data.unchanged import watch
from dualcontrast.errors import DataError

if TYPE_CHECKING:
    import torch

NPZ_BARE_ROLES: dict[str, Role] = {
    "label": "content",
    "labels": "content",
    "class": "content",
    "y": "content",
    "content": "content",
    "transformation": "transformation",
}


class ArraySource(ImageSource):
    """Images of one array or tensor, in memory or memory-mapped.

    Parameters
    ----------
    images : numpy.ndarray or torch.Tensor
        `(N, H, W)`, `(N, C, H, W)`, channels last `(N, H, W, C)`, volumes `(N, D, H, W)` or
        `(N, C, D, H, W)`; C is 1 or 3. Four axes of which none but N is 1 or 3 are volumes.
    ids : sequence of str, shape (N,), optional
        Particle ids; `0` … `N-1` unless given.
    labels : LabelTable, optional
        Labels of the same ids, in the same order.
    location : str
        Used in messages.
    fixed_split : dict of str to numpy.ndarray, optional
        Ids of a published split.

    Raises
    ------
    DataError
        When the array is empty, its type or shape is none of these, or ids are repeated or of another
        length.
    """

    def __init__(
        self,
        images: "np.ndarray | torch.Tensor",
        *,
        ids: Sequence[str] | np.ndarray | None = None,
        labels: LabelTable | None = None,
        location: str = "array",
        fixed_split: dict[str, np.ndarray] | None = None,
    ) -> None:
        array = _as_array(images)
        check_stored_type(array.dtype, location)
        self._images = channels_first(array, location)
        self._file = watch(array)
        self.location = location
        self.stored_type = array.dtype.name
        self.image_shape = tuple(self._images.shape[1:])
        self.ids = np.asarray(np.arange(len(array)) if ids is None else ids).astype(str)
        self.labels = labels
        self.fixed_split = fixed_split
        if self.ids.shape != (len(array),):
            raise DataError(f"{location}: {self.ids.size} ids for {len(array)} images; give one id per image")
        check_unique(self.ids, location)

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read images as float32, shape (n, C, *spatial); see `ImageSource.read`."""
        indices = np.asarray(indices, dtype=np.int64)
        if self._file is not None:
            self._file.check()
        images = np.ascontiguousarray(as_float32(self._images[indices]))
        if self.stored_range is None:
            check_finite(images, self.ids[indices], self.location)
        return images

    @property
    def stored_range(self) -> tuple[float, float] | None:
        """Lowest and highest value that `read` can return, where the stored type bounds them."""
        return bounds(self._images.dtype)


def _as_array(images: "np.ndarray | torch.Tensor") -> np.ndarray:
    """View an array or a tensor as a NumPy array."""
    if isinstance(images, np.ndarray):
        return images
    # A tensor, told by its methods so that torch need not be imported to open a file.
    if hasattr(images, "detach"):
        tensor = images.detach().cpu()
        # NumPy has no bfloat16.
        return (tensor.float() if tensor.is_floating_point() and tensor.itemsize == 2 else tensor).numpy()
    return np.asarray(images)


def open_npy(path: str | Path) -> ArraySource:
    """Open a `.npy` file, memory-mapped; ids are `0` … `N-1`.

    Raises
    ------
    DataError
        When the file is truncated, is no `.npy` file, or holds no images.
    """
    return ArraySource(map_npy(path), location=str(path))


def map_npy(path: str | Path) -> np.ndarray:
    """Memory-map a `.npy` file; `DataError` when it is truncated, longer than it says, or no such file."""
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        # A second array behind the first would go unseen.
        more = (
            Path(path).stat().st_size - mapped.offset - mapped.nbytes if isinstance(mapped, np.memmap) else 0
        )
        if more:
            raise ValueError(f"{more:,} bytes follow the array of its header")
        return mapped
    except Exception as error:
        raise DataError(
            f"{path}: not a whole .npy file ({_reason(error)}); write it again with numpy.save"
        ) from None


def _reason(error: Exception) -> str:
    """Shorten NumPy's message; it takes any unknown bytes for pickled objects and explains unsafe loading."""
    text = " ".join(str(error).split()) or type(error).__name__
    return "no array of numbers in it" if "pickle" in text else text


def open_npz(path: str | Path) -> ArraySource:
    """Open a `.npz` file; its images are memory-mapped if they are not compressed.

    The file holds `images` (or is a single unnamed array), and may hold `ids` and labels:
    `content:NAME`, `transformation:NAME`, `metadata:NAME`, of shape (N,) or (N, k), and `labels`, `label` or
    `y` as content. Floats are continuous, other types discrete. An array `split` says `train` or `test` for
    every image, and is the fixed split. Other arrays of shape (N,) are metadata; all else is left alone.

    Raises
    ------
    DataError
        When the file is truncated or no `.npz` file, holds no images, labels or ids have another length, or
        `split` is no split.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            check_archive(path, archive)
            key = _images_key(archive.files, path)
            others = {name: archive[name] for name in archive.files if name != key}
            stored = _map_member(path, f"{key}.npy")
            images = archive[key] if stored is None else stored
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{path}: not a whole .npz file ({_reason(error)}); write it again with numpy.savez"
        ) from None
    return source_of(images, others, path)


def check_archive(path: Path, archive: "np.lib.npyio.NpzFile") -> None:
    """Refuse an open `.npz` file that would unpack to far more than it holds; see `check_unpacked`."""
    assert archive.zip is not None
    check_unpacked(path, sum(info.file_size for info in archive.zip.infolist()), path.stat().st_size)


def source_of(images: np.ndarray, others: dict[str, np.ndarray], path: Path) -> ArraySource:
    """Make a source of images and of the arrays beside them; see `open_npz` for their names."""
    ids, split = others.pop("ids", None), others.pop("split", None)
    source = ArraySource(images, ids=ids, location=str(path))
    if split is not None:
        source.fixed_split = _fixed_split(split, source.ids, path)
    factors = _factors(others, len(source), path)
    if factors:
        try:
            source.labels = LabelTable(source.ids, tuple(factors))
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    return source


def _fixed_split(parts: np.ndarray, ids: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    """Turn `train` or `test` for every image into ids."""
    if parts.shape != ids.shape or set(np.unique(parts).tolist()) != {"train", "test"}:
        raise DataError(
            f"{path}: array `split` must say 'train' or 'test' for each of the {len(ids)} images, and both "
            "occur; correct it, or rename it to `metadata:split`"
        )
    return {part: ids[parts == part] for part in ("train", "test")}


def _images_key(names: list[str], path: Path) -> str:
    """Name the array that holds the images."""
    if "images" in names:
        return "images"
    if names == ["arr_0"]:
        return "arr_0"
    raise DataError(f"{path}: has no array `images` (it has {', '.join(names) or 'nothing'}); rename yours")


def _map_member(path: Path, member: str) -> np.ndarray | None:
    """Memory-map an array inside an `.npz` archive; None where it is compressed and cannot be mapped."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        with archive.open(info) as handle:
            version = np.lib.format.read_magic(handle)
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            if version not in header:
                return None
            shape, fortran, dtype = header[version](handle)
            header_length = handle.tell()
    if dtype.hasobject or 0 in shape:
        return None
    if header_length + math.prod(shape) * dtype.itemsize != info.file_size:
        # Mapped, it would go on into what lies behind it in the archive.
        raise ValueError(f"'{member}' is not as long as its header says")
    with path.open("rb") as handle:
        # The local header repeats the name and has extra fields of its own length (zip specification 4.3.7).
        handle.seek(info.header_offset + 26)
        lengths = np.frombuffer(handle.read(4), dtype="<u2")
    start = info.header_offset + 30 + int(lengths.sum()) + header_length
    return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape, order="F" if fortran else "C")


def _factors(arrays: dict[str, np.ndarray], count: int, path: Path) -> list[Factor]:
    """Turn the arrays beside the images into factors, one per column."""
    factors = []
    for key, values in arrays.items():
        try:
            name, role = parse_header(key, NPZ_BARE_ROLES)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        fits = values.ndim in (1, 2) and len(values) == count
        if not fits:
            if ":" not in key and role == "metadata":
                continue
            raise DataError(
                f"{path}: array '{key}' has shape {values.shape} for {count} images; give one row each"
            )
        if values.ndim == 2 and ":" not in key and role == "metadata":
            continue
        columns = [values] if values.ndim == 1 else list(values.T)
        names = [name] if values.ndim == 1 else [f"{name}_{column}" for column in range(len(columns))]
        factors.extend(
            Factor(title, role, _label_values(column)) for title, column in zip(names, columns, strict=True)
        )
    return factors


def _label_values(values: np.ndarray) -> np.ndarray:
    """Bring labels to float64, int64 or strings."""
    kinds = {"f": np.float64, "b": np.int64, "i": np.int64, "u": np.int64}
    return np.ascontiguousarray(values).astype(kinds.get(values.dtype.kind, str))
