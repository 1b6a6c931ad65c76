"""Volumes on paper: orthogonal sections, slice after slice, and surfaces of decoded volumes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dualcontrast.figures.isosurfaces import FRONT, SIDE, draw_surface
from dualcontrast.figures.style import (
    CONTENT,
    INK,
    LARGE,
    NORMAL,
    QUIET,
    SMALL,
    TRANSFORMATION,
    add_panel,
    as_pictures,
    display_limits,
    mosaic,
    new_figure,
    shorten,
    show_sheet,
)
from dualcontrast.figures.surface_pictures import Colour, half_width, mesh_of

SLICES = 8
# Of each end of the box, where there is no particle.
LEFT_OUT = 0.15
# Per cent of voxels beyond black and white; a particle fills little of its box.
TAIL = 0.1
CLASSES_A_ROW = 6
MOST_CLASSES = 18

LEVEL_NOTE = (
    "Surfaces are drawn at 35 % of the way from the median voxel to the 99.9th percentile of each volume; "
    "all panels have one scale."
)
ORTHOGONAL_CAPTION = (
    "Three sections through the centre of each box, of held-out particles (left) and of what the decoder "
    "makes of their two codes (right). The two halves have grey scales of their own, since noise is not "
    "decoded."
)
SLICES_CAPTION = (
    "Sections from low to high z of held-out particles (upper row) and of their reconstructions (lower row), "
    "each with a grey scale of its own."
)
TRANSFER_CAPTION = (
    "Decoded from the content of the particle of each column and the transformation of the particle of each "
    "row; the diagonal holds reconstructions. Columns should keep one structure, rows one conformation and "
    "pose. " + LEVEL_NOTE
)
CLASSES_CAPTION = (
    "Decoded from the mean content code of each class and one and the same transformation code, that of the "
    "particle nearest to the mean. Upper row: from in front; lower row: turned by 90° about y. " + LEVEL_NOTE
)


def orthogonal_sections(volumes: np.ndarray) -> dict[str, np.ndarray]:
    """Cut volumes through the centre of the box, voxel `n // 2`.

    Parameters
    ----------
    volumes : numpy.ndarray, shape (N, C, D, H, W)
        Axes z, y, x.

    Returns
    -------
    dict of str to numpy.ndarray
        `xy` of shape (N, C, H, W), `xz` of shape (N, C, D, W), and `yz` of shape (N, C, D, H): the first
        letter runs to the right, the second down.
    """
    depth, height, width = volumes.shape[2:]
    return {
        "xy": volumes[:, :, depth // 2],
        "xz": volumes[:, :, :, height // 2],
        "yz": volumes[..., width // 2],
    }


def slice_places(depth: int, count: int = SLICES) -> np.ndarray:
    """Choose evenly spaced sections along z, without the outer 15 % at each end of the box."""
    low, high = LEFT_OUT * (depth - 1), (1 - LEFT_OUT) * (depth - 1)
    return np.unique(np.linspace(low, high, count).round().astype(int))


def orthogonal_figure(originals: np.ndarray, reconstructions: np.ndarray) -> Figure:
    """Draw a row of six sections for each particle: three of the volume, three of its reconstruction.

    Parameters
    ----------
    originals, reconstructions : numpy.ndarray, shape (K, C, D, H, W)
        Prepared volumes.
    """
    columns: list[tuple[str, np.ndarray]] = []
    for volumes in (originals, reconstructions):
        limits = display_limits(volumes, TAIL)
        columns += [
            (plane, as_pictures(section, limits)) for plane, section in orthogonal_sections(volumes).items()
        ]
    # Inches a voxel, one for all sections, so that boxes of unequal sides stay in proportion.
    gap, middle, top, rim = 0.06, 0.3, 0.62, 0.06
    across = sum(pictures.shape[2] for _, pictures in columns)
    scale = (9.0 - middle - 4 * gap - 2 * rim) / across
    cell_height = scale * max(pictures.shape[1] for _, pictures in columns)
    figure = new_figure(9.0, top + len(originals) * (cell_height + gap) + rim, "by hand")
    left = rim
    for place, (plane, pictures) in enumerate(columns):
        width = scale * pictures.shape[2]
        for row, picture in enumerate(pictures):
            height = scale * pictures.shape[1]
            axes = add_panel(figure, left, top + row * (cell_height + gap), width, height)
            show_sheet(axes, picture)
            if row == 0:
                axes.set_title(plane, fontsize=NORMAL, color=QUIET, pad=4)
        if place in (1, 4):
            name, colour = ("original", INK) if place == 1 else ("reconstruction", CONTENT)
            centre = (left + width / 2) / figure.get_figwidth()
            figure.text(
                centre,
                1 - 0.2 / figure.get_figheight(),
                name,
                fontsize=LARGE,
                color=colour,
                ha="center",
                va="center",
                fontweight="bold",
            )
        left += width + (middle if place == 2 else gap)
    return figure


def slices_figure(originals: np.ndarray, reconstructions: np.ndarray) -> Figure:
    """Draw sections along z, a row for each volume and one for its reconstruction below it.

    Parameters
    ----------
    originals, reconstructions : numpy.ndarray, shape (K, C, D, H, W)
        Prepared volumes.
    """
    places = slice_places(originals.shape[2])
    limits = {
        "original": display_limits(originals, TAIL),
        "reconstruction": display_limits(reconstructions, TAIL),
    }
    height, width = originals.shape[3:]
    names, top, gap, rim, rows = 1.15, 0.3, 0.16, 0.06, 2 * len(originals)
    step = (9.0 - names - rim) / len(places)
    panel_height = step * height / width
    figure = new_figure(9.0, top + rows * panel_height + (len(originals) - 1) * gap + rim, "by hand")
    for particle in range(len(originals)):
        for second, (name, volumes) in enumerate(
            (("original", originals), ("reconstruction", reconstructions))
        ):
            sections = np.moveaxis(volumes[particle][:, places], 1, 0)
            sheet = mosaic(as_pictures(sections, limits[name]), len(places), gap=max(1, width // 24))
            down = top + (2 * particle + second) * panel_height + particle * gap
            axes = add_panel(figure, names, down, 9.0 - names - rim, panel_height)
            show_sheet(axes, sheet)
            axes.set_ylabel(
                name,
                fontsize=SMALL,
                color=INK if name == "original" else CONTENT,
                rotation=0,
                ha="right",
                va="center",
            )
            if particle == second == 0:
                pitch = width + max(1, width // 24)
                for column, z in enumerate(places):
                    axes.text(
                        column * pitch + width / 2,
                        -0.06 * height,
                        f"z = {z}",
                        ha="center",
                        va="bottom",
                        fontsize=SMALL,
                        color=QUIET,
                    )
    return figure


def transfer_surfaces_figure(grid: np.ndarray, colours: Sequence[Colour]) -> Figure:
    """Draw the surfaces of a grid of transfers.

    Parameters
    ----------
    grid : numpy.ndarray, shape (K, K, C, D, H, W)
        Entry (i, j) has the content of particle j and the transformation of particle i.
    colours : sequence of matplotlib colours, length K
        Of the columns: one for all particles of a class.
    """
    count = len(grid)
    meshes = [[mesh_of(volume) for volume in row] for row in grid]
    limit = half_width([mesh for row in meshes for mesh in row])
    size, names = min(1.7, 8.3 / count), 0.45
    figure = new_figure(names + count * size + 0.1, names + count * size + 0.1, "by hand")
    for i, row in enumerate(meshes):
        for j, mesh in enumerate(row):
            axes = add_panel(figure, names + j * size, names + i * size, 0.97 * size, 0.97 * size)
            draw_surface(axes, mesh, colours[j], limit)
            if i == j:
                axes.set_facecolor("#f0f3f7")
    across, down = figure.get_size_inches()
    middle = names + count * size / 2
    style = {"fontsize": LARGE, "fontweight": "bold", "ha": "center", "va": "center"}
    figure.text(
        middle / across, 1 - names / 2 / down, "content of … (columns)", color=CONTENT, fontdict=style
    )
    figure.text(
        names / 2 / across,
        1 - middle / down,
        "transformation of … (rows)",
        color=TRANSFORMATION,
        rotation=90,
        fontdict=style,
    )
    return figure


def class_surfaces_figure(
    volumes: np.ndarray, names: Sequence[str], sizes: Sequence[int], colours: Sequence[Colour]
) -> Figure:
    """Draw the surface of each class twice: from in front, and from the side.

    Parameters
    ----------
    volumes : numpy.ndarray, shape (K, C, D, H, W)
        One decoded volume a class; at most 18 are drawn.
    names : sequence of str, length K
        Of the classes.
    sizes : sequence of int, length K
        Particles in each class.
    colours : sequence of matplotlib colours, length K
        Of the classes.
    """
    meshes = [mesh_of(volume) for volume in volumes[:MOST_CLASSES]]
    limit = half_width(meshes)
    columns = min(len(meshes), CLASSES_A_ROW)
    rows = -(-len(meshes) // columns)
    size, title = min(2.2, 9.0 / columns), 0.5
    block = 2 * size + title
    figure = new_figure(columns * size, rows * block, "by hand")
    for place, mesh in enumerate(meshes):
        row, column = divmod(place, columns)
        for second, view in enumerate((FRONT, SIDE)):
            top = row * block + title + second * size
            axes = add_panel(figure, column * size, top, size, size)
            draw_surface(axes, mesh, colours[place], limit, view)
            if second == 0:
                axes.set_title(
                    f"{shorten(str(names[place]), 18)}\n{sizes[place]:,} particles", fontsize=SMALL, color=INK
                )
    return figure


def class_codes(
    content: np.ndarray, transformation: np.ndarray, classes: np.ndarray
) -> tuple[list[str], list[int], np.ndarray, np.ndarray]:
    """Give a content code for each class, and one transformation code for all.

    Parameters
    ----------
    content, transformation : numpy.ndarray, shape (N, d), (N, e)
        Codes.
    classes : numpy.ndarray, shape (N,)
        Class of each particle.

    Returns
    -------
    names : list of str
        Of the K classes.
    sizes : list of int
        Particles in each.
    content : numpy.ndarray, float32, shape (K, d)
        Mean content code of each class.
    transformation : numpy.ndarray, float32, shape (K, e)
        K times the transformation code that is nearest to the mean of all; a mean itself may be a state that
        no particle is in.
    """
    names, index, counts = np.unique(classes, return_inverse=True, return_counts=True)
    means = np.stack([content[index == place].mean(axis=0) for place in range(len(names))])
    from_mean = np.linalg.norm(transformation - transformation.mean(axis=0), axis=1)
    typical = transformation[int(np.argmin(from_mean))]
    return (
        [str(name) for name in names],
        counts.tolist(),
        means.astype(np.float32),
        np.repeat(typical[None], len(names), axis=0).astype(np.float32),
    )
