"""Shaded surfaces of volumes, drawn as flat triangles: no OpenGL, no window, the same picture everywhere."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb

from dualcontrast.figures.style import QUIET, bare_axes

# Of the way from the background to the brightest voxels; half the way cuts thin parts off.
LEVEL_SHARE = 0.35
BRIGHTEST_PERCENTILE = 99.9
# Seen from in front (x to the right, y down, as slices are shown), turned a little to show depth.
FRONT = (-25.0, 30.0)
SIDE = (-25.0, 120.0)
_LIGHT = np.array([-0.45, -0.65, -0.75]) / np.linalg.norm([-0.45, -0.65, -0.75])


@dataclass(frozen=True)
class Mesh:
    """A triangulated surface.

    Attributes
    ----------
    vertices : numpy.ndarray, shape (V, 3)
        Positions (x, y, z) in voxels from the centre of the box, voxel `n // 2`.
    faces : numpy.ndarray of int, shape (F, 3)
        Vertices of each triangle; counter-clockwise when seen from outside, where the density is lower.
    """

    vertices: np.ndarray
    faces: np.ndarray

    @property
    def radius(self) -> float:
        """Largest distance of a vertex from the centre of the box, in voxels; 0 without a surface."""
        return float(np.linalg.norm(self.vertices, axis=1).max()) if len(self.vertices) else 0.0

    def area(self) -> float:
        """Area of the surface in square voxels."""
        a, b, c = (self.vertices[self.faces[:, corner]] for corner in range(3))
        return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def surface_level(volume: np.ndarray) -> float:
    """Choose a density at which to draw the surface of a particle.

    35 % of the way from the background (the median voxel, since most of a box is solvent) to the brightest
    voxels (the 99.9th percentile, which a single bright voxel does not move).

    Parameters
    ----------
    volume : numpy.ndarray, shape (D, H, W)
        Particle density positive.
    """
    background, brightest = np.percentile(volume, (50, BRIGHTEST_PERCENTILE))
    return float(background + LEVEL_SHARE * (brightest - background))


def isosurface(volume: np.ndarray, level: float | None = None, smoothing: int = 1) -> Mesh:
    """Triangulate a surface of equal density by marching cubes (scikit-image).

    Parameters
    ----------
    volume : numpy.ndarray, shape (D, H, W)
        Particle density positive.
    level : float, optional
        Density of the surface; `surface_level` by default.
    smoothing : int
        Interpolate (cubic spline) to so many voxels a voxel first, which rounds off the triangles' edges.

    Returns
    -------
    Mesh
        Closed: beyond the box, the density counts as the lowest. Without faces where no voxel, or every
        voxel, is above the level.
    """
    from skimage.measure import marching_cubes

    volume = np.asarray(volume, dtype=np.float32)
    level = surface_level(volume) if level is None else level
    centre = np.array([length // 2 for length in volume.shape])
    steps = np.ones(3)
    if smoothing > 1:
        fine = refined(volume, smoothing)
        steps = (np.array(volume.shape) - 1) / (np.array(fine.shape) - 1)
        volume = fine
    lowest = float(volume.min())
    if not lowest < level < float(volume.max()):
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    padded = np.pad(volume, 1, constant_values=lowest)
    vertices, faces, _, _ = marching_cubes(padded, level, gradient_direction="descent")
    return Mesh(((vertices - 1) * steps - centre)[:, ::-1], faces.astype(np.int64))


def refined(volume: np.ndarray, factor: int) -> np.ndarray:
    """Interpolate a volume to `factor` times as many voxels a side, by cubic splines.

    The numbers are those of `scipy.ndimage.zoom`; one axis after the other takes a small part of its time.
    """
    from scipy.ndimage import zoom

    for axis, length in enumerate(volume.shape):
        weights = np.asarray(zoom(np.eye(length), (factor, 1), order=3)).astype(volume.dtype)
        volume = np.moveaxis(np.tensordot(weights, volume, axes=(1, axis)), 0, axis)
    return volume


def view_matrix(about_x: float, about_y: float) -> np.ndarray:
    """Rotation (degrees) that turns the object about y, then about x; acts on (x, y, z) columns."""
    a, b = np.deg2rad((about_x, about_y))
    turn_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    return turn_x @ turn_y


def draw_surface(
    axes: Axes,
    mesh: Mesh,
    colour: tuple[float, ...] | str,
    limit: float,
    view: tuple[float, float] = FRONT,
) -> None:
    """Draw a surface in parallel projection, lit from the upper left in front.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Emptied of ticks and frame.
    mesh : Mesh
        One without faces is announced in words.
    colour : matplotlib colour
        Of the surface.
    limit : float
        Half the width of the picture in voxels; one for all panels makes sizes comparable.
    view : tuple of float
        Angles of `view_matrix`.
    """
    bare_axes(axes)
    axes.set_xlim(-limit, limit)
    axes.set_ylim(limit, -limit)
    axes.set_aspect("equal")
    if not len(mesh.faces):
        axes.text(0, 0, "no surface", ha="center", va="center", color=QUIET)
        return
    turned = mesh.vertices @ view_matrix(*view).T
    corners = turned[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # Smooth shading: a triangle is lit as the mean of its corners, and a corner as all triangles around it.
    at_corner = np.zeros_like(turned)
    for corner in range(3):
        np.add.at(at_corner, mesh.faces[:, corner], normals)
    smooth = at_corner[mesh.faces].sum(axis=1)
    smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-12)
    # The viewer looks along +z; what faces away is hidden by what is in front of it.
    seen = normals[:, 2] < 0
    depth = corners[:, :, 2].mean(axis=1)
    order = np.flatnonzero(seen)[np.argsort(-depth[seen])]
    axes.add_collection(
        PolyCollection(
            corners[order][:, :, :2],  # pyright: ignore[reportArgumentType]
            facecolors=_shade(smooth[order], depth[order], colour, limit),
            edgecolors="none",
            antialiaseds=False,
            rasterized=True,
        )
    )


def _shade(
    normals: np.ndarray, depth: np.ndarray, colour: tuple[float, ...] | str, limit: float
) -> np.ndarray:
    """Colours of faces: ambient, diffuse and a little specular light, paler with depth."""
    base = np.array(to_rgb(colour))  # pyright: ignore[reportArgumentType]
    lit = np.clip(normals @ _LIGHT, 0, 1)[:, None]
    halfway = _LIGHT + np.array([0.0, 0.0, -1.0])
    shine = np.clip(normals @ (halfway / np.linalg.norm(halfway)), 0, 1)[:, None] ** 24
    shaded = base * (0.38 + 0.68 * lit) + 0.22 * shine
    distance = np.clip((depth / limit + 1) / 2, 0, 1)[:, None]
    return np.clip(shaded + (1 - shaded) * 0.35 * distance, 0, 1)
