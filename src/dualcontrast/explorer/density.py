"""Points too many to draw one by one, added up in the cells of a grid."""

import numpy as np

from dualcontrast.explorer.colours import Colouring
from dualcontrast.explorer.picking import in_view

CELLS = 320
FAINTEST = 0.25


def density_image(
    places: np.ndarray,
    colouring: Colouring,
    chosen: np.ndarray,
    across: tuple[float, float],
    up: tuple[float, float],
) -> np.ndarray:
    """Draw how many points lie in each cell, in the mean of their colours.

    The opacity grows with the logarithm of the number, so that a lone point is still seen beside a thousand.
    Where some points are chosen, only they keep their opacity.

    Parameters
    ----------
    places : numpy.ndarray, shape (N, 2)
        The points.
    colouring : Colouring
        Of the points.
    chosen : numpy.ndarray of bool, shape (N,)
        The selection; where it is empty, all points are drawn alike.
    across, up : tuple of float
        Ranges in view.

    Returns
    -------
    numpy.ndarray, uint32, shape (320, 320)
        Red in the lowest byte, alpha in the highest; the first row is the lowest.
    """
    seen = in_view(places, across, up)
    rows = np.flatnonzero(seen)
    cell = np.zeros(len(rows), dtype=np.int64)
    for (low, high), axis, stride in ((across, 0, 1), (up, 1, CELLS)):
        along = (places[rows, axis] - low) / max(high - low, np.finfo(float).tiny)
        cell += stride * np.minimum((along * CELLS).astype(np.int64), CELLS - 1)
    weights = np.ones(len(rows))
    if chosen.any():
        weights = np.where(chosen[rows], 1.0, 0.02)
    total = np.bincount(cell, weights, CELLS * CELLS)
    rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colouring.palette])
    image = np.zeros((CELLS * CELLS, 4), dtype=np.uint8)
    full = total > 0
    for channel in range(3):
        sums = np.bincount(cell, weights * rgb[colouring.shades[rows], channel], CELLS * CELLS)
        image[full, channel] = (sums[full] / total[full]).astype(np.uint8)
    if full.any():
        opacity = np.log1p(total[full]) / np.log1p(max(total.max(), 1.0))
        faint = np.minimum(total[full], 1.0) * FAINTEST
        image[full, 3] = (255 * (faint + (1 - FAINTEST) * opacity)).astype(np.uint8)
    return image.view(np.uint32).reshape(CELLS, CELLS)
