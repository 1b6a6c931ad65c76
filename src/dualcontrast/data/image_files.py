"""One image in one file: its header, and its pixels."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import tifffile
from PIL import Image

from dualcontrast.data import mrc
from dualcontrast.data.arrays import map_npy
from dualcontrast.data.limits import check_unpacked
from dualcontrast.data.pixels import channel_axis, channels_first, check_stored_type
from dualcontrast.errors import DataError

T = TypeVar("T")

# What tifffile has to say of a damaged file is raised as well; nothing shall be printed beside that.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
_SAME_SIZE = 1e-3

# What Pillow is asked to turn each of its modes into; a palette is looked up, one bit becomes 0 or 255.
_PILLOW_MODES = {
    "1": "L",
    "L": "L",
    "LA": "L",
    "P": "RGB",
    "PA": "RGB",
    "RGB": "RGB",
    "RGBA": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "I;16": "I;16",
    "I;16B": "I;16B",
    "I": "I",
    "F": "F",
}
_PILLOW_TYPES = {"I;16": "uint16", "I;16B": "uint16", "I": "int32", "F": "float32"}


class Header(NamedTuple):
    """What the header of an image file says.

    Attributes
    ----------
    shape : tuple of int
        `(C, H, W)` or `(C, D, H, W)`, alpha not counted.
    stored_type : str
        For example `uint8`.
    voxel_size : float or None
        Edge of a pixel or voxel in Å, where the file says it.
    """

    shape: tuple[int, ...]
    stored_type: str
    voxel_size: float | None = None

    def __str__(self) -> str:
        colours = {1: "grayscale", 3: "RGB"}[self.shape[0]]
        size = "" if self.voxel_size is None else f" at {self.voxel_size:g} Å"
        return f"{'×'.join(map(str, self.shape[1:]))} {colours} {self.stored_type}{size}"

    def agrees(self, other: "Header") -> bool:
        """Whether another image can stand in one set with this one."""
        if self.voxel_size is None or other.voxel_size is None:
            same_size = self.voxel_size == other.voxel_size
        else:
            same_size = math.isclose(self.voxel_size, other.voxel_size, rel_tol=_SAME_SIZE)
        return self[:2] == other[:2] and same_size


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image in a format read here."""
    return Path(name).suffix.lower() in SUFFIXES or mrc.is_mrc(name)


def read_header(path: Path) -> Header:
    """Read shape and type of one image without its pixels.

    Raises
    ------
    DataError
        When the file is no image of its format, its header is cut short, or promises far more pixels than the
        file can hold.
    """
    if mrc.is_mrc(path):
        return _read_mrc_header(path)
    header = _named(path, _read_tiff_header, _read_pillow_header, _read_npy_header)
    check_unpacked(path, math.prod(header.shape) * np.dtype(header.stored_type).itemsize, path.stat().st_size)
    return header


def read_pixels(path: Path) -> np.ndarray:
    """Read one image in its stored type, shape (C, H, W) or (C, D, H, W).

    Raises
    ------
    DataError
        When the file is truncated or not an image, or some of its pixels are transparent.
    """
    if mrc.is_mrc(path):
        return mrc.read_mrc(path)[None]
    return _named(path, _read_tiff, _read_pillow, _read_npy)


def _named(path: Path, tiff: Callable[[Path], T], pillow: Callable[[Path], T], npy: Callable[[Path], T]) -> T:
    """Call the reader of the file's format, and name the file in whatever it raises."""
    reader = {".npy": npy, ".tif": tiff, ".tiff": tiff}.get(path.suffix.lower(), pillow)
    try:
        return reader(path)
    except DataError:
        raise
    except Exception as error:
        # The decoders' messages are of many kinds and some have several lines.
        reason = " ".join(str(error).replace(f"{str(path)!r}", "it").split())
        if not any(character.isalpha() for character in reason):
            reason = type(error).__name__
        raise DataError(f"{path}: truncated or not an image ({reason}); replace or remove the file") from None


def _header_of(shape: tuple[int, ...], dtype: np.dtype, path: Path) -> Header:
    check_stored_type(dtype, str(path))
    axis = channel_axis((1, *shape), str(path))
    channels = 1 if axis is None else shape[axis - 1]
    spatial = tuple(length for position, length in enumerate(shape, start=1) if position != axis)
    return Header((channels, *spatial), dtype.name)


def _read_mrc_header(path: Path) -> Header:
    header = mrc.read_mrc_header(path)
    if header.kind.endswith("stack"):
        what = "2-D images" if header.kind == "image stack" else "volumes"
        raise DataError(
            f"{path}: is a stack of {header.shape[0]} {what}; keep one image or volume a file in a folder, "
            "and give a stack of volumes by itself"
        )
    return Header((1, *header.shape), header.dtype.name, header.voxel_size)


def _read_npy_header(path: Path) -> Header:
    pixels = map_npy(path)
    return _header_of(pixels.shape, pixels.dtype, path)


def _read_npy(path: Path) -> np.ndarray:
    return channels_first(np.asarray(map_npy(path))[None], str(path))[0]


def _read_pillow_header(path: Path) -> Header:
    with Image.open(path) as image:
        mode = _target_mode(image)
        channels = 3 if mode == "RGB" else 1
        return Header((channels, image.height, image.width), _PILLOW_TYPES.get(mode, "uint8"))


def _target_mode(image: Image.Image) -> str:
    if image.mode not in _PILLOW_MODES:
        raise ValueError(f"colour mode {image.mode}")
    return _PILLOW_MODES[image.mode]


def _read_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        mode = _target_mode(image)
        if image.mode in ("LA", "PA", "RGBA") or ("transparency" in image.info and mode in ("L", "RGB")):
            _refuse_transparency(np.asarray(image.convert("RGBA"))[..., 3], 255, path)
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return np.moveaxis(pixels, -1, 0) if mode == "RGB" else pixels[None]


def _refuse_transparency(alpha: np.ndarray, opaque: float, path: Path) -> None:
    """Raise unless every pixel is opaque: what lies behind a transparent one, only its owner knows."""
    if (alpha < opaque).any():
        raise DataError(f"{path}: has transparent pixels; put the image on a background and save it as RGB")


def _tiff_alpha(shape: tuple[int, ...], page: tifffile.TiffPage) -> bool:
    """Whether the last axis of a TIFF holds colours (or gray) and alpha."""
    return len(shape) >= 3 and shape[-1] in (2, 4) and len(page.extrasamples) == 1


def _read_tiff_header(path: Path) -> Header:
    with _open_tiff(path) as tiff:
        page, series = tiff.pages.first, tiff.series[0]
        if _needs_pillow(page):
            return _read_pillow_header(path)
        shape = tuple(series.shape)
        if _tiff_alpha(shape, page):
            shape = shape[:-1] if shape[-1] == 2 else (*shape[:-1], 3)
        return _header_of(shape, series.dtype or np.dtype(object), path)


def _read_tiff(path: Path) -> np.ndarray:
    with _open_tiff(path) as tiff:
        page = tiff.pages.first
        if _needs_pillow(page):
            return _read_pillow(path)
        pixels = tiff.series[0].asarray()
        if _tiff_alpha(pixels.shape, page):
            opaque = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else 1.0
            _refuse_transparency(pixels[..., -1], float(opaque), path)
            pixels = pixels[..., 0] if pixels.shape[-1] == 2 else pixels[..., :3]
    return channels_first(pixels[None], str(path))[0]


def _open_tiff(path: Path) -> tifffile.TiffFile:
    # A description can name other files, which nobody has asked for.
    return tifffile.TiffFile(path, _multifile=False)


def _needs_pillow(page: tifffile.TiffPage) -> bool:
    """Whether tifffile would need a further package, or would return the indices of a palette."""
    readable = page.compression in (
        tifffile.COMPRESSION.NONE,
        tifffile.COMPRESSION.ADOBE_DEFLATE,
        tifffile.COMPRESSION.DEFLATE,
    )
    plain = page.predictor in (None, tifffile.PREDICTOR.NONE, tifffile.PREDICTOR.HORIZONTAL)
    return not readable or not plain or page.photometric == tifffile.PHOTOMETRIC.PALETTE
