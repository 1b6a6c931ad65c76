"""Films of traversals: what moves is what is decoded, frame by frame, and runs to and fro."""

import numpy as np
import pytest
from PIL import Image

from dualcontrast.figures.animation import write_loop
from dualcontrast.figures.isosurfaces import isosurface
from dualcontrast.figures.moving_traversals import pooled, traversal_frames, traversal_surfaces
from dualcontrast.figures.picture_table import picture_table
from dualcontrast.figures.style import pixels
from dualcontrast.figures.surface_pictures import surface_pictures
from dualcontrast.figures.traversals import traversal_sheet


def ball(radius: float, size: int = 24) -> np.ndarray:
    """Density that falls from the centre, voxel n // 2, and is 0 at the radius."""
    axis = np.arange(size) - size // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return radius - np.sqrt(x**2 + y**2 + z**2)


def inked(picture: np.ndarray) -> float:
    """Share of a picture that is not white."""
    return float(np.mean(picture.min(axis=-1) < 0.97))


def test_a_film_runs_to_and_fro_in_the_colours_of_its_frames(tmp_path):
    values = [0, 60, 120, 180, 240]
    frames = np.stack([np.full((8, 12, 3), (value, 255 - value, 7), dtype=np.uint8) for value in values])
    path = write_loop(tmp_path / "film.gif", frames, frames_per_second=5)
    with Image.open(path) as film:
        assert film.size == (12, 8) and film.info["loop"] == 0
        assert getattr(film, "n_frames", 1) == 8
        found = []
        for place in range(8):
            film.seek(place)
            assert film.info["duration"] == 200
            found.append(film.convert("RGB").getpixel((5, 5)))
    assert found == [(value, 255 - value, 7) for value in (*values, 180, 120, 60)]


def test_a_drawn_ball_covers_its_disc():
    mesh = isosurface(ball(7.0), 0.0)
    (picture,) = surface_pictures([mesh], ["#0072b2"], limit=14.0, side=80)
    assert picture.shape == (80, 80, 3)
    assert inked(picture) == pytest.approx(np.pi * 7**2 / 28**2, rel=0.06)


def test_what_fades_gets_smaller_in_a_film():
    # The same ball, denser and denser: with a level for each step it would always have one size.
    cone = np.maximum(ball(8.0), 0)
    walk = np.stack([strength * cone for strength in (0.5, 1.0, 1.5)])[None, None, :, None]
    pictures = traversal_surfaces("transformation", walk)
    assert pictures.shape[:3] == (1, 1, 3)
    areas = [inked(picture) for picture in pictures[0, 0]]
    assert areas[0] < 0.8 * areas[1] < 0.95 * areas[2]


def test_large_boxes_are_pooled(rng):
    volumes = rng.normal(size=(2, 12, 13, 9))
    small = pooled(volumes, 6)
    assert small.shape == (2, 6, 6, 4)
    assert small[1, 2, 5, 3] == pytest.approx(volumes[1, 4:6, 10:12, 6:8].mean())
    np.testing.assert_array_equal(pooled(volumes, 13), volumes)


def test_every_frame_shows_its_step():
    # Two directions, three images, four steps; each cell has the grey that says which.
    greys = np.linspace(0.05, 0.9, 24).reshape(2, 3, 4)
    cells = np.broadcast_to(greys[..., None, None, None], (2, 3, 4, 10, 10, 3))
    frames = traversal_frames("content", {"image": cells}, np.array([0.5, 0.2]), [-2, -1, 1, 2])
    assert frames.shape[0] == 4 and frames.dtype == np.uint8
    for step in range(4):
        there = {int(value) for value in np.unique(frames[step][..., 0])}
        for other in range(4):
            for grey in greys[:, :, other].ravel():
                area = np.mean(np.all(frames[step] == int(grey * 255), axis=-1))
                assert (area > 0.01) == (other == step), (step, other, there)
    # The mark on the ruler goes from the left to the right: blue, unlike anything else at the foot.
    foot = frames[:, -80:].astype(int)
    blue = (foot[..., 2] - foot[..., 0]) > 100
    places = [np.nonzero(mask)[1].mean() for mask in blue]
    assert np.all(np.diff(places) > 50)


def test_the_sheet_names_its_steps():
    cells = np.zeros((1, 2, 3, 8, 8, 3))
    figure = traversal_sheet("transformation", np.zeros((2, 8, 8, 3)), cells, np.array([0.4]), [-2, 0, 2])
    words = [text.get_text() for text in figure.texts]
    assert words == ["−2 s.d.", "mean", "+2 s.d.", "moving the transformation code z"]
    assert pixels(figure).shape[2] == 3


def test_a_table_of_pictures_goes_on_below():
    rows = {"mean": np.zeros((8, 6, 6, 3)), "member": np.ones((8, 6, 6, 3))}
    figure = picture_table([f"class {number}" for number in range(1, 9)], rows)
    assert len(figure.axes) == 16
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"class {number}" for number in range(1, 9)]
    # Named at the left end of either block.
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["mean", "member"] * 2
    first, seventh = (figure.axes[place].get_position() for place in (0, 12))
    assert seventh.x0 == pytest.approx(first.x0) and seventh.y1 < first.y0
