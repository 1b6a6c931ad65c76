"""Surfaces of volumes as small pictures, to be laid out beside sections and repeated as frames of a film."""

from collections.abc import Sequence

import numpy as np

from dualcontrast.figures.isosurfaces import FRONT, Mesh, draw_surface, isosurface
from dualcontrast.figures.style import DOTS_PER_INCH, add_panel, new_figure, pixels

Colour = tuple[float, ...] | str
SIDE_LENGTH = 160
# Drawn larger and averaged, since triangles are drawn without smooth edges.
_ENLARGED = 2
# Small boxes are interpolated to about so many voxels a side, or their surfaces show every triangle.
SMOOTH_BOX = 80
# Small pictures hide triangles, and there are many of them.
SMOOTH_BOX_OF_SMALL = 48


def mesh_of(volume: np.ndarray, level: float | None = None, box: int = SMOOTH_BOX) -> Mesh:
    """Surface of a volume, of the mean of its channels.

    Parameters
    ----------
    volume : numpy.ndarray, shape (C, D, H, W)
        Particle density positive.
    level : float, optional
        Density of the surface; that of `surface_level` by default.
    box : int
        Smaller boxes are interpolated to about so many voxels a side.
    """
    smoothing = max(1, round(box / max(volume.shape[1:])))
    return isosurface(volume.mean(axis=0), level, smoothing)


def half_width(meshes: Sequence[Mesh]) -> float:
    """Half the width of a panel that holds every surface, whatever way it is turned."""
    return 1.05 * max(1.0, *(mesh.radius for mesh in meshes))


def surface_pictures(
    meshes: Sequence[Mesh],
    colours: Sequence[Colour],
    limit: float,
    view: tuple[float, float] = FRONT,
    side: int = SIDE_LENGTH,
) -> np.ndarray:
    """Draw each surface on white.

    Parameters
    ----------
    meshes : sequence of Mesh, length K
        The surfaces.
    colours : sequence of matplotlib colours, length K
        One for each.
    limit : float
        Half the width of the pictures in voxels, one for all.
    view : tuple of float
        Angles of `view_matrix`.
    side : int
        Pixels along each side.

    Returns
    -------
    numpy.ndarray, shape (K, side, side, 3)
        RGB pictures with values in [0, 1].
    """
    inches = _ENLARGED * side / DOTS_PER_INCH
    pictures = []
    for mesh, colour in zip(meshes, colours, strict=True):
        figure = new_figure(inches, inches, "by hand")
        draw_surface(add_panel(figure, 0, 0, inches, inches), mesh, colour, limit, view)
        drawn = pixels(figure)[: _ENLARGED * side, : _ENLARGED * side]
        pictures.append(drawn.reshape(side, _ENLARGED, side, _ENLARGED, 3).mean(axis=(1, 3)) / 255)
    return np.stack(pictures)
