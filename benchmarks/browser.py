"""Chromium without a screen, for what is measured and drawn in a browser."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from chromium import find, started

IDLE = "() => window.Bokeh?.documents?.length && Bokeh.documents[0].is_idle"
PATIENCE_MS = 300_000


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium, or end the program where there is none."""
    path = find()
    if path is None:
        sys.exit("no Chromium here: install Debian's package `chromium`")
    with started(path) as chromium:
        yield chromium


def open_explorer_page(page: Page, address: str) -> None:
    """Go to a page of the explorer, and wait until it rests."""
    page.goto(address)
    page.locator(".bk-Figure").first.wait_for(timeout=PATIENCE_MS)
    page.wait_for_function(IDLE, timeout=PATIENCE_MS)


def lasso(page: Page, corners: list[tuple[float, float]]) -> None:
    """Draw a lasso around shares of the width and height of the content map, but do not let go."""
    box = page.locator("section.map").first.bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in (*places[1:], places[0]):
        page.mouse.move(*place, steps=6)
