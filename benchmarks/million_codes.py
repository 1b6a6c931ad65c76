"""How long evaluation and report take for very many codes; prints a table.

    python benchmarks/million_codes.py --counts 10000 100000 1000000 --folder /scratch

A small model is trained on 2,000 images. Then codes of so many generated images are put into its run folder
(groups by content and by state, and noise), with labels of both kinds, poses and tomograms, and the run is
evaluated and reported as `dualcontrast evaluate` and `dualcontrast report` do it.
"""

import argparse
import json
import resource
import shutil
import time
from pathlib import Path

import numpy as np

KINDS, STATES, DIMENSIONS = 10, 4, 10


def generate(folder: Path, count: int) -> tuple[Path, dict[str, np.ndarray]]:
    """Write images with labels."""
    rng = np.random.default_rng(0)
    images = np.empty((count, 16, 16), dtype=np.uint8)
    for first in range(0, count, 10_000):
        images[first : first + 10_000] = rng.integers(0, 256, images[first : first + 10_000].shape)
    images[:, 4:12, 4:12] //= 2
    labels = {
        "content:kind": rng.integers(0, KINDS, count),
        "transformation:state": rng.integers(0, STATES, count),
        "transformation:angle": rng.uniform(-90, 90, count),
        "metadata:rlnAngleRot": rng.uniform(-180, 180, count),
        "metadata:rlnAngleTilt": rng.uniform(0, 180, count),
        "metadata:rlnAnglePsi": rng.uniform(-180, 180, count),
        "metadata:rlnDefocusU": rng.uniform(2e4, 4e4, count),
        "metadata:rlnTomoName": np.array([f"TS_{number:03d}" for number in rng.integers(0, 100, count)]),
    }
    path = folder / "images.npz"
    ids = np.array([f"TS_{row % 100:03d}/subtomo_{row:07d}.mrc" for row in range(count)])
    np.savez(path, images=images, ids=ids, **labels)
    return path, labels


def fill(run, ids: np.ndarray, labels: dict[str, np.ndarray], seed: int = 1) -> None:
    """Give every image codes that tell its labels, and hold out a fifth."""
    from dualcontrast import Codes

    rng = np.random.default_rng(seed)
    content = rng.normal(size=(KINDS, DIMENSIONS))[labels["content:kind"]]
    transformation = rng.normal(size=(STATES, DIMENSIONS))[labels["transformation:state"]]
    transformation[:, 0] += labels["transformation:angle"] / 45
    noisy = [
        (block + rng.normal(0, 0.7, block.shape)).astype(np.float32) for block in (content, transformation)
    ]
    Codes(ids, *noisy).save(run.path / "codes.npz")
    held_out = rng.random(len(ids)) < 0.2
    split = {"train": ids[~held_out].tolist(), "test": ids[held_out].tolist()}
    (run.path / "split.json").write_text(json.dumps(split), encoding="utf-8")


def measure(folder: Path, count: int) -> str:
    """Evaluate and report one run; return a row of the table."""
    from dualcontrast import pipeline
    from dualcontrast.evaluation.evaluate import evaluate_run
    from dualcontrast.figures.report import write_report

    folder.mkdir(parents=True, exist_ok=True)
    path, labels = generate(folder, count)
    run = pipeline.train(
        path,
        folder / "run",
        changes={"epochs": 2, "content_dim": DIMENSIONS, "transformation_dim": DIMENSIONS},
        options=pipeline.DataOptions(limit=2000),
        device="cpu",
        evaluate=False,
        overwrite=True,
        progress=False,
    )
    fill(run, run.open_source().ids, labels)
    start, started = time.monotonic(), time.process_time()
    evaluate_run(run, device="cpu")
    evaluated, halfway = time.monotonic(), time.process_time()
    write_report(run, device="cpu")
    reported, ended = time.monotonic(), time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    shutil.rmtree(folder / "run")
    return (
        f"| {count:,} | {evaluated - start:.0f} | {halfway - started:.0f} | {reported - evaluated:.0f} | "
        f"{ended - halfway:.0f} | {peak:,.0f} |"
    )


def main() -> None:
    """Measure one count after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, default=Path("million-codes"))
    given = parser.parse_args()
    print("| codes | evaluation, s | of them CPU | report, s | of them CPU | largest memory so far, MB |")
    print("|---|---|---|---|---|---|", flush=True)
    for count in given.counts:
        print(measure(given.folder, count), flush=True)


if __name__ == "__main__":
    main()
