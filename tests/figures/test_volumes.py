"""Sections and surfaces of volumes: the right planes, the right sizes, and a whole 3-D run drawn."""

import numpy as np
import pytest
from scipy.ndimage import zoom

from balls import make_ball_run
from dualcontrast.class_finding import cluster_run
from dualcontrast.figures.isosurfaces import (
    Mesh,
    draw_surface,
    isosurface,
    refined,
    surface_level,
    view_matrix,
)
from dualcontrast.figures.run_figures import make_figures
from dualcontrast.figures.style import new_figure
from dualcontrast.figures.volumes import (
    class_codes,
    class_surfaces_figure,
    orthogonal_figure,
    orthogonal_sections,
    slice_places,
    slices_figure,
    transfer_surfaces_figure,
)


def radii(shape=(48, 48, 48), centre=(0.0, 0.0, 0.0)) -> np.ndarray:
    """Distance from a point (z, y, x) that is measured from voxel n // 2."""
    axes = [np.arange(n) - n // 2 - c for n, c in zip(shape, centre, strict=True)]
    return np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij")))


@pytest.mark.parametrize("smoothing", [1, 2])
@pytest.mark.parametrize("radius", [6.0, 15.0])
def test_a_ball_has_its_area_and_volume(radius, smoothing):
    mesh = isosurface(20 - radii(), 20 - radius, smoothing)
    assert mesh.area() == pytest.approx(4 * np.pi * radius**2, rel=0.03)
    assert mesh.radius == pytest.approx(radius, rel=0.02)
    # By the divergence theorem; positive only if every triangle runs counter-clockwise seen from outside.
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    volume = np.sum(a * np.cross(b, c)) / 6
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.05)


@pytest.mark.parametrize("smoothing", [1, 2])
def test_positions_are_x_y_z_from_the_centre(smoothing):
    mesh = isosurface(20 - radii((30, 34, 41), centre=(-3, 5, 8)), 16, smoothing)
    np.testing.assert_allclose(mesh.vertices.mean(axis=0), (8, 5, -3), atol=0.1)


def test_refining_is_the_interpolation_of_scipy(rng):
    volume = rng.normal(size=(7, 9, 11)).astype(np.float32)
    np.testing.assert_allclose(refined(volume, 3), zoom(volume, 3, order=3), atol=1e-5)


def test_a_surface_is_closed_where_it_leaves_the_box():
    mesh = isosurface(np.pad(np.ones((8, 8, 8)), ((0, 4), (4, 4), (4, 4))), 0.5)
    edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]))
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert np.all(counts == 2)


def test_the_level_is_a_third_up_the_density():
    # 1 % of the voxels at 3, the others at -1.
    volume = np.full((10, 10, 10), -1.0)
    volume[0, 0] = 3
    assert surface_level(volume) == pytest.approx(-1 + 0.35 * 4)
    assert len(isosurface(np.ones((8, 8, 8))).faces) == 0
    assert len(isosurface(radii((8, 8, 8)), 99).faces) == 0
    assert isosurface(np.ones((8, 8, 8))).radius == 0


def test_views_are_rotations():
    # Turned by 90° about y, what was on the right (x) goes away from the viewer's side (z) and so on.
    np.testing.assert_allclose(view_matrix(0, 90) @ [1, 0, 0], [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(view_matrix(90, 0) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    matrix = view_matrix(-25, 30)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_only_what_faces_the_viewer_is_drawn_and_near_things_come_last():
    balls = np.maximum(
        8 - radii((40, 40, 40), centre=(-10, 0, 0)), 8 - radii((40, 40, 40), centre=(10, 0, 0))
    )
    mesh = isosurface(balls, 3.0)
    axes = new_figure(2, 2).subplots()
    draw_surface(axes, mesh, "#0072b2", 20, view=(0.0, 0.0))
    (drawn,) = axes.collections
    triangles = len(drawn.get_paths())
    # Half of all triangles, but for those seen edge-on.
    assert 0.42 * len(mesh.faces) < triangles < 0.52 * len(mesh.faces)
    # Along z, the far ball is hidden by the near one, which is drawn last and is less pale.
    colours = drawn.get_facecolors()
    far, near = colours[: triangles // 3].mean(axis=0), colours[-triangles // 3 :].mean(axis=0)
    assert far[0] > near[0] + 0.02
    # The light comes from the upper left: left is lighter than right. y runs down.
    places = np.array([path.vertices[:3].mean(axis=0) for path in drawn.get_paths()])
    brightness = colours[:, :3].mean(axis=1)
    assert brightness[places[:, 0] < -2].mean() > brightness[places[:, 0] > 2].mean() + 0.05
    assert axes.get_ylim() == (20, -20)


def test_a_volume_without_a_surface_is_said():
    axes = new_figure(2, 2).subplots()
    draw_surface(axes, Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=int)), "red", 5)
    assert axes.texts[0].get_text() == "no surface"


def test_sections_are_the_planes_that_they_are_called():
    # Each voxel says where it is: 100 z + 10 y + x.
    z, y, x = np.indices((6, 7, 8))
    volume = (100 * z + 10 * y + x).astype(float)[None, None]
    sections = orthogonal_sections(volume)
    assert {name: section.shape for name, section in sections.items()} == {
        "xy": (1, 1, 7, 8),
        "xz": (1, 1, 6, 8),
        "yz": (1, 1, 6, 7),
    }
    # Rows run along the second letter, columns along the first; the third is at n // 2.
    assert sections["xy"][0, 0, 2, 5] == 100 * 3 + 10 * 2 + 5
    assert sections["xz"][0, 0, 2, 5] == 100 * 2 + 10 * 3 + 5
    assert sections["yz"][0, 0, 2, 5] == 100 * 2 + 10 * 5 + 4


def test_slices_are_spread_over_the_middle_of_the_box():
    assert slice_places(41, 8).tolist() == [6, 10, 14, 18, 22, 26, 30, 34]
    assert slice_places(8, 8).tolist() == [1, 2, 3, 4, 5, 6]


def test_pictures_show_the_sections_in_their_places():
    rng = np.random.default_rng(0)
    originals, decoded = rng.uniform(0, 1, (2, 2, 1, 20, 24, 28))
    panels = orthogonal_figure(originals, decoded).axes
    assert [axes.get_title() for axes in panels if axes.get_title()] == ["xy", "xz", "yz"] * 2
    # Column by column: the third of the left half is yz.
    shown = np.asarray(panels[4].images[0].get_array())[..., 0]
    np.testing.assert_allclose(shown, np.clip(originals[0, 0, :, :, 14], 0, 1), atol=0.01)
    shown = np.asarray(panels[7].images[0].get_array())[..., 0]
    np.testing.assert_allclose(shown, np.clip(decoded[1, 0, 10], 0, 1), atol=0.01)
    rows = slices_figure(originals, decoded).axes
    assert [axes.get_ylabel() for axes in rows] == ["original", "reconstruction"] * 2
    place = slice_places(20)[2]
    shown = np.asarray(rows[3].images[0].get_array())[:, 2 * 29 : 2 * 29 + 28, 0]
    np.testing.assert_allclose(shown, np.clip(decoded[1, 0, place], 0, 1), atol=0.01)


def test_codes_of_classes():
    content = np.array([[0.0, 1], [2, 3], [10, 10]])
    transformation = np.array([[0.0], [1.2], [3]])
    names, sizes, c, z = class_codes(content, transformation, np.array(["b", "b", "a"]))
    assert (names, sizes) == (["a", "b"], [1, 2])
    np.testing.assert_allclose(c, [[10, 10], [1, 2]])
    # The mean is 1.4, to which 1.2 is nearest.
    np.testing.assert_allclose(z, [[1.2], [1.2]], atol=1e-6)


def test_surfaces_have_one_scale_and_their_columns_colours():
    small, large = (np.exp(-(radii((28,) * 3) ** 2) / (2 * s**2))[None] for s in (2.5, 5.0))
    grid = np.stack([np.stack([small, large])] * 2)
    figure = transfer_surfaces_figure(grid, ["#0072b2", "#d55e00"])
    assert len(figure.axes) == 4
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    blue, red = (figure.axes[k].collections[0].get_facecolors().mean(axis=0) for k in (0, 1))
    assert blue[2] > blue[0] and red[0] > red[2]
    extents = [
        np.ptp(np.concatenate([p.vertices[:, 0] for p in axes.collections[0].get_paths()]))
        for axes in figure.axes[:2]
    ]
    # exp(-r² / 2 s²) reaches the level at r = s √(-2 ln level).
    diameters = [
        2 * s * np.sqrt(-2 * np.log(surface_level(volume[0]))) for s, volume in ((2.5, small), (5.0, large))
    ]
    np.testing.assert_allclose(extents, diameters, rtol=0.03)
    figure = class_surfaces_figure(np.stack([small, large] * 4), list("abcdefgh"), [1] * 8, ["#0072b2"] * 8)
    assert len(figure.axes) == 16
    assert "h\n1 particles" in [axes.get_title() for axes in figure.axes]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_ball_run(tmp_path_factory.mktemp("balls") / "run")


@pytest.fixture(autouse=True)
def without_maps(monkeypatch):
    # Maps of the codes take long and are tested elsewhere.
    monkeypatch.setattr("dualcontrast.figures.run_figures._embedding_figures", lambda *arguments: [])


def test_a_run_of_volumes_gets_figures_of_volumes(run):
    figures = {figure.path.name: figure for figure in make_figures(run)}
    assert list(figures) == [
        "transfer_grid.png",
        "reconstructions.png",
        "traversal_surfaces_content.png",
        "traversal_content.png",
        "traversal_surfaces_transformation.png",
        "traversal_transformation.png",
        "surfaces_of_transfers.png",
        "orthogonal_sections.png",
        "slices.png",
        "surfaces_of_classes.png",
        "losses.png",
    ]
    for figure in figures.values():
        written = figure.path.read_bytes()
        assert written.startswith(b"\x89PNG") and 5_000 < len(written) < 1_000_000
        assert figure.alternative.endswith(".")
    assert "mean content code of each class" in figures["surfaces_of_classes.png"].caption
    films = {figure.path.name: figure.film for figure in figures.values() if figure.film}
    assert list(films) == ["traversal_surfaces_content.png", "traversal_surfaces_transformation.png"]
    for film in films.values():
        assert film.stat().st_size < 2_000_000


def test_classes_without_labels_are_groups_of_c(run, monkeypatch):
    monkeypatch.setattr(run.source, "labels", None)
    # Films take long and do not depend on labels.
    monkeypatch.setattr("dualcontrast.figures.run_figures.traversal_figures", lambda *arguments: [])
    drawn = {}
    monkeypatch.setattr(
        "dualcontrast.figures.volumes.class_surfaces_figure",
        lambda volumes, names, sizes, colours: drawn.update(names=names, sizes=sizes) or new_figure(1, 1),
    )
    monkeypatch.setattr(
        "dualcontrast.figures.volumes.transfer_surfaces_figure", lambda *arguments: new_figure(1, 1)
    )
    make_figures(run)
    assert drawn["names"] != ["ball", "big"]
    assert sum(drawn["sizes"]) == 60

    # Found classes go before groups that would be made for the figure.
    left = run.path / "figures" / "classes_gone_decoded.png"
    left.write_bytes(b"of classes that were deleted")
    make_figures(run, clusterings=[cluster_run(run, "content", 2, "kmeans", device="cpu")])
    assert not left.exists() and (left.parent / "classes_content_decoded.png").exists()
    assert drawn["names"] == ["1", "2"]
    widths = run.codes.content[:, 0]
    assert sorted(drawn["sizes"]) == sorted([int(np.sum(widths < 1.8)), int(np.sum(widths > 1.8))])
