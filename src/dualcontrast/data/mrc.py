"""MRC files: volumes, images and stacks of either (Cheng et al. 2015, the MRC2014 format).

Data are (z, y, x), slowest axis first. The size that a header declares is compared with the size of the file
before anything is allocated, so that neither a truncated file nor a header that lies is ever read as data.
"""

import bz2
import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import byte_order_from_machine_stamp, spacegroup_is_volume_stack

from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.limits import check_file, check_unpacked
from dualcontrast.errors import DataError

SUFFIXES = (".mrc", ".mrcs", ".rec", ".map")
PACKED = {".gz": gzip.open, ".bz2": bz2.open}

_HEADER_BYTES = 1024
_CHUNK = 16 << 20
_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_UNREADABLE = (3, 4, 101)
# Edges of a voxel that differ by less than this are equal but for rounding in the header.
_ISOTROPIC = 0.01
# IMOD marks its files, and in them the bytes that are signed; it wrote unsigned ones before MRC2014.
_IMOD_STAMP = 1146047817

Kind = Literal["image", "image stack", "volume", "volume stack"]


@dataclass(frozen=True)
class MrcHeader:
    """What the header of an MRC file says.

    Attributes
    ----------
    path : Path
        The file.
    kind : {'image', 'image stack', 'volume', 'volume stack'}
        What it holds.
    shape : tuple of int
        `(H, W)`, `(N, H, W)`, `(D, H, W)` or `(N, D, H, W)`.
    mode : int
        0 (int8), 1 (int16), 2 (float32), 6 (uint16) or 12 (float16).
    dtype : numpy.dtype
        Of the stored values, with their byte order.
    voxel_sizes : tuple of float, or None
        Edges of a voxel along x, y and z in Å; None where the header does not give them.
    """

    path: Path
    kind: Kind
    shape: tuple[int, ...]
    mode: int
    dtype: np.dtype
    voxel_sizes: tuple[float, float, float] | None
    _stored_shape: tuple[int, ...]
    _order: tuple[int, int, int]
    _offset: int

    @property
    def voxel_size(self) -> float | None:
        """Edge of a voxel in Å; None where the header does not give it.

        Raises
        ------
        DataError
            When the edges differ by more than 1 %.
        """
        if self.voxel_sizes is None:
            return None
        edges = self.voxel_sizes if self.kind.startswith("volume") else self.voxel_sizes[:2]
        if max(edges) > (1 + _ISOTROPIC) * min(edges):
            raise DataError(
                f"{self.path}: voxels of {' × '.join(f'{edge:.4g}' for edge in edges)} Å (x, y, z) are no "
                "cubes; resample the data, or correct the header if only that is wrong"
            )
        # Headers hold the edge of the whole box in single precision; what is beyond is rounding.
        return float(f"{edges[0]:.6g}")

    @property
    def size(self) -> int:
        """Bytes that the whole file must have."""
        return self._offset + math.prod(self._stored_shape) * self.dtype.itemsize


def is_mrc(path: str | Path) -> bool:
    """Whether a file's name is that of an MRC file, packed by gzip or bzip2 or not."""
    return Path(bare_name(path)).suffix.lower() in SUFFIXES


def bare_name(path: str | Path) -> str:
    """Name of a file without the suffix of its packer."""
    name = Path(path).name
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in PACKED else name


def read_mrc_header(path: str | Path) -> MrcHeader:
    """Read the header of an MRC file, and compare the size it declares with that of the file.

    The size of a packed file shows only once it is unpacked, so `read_mrc` checks it.

    Raises
    ------
    DataError
        When the file is missing, truncated, no MRC file, longer or shorter than its header says, packed and
        far shorter, of complex or packed 4-bit values, or has axes that are no permutation of x, y and z.
    """
    path = Path(path)
    check_file(path)
    try:
        with _open(path) as handle:
            header = _parse(handle.read(_HEADER_BYTES), path)
        found = path.stat().st_size
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None
    if path.suffix.lower() in PACKED:
        check_unpacked(path, header.size, found)
    elif found != header.size:
        raise _wrong_size(header, found)
    return header


def read_mrc(path: str | Path, index: int | None = None) -> np.ndarray:
    """Read an MRC file, or one volume or image of a stack.

    Parameters
    ----------
    path : str or Path
        `.mrc`, `.mrcs`, `.rec` or `.map`, also packed as `.gz` or `.bz2`.
    index : int, optional
        Which volume or image of a stack, counted from 0.

    Returns
    -------
    numpy.ndarray
        In the stored type and the shape of the header, axes in the order z, y, x whatever their order in the
        file.

    Raises
    ------
    DataError
        As `read_mrc_header`, and when the stack has no such member.
    """
    return read_pixels_of(read_mrc_header(path), index)


def read_pixels_of(header: MrcHeader, index: int | None = None) -> np.ndarray:
    """Read the data of a file whose header was read; see `read_mrc`."""
    path, shape, offset = header.path, header._stored_shape, header._offset
    if index is not None:
        if not header.kind.endswith("stack") or not 0 <= index < shape[0]:
            members = shape[0] if header.kind.endswith("stack") else 1
            raise DataError(
                f"{path}: has no member {index + 1}, its header gives {members}; correct the name"
            )
        shape = shape[1:]
        offset += index * math.prod(shape) * header.dtype.itemsize
    count = math.prod(shape)
    try:
        if path.suffix.lower() in PACKED:
            stored = np.frombuffer(_unpack(header), header.dtype, count, offset)
        else:
            stored = np.fromfile(path, header.dtype, count, offset=offset)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None
    if stored.size != count:
        raise _wrong_size(header, path.stat().st_size)
    return _in_order(stored.reshape(shape), header._order)


def open_mrc(path: str | Path) -> ArraySource:
    """Open a stack of volumes, memory-mapped; ids are `0` … `N-1`.

    Raises
    ------
    DataError
        As `read_mrc_header`, and when the file is packed, a single volume, or a stack of 2-D images.
    """
    header = read_mrc_header(path)
    if header.kind != "volume stack":
        what = {
            "image": "is a single 2-D image; give the folder that holds the images",
            "image stack": f"is a stack of {header.shape[0]} 2-D images; give 3-D volumes: a folder of them, "
            "a STAR file, or a volume stack (space group 401)",
            "volume": "is a single volume; give the folder that holds the volumes, or their STAR file",
        }[header.kind]
        raise DataError(f"{path}: {what}")
    if header.path.suffix.lower() in PACKED:
        raise DataError(f"{path}: a packed stack cannot be read piece by piece; unpack it")
    stored = np.memmap(path, header.dtype, "r", header._offset, header._stored_shape)
    source = ArraySource(_in_order(stored, header._order)[:, None], location=str(path))
    source.voxel_size = header.voxel_size
    return source


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], PACKED.get(path.suffix.lower(), open)(path, "rb"))


def _parse(content: bytes, path: Path) -> MrcHeader:
    if len(content) < _HEADER_BYTES:
        raise DataError(
            f"{path}: {len(content)} bytes are too few for an MRC header; copy or extract the file again"
        )
    order = _byte_order(content)
    header = np.frombuffer(content, HEADER_DTYPE.newbyteorder(order))[0]
    nx, ny, nz, mode, mz, ispg, extended = (
        int(header[name]) for name in ("nx", "ny", "nz", "mode", "mz", "ispg", "nsymbt")
    )
    if min(nx, ny, nz) < 1 or extended < 0 or mode not in (*_TYPES, *_UNREADABLE):
        raise DataError(
            f"{path}: no MRC file, or its header is damaged (size {nx}×{ny}×{nz}, mode {mode}); "
            "copy or extract it again"
        )
    if mode not in _TYPES:
        raise DataError(
            f"{path}: MRC mode {mode} (complex or 4-bit values); store the data as mode 2 (float32)"
        )
    dtype = np.dtype(order + _TYPES[mode])
    stamp, flags = struct.unpack(order + "ii", content[152:160])
    if mode == 0 and stamp == _IMOD_STAMP and not flags & 1:
        dtype = np.dtype("u1")
    permutation = _axes(header, path)
    if spacegroup_is_volume_stack(ispg):
        if mz < 1 or nz % mz:
            raise DataError(
                f"{path}: a stack of volumes of {mz} planes cannot have {nz} planes; write the header again"
            )
        kind, stored_shape = "volume stack", (nz // mz, mz, ny, nx)
    elif nz == 1:
        kind, stored_shape = "image", (ny, nx)
    else:
        # Many programs leave the space group of a volume at 0, that of image stacks (MRC2014: MZ is then 1).
        stack = Path(bare_name(path)).suffix.lower() == ".mrcs" or (
            ispg == 0 and (mz == 1 or not nx == ny == nz)
        )
        kind, stored_shape = "image stack" if stack else "volume", (nz, ny, nx)
    if kind.startswith("image"):
        if permutation != (0, 1, 2):
            raise DataError(
                f"{path}: the axes of its images are not x, y; rewrite it with axes in that order"
            )
        shape = stored_shape
    else:
        shape = (*stored_shape[:-3], *(stored_shape[-3:][axis] for axis in permutation))
    sizes = _voxel_sizes(header, kind.startswith("image"))
    offset = _HEADER_BYTES + extended
    return MrcHeader(path, kind, shape, mode, dtype, sizes, stored_shape, permutation, offset)


def _byte_order(content: bytes) -> Literal["<", ">"]:
    """Byte order by the machine stamp; by the mode where the stamp is none, as old programs write it."""
    try:
        return cast(Literal["<", ">"], byte_order_from_machine_stamp(content[212:216]))
    except ValueError:
        return ">" if struct.unpack("<i", content[12:16])[0] > 0xFFFF else "<"


def _axes(header: np.void, path: Path) -> tuple[int, int, int]:
    """Find which axis of the stored array is z, which y and which x."""
    stored = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    if stored == [0, 0, 0]:
        return (0, 1, 2)
    if sorted(stored) != [1, 2, 3]:
        raise DataError(
            f"{path}: MAPC, MAPR, MAPS are {stored[2]}, {stored[1]}, {stored[0]}, which are no axes; "
            "write the header again with 1, 2, 3"
        )
    return (stored.index(3), stored.index(2), stored.index(1))


def _in_order(stored: np.ndarray, order: tuple[int, int, int]) -> np.ndarray:
    """View the last three axes of a stored array as z, y, x."""
    if order == (0, 1, 2):
        return stored
    front = tuple(range(stored.ndim - 3))
    return stored.transpose(*front, *(len(front) + axis for axis in order))


def _voxel_sizes(header: np.void, planar: bool) -> tuple[float, float, float] | None:
    edges = []
    for axis, intervals in (("x", "mx"), ("y", "my"), ("z", "mz")):
        length, count = float(header["cella"][axis]), int(header[intervals])
        edges.append(length / count if count > 0 and math.isfinite(length) and length > 0 else 0.0)
    if planar and min(edges[:2]) > 0:
        # An image has no depth, and what stands there is often 0.
        edges[2] = edges[0]
    return (edges[0], edges[1], edges[2]) if min(edges) > 0 else None


def _unpack(header: MrcHeader) -> bytes:
    """Unpack a whole file, no further than one byte beyond what its header promises."""
    parts, left = [], header.size + 1
    with _open(header.path) as handle:
        # Piece by piece: a reader asked for everything at once would allocate what a lying header says.
        while left and (part := handle.read(min(left, _CHUNK))):
            parts.append(part)
            left -= len(part)
    content = b"".join(parts)
    if len(content) != header.size:
        raise _wrong_size(header, len(content))
    return content


def _wrong_size(header: MrcHeader, found: int) -> DataError:
    if found < header.size:
        return DataError(
            f"{header.path}: truncated, or its header is wrong: it promises {header.size:,} bytes, "
            f"{found:,} are there; copy or extract the file again"
        )
    return DataError(
        f"{header.path}: its header promises {header.size:,} bytes, but there are more; "
        "copy or extract the file again"
    )


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or error
    return DataError(f"{path}: cannot be read ({reason}); copy or extract the file again")
