"""One code that moves while the other stays, as a film: surfaces and sections of volumes, or images."""

from collections.abc import Mapping, Sequence

import numpy as np

from dualcontrast.figures.isosurfaces import surface_level
from dualcontrast.figures.style import (
    INK,
    LARGE,
    NORMAL,
    PALETTE,
    QUIET,
    SMALL,
    add_panel,
    bare_axes,
    mosaic,
    new_figure,
    pixels,
    show_sheet,
)
from dualcontrast.figures.surface_pictures import (
    SMOOTH_BOX_OF_SMALL,
    half_width,
    mesh_of,
    surface_pictures,
)
from dualcontrast.figures.traversals import CODE_COLOURS, heading_of, step_name

# Surfaces take time: fewer directions and steps of volumes than of images.
VOLUME_STEPS, VOLUME_AXES = np.linspace(-2, 2, 9), 2
IMAGE_STEPS = np.linspace(-2, 2, 13)
# Of the steps of volumes, those that stand beside each other on paper: -2, -1, 0, 1 and 2.
STILL_STEPS = slice(None, None, 2)
SURFACE_CAPTION = (
    "Surfaces of what is decoded; each is drawn at one density over all its steps, 35 % of the way from the "
    "median voxel to the 99.9th percentile, so that what grows or fades does so in the map. "
)
FRAMES_PER_SECOND = 6.0
# A hundred surfaces of large boxes take minutes and gigabytes, and show no more at this size.
MOST_VOXELS = 64


def traversal_surfaces(code: str, volumes: np.ndarray) -> np.ndarray:
    """Draw the surfaces of decoded traversals, all on one scale.

    Parameters
    ----------
    code : {'content', 'transformation'}
        Which code moves.
    volumes : numpy.ndarray, shape (axes, M, steps, C, D, H, W)
        As from `traversal_images`.

    Returns
    -------
    numpy.ndarray, shape (axes, M, steps, h, w, 3)
        Pictures.
    """
    meshes = []
    volumes = pooled(volumes)
    for walk in volumes.reshape(-1, *volumes.shape[2:]):
        # One level a walk: with a level a step, a part that fades away would seem to stay.
        level = float(np.mean([surface_level(volume.mean(axis=0)) for volume in walk]))
        meshes += [mesh_of(volume, level, SMOOTH_BOX_OF_SMALL) for volume in walk]
    colour = PALETTE[0 if code == "content" else 1]
    pictures = surface_pictures(meshes, [colour] * len(meshes), half_width(meshes))
    return pictures.reshape(*volumes.shape[:3], *pictures.shape[1:])


def pooled(volumes: np.ndarray, most: int = MOST_VOXELS) -> np.ndarray:
    """Average blocks of voxels until a side has about `most`; what is left over at the far ends is cut off.

    Parameters
    ----------
    volumes : numpy.ndarray, shape (..., D, H, W)
        Any number of volumes.
    most : int
        Voxels along the longest side, up to half as many more.
    """
    factor = max(1, round(max(volumes.shape[-3:]) / most))
    for axis in (-3, -2, -1):
        count = volumes.shape[axis] // factor
        whole = np.moveaxis(volumes, axis, -1)[..., : count * factor]
        volumes = np.moveaxis(whole.reshape(*whole.shape[:-1], count, factor).mean(axis=-1), -1, axis)
    return volumes


def traversal_frames(
    code: str, rows: Mapping[str, np.ndarray], shares: np.ndarray, steps: Sequence[float] | np.ndarray
) -> np.ndarray:
    """Draw a frame for each step: a block a direction, a column a starting image, a row a kind of picture.

    Parameters
    ----------
    code : {'content', 'transformation'}
        Which code moves.
    rows : mapping of str to numpy.ndarray, shape (axes, M, steps, h, w, 3)
        Pictures of each kind, by its name.
    shares : numpy.ndarray, shape (axes,)
        Share of the code's variance along each direction.
    steps : sequence of float
        Places along each direction, in standard deviations from the mean.

    Returns
    -------
    numpy.ndarray of uint8, shape (steps, height, width, 3)
    """
    axes_count, starts = next(iter(rows.values())).shape[:2]
    # Inches.
    label, heading, between, foot = (0.75 if len(rows) > 1 else 0.1), 0.62, 0.2, 0.55
    cell = min(1.0, (7.6 - label) / (axes_count * starts))
    block = starts * cell
    width = label + axes_count * (block + between)
    heights = {name: cell * cells.shape[3] / cells.shape[4] for name, cells in rows.items()}
    figure = new_figure(width, heading + sum(heights.values()) + foot, "by hand")
    height = figure.get_figheight()
    figure.text(
        (label + (width - label - between) / 2) / width,
        1 - 0.05 / height,
        heading_of(code),
        fontsize=LARGE,
        color=CODE_COLOURS[code],
        fontweight="bold",
        ha="center",
        va="top",
    )
    shown = {}
    for index in range(axes_count):
        top, left = heading, label + index * (block + between)
        figure.text(
            (left + block / 2) / width,
            1 - (heading - 0.07) / height,
            f"direction {index + 1} · {shares[index]:.0%} of variance",
            fontsize=SMALL,
            color=INK,
            ha="center",
            va="bottom",
        )
        for name, cells in rows.items():
            panel = add_panel(figure, left, top, block, heights[name])
            show_sheet(panel, mosaic(cells[index, :, 0], starts))
            shown[index, name] = panel.images[0]
            if index == 0 and len(rows) > 1:
                panel.set_ylabel(name, fontsize=NORMAL, color=INK, rotation=0, ha="right", va="center")
            top += heights[name]
    ruler = add_panel(figure, label + 0.35, height - foot, width - label - between - 0.7, foot)
    bare_axes(ruler)
    low, high = float(steps[0]), float(steps[-1])
    ruler.set_xlim(low, high)
    ruler.set_ylim(0, 1)
    ruler.plot([low, high], [0.68, 0.68], color=QUIET, linewidth=1.5, clip_on=False)
    for place in (low, 0.0, high):
        ruler.text(place, 0.36, step_name(place), fontsize=SMALL, color=INK, ha="center", va="top")
    (marker,) = ruler.plot([low], [0.68], "o", markersize=9, color=CODE_COLOURS[code], clip_on=False)
    frames = []
    for place, step in enumerate(steps):
        for (index, name), picture in shown.items():
            picture.set_data(mosaic(rows[name][index, :, place], starts))
        marker.set_xdata([step])
        frames.append(pixels(figure))
    return np.stack(frames)
