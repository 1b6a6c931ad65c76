"""The pictures of the report in docs, taken by a browser without a network.

dualcontrast demo --subtomograms
python benchmarks/report_screenshots.py runs/demo-subtomograms docs/images

Needs playwright (`pip install -e '.[test]'`) and Chromium or Chrome on the PATH.
"""

import argparse
import io
from pathlib import Path

from browser import browser
from PIL import Image
from playwright.sync_api import Page

WIDTH, SHOWN_WIDTH = 1040, 780
# Name, first element, and how many pixels of the page from its top.
VIEWS = (("report_scores", "#scores", 900), ("report_classes", "#classes", 1000))


def main() -> None:
    """Open the report of a run and write one WebP picture a view."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    with browser() as chromium:
        context = chromium.new_context(offline=True, viewport={"width": WIDTH, "height": 900})
        page = context.new_page()
        page.goto((arguments.run / "report.html").resolve().as_uri())
        for name, element, height in VIEWS:
            path = arguments.output / f"{name}.webp"
            picture(page, element, height).save(path, quality=80, method=6)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def picture(page: Page, element: str, height: int) -> Image.Image:
    """Take the page from the top of an element downwards, made smaller."""
    box = page.locator(element).bounding_box()
    assert box is not None
    top = box["y"] + page.evaluate("window.scrollY")
    clip = {"x": 0, "y": top - 12, "width": WIDTH, "height": min(height, box["height"] + 24)}
    taken = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))  # pyright: ignore[reportArgumentType]
    size = (SHOWN_WIDTH, round(taken.height * SHOWN_WIDTH / taken.width))
    return taken.convert("RGB").resize(size, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
