import itertools
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from balls import make_ball_run
from blobs import Mute, blob_source, make_run
from dualcontrast.averaging.class_averages import average_classes
from dualcontrast.class_finding import cluster_run
from dualcontrast.clusters import Clusters
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.errors import DataError, RunError, SettingError
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.figures import style
from dualcontrast.figures.class_section import class_section, tomogram_words
from dualcontrast.figures.embeddings import embed_both_ways
from dualcontrast.figures.report import as_code, render, write_report
from dualcontrast.figures.run_classes import load_clusterings, read_averages
from dualcontrast.figures.run_figures import make_figures, write_transfer_grid

NASTY = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Collects everything that a browser would load, every tag with its attributes, and the ids."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        self.loaded += [found[name] for name in ("src", "srcset", "data", "action") if name in found]

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Images with names that would be markup, if any of them were not escaped."""
    source = blob_source(150)
    kinds = np.array([NASTY, "b & c"])[np.arange(150) % 2]
    tomograms = np.array([NASTY, "TS_02", "TS_03"])[np.arange(150) % 3]
    source.labels = LabelTable(
        source.ids,
        (
            Factor(NASTY, "content", kinds),
            source.labels.factors[1],
            Factor("rlnTomoName", "metadata", tomograms),
        ),
    )
    source.location = NASTY
    run = make_run(tmp_path_factory.mktemp("report") / "a <run>", source=source)
    cluster_run(run, "content", (1, 4), conformations=2, device="cpu")
    write_report(run)
    return run


@pytest.fixture(scope="module")
def page(run):
    return (run.path / "report.html").read_text()


@pytest.fixture(scope="module")
def volume_page(tmp_path_factory):
    run = make_ball_run(tmp_path_factory.mktemp("balls") / "run")
    cluster_run(run, "content", 2, "kmeans", device="cpu")
    # Of a few particles: the averages are only shown.
    average_classes(run, most=8, progress=False)
    write_report(run)
    return (run.path / "report.html").read_text()


def test_the_report_loads_nothing_from_elsewhere(page, volume_page):
    for text in (page, volume_page):
        parsed = Page(text)
        assert parsed.loaded
        assert all(re.match("data:image/(png|gif);base64,", value) for value in parsed.loaded)
        # What is linked to stands on the page itself.
        ids = {attributes.get("id") for _, attributes in parsed.tags}
        links = [attributes["href"] for attributes in parsed.all("a")]
        assert links and all(link[0] == "#" and link[1:] in ids for link in links)
        assert not re.search(r"@import|url\(", text)
        assert not parsed.all("script") and not parsed.all("link")
        assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
        policy = next(meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta)
        assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline';")


def test_names_are_escaped(page):
    assert "<script" not in page
    assert "a &lt;run&gt;" in page
    # The label, its value, the data, and the fullest tomogram of a class.
    assert page.count("&lt;script&gt;") > 8
    assert "most in &lt;script&gt;" in page


def test_the_report_is_small_enough_to_send(page, volume_page):
    assert len(page.encode()) < 15e6
    assert len(volume_page.encode()) < 15e6


def test_the_report_shows_every_figure_and_score(run, page):
    names = {path.name for path in (run.path / "figures").iterdir()}
    assert names == {
        "transfer_grid.png",
        "reconstructions.png",
        "traversal_content.png",
        "traversal_content.gif",
        "traversal_transformation.png",
        "traversal_transformation.gif",
        "embeddings_by_content.png",
        "embeddings_by_transformation.png",
        "embeddings_by_classes_content.png",
        "classes_content_decoded.png",
        "classes_content_conformations.png",
        "losses.png",
    }
    # And the BIC curves, which stand with the classes.
    assert page.count("data:image/") == len(names) + 1
    score = run.evaluation["d_score"]["transformation"]["from_transformation"]
    assert f"{score:.2f}" in page
    assert "prefers-color-scheme: dark" in page


def test_the_verdict_comes_first_and_headings_have_no_gaps(page, volume_page):
    for text in (page, volume_page):
        titles = re.findall(r"<h2>([^<]*)</h2>", text)
        assert titles[1:4] == ["What was run", "What to do next", "How well it is separated"]
        levels = [int(level) for level in re.findall(r"<h([1-6])>", text)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_every_picture_has_words_for_those_who_do_not_see_it(page, volume_page):
    for text in (page, volume_page):
        pictures = Page(text).all("img")
        assert all(len(picture["alt"]) > 40 for picture in pictures)
        films = [picture for picture in pictures if picture.get("class") == "film"]
        assert len(films) == 2
        assert all(film["src"].startswith("data:image/gif") for film in films)
        assert all(film["alt"].startswith("Animation.") for film in films)
        assert "(prefers-reduced-motion: reduce) { .film, .motion { display: none; } }" in text


def test_classes_stand_in_a_table_with_their_files(run, page):
    clusters = Clusters.load(run)
    for name in clusters.class_names + clusters.conformation_names:
        size = len(clusters.members(name))
        cells = rf'<th scope="row">{re.escape(name)}</th>\s*<td class="number">{size}</td>\s*'
        assert re.search(rf'{cells}<td class="number">{100 * size / 150:.1f} %</td>', page)
    assert "dualcontrast decode RUN</code> writes them as pictures" in page
    # Images are not averaged.
    assert "dualcontrast average" not in page


def test_averages_of_volumes_are_shown_with_their_files(volume_page):
    assert "averages/class-2.mrc" in volume_page
    assert "Averages of the particles" in volume_page and "No averages yet" not in volume_page
    assert "dualcontrast decode RUN</code> writes them as MRC maps" in volume_page
    assert re.search(
        r"in 3 of 3; most in TS_0\d: \d\d % of the class, which has 33 % of all particles", volume_page
    )


def test_words_stand_out_from_their_ground_in_light_and_dark():
    css = (files("dualcontrast.figures") / "report.css").read_text()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.S)
    )
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        pairs = [(word, ground) for word in ("ink", "quiet") for ground in ("page", "card", "code")]
        pairs += [(word, "card") for word in ("good", "fair", "poor", "content", "transformation", "link")]
        pairs += [("ink", f"{level}-tint") for level in ("good", "fair", "poor")] + [("link", "page")]
        for word, ground in pairs:
            assert contrast(colours[word], colours[ground]) >= 4.5, (word, ground)
    for colour in (style.INK, style.QUIET, style.CONTENT, style.TRANSFORMATION):
        assert contrast(colour, "#ffffff") >= 4.5


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, as WCAG 2.2 defines it."""
    values = np.array([[int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)] for colour in (one, other)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_of_black_on_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    # The grey that WCAG's understanding documents name as just enough.
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


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
    assert len(Page(page).all("html")) == 1
    assert "No classes were made" in page and "dualcontrast cluster RUN" in page


def test_classes_that_cannot_be_shown_are_said_and_stop_nothing(tmp_path):
    run = make_run(tmp_path / "run")
    cluster_run(run, "content", 3, "kmeans", device="cpu")
    cluster_run(run, "content", 2, "kmeans", name="broken", device="cpu")
    (run.path / "clusters" / "broken" / "classes.csv").write_text("nonsense")
    clusterings, problems = load_clusterings(run)
    assert [found.name for found in clusterings] == ["content"] and list(problems) == ["broken"]
    page = render(run, evaluate_run(run), [], clusterings, problems)
    assert "Classes “content”" in page
    assert "Not shown:" in page and "make them again with <code>cluster --overwrite</code>" in page


def test_tables_of_many_clusterings_but_pictures_of_three(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", count=60)
    for name in "abcd":
        cluster_run(run, "content", 2, "kmeans", name=name, device="cpu")
    monkeypatch.setattr("dualcontrast.figures.run_figures._decoded_figures", lambda *arguments: [])
    monkeypatch.setattr("dualcontrast.figures.run_figures._embedding_figures", lambda *arguments: [])
    clusterings, _ = load_clusterings(run)
    figures = make_figures(run, clusterings=clusterings)
    assert {figure.clustering for figure in figures} == {"a", "b", "c", None}
    page = render(run, evaluate_run(run), figures, clusterings)
    assert page.count("Pictures are drawn of the first 3 clusterings only.") == 1
    assert page.index("Classes “d”") < page.index("Pictures are drawn of the first")


def test_damaged_averages_are_said_and_stop_nothing(tmp_path):
    run = make_ball_run(tmp_path / "run")
    clusters = cluster_run(run, "content", 2, "kmeans", device="cpu")
    folder = run.path / "clusters" / "content" / "averages"
    folder.mkdir()
    for record in ("{", '{"maps": {"class-1": "class-1.mrc"}}'):
        (folder / "averages.json").write_text(record)
        with pytest.raises(DataError, match="averages"):
            read_averages(run, clusters)
        remarks = class_section(run, clusters, only=False, generative=True).remarks
        assert any(remark.startswith("Averages: ") and "averages" in remark for remark in remarks)
        # The others are named with the clustering, since there are several.
        assert any("decode RUN --classes content" in remark for remark in remarks)


def test_tomograms_by_hand():
    counts = {"TS_1": {"1": 30, "2": 10}, "TS_2": {"1": 10}, "TS_3": {"2": 30}}
    assert tomogram_words("1", counts) == (
        "in 2 of 3; most in TS_1: 75 % of the class, which has 50 % of all particles"
    )
    assert tomogram_words("3", counts) == ""


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


def test_what_is_compiled_of_umap_is_kept_for_the_next_process():
    import umap.layouts
    import umap.umap_

    embed_both_ways(np.random.default_rng(0).normal(size=(30, 3)))
    for function in (umap.umap_.smooth_knn_dist, umap.layouts.clip):
        kept = Path(function.stats.cache_path)
        assert list(kept.glob(f"*{function.py_func.__name__}*.nbi"))


def test_maps_of_a_dead_code_are_empty():
    for points in embed_both_ways(np.ones((50, 3))).values():
        assert not points.any()
