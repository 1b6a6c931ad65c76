import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from blobs import Blobs, blob_factors, draw_blobs
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.figures.embeddings import Colouring, cluster_colouring, embedding_figure
from dualcontrast.figures.loss_curves import loss_figure, smooth
from dualcontrast.figures.reconstructions import reconstruction_figure
from dualcontrast.figures.run_figures import mapped_ids
from dualcontrast.figures.style import (
    as_pictures,
    class_colours,
    display_limits,
    mosaic,
    save_figure,
    shorten,
)
from dualcontrast.figures.transfer_grid import choose_examples, transfer_figure, transfer_images
from dualcontrast.figures.traversals import (
    STEPS,
    principal_axes,
    traversal_figure,
    traversal_images,
    traverse,
)

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def images():
    return draw_blobs(*blob_factors(4))


def test_a_cell_has_the_content_of_its_column_and_the_transformation_of_its_row(images):
    method = Blobs()
    content, transformation = method.encode(images)
    grid = transfer_images(method, images)
    assert grid.shape == (4, 4, *images.shape[1:])
    for i in range(4):
        for j in range(4):
            expected = method.decode(content.mean[j : j + 1], transformation.mean[i : i + 1])[0]
            torch.testing.assert_close(grid[i, j], expected)
    assert not torch.allclose(grid[0, 1], grid[1, 0])


def test_the_grid_is_drawn_with_originals_on_its_margins(images):
    grid = transfer_images(Blobs(), images).numpy()
    top, left, inside = transfer_figure(images.numpy(), grid).axes
    cell = images.shape[-1] + images.shape[-1] // 16
    size = images.shape[-1]
    limits = display_limits(images.numpy())
    pictures = as_pictures(images.numpy(), limits)
    drawn = {
        name: axes.images[0].get_array() for name, axes in (("top", top), ("left", left), ("in", inside))
    }
    for k in range(4):
        np.testing.assert_allclose(drawn["top"][:, k * cell : k * cell + size], pictures[k])
        np.testing.assert_allclose(drawn["left"][k * cell : k * cell + size], pictures[k])
    expected = as_pictures(grid[1, 2][None], limits)[0]
    np.testing.assert_allclose(drawn["in"][cell : cell + size, 2 * cell : 2 * cell + size], expected)


def test_margins_are_in_line_with_the_grid_and_nothing_is_cut():
    grid = np.random.default_rng(0).uniform(size=(5, 5, 1, 20, 30))
    figure = transfer_figure(grid[0], grid)
    top, left, inside = (axes.get_position() for axes in figure.axes)
    assert (top.x0, top.x1) == pytest.approx((inside.x0, inside.x1))
    assert (left.y0, left.y1) == pytest.approx((inside.y0, inside.y1))
    across, down = figure.get_size_inches()
    # One scale for both directions: 5 pictures of 30 with 4 gaps of 1, by 5 of 20 with 4 of 1.
    assert inside.width * across / (inside.height * down) == pytest.approx(154 / 104)
    box = figure.get_tightbbox()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= across
    assert box.y1 <= down


def test_examples_come_from_different_classes():
    rng = np.random.default_rng(0)
    values = np.array(["b"] * 50 + ["a"] * 5 + ["c"] * 2)
    chosen = choose_examples(values, 5, 57, rng)
    assert values[chosen].tolist() == sorted(values[chosen])
    assert set(values[chosen]) == {"a", "b", "c"}
    assert len(set(chosen)) == 5
    assert len(choose_examples(None, 80, 57, rng)) == 57


def test_pictures_of_every_kind():
    rng = np.random.default_rng(0)
    gray, rgb = rng.uniform(size=(2, 1, 8, 6)), rng.uniform(size=(2, 3, 8, 6))
    np.testing.assert_allclose(as_pictures(gray, (0, 1))[..., 1], gray[:, 0])
    np.testing.assert_allclose(as_pictures(rgb, (0, 1)), np.moveaxis(rgb, 1, -1))
    volume = rng.uniform(size=(2, 1, 10, 8, 6))
    np.testing.assert_allclose(as_pictures(volume, (0, 1))[..., 2], volume[:, 0, 5])
    assert as_pictures(np.zeros((1, 1, 4, 4))).max() == 0


def test_standardised_images_use_the_whole_range():
    shown = as_pictures(np.linspace(-3, 5, 10_000).reshape(1, 1, 100, 100))
    assert shown.min() == 0
    assert shown.max() == 1
    assert shown.mean() == pytest.approx(0.5, abs=0.01)


def test_a_mosaic_is_filled_row_by_row():
    pictures = np.stack([np.full((2, 3, 3), value) for value in (0.1, 0.2, 0.3)])
    sheet = mosaic(pictures, 2, gap=1)
    assert sheet.shape == (5, 7, 3)
    assert sheet[0, 0, 0] == 0.1
    assert sheet[0, 4, 0] == 0.2
    assert sheet[3, 0, 0] == 0.3
    assert sheet[2, 0, 0] == sheet[4, 6, 0] == 1


def test_principal_axes_agree_with_the_singular_values():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4)) + 3
    centre, axes, spreads = principal_axes(codes, 2)
    _, singular, vectors = np.linalg.svd(codes - codes.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(centre, codes.mean(axis=0))
    np.testing.assert_allclose(spreads, singular[:2] / np.sqrt(200))
    np.testing.assert_allclose(np.abs(np.sum(axes * vectors[:2], axis=1)), 1)


def test_a_traversal_moves_along_its_axis_only():
    axis, centre = np.array([0.6, 0.8]), np.array([1.0, -1.0])
    path = traverse(np.array([5.0, 2.0]), centre, axis, spread=2.0)
    np.testing.assert_allclose((path - centre) @ axis, 2 * np.array(STEPS), atol=1e-5)
    across = np.array([-0.8, 0.6])
    np.testing.assert_allclose((path - centre) @ across, (np.array([5.0, 2.0]) - centre) @ across, atol=1e-5)


def test_traversals_move_the_named_code(images):
    method = Blobs()
    content, transformation = method.encode(images)
    population = np.random.default_rng(0).normal(0, 0.2, (100, 1))
    moved, shares = traversal_images(
        method, "transformation", content.mean[:2], transformation.mean[:2], population
    )
    assert moved.shape == (1, 2, len(STEPS), 1, 33, 33)
    assert shares == pytest.approx([1])
    again = method.encode(torch.from_numpy(moved[0, 1]))
    np.testing.assert_allclose(again.content.mean, content.mean[1:2].repeat(len(STEPS), 1), atol=1e-3)
    assert np.all(np.abs(np.diff(again.transformation.mean[:, 0].numpy())) > 0.05)


def test_a_running_mean_by_hand():
    np.testing.assert_allclose(smooth(np.array([1.0, 2.0, 6.0, 3.0]), 3), [1.5, 3, 11 / 3, 4.5])
    np.testing.assert_allclose(smooth(np.arange(5.0), 1), np.arange(5))


def test_every_figure_becomes_a_png(images, tmp_path):
    rng = np.random.default_rng(0)
    pixels = images.numpy()
    moved = rng.uniform(size=(3, 4, len(STEPS), 1, 33, 33))
    places = {
        code: {"t-SNE": rng.normal(size=(40, 2)), "UMAP": rng.normal(size=(40, 2))}
        for code in ("content", "transformation")
    }
    places["transformation"]["UMAP"] = np.zeros((40, 2))
    rows = [
        {"epoch": 0.1 * n, "loss": 1 / (n + 1), "terms": {"kl_content": n, "late": 1.0}} for n in range(400)
    ]
    del rows[0]["terms"]["late"]
    figures = {
        "grid": transfer_figure(pixels, rng.uniform(size=(4, 4, 1, 33, 33))),
        "volumes": transfer_figure(
            rng.normal(size=(3, 1, 16, 16, 16)), rng.normal(size=(3, 3, 1, 16, 16, 16))
        ),
        "reconstructions": reconstruction_figure(pixels, pixels * 0.5),
        "traversal": traversal_figure("content", pixels, moved, np.array([0.5, 0.3, 0.2])),
        "classes": embedding_figure(places, Colouring("$kind", rng.integers(3, size=40))),
        "values": embedding_figure(places, Colouring("angle", rng.normal(size=40))),
        "many": embedding_figure(places, Colouring("name", np.array([f"class {i % 30}" for i in range(40)]))),
        "loss": loss_figure(rows),
        "one row": loss_figure(rows[-1:]),
    }
    for name, figure in figures.items():
        content = save_figure(figure, tmp_path / f"{name}.png").read_bytes()
        assert content.startswith(PNG)
        assert len(content) > 5_000


def test_figures_leave_no_global_state(images):
    import matplotlib.pyplot as plt

    before = dict(plt.rcParams)
    reconstruction_figure(images.numpy(), images.numpy())
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def test_colours_are_distinct_and_names_are_tamed():
    assert len(set(class_colours(12))) == 12
    assert len(set(class_colours(30))) == 30
    assert shorten("a" * 40) == "a" * 21 + "…"
    assert shorten("$x$") == r"\$x\$"


def test_groups_without_labels():
    rng = np.random.default_rng(0)
    colouring = cluster_colouring(rng.normal(size=(100, 3)))
    assert set(colouring.values) == set(range(1, 9))
    assert "no labels" in colouring.title
    assert set(cluster_colouring(np.ones((100, 3))).values) == {0}


def test_groups_of_more_images_than_are_fitted(monkeypatch):
    """Groups of those that were left out are the ones whose centres they are nearest to."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 8, 400)
    corners = np.array([[x, y, z] for x in (-9, 9) for y in (-9, 9) for z in (-9, 9)])
    monkeypatch.setattr("dualcontrast.figures.embeddings.FITTED_ROWS", 100)
    found = cluster_colouring((corners[truth] + rng.normal(0, 0.1, (400, 3))).astype(np.float32)).values
    assert len(set(zip(truth.tolist(), found.tolist(), strict=True))) == 8


def test_mapped_particles_keep_the_shares_of_their_classes(monkeypatch):
    monkeypatch.setattr("dualcontrast.figures.run_figures.MOST_POINTS", 100)
    ids = np.array([f"p{i:04d}" for i in range(1000)])
    kinds = np.where(np.arange(1000) < 30, "rare", np.where(np.arange(1000) < 500, "some", "most"))
    labels = LabelTable(ids, (Factor("kind", "content", kinds),))
    chosen = mapped_ids(ids, 0, labels)
    assert len(set(chosen.tolist())) == 100
    shares = dict(zip(*np.unique(kinds[np.isin(ids, chosen)], return_counts=True), strict=True))
    assert shares == {"rare": 3, "some": 47, "most": 50}
    assert np.array_equal(mapped_ids(ids, 0, labels), chosen)
    assert not np.array_equal(mapped_ids(ids, 1, labels), chosen)
    assert len(mapped_ids(ids, 0)) == 100


def test_a_map_leaves_torch_its_threads():
    # In a process of its own: numba's own threads are counted once, and one here.
    code = (
        "import numpy as np, torch; from dualcontrast.figures.embeddings import embed; "
        "embed(np.random.default_rng(0).normal(size=(30, 3)), 'UMAP'); print(torch.get_num_threads())"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["1"]
