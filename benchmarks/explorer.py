"""How long the explorer takes to its first view and to a linked selection, and the memory of its server.

    python benchmarks/explorer.py --particles 10000 100000 1000000

A small run is trained, and its codes are replaced by generated ones, eight groups of content; the times do
not depend on what the codes are. The browser is Chromium without a screen, on the same machine, which draws
without a graphics card.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from browser import PATIENCE_MS, browser, lasso, open_explorer_page
from playwright.sync_api import Page

from dualcontrast import Codes, RunFolder
from dualcontrast.run_folder import CODES, SPLIT

HIGHLIGHTED = """() => [...Bokeh.documents[0].all_models].some(
  (model) => model.type === "Selection" && model.indices.length > 0) && Bokeh.documents[0].is_idle"""


def main() -> None:
    """Measure, and print a row of a table for each number of particles."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--particles", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(
        "| particles | first view, s | linked highlight, s | selection known to the server, s | server, MB |"
    )
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        subprocess.run(
            [sys.executable, "-m", "dualcontrast", "demo", "--quick", "--no-progress", "--output", run],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for count in asked.particles:
            replace_codes(RunFolder.open(run), count)
            rows = measure(run, asked.repeats)
            cells = [f"{statistics.median(values):.2f}" for values in rows[:3]]
            print(f"| {count:,} | {' | '.join(cells)} | {rows[3][-1]:,.0f} |", flush=True)


def replace_codes(run: RunFolder, count: int) -> None:
    """Write codes of so many particles that are not there."""
    rng = np.random.default_rng(0)
    lengths = [run.config["settings"][name] for name in ("content_dim", "transformation_dim")]
    groups = rng.normal(0, 4, (8, lengths[0]))[rng.integers(8, size=count)]
    content = (groups + rng.normal(size=(count, lengths[0]))).astype(np.float32)
    transformation = rng.normal(size=(count, lengths[1])).astype(np.float32)
    ids = np.array([f"particle-{row:07d}" for row in range(count)])
    Codes(ids, content, transformation).save(run.path / CODES)
    cut = 4 * count // 5
    split = {"train": ids[:cut].tolist(), "test": ids[cut:].tolist()}
    (run.path / SPLIT).write_text(json.dumps(split), encoding="utf-8")


def measure(run: Path, repeats: int) -> tuple[list[float], ...]:
    """Return the times to the first view, the highlight and the count, and the memory (MB) after each."""
    command = [sys.executable, "-m", "dualcontrast", "explore", str(run), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().split()[1]
    found: tuple[list[float], ...] = ([], [], [], [])
    try:
        with browser() as chromium:
            # The first window reads the codes; what a user waits for afterwards is a window like the others.
            for repeat in range(repeats + 1):
                page = chromium.new_page(viewport={"width": 1280, "height": 720})
                times = look_and_select(page, address)
                page.keyboard.press("Escape")
                page.wait_for_function(f"() => !({HIGHLIGHTED})()")
                page.close()
                if repeat == 0:
                    print(f"<!-- the first window of the server: {times[0]:.2f} s -->")
                    continue
                for values, value in zip(found, (*times, memory_of(server.pid)), strict=True):
                    values.append(value)
    finally:
        server.terminate()
        server.wait()
    return found


def look_and_select(page: Page, address: str) -> tuple[float, float, float]:
    """Open the page, and draw a box over half of the content map."""
    start = time.perf_counter()
    open_explorer_page(page, address)
    first = time.perf_counter() - start
    page.wait_for_timeout(1500)
    lasso(page, [(0.2, 0.3), (0.6, 0.3), (0.6, 0.8), (0.2, 0.8)])
    start = time.perf_counter()
    page.mouse.up()
    page.wait_for_function(HIGHLIGHTED, timeout=PATIENCE_MS, polling=20)
    highlighted = time.perf_counter() - start
    page.get_by_text("particles selected").first.wait_for(timeout=PATIENCE_MS)
    return first, highlighted, time.perf_counter() - start


def memory_of(process: int) -> float:
    """Resident memory of a process, MB."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
