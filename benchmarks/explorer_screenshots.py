"""The pictures of docs/explorer.md, from a run of `dualcontrast demo --subtomograms`.

python benchmarks/explorer_screenshots.py runs/demo-subtomograms --output docs/images
"""

import argparse
import io
import subprocess
import sys
from pathlib import Path

from browser import browser, lasso, open_explorer_page
from PIL import Image
from playwright.sync_api import Page

from dualcontrast import RunFolder

QUALITY = 82


def main() -> None:
    """Start the explorer, go through its panels, and write a picture of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    asked = parser.parse_args()
    command = [sys.executable, "-m", "dualcontrast", "explore", str(asked.run), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().split()[1]
    try:
        with browser() as chromium:
            page = chromium.new_page(viewport={"width": 1280, "height": 720})
            take_all(page, address, RunFolder.open(asked.run), asked.output)
    finally:
        server.terminate()
        server.communicate()


def take_all(page: Page, address: str, run: RunFolder, output: Path) -> None:
    """Write the pictures."""
    first, second = run.split.test[:2]
    open_explorer_page(page, address)
    lasso(page, [(0.12, 0.3), (0.45, 0.25), (0.45, 0.8), (0.2, 0.85)])
    page.mouse.up()
    page.locator(".find-particle input").fill(str(first))
    page.locator(".find-particle input").press("Enter")
    take(page, output / "explorer-maps.webp")
    page.locator(".side-tabs .bk-tab", has_text="Selections").click()
    take(page, output / "explorer-selections.webp")
    page.locator(".do-clear button").click()
    page.wait_for_timeout(1000)
    base = address.split("?")[0]
    open_explorer_page(page, f"{base}?tab=mix&a={first}&b={second}&colour=rlnTomoName")
    take(page, output / "explorer-mix.webp")
    open_explorer_page(page, f"{base}?tab=classes")
    take(page, output / "explorer-classes.webp")
    open_explorer_page(page, f"{base}?tab=health&dark=true&particle={first}")
    take(page, output / "explorer-health.webp")


def take(page: Page, path: Path) -> None:
    """Write what is seen as WebP."""
    # Pictures come after the page rests.
    page.wait_for_timeout(4000)
    Image.open(io.BytesIO(page.screenshot())).save(path, quality=QUALITY, method=6)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
