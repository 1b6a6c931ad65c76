"""The report in a real browser: no request, no complaint, and the same on paper and without motion."""

import numpy as np
import pytest

import chromium
from blobs import make_run
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.figures.animation import write_loop
from dualcontrast.figures.report import render
from dualcontrast.figures.run_figure import RunFigure
from dualcontrast.figures.style import new_figure, save_figure


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report with one still figure and one that moves."""
    folder = tmp_path_factory.mktemp("browser")
    run = make_run(folder / "run", count=120)
    still = save_figure(new_figure(9, 14), folder / "still.png")
    noise = np.random.default_rng(0).integers(0, 255, (3, 40, 1100, 3), np.uint8)
    film = write_loop(folder / "film.gif", noise)
    figures = [
        RunFigure(still, "Still", "A figure taller than it is wide.", "An empty sheet.", "transfer"),
        RunFigure(still, "Moving", "A figure with a film.", "An empty sheet.", "traversals", film),
    ]
    path = folder / "report.html"
    path.write_text(render(run, evaluate_run(run), figures), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with chromium.started(chromium.needed()) as running:
        yield running


@pytest.fixture
def open_report(browser, report):
    """Open the report in a context of its own, without a network."""
    contexts = []

    def open_it(width=1280, **options):
        view = {"width": width, "height": 900}
        contexts.append(browser.new_context(offline=True, viewport=view, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        return page, said, asked

    yield open_it
    for context in contexts:
        context.close()


def visible(page, selector: str) -> bool:
    return page.locator(selector).first.is_visible()


def test_nothing_is_asked_for_and_nothing_is_blocked(open_report, report):
    page, said, asked = open_report()
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    # A browser reports what the page's own policy forbids.
    assert said == []
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    # And the policy is at work: what would go out is stopped by it.
    page.evaluate(
        "new Promise(end => { const i = new Image(); i.onerror = end; i.src = 'https://a.invalid/i.png'; })"
    )
    assert any("Content Security Policy" in message for message in said)


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window(open_report, width):
    page, _, _ = open_report(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_motion_stops_when_asked(open_report):
    page, _, _ = open_report()
    assert visible(page, ".film")
    page.get_by_label("Hide animations").check()
    assert not visible(page, ".film") and visible(page, "#traversals img:not(.film)")
    page, _, _ = open_report(reduced_motion="reduce")
    assert not visible(page, ".film") and visible(page, "#traversals img:not(.film)")


def test_paper_is_white_still_and_complete(open_report):
    page, _, _ = open_report(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) != "rgb(255, 255, 255)"
    # Of what is folded up the browser may or may not have worked out a size already.
    unfolded = "document.querySelector('.settings').checkVisibility()"
    assert not page.evaluate(unfolded)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    assert not visible(page, ".film") and visible(page, "#traversals img:not(.film)")
    assert page.evaluate(unfolded) and page.locator(".settings").bounding_box()["height"] > 100
    # No figure is taller than what a sheet of Letter leaves of its 279 mm, at 96 pixels an inch.
    tallest = page.evaluate("Math.max(...[...document.images].map(i => i.getBoundingClientRect().height))")
    assert 0 < tallest <= 190 / 25.4 * 96 + 1
    for paper in ("A4", "Letter"):
        assert page.pdf(format=paper).startswith(b"%PDF")


def test_the_keyboard_shows_where_it_is(open_report):
    page, _, _ = open_report()
    for kind in ("A", "INPUT", "SUMMARY"):
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.tagName") == kind:
                break
        style = page.evaluate(
            "(s => [s.outlineStyle, s.outlineWidth])(getComputedStyle(document.activeElement))"
        )
        assert page.evaluate("document.activeElement.tagName") == kind
        assert style == ["solid", "3px"]
