"""The explorer in a real browser: everything that a user does, on a run of images and on one of volumes."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import starfile

pytest.importorskip("playwright.sync_api", reason="playwright is not installed; see the extra `test`")

from playwright.sync_api import Browser, Page, expect

import chromium
from dualcontrast import Codes, RunFolder
from dualcontrast.clusters import Clusters
from explored_runs import image_run, serving, volume_run

expect.set_options(timeout=60_000)
SLOW, LONG = 90_000, 240_000
IDLE = "() => window.Bokeh?.documents?.length && Bokeh.documents[0].is_idle"
# Places, rows and the frame of a map, as the browser has them.
MAP = """(code) => {
  const models = [...Bokeh.documents[0].all_models];
  const plot = models.find((model) => model.name === code && model.renderers);
  const points = models.find((model) => model.name === "points" && plot.renderers.includes(model));
  const data = points.data_source.data, letter = code[0] === "c" ? "c" : "z";
  const frame = Bokeh.index.find_one_by_id(plot.id).frame.bbox;
  return {
    row: [...data.row], x: [...data[letter + "x"]], y: [...data[letter + "y"]],
    selected: [...points.data_source.selected.indices],
    range: [plot.x_range.start, plot.x_range.end, plot.y_range.start, plot.y_range.end],
    frame: [frame.x, frame.y, frame.width, frame.height],
  };
}"""


SHIFTS = """() => new Promise((resolve) => {
  new PerformanceObserver((list) => resolve(list.getEntries().reduce((sum, entry) => sum + entry.value, 0)))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve(0), 300);
})"""


@pytest.fixture(scope="module")
def browser():
    with chromium.started(chromium.needed()) as started:
        yield started


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    chromium.needed()
    return image_run(tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    chromium.needed()
    return volume_run(tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="module")
def images_address(images):
    with serving(images) as address:
        yield address


@pytest.fixture(scope="module")
def volumes_address(volumes):
    with serving(volumes) as address:
        yield address


class Window:
    """A page that counts what must not happen."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 720})
        self.complaints: list[str] = []
        self.outside: list[str] = []
        host = urlsplit(address).netloc
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type == "error" else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self._look(request.url, host))
        self.page.on("websocket", lambda socket: self._look(socket.url, host))
        self.page.on(
            "response",
            lambda answer: (
                self.complaints.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
            ),
        )
        self.open(address)

    def _look(self, url: str, host: str) -> None:
        if not url.startswith(("data:", "blob:")) and urlsplit(url).netloc != host:
            self.outside.append(url)

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.page.locator(".bk-Figure").first.wait_for(timeout=SLOW)
        self.page.wait_for_function(IDLE, timeout=SLOW)
        self.page.wait_for_timeout(500)
        # Nothing moves while the page is built: the sum that browsers call the cumulative layout shift.
        assert self.page.evaluate(SHIFTS) < 0.05

    def map(self, code: str) -> dict:
        return self.page.evaluate(MAP, code)

    def on_screen(self, code: str, x: float, y: float) -> tuple[float, float]:
        """Where a place of a map is on the screen."""
        seen = self.map(code)
        left, right, low, high = seen["range"]
        frame_x, frame_y, width, height = seen["frame"]
        canvas = (
            self.page.locator("section.map")
            .nth(0 if code == "content" else 1)
            .locator(".bk-Canvas, .bk-CanvasView, canvas")
            .first
        )
        box = canvas.bounding_box()
        return (
            box["x"] + frame_x + width * (x - left) / (right - left),
            box["y"] + frame_y + height * (high - y) / (high - low),
        )

    def lasso(self, code: str, corners: list[tuple[float, float]]) -> None:
        places = [self.on_screen(code, *corner) for corner in corners]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in (*places[1:], places[0]):
            self.page.mouse.move(*place, steps=5)
        self.page.mouse.up()

    def press(self, mark: str) -> None:
        self.page.locator(f".do-{mark} button").click()

    def tab(self, name: str) -> None:
        self.page.locator(".side-tabs .bk-tab", has_text=name).click()

    def says(self, text: str | re.Pattern) -> None:
        expect(self.page.locator(".message")).to_contain_text(text, timeout=LONG)

    def has_places(self, code: str, places: np.ndarray) -> None:
        """Wait until a map shows these places, by row."""
        for _ in range(100):
            seen = self.map(code)
            if np.allclose(np.array(seen["x"]), places[seen["row"], 0], rtol=1e-5):
                break
            self.page.wait_for_timeout(200)
        np.testing.assert_allclose(np.array(seen["x"]), places[seen["row"], 0], rtol=1e-5)
        np.testing.assert_allclose(np.array(seen["y"]), places[seen["row"], 1], rtol=1e-5)

    def close(self) -> None:
        self.page.close()
        assert self.complaints == []
        assert self.outside == []


@pytest.fixture
def window(browser, request):
    opened: list[Window] = []

    def open_at(address: str) -> Window:
        opened.append(Window(browser, address))
        return opened[-1]

    yield open_at
    for each in opened:
        each.close()


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
    handle.focus()
    for _ in range(20):
        handle.press("ArrowLeft")
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


def test_volumes_are_cut_turned_and_placed_in_their_tomogram(volumes_address, window):
    one = window(volumes_address)
    one.page.locator(".find-particle input").fill("TS_02/007")
    one.page.locator(".find-particle input").press("Enter")
    picture = one.page.locator(".particle-pictures img").first
    expect(picture).to_be_visible()
    sources = [picture.get_attribute("src")]
    draw = one.page.locator(".drawing select").first
    for way in ("one section", "surface"):
        draw.select_option(way)
        expect(picture).not_to_have_attribute("src", sources[-1])
        sources.append(picture.get_attribute("src"))
    level = one.page.locator(".drawing .noUi-handle").nth(1)
    level.focus()
    level.press("ArrowRight")
    expect(picture).not_to_have_attribute("src", sources[-1])
    expect(one.page.locator(".particle-facts")).to_contain_text("rlnDefocusU")
    title = one.page.evaluate(
        "() => [...Bokeh.documents[0].all_models].map((m) => m.text).find((t) => t?.startsWith?.('tomogram'))"
    )
    assert title.startswith("tomogram 02: 18 particles; this one at z = ")
    # The pointer on a point shows its picture.
    seen = one.map("content")
    one.page.mouse.move(*one.on_screen("content", seen["x"][0], seen["y"][0]))
    expect(one.page.locator(".bk-Tooltip img")).to_be_visible()


def test_classes_are_made_merged_named_taken_home_and_put_back(volumes, volumes_address, window, tmp_path):
    one = window(volumes_address)
    one.tab("Classes")
    one.page.locator(".new-low input").fill("2")
    one.page.locator(".new-low input").press("Enter")
    one.page.locator(".new-high input").fill("3")
    one.page.locator(".new-high input").press("Enter")
    one.page.locator(".new-name input").fill("mine")
    one.page.locator(".new-name input").press("Enter")
    one.press("cluster")
    one.says("done in")
    run = RunFolder.open(volumes)
    made = Clusters.load(run, "mine")
    assert set(made.record["fit"]["bic"]) == {"2", "3"}
    expect(one.page.locator(".colour-by select")).to_contain_text("class (mine)")

    one.page.locator(".clustering select").select_option("content")
    expect(one.page.locator(".class-counts")).to_contain_text("rlnTomoName")
    boxes = one.page.locator(".classes input[type=checkbox]")
    expect(boxes).to_have_count(3)
    boxes.nth(0).check()
    boxes.nth(1).check()
    one.page.locator(".class-name input").fill("shell")
    one.page.locator(".class-name input").press("Enter")
    one.press("merge")
    expect(boxes).to_have_count(2)
    before, edited = Clusters.load(run, "content"), Clusters.load(run, "content-edited")
    assert edited.class_names == ["3", "shell"]
    assert set(edited.members("shell")) == {*before.members("1"), *before.members("2")}
    assert (volumes / "clusters/content-edited/class-shell.star").is_file()

    one.page.locator(".classes label", has_text="shell").locator("input").check()
    one.press("select-classes")
    count = len(edited.members("shell"))
    expect(one.page.locator(".selected-count")).to_contain_text(f"{count} of 36")

    one.tab("Selections")
    one.page.locator(".export-kind select").select_option(label="STAR, all columns")
    one.page.locator(".export-name input").fill("shells")
    one.page.locator(".export-name input").press("Enter")
    one.press("export")
    with one.page.expect_download() as download:
        one.page.locator(".exported a", has_text="shells.star").click()
    path = tmp_path / "taken.star"
    download.value.save_as(path)
    whole = starfile.read(run.open_source().star_file, always_dict=True, parse_as_string=["rlnTomoName"])
    taken = starfile.read(path, always_dict=True, parse_as_string=["rlnTomoName"])
    expected = whole["particles"][whole["particles"]["rlnImageName"].isin(edited.members("shell"))]
    assert taken["particles"].equals(expected.reset_index(drop=True))
    assert taken["optics"].equals(whole["optics"])

    one.tab("Classes")
    one.press("decode")
    one.says("done in")
    with one.page.expect_download() as download:
        one.page.locator(".class-maps a", has_text="class-shell.mrc").click()
    assert Path(download.value.path()).stat().st_size > 32**3
    one.press("undo")
    one.press("undo")
    expect(one.page.locator(".message")).to_contain_text("editing the classes")
    assert "content-edited" not in [path.name for path in (volumes / "clusters").iterdir()]
    assert Clusters.load(run, "content").class_names == ["1", "2", "3"]


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
