"""Which points a box or a lasso holds, which point a click opens, and which are in view."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def inside(geometry: Mapping[str, Any], places: np.ndarray) -> np.ndarray:
    """Find the points that a box or a lasso holds.

    Parameters
    ----------
    geometry : mapping
        As Bokeh reports it: `type` `rect` with `x0`, `x1`, `y0`, `y1`, or `poly` with the corners `x`, `y`.
    places : numpy.ndarray, shape (N, 2)
        The points.

    Returns
    -------
    numpy.ndarray of bool, shape (N,)
    """
    if geometry["type"] == "rect":
        (left, right), (low, high) = (sorted((geometry[f"{axis}0"], geometry[f"{axis}1"])) for axis in "xy")
        x, y = places.T
        return (x >= left) & (x <= right) & (y >= low) & (y <= high)
    corners = np.column_stack([geometry["x"], geometry["y"]]).astype(np.float64)
    if len(corners) < 3:
        return np.zeros(len(places), dtype=bool)
    from matplotlib.path import Path

    # The bounding box first: it leaves few points for the test against every edge.
    found = in_view(
        places, (corners[:, 0].min(), corners[:, 0].max()), (corners[:, 1].min(), corners[:, 1].max())
    )
    rows = np.flatnonzero(found)
    found[rows] = Path(corners).contains_points(places[rows])
    return found


def clicked(
    place: tuple[float, float],
    places: np.ndarray,
    spans: tuple[float, float],
    half: tuple[float, float],
    reach: float,
) -> int | None:
    """Find the point that was clicked: the one whose picture is shown there, or the nearest.

    Where points lie over each other, Bokeh shows the picture of the first that the pointer touches; a click
    opens that one.

    Parameters
    ----------
    place : tuple of float
        Where.
    places : numpy.ndarray, shape (N, 2)
        The points, in the order in which they are drawn.
    spans : tuple of float
        Width and height of what is in view; distances are measured in these.
    half : tuple of float
        Half the width and height of a point.
    reach : float
        Largest distance, as a share of the spans; further away, nothing was clicked.
    """
    if not len(places):
        return None
    steps = np.abs(places - np.array(place))
    touched = np.flatnonzero((steps <= np.array(half)).all(axis=1))
    if len(touched):
        return int(touched[0])
    squares = np.square(steps / np.array(spans)).sum(axis=1)
    row = int(squares.argmin())
    return row if squares[row] <= reach**2 else None


def in_view(places: np.ndarray, across: tuple[float, float], up: tuple[float, float]) -> np.ndarray:
    """Say which points lie within two ranges, their ends included."""
    x, y = places.T
    return (x >= across[0]) & (x <= across[1]) & (y >= up[0]) & (y <= up[1])
