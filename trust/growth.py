"""The curve of docs/reliability.md: memory and open files of a training of 10,000 steps.

python trust/growth.py
python trust/growth.py --steps 2000 --streamed
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast import packing, pipeline
from dualcontrast.data.arrays import open_npy
from dualcontrast.run_folder import RunFolder
from dualcontrast.training import batches

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from toy_images import bars

# Epochs of 50 steps: `Model.history` keeps a row of metrics for every 50 steps and for every epoch.
IMAGES, BATCH = 400, 8
# A training has allocated all it needs, and the allocator has settled, after so much of it.
SETTLED = 0.2
# What may be added after that, in MiB: a hundredth of what the process holds.
MOST_ADDED = 5.0


def main() -> None:
    """Train, print a row every tenth of the way, and end with exit code 1 where anything grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--streamed", action="store_true", help="read every batch from a pack on disk")
    arguments = parser.parse_args()
    logging.getLogger("dualcontrast").setLevel(logging.ERROR)
    if arguments.streamed:
        batches.RESIDENT_BYTES = 0
    per_epoch = IMAGES // BATCH
    rows: list[tuple[int, float, int]] = []
    append = RunFolder.append_metrics

    def append_and_look(run: RunFolder, row: dict[str, Any]) -> None:
        append(run, row)
        rows.append((row["step"], resident(), open_files()))

    RunFolder.append_metrics = append_and_look
    with tempfile.TemporaryDirectory(prefix="dualcontrast-growth-") as temporary:
        images = Path(temporary) / "images.npy"
        np.save(images, bars(IMAGES * 5 // 4, (16, 16))[0])
        if arguments.streamed:
            packing.pack(open_npy(images), images.with_suffix(".zarr"), shard=16)
            images = images.with_suffix(".zarr")
        changes = {"epochs": -(-arguments.steps // per_epoch), "batch_size": BATCH, "content_dim": 4}
        # A checkpoint a second: each holds a copy of everything for a moment.
        options = {"device": "cpu", "checkpoint_seconds": 1, "evaluate": False, "progress": False}
        pipeline.train(images, Path(temporary) / "run", method="simclr", changes=changes, **options)
    print("| step | resident MiB | open files |\n|---|---|---|")
    for wanted in np.linspace(0, 1, 11):
        step, memory, files = rows[round(wanted * (len(rows) - 1))]
        print(f"| {step:,} | {memory:.1f} | {files} |")
    settled = [row for row in rows if row[0] >= SETTLED * rows[-1][0]]
    steps, memory, files = (np.array(column, dtype=float) for column in zip(*settled, strict=True))
    slope = np.polyfit(steps, memory, 1)[0] * 10_000
    added = memory[-len(memory) // 10 :].mean() - memory[: len(memory) // 10].mean()
    print(f"\nAfter {SETTLED:.0%} of the steps: {slope:+.2f} MiB in 10,000 steps, {added:+.2f} MiB in all,")
    print(f"{int(files.max() - files.min())} more open files at the most than at the least.")
    sys.exit(bool(added > MOST_ADDED or files[-1] > files[0]))


def resident() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files() -> int:
    """Number of open files of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    main()
