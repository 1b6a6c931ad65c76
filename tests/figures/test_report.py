import re
from html.parser import HTMLParser

import numpy as np
import pytest

from blobs import Mute, blob_source, make_run
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.errors import DataError, RunError, SettingError
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.figures.embeddings import embed_both_ways
from dualcontrast.figures.report import as_code, render, write_report
from dualcontrast.figures.run_figures import write_transfer_grid

NASTY = '<script>alert("x")</script>'


class Loads(HTMLParser):
    """Collects everything that a browser would load, and every tag."""

    def __init__(self):
        super().__init__()
        self.loaded, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def read(page):
    parser = Loads()
    parser.feed(page)
    return parser


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    source = blob_source(150)
    kinds = np.array([NASTY, "b & c"])[np.arange(150) % 2]
    source.labels = LabelTable(source.ids, (Factor(NASTY, "content", kinds), source.labels.factors[1]))
    source.location = NASTY
    run = make_run(tmp_path_factory.mktemp("report") / "a <run>", source=source)
    write_report(run)
    return run


def test_the_report_loads_nothing_from_elsewhere(run):
    page = (run.path / "report.html").read_text()
    parser = read(page)
    assert parser.loaded
    assert all(value.startswith("data:image/png;base64,") for value in parser.loaded)
    assert not re.search(r"@import|url\(", page)
    assert "script" not in parser.tags
    assert "link" not in parser.tags


def test_names_are_escaped(run):
    page = (run.path / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "a &lt;run&gt;" in page


def test_the_report_is_small_enough_to_send(run):
    assert (run.path / "report.html").stat().st_size < 15e6


def test_the_report_shows_every_figure_and_score(run):
    page = (run.path / "report.html").read_text()
    names = {path.name for path in (run.path / "figures").iterdir()}
    assert names == {
        "transfer_grid.png",
        "reconstructions.png",
        "traversal_content.png",
        "traversal_transformation.png",
        "embeddings_by_content.png",
        "embeddings_by_transformation.png",
        "losses.png",
    }
    assert page.count("data:image/png") == len(names)
    score = run.evaluation["d_score"]["transformation"]["from_transformation"]
    assert f"{score:.2f}" in page
    assert "prefers-color-scheme: dark" in page
    assert "What to do next" in page


def test_the_report_evaluates_first_where_that_is_still_to_do(run):
    assert run.evaluation["images"]["test"] == 50


def test_a_report_is_replaced_only_when_asked(run):
    before = (run.path / "report.html").read_text()
    with pytest.raises(RunError, match="--overwrite"):
        write_report(run)
    assert (run.path / "report.html").read_text() == before


def test_a_report_without_figures_or_labels_is_still_a_page(tmp_path):
    run = make_run(tmp_path / "run", labelled=False)
    page = render(run, evaluate_run(run), [])
    assert "Against the labels" not in page
    assert "Not measured" in page
    assert read(page).tags.count("html") == 1


def test_backticks_become_code_and_stay_escaped():
    assert as_code("use `--set a=<b>` & go") == "use <code>--set a=&lt;b&gt;</code> &amp; go"


def test_a_transfer_grid_of_chosen_particles(run, tmp_path):
    path = tmp_path / "grid.png"
    write_transfer_grid(run, path, ids=["p0003", "p0140"])
    two = path.read_bytes()
    write_transfer_grid(run, path, count=5)
    assert len(path.read_bytes()) > len(two)


def test_a_transfer_grid_says_what_is_wrong(run, tmp_path):
    with pytest.raises(DataError, match="nobody"):
        write_transfer_grid(run, tmp_path / "grid.png", ids=["p0003", "nobody"])
    with pytest.raises(SettingError, match="from 2 to 40"):
        write_transfer_grid(run, tmp_path / "grid.png", ids=["p0003"])
    with pytest.raises(SettingError, match="no decoder"):
        write_transfer_grid(make_run(tmp_path / "mute", Mute()), tmp_path / "grid.png")
    assert not (tmp_path / "grid.png").exists()


def test_maps_keep_neighbours_together():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    codes = rng.normal(size=(120, 4)) + 12 * labels[:, None]
    for points in embed_both_ways(codes).values():
        centres = [points[labels == label].mean(axis=0) for label in (0, 1)]
        nearest = np.argmin([np.linalg.norm(points - centre, axis=1) for centre in centres], axis=0)
        assert np.mean(nearest == labels) > 0.98


def test_maps_of_a_dead_code_are_empty():
    for points in embed_both_ways(np.ones((50, 3))).values():
        assert not points.any()
