"""The explorer in a real browser: everything that a user does, on a run of images."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed; see the extra `test`")

from playwright.sync_api import expect
from windows import Window

import chromium
from dualcontrast import Codes
from explored_runs import image_run, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    chromium.needed()
    return image_run(tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="module")
def images_address(images):
    with serving(images) as address:
        yield address


def half_of(seen: dict) -> tuple[list[tuple[float, float]], np.ndarray]:
    """A box over the left half of a map, and the rows that lie in it."""
    x, y = np.array(seen["x"]), np.array(seen["y"])
    middle = float(np.median(x)) + 1e-4
    left, right, low, high = seen["range"]
    margin = 0.01
    inner_left, inner_low = left + margin * (right - left), low + margin * (high - low)
    inner_high = high - margin * (high - low)
    corners = [(inner_left, inner_low), (middle, inner_low), (middle, inner_high), (inner_left, inner_high)]
    inside = (x > inner_left) & (x < middle) & (y > inner_low) & (y < inner_high)
    return corners, np.sort(np.array(seen["row"])[inside])


def test_a_lasso_in_content_selects_in_transformation_and_nothing_is_lost(images, images_address, window):
    one = window(images_address)
    corners, rows = half_of(one.map("content"))
    assert 10 < len(rows) < 50
    one.lasso("content", corners)
    expect(one.page.locator(".selected-count")).to_contain_text(f"{len(rows)} of 60 particles selected")
    other = one.map("transformation")
    # A pixel's width at the edge may go either way.
    found = np.sort(np.array(other["row"])[other["selected"]])
    assert len(np.setxor1d(found, rows)) <= 1

    one.tab("Selections")
    one.page.locator(".save-as input").fill("left half")
    one.page.locator(".save-as input").press("Enter")
    one.press("save")
    one.says("saved")
    ids = Codes.load(images / "codes.npz").ids
    stored = (images / "explorer/selections/left half.txt").read_text().splitlines()
    assert stored == ids[found].tolist()

    one.press("invert")
    expect(one.page.locator(".selected-count")).to_contain_text(f"{60 - len(found)} of 60")
    one.press("undo")
    expect(one.page.locator(".selected-count")).to_contain_text(f"{len(found)} of 60")
    one.press("clear")
    expect(one.page.locator(".selected-count")).to_have_text("60 particles")
    one.page.locator(".saved select").select_option("left half")
    one.press("apply-named")
    expect(one.page.locator(".selected-count")).to_contain_text(f"{len(found)} of 60")

    # Another window, and the same one opened again, find it.
    address = one.page.url
    again = window(images_address)
    expect(again.page.locator(".selected-count")).to_contain_text(f"{len(found)} of 60")
    again.open(address)
    expect(again.page.locator(".saved select")).to_be_visible()


def test_particles_are_opened_mixed_and_walked(images_address, window):
    one = window(images_address)
    seen = one.map("content")
    far = int(np.argmax(seen["x"]))
    one.page.mouse.click(*one.on_screen("content", seen["x"][far], seen["y"][far]))
    title = one.page.locator(".particle-title h2")
    expect(title).to_have_text(re.compile(r"bar-\d+"))
    first = title.inner_text()
    shown = one.page.locator(".particle-pictures img")
    expect(shown).to_have_count(2)
    assert all(shown.nth(i).evaluate("image => image.naturalWidth") > 0 for i in range(2))
    facts = one.page.locator(".particle-facts")
    expect(facts).to_contain_text("onerror")
    assert facts.locator("img").count() == 0
    assert one.page.evaluate("window.hacked") is None

    one.page.keyboard.press("a")
    expect(one.page.locator(".mix-names")).to_be_visible()
    one.page.keyboard.press("1")
    one.page.keyboard.press("/")
    expect(one.page.locator(".find-particle input")).to_be_focused()
    one.page.keyboard.type("bar-007")
    one.page.keyboard.press("Enter")
    expect(title).to_have_text("bar-007")
    one.press("as-second")
    expect(one.page.locator(".mix-names")).to_contain_text("bar-007")
    expect(one.page.locator(".mix-names")).to_contain_text(first)
    mixture = one.page.locator(".mix-pictures img").nth(2)
    before = mixture.get_attribute("src")
    handle = one.page.locator(".walk .noUi-handle")
    handle.press("ArrowLeft")
    expect(one.page.locator(".mix-pictures")).to_contain_text(", 95% of the way")
    handle.press("Home")
    expect(one.page.locator(".mix-pictures")).to_contain_text(", 0% of the way")
    assert mixture.get_attribute("src") != before
    expect(one.page.locator(".mix-time")).to_contain_text("decoded in")
    milliseconds = int(re.search(r"(\d+) ms", one.page.locator(".mix-time small").inner_text())[1])
    assert milliseconds < 200

    one.press("pick-some")
    expect(one.page.locator(".mix-list li")).to_have_count(5)
    one.press("grid")
    expect(one.page.locator(".mix-grid img")).to_be_visible()

    address = one.page.url
    one.open(address)
    expect(one.page.locator(".mix-names")).to_contain_text("bar-007")


def test_health_is_told_in_words(images_address, window):
    one = window(images_address)
    one.page.keyboard.press("5")
    expect(one.page.locator(".health")).to_contain_text("What to do next")
    expect(one.page.locator(".training")).to_contain_text("trained: epoch 2")
    with one.page.expect_popup() as report:
        one.page.locator(".health a", has_text="the whole report").click()
    expect(report.value.locator("h1").first).to_be_visible()


def test_a_map_is_computed_with_progress_and_can_be_cancelled(images, images_address, window):
    one = window(images_address)
    one.page.locator(".map-content select").select_option(label="t-SNE")
    expect(one.page.locator(".do-cancel button")).to_be_visible()
    one.press("cancel")
    one.says("cancelled")
    expect(one.page.locator(".map-content select")).to_have_value("principal axes")
    assert not list((images / "explorer/maps").rglob("*.npy"))
    one.page.locator(".map-transformation select").select_option(label="t-SNE")
    one.says("done in")
    places = np.load(next((images / "explorer/maps/transformation").glob("t-SNE-*.npy")))
    one.has_places("transformation", places)
    one.page.locator(".map-content select").select_option(label="two dimensions of the code")
    one.has_places("content", Codes.load(images / "codes.npz").content)


def test_a_run_that_is_training_shows_its_curves(images, browser, tmp_path):
    run = tmp_path / "training"
    run.mkdir()
    for name in ("config.yaml", "split.json"):
        (run / name).write_bytes((images / name).read_bytes())

    def write(rows: int) -> None:
        lines = [
            {
                "step": 50 * n,
                "epoch": n / 2,
                "loss": 1 / n,
                "images_per_second": 10.0,
                "terms": {"reconstruction": 1.0},
            }
            for n in range(1, rows + 1)
        ]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    write(2)
    with serving(run) as address:
        one = Window(browser, address)
        expect(one.page.locator(".training")).to_contain_text("training: epoch 1.0 of 2, step 100")
        write(3)
        expect(one.page.locator(".training")).to_contain_text("step 150")
        for name in ("weights.safetensors", "codes.npz"):
            (run / name).write_bytes((images / name).read_bytes())
        # The maps come by themselves.
        expect(one.page.locator(".selected-count")).to_contain_text("60 particles")
        one.close()
