"""Decoded images as files: MRC maps with a ChimeraX script, or pictures with an array."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from dualcontrast.errors import DataError
from dualcontrast.export.mrc import write_map
from dualcontrast.figures.animation import write_loop
from dualcontrast.figures.style import (
    INK,
    SMALL,
    as_pictures,
    bare_axes,
    display_limits,
    new_figure,
    save_figure,
    shorten,
)
from dualcontrast.files import atomic_path

MOST_COLUMNS = 8
ENLARGED_TO = 128


def write_images(
    folder: Path, images: Mapping[str, np.ndarray], voxel_size: float | None, stem: str
) -> dict[str, str]:
    """Write decoded images, each to a file of its own, and a sheet that shows them all.

    Volumes become `NAME.mrc`; images become `NAME.png`, on one scale of grey or colour, and together the
    array `STEM.npy`, shape (K, C, H, W), in the order of `images`. The sheet is `STEM.png`; of volumes it
    shows the central slice.

    Parameters
    ----------
    folder : Path
        Where to; made where it does not exist.
    images : mapping of str to numpy.ndarray, shape (C, *spatial)
        By the name of the file without its suffix, in prepared units.
    voxel_size : float or None
        Of volumes, in Å.
    stem : str
        Name of the sheet and the array.

    Returns
    -------
    dict of str to str
        File name of each image.

    Raises
    ------
    DataError
        For volumes of several channels, or NaN voxels.
    """
    every = np.stack(list(images.values()))
    volumes = every.ndim == 5
    if volumes and every.shape[1] != 1:
        raise DataError(f"{folder}: volumes of {every.shape[1]} channels cannot be written as MRC maps")
    pictures = as_pictures(every, display_limits(every))
    files = {name: f"{name}.{'mrc' if volumes else 'png'}" for name in images}
    for (name, file), image, picture in zip(files.items(), every, pictures, strict=True):
        if volumes:
            write_map(folder / file, images[name][0], voxel_size)
        elif not np.isfinite(image).all():
            raise DataError(f"{folder / file}: NaN or infinite pixels; look at the training of the run")
        else:
            with atomic_path(folder / file) as temporary:
                _to_pillow(picture).save(temporary, format="PNG")
    if not volumes:
        with atomic_path(folder / f"{stem}.npy") as temporary, temporary.open("wb") as handle:
            np.save(handle, every.astype(np.float32))
    save_figure(sheet_figure(list(images), pictures), folder / f"{stem}.png")
    return files


def write_animation(path: Path, images: np.ndarray, frames_per_second: float = 8.0) -> None:
    """Write images as a GIF that runs to and fro.

    Parameters
    ----------
    path : Path
        File to write.
    images : numpy.ndarray, shape (K, C, H, W) or (K, C, D, H, W)
        In prepared units; of volumes the central slice is shown.
    frames_per_second : float
        Speed.
    """
    pictures = as_pictures(images, display_limits(images))
    frames = [np.asarray(_enlarged(_to_pillow(picture))) for picture in pictures]
    write_loop(path, np.stack(frames), frames_per_second)


def sheet_figure(names: list[str], pictures: np.ndarray) -> Figure:
    """Draw pictures in rows of at most eight, each with its name above it.

    Parameters
    ----------
    names : list of str
        Titles.
    pictures : numpy.ndarray, shape (K, H, W, 3)
        RGB in [0, 1].
    """
    columns = min(MOST_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(max(2.0, 1.15 * columns), 1.4 * rows, "tight")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels:
        bare_axes(axes)
    for axes, name, picture in zip(figure.axes, names, pictures, strict=False):
        axes.imshow(picture, interpolation="nearest", vmin=0, vmax=1)
        axes.set_title(shorten(name, 18), fontsize=SMALL, color=INK)
    return figure


def _to_pillow(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(np.round(picture * 255).astype(np.uint8))


def _enlarged(image: Image.Image) -> Image.Image:
    factor = max(1, ENLARGED_TO // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
