"""Drawing filled polygons with exact anti-aliasing."""

import numpy as np


def polygon_coverage(polygons: np.ndarray, size: int) -> np.ndarray:
    """Fraction of each pixel that lies inside each polygon, computed exactly.

    By Green's theorem the area inside a polygon is a sum over its edges. Every edge is cut where it crosses
    a grid line, so that each piece lies in one pixel. A piece that descends by dy adds dy times its distance
    from the right border to its own pixel, and dy to all pixels further right in the row; summing up along
    each row gives the covered area.

    Parameters
    ----------
    polygons : numpy.ndarray, float64, shape (n, P, 2)
        Corners (x, y) of n closed polygons that do not cross themselves, in pixels: pixel (row r, column c)
        is the square c <= x <= c + 1, r <= y <= r + 1. Either sense of rotation. Parts outside of the image
        are cut off.
    size : int
        Height and width of the images in pixels.

    Returns
    -------
    numpy.ndarray, float64, shape (n, size, size)
        Coverage in [0, 1].
    """
    count, corners = polygons.shape[:2]
    start = polygons.reshape(-1, 2)
    change = (np.roll(polygons, -1, axis=1) - polygons).reshape(-1, 2)
    image = np.repeat(np.arange(count), corners)

    # Cut edges into parts shorter than a pixel in x and in y: such a part crosses at most one grid line of
    # each kind, so that two more cuts leave every piece within one pixel.
    parts = np.floor(np.abs(change).max(axis=1)).astype(np.int64) + 1
    owner = np.repeat(np.arange(len(parts)), parts)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(parts) - parts, parts)
    change = change[owner] / parts[owner, None]
    start = start[owner] + nth[:, None] * change
    image = image[owner]

    lower, upper = np.minimum(start, start + change), np.maximum(start, start + change)
    line = np.floor(upper)
    crosses = line > lower
    cut = np.where(crosses, (line - start) / np.where(crosses, change, 1.0), 1.0)
    cut.sort(axis=1)
    bounds = np.stack([np.zeros(len(cut)), cut[:, 0], cut[:, 1], np.ones(len(cut))])

    length = np.diff(bounds, axis=0)
    middle = (bounds[:-1] + bounds[1:]) / 2
    x = start[:, 0] + middle * change[:, 0]
    y = start[:, 1] + middle * change[:, 1]
    descent = length * change[:, 1]
    row, column = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    # To the left of the image a piece covers its row from the first column on; to the right it covers none.
    inside = (row >= 0) & (row < size) & (column < size) & (descent != 0)
    to_the_left = column < 0
    share = np.where(to_the_left, 1.0, column + 1 - x)
    column = np.where(to_the_left, 0, column)

    # One column more than the image takes what the last column passes on to its right.
    cell = ((image * size + row) * (size + 1) + column)[inside]
    descent, share = descent[inside], share[inside]
    cells = count * size * (size + 1)
    gained = np.bincount(cell, descent * share, cells) + np.bincount(cell + 1, descent * (1 - share), cells)
    covered = np.cumsum(gained.reshape(count, size, size + 1), axis=2)[..., :size]
    return np.clip(np.abs(covered), 0.0, 1.0)
