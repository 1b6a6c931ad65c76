"""The parts of the explorer that need no browser."""

import time

import numpy as np
import pytest
import starfile
import torch
from job_work import count_to, fail, vanish
from matplotlib.path import Path as Outline
from sklearn.decomposition import PCA

from blobs import make_run
from dualcontrast import Codes
from dualcontrast.class_finding import cluster_run
from dualcontrast.data.star import StarSource
from dualcontrast.errors import SettingError, UserError
from dualcontrast.explorer.classes_pane import ClassesPane
from dualcontrast.explorer.colours import MOST_CLASSES, OTHERS, colour_by
from dualcontrast.explorer.columns import Column, columns_of
from dualcontrast.explorer.density import CELLS, density_image
from dualcontrast.explorer.desk import Desk
from dualcontrast.explorer.exports import export_selection
from dualcontrast.explorer.history import History
from dualcontrast.explorer.jobs import Job
from dualcontrast.explorer.kept import read_kept
from dualcontrast.explorer.picking import clicked, inside
from dualcontrast.explorer.pictures import picture_of, section
from dualcontrast.explorer.places import compute_places, dimensions_of, quick_places
from dualcontrast.explorer.run_view import RunView
from dualcontrast.explorer.selections import Selections
from dualcontrast.explorer.state import State
from star_project import make_project


def wait_for(job: Job) -> Job:
    end = time.monotonic() + 120
    while job.state == "running" and time.monotonic() < end:
        job.poll()
        time.sleep(0.02)
    return job


@pytest.mark.parametrize("kind", ["rect", "poly"])
def test_boxes_and_lassos_hold_what_lies_in_them(rng, kind):
    places = rng.uniform(-1, 1, (500, 2)).astype(np.float32)
    if kind == "rect":
        held = inside({"type": "rect", "x0": 0.5, "x1": -0.2, "y0": -0.7, "y1": 0.1}, places)
        x, y = places.T
        expected = (x >= -0.2) & (x <= 0.5) & (y >= -0.7) & (y <= 0.1)
    else:
        # A ring sector, which is not convex.
        angle = np.linspace(0, 4, 20)
        corners = np.concatenate(
            [
                np.stack([np.cos(angle), np.sin(angle)], 1),
                0.4 * np.stack([np.cos(angle), np.sin(angle)], 1)[::-1],
            ]
        )
        held = inside({"type": "poly", "x": corners[:, 0].tolist(), "y": corners[:, 1].tolist()}, places)
        expected = np.array([Outline(corners).contains_point(place) for place in places])
    assert 20 < expected.sum() < 480
    np.testing.assert_array_equal(held, expected)


def test_a_line_holds_nothing(rng):
    assert not inside({"type": "poly", "x": [0, 1], "y": [0, 1]}, rng.normal(size=(9, 2))).any()


def test_a_click_opens_what_is_shown_there_or_else_the_nearest():
    places = np.array([[0.0, 0.0], [0.01, 0.0], [0.5, 0.5]])
    at = {"spans": (1.0, 1.0), "half": (0.02, 0.02), "reach": 0.1}
    # Bokeh shows the first of two that overlap, though the second is nearer.
    assert clicked((0.012, 0.0), places, **at) == 0
    assert clicked((0.45, 0.5), places, **at) == 2
    assert clicked((0.3, 0.3), places, **at) is None
    assert clicked((0.0, 0.0), places[:0], **at) is None


def test_names_have_colours_of_their_own_and_the_rest_share_one():
    values = np.array([f"{number}" for number in range(20) for _ in range(20 - number)])
    found = colour_by(Column("class", values), len(values))
    names = [name for name, _, _ in found.legend]
    assert names == [str(number) for number in range(MOST_CLASSES)] + ["8 more"]
    assert found.legend[0][2] == 20
    assert len({colour for _, colour, _ in found.legend}) == MOST_CLASSES + 1
    # Every point has the colour that the legend gives its name.
    colour_of = {name: colour for name, colour, _ in found.legend}
    for value, shade in zip(values, found.shades, strict=True):
        assert found.palette[shade] == colour_of.get(value, OTHERS)


def test_a_scale_runs_between_percentiles_and_marks_what_is_not_known():
    values = np.append(np.linspace(0, 100, 1001), [np.nan, 1e9])
    found = colour_by(Column("defocus", values), len(values))
    low, high = np.percentile(values[np.isfinite(values)], (1, 99))
    assert found.limits == pytest.approx((low, high))
    assert found.palette[found.shades[-2]] == OTHERS
    assert found.shades[-1] == max(found.shades[:-2])
    assert np.all(np.diff(found.shades[:1001].astype(int)) >= 0)


def test_density_counts_points_in_the_colour_of_most(rng):
    places = np.concatenate([np.full((1000, 2), 0.25), np.full((10, 2), 0.75)])
    column = Column("kind", np.array(["a"] * 1000 + ["b"] * 10))
    colouring = colour_by(column, 1010)
    image = density_image(places, colouring, np.zeros(1010, dtype=bool), (0, 1), (0, 1))
    pixels = image.view(np.uint8).reshape(CELLS, CELLS, 4)
    quarter, rest = CELLS // 4, 3 * CELLS // 4
    assert (pixels[..., 3] > 0).sum() == 2
    for place, colour in ((quarter, colouring.legend[0][1]), (rest, colouring.legend[1][1])):
        assert pixels[place, place, :3].tolist() == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    # log(1 + 10) / log(1 + 1000) of the way from faint to full.
    expected = 255 * (0.25 + 0.75 * np.log(11) / np.log(1001))
    assert pixels[rest, rest, 3] == pytest.approx(expected, abs=1.5)
    chosen = np.arange(1010) >= 1000
    pixels = density_image(places, colouring, chosen, (0, 1), (0, 1)).view(np.uint8).reshape(CELLS, CELLS, 4)
    assert pixels[rest, rest, 3] == pytest.approx(255 * (0.25 + 0.75 * np.log(11) / np.log(21)), abs=1.5)
    assert not density_image(places, colouring, chosen, (2, 3), (0, 1)).any()


def test_places_are_principal_axes_or_dimensions(rng):
    codes = rng.normal(size=(200, 5)) * [1, 5, 2, 0.1, 3]
    found = quick_places(codes.astype(np.float32), "axes")
    expected = PCA(2).fit_transform(codes)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-3)
    np.testing.assert_array_equal(quick_places(codes, "dimensions-4-2"), codes[:, [3, 1]].astype(np.float32))
    assert quick_places(codes[:, :1], "axes").shape == (200, 2)
    for wrong in ("dimensions-0-1", "dimensions-1-6", "axis", "dimensions-1"):
        with pytest.raises(SettingError):
            dimensions_of(wrong, 5)


def test_particles_beyond_those_fitted_go_to_their_neighbours(rng, monkeypatch, tmp_path):
    monkeypatch.setattr("dualcontrast.explorer.places.FITTED", 60)
    groups = np.repeat([[0.0] * 4, [9.0] * 4], 90, axis=0)
    codes = (groups + rng.normal(size=(180, 4))).astype(np.float32)
    said = []
    compute_places(lambda text, share: said.append(text), codes, "t-SNE", 0, tmp_path / "a.npy")
    places = np.load(tmp_path / "a.npy")
    assert places.shape == (180, 2)
    assert "t-SNE of 60 of 180 particles" in said
    centres = places[:90].mean(axis=0), places[90:].mean(axis=0)
    nearer = np.linalg.norm(places - centres[0], axis=1) < np.linalg.norm(places - centres[1], axis=1)
    np.testing.assert_array_equal(nearer, np.arange(180) < 90)
    compute_places(lambda text, share: None, codes, "t-SNE", 0, tmp_path / "b.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), places)


def test_selections_combine_are_named_and_undone(tmp_path):
    ids = np.array([f"p{n}" for n in range(8)])
    history = History()
    kept = Selections(tmp_path, ids, history)
    low, even = np.arange(8) < 4, np.arange(8) % 2 == 0
    kept.set(low, "low")
    kept.save("low half")
    for how, expected in (
        ("and", low & even),
        ("or", low | even),
        ("not", low & ~even),
        ("replace", even),
    ):
        kept.set(low, "low")
        kept.combine(how, even, "even")
        np.testing.assert_array_equal(kept.current, expected)
    # What a browser that was closed comes back to.
    again = Selections(tmp_path, ids, History())
    np.testing.assert_array_equal(again.current, even)
    assert again.names() == ["low half"]
    np.testing.assert_array_equal(again.load("low half"), low)
    # Of other particles, it is not taken over.
    assert not Selections(tmp_path, ids[:5], History()).current.any()
    assert history.undo() == "selecting even"
    np.testing.assert_array_equal(kept.current, low)
    kept.delete("low half")
    assert kept.names() == []
    assert history.undo() == "deleting 'low half'"
    np.testing.assert_array_equal(kept.load("low half"), low)
    with pytest.raises(SettingError, match="there already"):
        kept.save("low half")
    for name in ("../up", "a/b", "", ".hidden", "x" * 61):
        with pytest.raises(SettingError, match="use letters"):
            kept.save(name)
    kept.set(np.zeros(8, dtype=bool), "none")
    with pytest.raises(SettingError, match="nothing is selected"):
        kept.save("nothing")


@pytest.mark.parametrize("damage", ["text", "empty", "half", "archive", "kind", "others"])
def test_a_damaged_selection_is_an_empty_one(tmp_path, damage):
    ids = np.array([f"p{row}" for row in range(80)])
    Selections(tmp_path, ids, History()).set(np.arange(80) < 30, "some")
    path = tmp_path / "current.npz"
    assert Selections(tmp_path, ids, History()).count == 30
    whole = path.read_bytes()
    with np.load(path) as stored:
        arrays = dict(stored)
    if damage == "kind":
        np.savez(path, ids=arrays["ids"], bits=arrays["bits"].astype(float))
    elif damage == "others":
        np.savez(path, ids=np.arange(3), bits=arrays["bits"])
    else:
        path.write_bytes(
            {
                "text": b"damaged",
                "empty": b"",
                "half": whole[: len(whole) // 2],
                "archive": b"PK\x03\x04 this is no archive",
            }[damage]
        )
    assert Selections(tmp_path, ids, History()).count == 0


@pytest.mark.parametrize("content", [b"", b"damaged", b"PK\x03\x04 this is no archive"])
def test_damaged_places_are_not_there(tmp_path, content):
    path = tmp_path / "places.npy"
    np.save(path, np.eye(2))
    np.testing.assert_array_equal(read_kept(path)["array"], np.eye(2))
    path.write_bytes(content)
    assert read_kept(path) == {}
    assert read_kept(tmp_path / "nowhere.npy") == {}


def test_a_star_file_comes_back_with_all_its_columns_and_nothing_is_overwritten(tmp_path):
    project = make_project(tmp_path, 6)
    source = StarSource(project.star)
    codes = Codes(source.ids, np.arange(12.0, dtype=np.float32).reshape(6, 2), np.ones((6, 1), np.float32))
    chosen = np.array([True, False, True, False, False, True])
    folder = tmp_path / "explorer"
    first = export_selection(folder, "mine", "star", chosen, codes, source)
    second = export_selection(folder, "mine", "star", chosen, codes, source)
    assert (first.name, second.name) == ("mine.star", "mine-2.star")
    taken = starfile.read(first, always_dict=True, parse_as_string=["rlnTomoName"])
    assert taken["particles"].equals(project.particles[chosen].reset_index(drop=True))
    ids = export_selection(folder, "mine", "ids", chosen, codes, None).read_text().splitlines()
    assert ids == source.ids[chosen].tolist()
    again = Codes.load(export_selection(folder, "mine", "codes", chosen, codes, None))
    np.testing.assert_array_equal(again.content, codes.content[chosen])
    sure, other = Column("confidence (content)", np.arange(6) / 10), Column("rlnDefocusU", np.zeros(6))
    columns = {sure.title: sure, other.title: other}
    path = export_selection(folder, "sure", "codes", chosen, codes, None, columns)
    np.testing.assert_array_equal(Codes.load(path).ids, codes.ids[chosen])
    with np.load(path) as archive:
        np.testing.assert_array_equal(archive[sure.title], sure.values[chosen])
        assert other.title not in archive
    with pytest.raises(SettingError, match="not from a STAR file"):
        export_selection(folder, "mine", "star", chosen, codes, None)
    with pytest.raises(SettingError, match="nothing is selected"):
        export_selection(folder, "mine", "ids", ~np.ones(6, dtype=bool), codes, source)


def test_columns_ride_along_by_id(tmp_path):
    run = make_run(tmp_path / "run", count=60)
    cluster_run(run, count=3, progress=False)
    order = np.random.default_rng(0).permutation(60)
    codes = run.codes.select(run.codes.ids[order])
    found = columns_of(run, codes, run.source.labels)
    labels = {factor.name: factor.values[order] for factor in run.source.labels.factors}
    np.testing.assert_array_equal(found["kind"].values, labels["kind"])
    np.testing.assert_array_equal(found["angle"].values, labels["angle"])
    # 60 whole numbers of metadata are a measure; three names are not.
    assert found["micrograph"].is_measured
    assert not found["kind"].is_measured
    classes = found["class (content)"]
    assert classes.names()[0] == "1"
    for kind in np.unique(labels["kind"]):
        assert len(set(classes.values[labels["kind"] == kind])) == 1
    held_out = found["part of the split"].values == "held-out"
    np.testing.assert_array_equal(held_out, np.isin(codes.ids, run.split.test))
    assert next(iter(found)) == "class (content)"
    # Labels of images that are gone are no columns.
    assert "kind" not in columns_of(run, codes, None)


def test_work_reports_ends_fails_and_is_cancelled():
    job = Job("counting", count_to, 5, 0.01)
    assert job.state == "running"
    wait_for(job)
    assert (job.state, job.result, job.share) == ("done", 5, 0.8)
    assert wait_for(Job("failing", fail)).text == "no such thing"
    lost = wait_for(Job("vanishing", vanish))
    assert lost.state == "failed"
    assert "exit code 7" in lost.text
    long = Job("long", count_to, 1000, 1.0)
    long.cancel()
    assert long.state == "cancelled"
    assert not long._process.is_alive()
    long.poll()
    assert long.state == "cancelled"


def test_sections_are_those_of_the_volume():
    volume = np.zeros((1, 6, 8, 10), dtype=np.float32)
    volume[0, 2, 3, 4] = 1
    for plane, place, where in (("xy", 2, (3, 4)), ("xz", 3, (2, 4)), ("yz", 4, (2, 3))):
        shown = section(volume, plane, place)[..., 0]
        assert np.argwhere(shown > 0.5).tolist() == [list(where)]
    assert picture_of(volume[:, 0]).shape == (8, 10, 3)
    # Three sections side by side, of the smallest edge.
    assert picture_of(volume).shape[0] == 6


def test_a_picture_reads_one_image_once(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", count=60)
    view = RunView(run)
    expected = run.preparation.apply(torch.from_numpy(run.source.images[[7]]))[0].numpy()
    asked = []
    read = type(run.source).read
    monkeypatch.setattr(
        type(run.source),
        "read",
        lambda self, rows: (asked.append(np.asarray(rows).tolist()), read(self, rows))[1],
    )
    for _ in range(2):
        np.testing.assert_array_equal(view.image(view.row_of["p0007"]), expected)
    assert asked == [[7]]
    assert view.image_or_reason(7).shape == (1, 33, 33)
    monkeypatch.setattr(type(run.source), "read", lambda self, rows: (_ for _ in ()).throw(UserError("gone")))
    assert view.image_or_reason(8) == "gone"


def test_ticked_classes_stay_ticked_when_they_are_read_again(tmp_path):
    """A window reads them again whenever work ends, a moment after an edit too."""
    run = make_run(tmp_path / "run", count=60)
    cluster_run(run, count=3, progress=False)
    cluster_run(run, count=2, name="other", progress=False)
    desk = Desk(run)
    assert desk.view is not None
    pane = ClassesPane(desk, desk.view, State(), print)
    pane._name.value = "content"
    pane._classes.value = ["1", "3"]
    pane.refresh()
    assert pane._classes.value == ["1", "3"]
    # Those of other classes are other ticks, though they have the same names.
    pane._name.value = "other"
    assert pane._classes.value == []
