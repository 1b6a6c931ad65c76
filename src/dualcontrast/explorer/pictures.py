"""Images and volumes as small PNG pictures."""

import base64
import io
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from dualcontrast.figures.isosurfaces import FRONT
from dualcontrast.figures.style import CONTENT, as_pictures, display_limits, mosaic
from dualcontrast.figures.surface_pictures import SMOOTH_BOX_OF_SMALL, mesh_of, surface_pictures
from dualcontrast.figures.volumes import orthogonal_sections

Plane = Literal["xy", "xz", "yz"]
PLANES: tuple[Plane, ...] = ("xy", "xz", "yz")
SURFACE_PIXELS = 250
LONGEST_LINE = 30


def is_volume(image: np.ndarray) -> bool:
    """Whether a prepared image, shape (C, *spatial), is a volume."""
    return image.ndim == 4


def picture_of(image: np.ndarray) -> np.ndarray:
    """Draw an image, or the three central sections of a volume side by side, shape (H, W, 3) in [0, 1]."""
    if not is_volume(image):
        return as_pictures(image[None])[0]
    limits = display_limits(image)
    cut = orthogonal_sections(image[None])
    size = min(image.shape[1:])
    panels = [_square(as_pictures(cut[plane], limits)[0], size) for plane in PLANES]
    return mosaic(np.stack(panels), len(panels))


def section(image: np.ndarray, plane: Plane, place: int) -> np.ndarray:
    """Cut a volume, shape (C, D, H, W), at a voxel of the axis across a plane; (H, W, 3) in [0, 1]."""
    axis = {"xy": 1, "xz": 2, "yz": 3}[plane]
    return as_pictures(np.take(image, place, axis=axis)[None], display_limits(image))[0]


def depth_of(image: np.ndarray, plane: Plane) -> int:
    """Number of sections of a volume, shape (C, D, H, W), in a plane."""
    return image.shape[{"xy": 1, "xz": 2, "yz": 3}[plane]]


def surface_picture(
    image: np.ndarray, level: float | None = None, view: tuple[float, float] = FRONT
) -> np.ndarray:
    """Draw the surface of a volume, shape (C, D, H, W), at a density; shape (H, W, 3) in [0, 1].

    One width for all, of the box, so that a particle that is turned keeps its size.
    """
    mesh = mesh_of(image, level, SMOOTH_BOX_OF_SMALL)
    return surface_pictures([mesh], [CONTENT], 0.6 * max(image.shape[1:]), view, SURFACE_PIXELS)[0]


def to_png(picture: np.ndarray, smallest: int = 160) -> bytes:
    """Write a picture, shape (H, W, 3) in [0, 1], enlarged by a whole number to at least so many rows."""
    return _png(_enlarged(picture, smallest))


def card_png(picture: np.ndarray | None, lines: list[str], smallest: int = 96) -> bytes:
    """Draw a picture with lines of text below, as is shown while the pointer rests on a point."""
    top = Image.new("RGB", (170, 6), "white") if picture is None else _enlarged(picture, smallest)
    width = max(top.width, 190)
    card = Image.new("RGB", (width, top.height + 15 * len(lines) + 6), "white")
    card.paste(top, ((width - top.width) // 2, 0))
    pen = ImageDraw.Draw(card)
    for place, line in enumerate(lines):
        text = line if len(line) <= LONGEST_LINE else "…" + line[-LONGEST_LINE + 1 :]
        pen.text((4, top.height + 3 + 15 * place), text, fill="#1f2933", font_size=12)
    return _png(card)


def data_uri(png: bytes) -> str:
    """Put a PNG into a `src` attribute."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _enlarged(picture: np.ndarray, smallest: int) -> Image.Image:
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).round().astype(np.uint8))
    factor = max(1, -(-smallest // image.height))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


def _square(picture: np.ndarray, size: int) -> np.ndarray:
    """Cut the centre out of a section of a box that is no cube."""
    top, left = ((length - size) // 2 for length in picture.shape[:2])
    return picture[top : top + size, left : left + size]
