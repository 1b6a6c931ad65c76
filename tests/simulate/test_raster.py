"""Exact coverage of pixels by polygons."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path

from dualcontrast.simulate.raster import polygon_coverage


def shoelace(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def overlap(low: float, high: float, size: int) -> np.ndarray:
    """Length of each unit interval inside [low, high]."""
    edges = np.arange(size + 1)
    return np.maximum(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0.0)


coordinate = st.floats(-4, 20, allow_nan=False) | st.integers(-4, 20).map(float)


@settings(max_examples=200, deadline=None)
@given(coordinate, coordinate, coordinate, coordinate, st.booleans())
def test_rectangles_anywhere_are_products_of_overlaps(a, b, c, d, reverse):
    left, right, top, bottom = min(a, b), max(a, b), min(c, d), max(c, d)
    corners = rectangle(left, top, right, bottom)
    found = polygon_coverage(corners[None, :: -1 if reverse else 1], 16)[0]
    np.testing.assert_allclose(
        found, np.outer(overlap(top, bottom, 16), overlap(left, right, 16)), atol=1e-12
    )


def test_a_triangle_covers_half_of_the_pixels_on_its_diagonal():
    found = polygon_coverage(np.array([[[0.0, 0.0], [4.0, 4.0], [0.0, 4.0]]]), 4)[0]
    np.testing.assert_allclose(found, np.tril(np.ones((4, 4)), -1) + 0.5 * np.eye(4), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_star_polygons_keep_their_area_and_each_pixel_agrees_with_sampling(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 23))
    radii = rng.uniform(1, 9.5, 23)
    polygon = 10 + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = polygon_coverage(polygon[None], 20)[0]
    assert found.sum() == pytest.approx(shoelace(polygon), abs=1e-9)
    fine = 40
    ticks = (np.arange(20 * fine) + 0.5) / fine
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    inside = Path(polygon).contains_points(grid).reshape(20, fine, 20, fine)
    np.testing.assert_allclose(found, inside.mean(axis=(1, 3)), atol=0.03)


def test_polygons_of_a_batch_do_not_mix():
    squares = np.stack([rectangle(1, 1, 3, 3), rectangle(14.5, 14.5, 20, 20)])
    together = polygon_coverage(squares, 16)
    alone = np.concatenate([polygon_coverage(square[None], 16) for square in squares])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(together.sum(axis=(1, 2)), [4.0, 2.25], rtol=1e-12)
