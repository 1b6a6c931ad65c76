"""The pictures of docs/explorer.md, from a run of `dualcontrast demo --subtomograms`.

python benchmarks/explorer_screenshots.py runs/demo-subtomograms --output docs/images
"""

import argparse
import io
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from dualcontrast import RunFolder

BROWSER = ("--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
QUALITY = 82


def main() -> None:
    """Start the explorer, go through its panels, and write a picture of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--browser", default="/usr/bin/chromium")
    asked = parser.parse_args()
    command = [sys.executable, "-m", "dualcontrast", "explore", str(asked.run), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().split()[1]
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=asked.browser, args=list(BROWSER))
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            take_all(page, address, RunFolder.open(asked.run), asked.output)
            browser.close()
    finally:
        server.terminate()
        server.communicate()


def take_all(page: Page, address: str, run: RunFolder, output: Path) -> None:
    """Write the pictures."""
    first, second = run.split.test[:2]
    open_page(page, address)
    box = page.locator("section.map").first.bounding_box()
    assert box is not None
    corners = [(0.12, 0.3), (0.45, 0.25), (0.45, 0.8), (0.2, 0.85), (0.12, 0.3)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()
    page.locator(".find-particle input").fill(str(first))
    page.locator(".find-particle input").press("Enter")
    take(page, output / "explorer-maps.webp")
    page.locator(".side-tabs .bk-tab", has_text="Selections").click()
    take(page, output / "explorer-selections.webp")
    page.locator(".do-clear button").click()
    page.wait_for_timeout(1000)
    base = address.split("?")[0]
    open_page(page, f"{base}?tab=mix&a={first}&b={second}&colour=rlnTomoName")
    take(page, output / "explorer-mix.webp")
    open_page(page, f"{base}?tab=classes")
    take(page, output / "explorer-classes.webp")
    open_page(page, f"{base}?tab=health&dark=true&particle={first}")
    take(page, output / "explorer-health.webp")


def open_page(page: Page, address: str) -> None:
    """Go to an address, and wait until the page rests."""
    page.goto(address)
    page.locator(".bk-Figure").first.wait_for(timeout=120_000)
    page.wait_for_function(
        "() => window.Bokeh?.documents?.length && Bokeh.documents[0].is_idle", timeout=120_000
    )
    page.wait_for_timeout(2000)


def take(page: Page, path: Path) -> None:
    """Write what is seen as WebP."""
    page.wait_for_timeout(3000)
    Image.open(io.BytesIO(page.screenshot())).save(path, quality=QUALITY, method=6)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
