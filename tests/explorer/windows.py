"""A window of a real browser on the explorer."""

import re
from urllib.parse import urlsplit

import numpy as np
from playwright.sync_api import Browser, Page, expect

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
