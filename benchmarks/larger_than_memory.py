"""Memory and speed of training from disk, on generated subtomograms; prints a table.

    python benchmarks/larger_than_memory.py memory --counts 10000 100000 1000000 --box 16 --folder /scratch
    python benchmarks/larger_than_memory.py speed --count 20000 --box 32 --folder /scratch

`memory` packs sets of different sizes and trains on each in a process of its own, with nothing kept in
memory; it prints the largest resident memory of packing and of training. `speed` trains on one pack twice,
once from memory and once from disk, and prints the images a second of both. Volumes are blobs in noise, made
when they are read.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from dualcontrast.data.source import ImageSource


class Generated(ImageSource):
    """Noisy blobs, drawn from their number alone."""

    def __init__(self, count: int, box: int) -> None:
        self.location, self.image_shape = f"{count} generated volumes", (1, box, box, box)
        self.ids = np.arange(count).astype(str)
        self.voxel_size, self.tilt_range = 10.0, (-60.0, 60.0)
        axis = np.linspace(-1, 1, box, dtype=np.float32)
        z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
        # Two blobs, near each other or far apart, at one of eight angles.
        shapes = []
        for number in range(16):
            angle, reach = number // 2 * np.pi / 8, 0.3 + 0.2 * (number % 2)
            sides = [(side * np.cos(angle), side * np.sin(angle)) for side in (-reach, reach)]
            shapes.append(sum(2 * np.exp(-((x - a) ** 2 + (y - b) ** 2 + z**2) / 0.05) for a, b in sides))
        self._shapes = np.stack(shapes).astype(np.float32)

    def read(self, indices):
        """Draw volumes: one of sixteen shapes each, and noise."""
        rows = np.asarray(indices)
        noise = np.random.default_rng(int(rows[0])).standard_normal(
            (len(rows), *self.image_shape[1:]), dtype=np.float32
        )
        noise += self._shapes[rows % len(self._shapes)]
        return noise[:, None]


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def do_pack(count: int, box: int, path: str) -> dict:
    """Pack generated volumes."""
    from dualcontrast.packing import pack

    before, start = peak_memory(), time.monotonic()
    pack(Generated(count, box), path, dtype="float16", contrast="as-is", normalisation="standardize")
    seconds = time.monotonic() - start
    size = sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())
    return {
        "imports_mb": before,
        "peak_mb": peak_memory(),
        "images_per_second": count / seconds,
        "disk_gb": size / 1e9,
    }


def do_train(
    path: str,
    resident: bool,
    method: str,
    preset: str | None,
    images: int | None,
    batch: int,
    device: str,
    epochs: int = 1,
) -> dict:
    """Train on some of the images, and say how fast the steps were after the first."""
    import torch

    from dualcontrast import Model, open_source
    from dualcontrast.training import batches, loop

    torch.set_num_threads(1)
    batches.RESIDENT_BYTES, batches.RESIDENT_SHARE = (2**60 if resident else 0), 0.0
    loop.LOG_EVERY = 5
    before = peak_memory()
    source = open_source(path)
    opened = peak_memory()
    rows = np.arange(len(source))[:images]
    clocks = []

    def look(seen: float) -> None:
        clocks.append((seen, time.monotonic(), time.process_time()))

    begun = time.process_time()
    if method == "reading only":
        preparation = Model(device=device).choose_preparation(source)
        stream = batches.Batches(source, preparation, rows, batch, 0, torch.device(device))
        seen = 0
        look(seen)
        for found in stream.from_step(0, stream.per_epoch):
            seen += len(found.images)
            look(seen)
    else:
        model = Model(method, preset, device=device, progress=False, batch_size=batch, epochs=epochs)
        model.fit(source, ids=source.ids[rows], report=lambda row: look(row["epoch"] * len(rows)))
    (first, start, start_cpu), (last, end, end_cpu) = clocks[0], clocks[-1]
    return {
        "imports_mb": before,
        "opened_mb": opened,
        "peak_mb": peak_memory(),
        "images_per_second": (last - first) / (end - start),
        "cpu_seconds": time.process_time() - begun,
        "images_per_cpu_second": (last - first) / (end_cpu - start_cpu),
    }


def child(*arguments: object) -> dict:
    """Run one measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "child", json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def memory(counts: list[int], box: int, folder: Path, method: str) -> None:
    """Print the table of memory."""
    print("| volumes | disk, GB | packing: peak, MB | packing, images/s | training: peak, MB | images/s |")
    print("|---|---|---|---|---|---|", flush=True)
    for count in counts:
        path = folder / f"generated-{box}-{count}.zarr"
        packed = child("pack", count, box, str(path))
        trained = child("train", str(path), False, method, None, None, 100, "cpu")
        print(
            f"| {count:,} | {packed['disk_gb']:.2f} | {packed['peak_mb']:.0f} | "
            f"{packed['images_per_second']:,.0f} | {trained['peak_mb']:.0f} | "
            f"{trained['images_per_second']:,.0f} |",
            flush=True,
        )
        shutil.rmtree(path)


def speed(
    count: int, box: int, folder: Path, methods: list[str], images: int, batch: int, repeats: int, device: str
) -> None:
    """Print the table of speed: medians of several processes each."""
    path = folder / f"generated-{box}-{count}.zarr"
    child("pack", count, box, str(path))
    print("| what is done | clock | from memory, images/s | from disk, images/s | ratio |")
    print("|---|---|---|---|---|", flush=True)
    for method in methods:
        name, _, preset = method.partition(":")
        found = {True: [], False: []}
        # In turns, so that what else the machine does falls on both.
        for _ in range(repeats):
            for resident in (True, False):
                of = count if name == "reading only" else images
                found[resident].append(
                    child("train", str(path), resident, name, preset or None, of, batch, device)
                )
        for clock, key in (("wall", "images_per_second"), ("CPU", "images_per_cpu_second")):
            inside, outside = (
                float(np.median([row[key] for row in found[resident]])) for resident in (True, False)
            )
            print(
                f"| {method} | {clock} | {inside:,.0f} | {outside:,.0f} | {outside / inside:.2f} |",
                flush=True,
            )
    shutil.rmtree(path)


def main() -> None:
    """Measure what is asked for."""
    if sys.argv[1:2] == ["child"]:
        what, *arguments = json.loads(sys.argv[2])
        print(json.dumps({"pack": do_pack, "train": do_train}[what](*arguments)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("memory", "speed"):
        options = verbs.add_parser(verb)
        options.add_argument("--box", type=int, default=16 if verb == "memory" else 32)
        options.add_argument("--folder", type=Path, default=Path())
    verbs.choices["memory"].add_argument(
        "--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000]
    )
    verbs.choices["memory"].add_argument(
        "--method", default="reading only", help="a method, or `reading only`"
    )
    options = verbs.choices["speed"]
    options.add_argument("--count", type=int, default=20_000)
    options.add_argument("--methods", nargs="+", default=["reading only", "dualcontrast:subtomogram"])
    options.add_argument("--images", type=int, default=10_000, help="images of the epoch of a method")
    options.add_argument("--batch", type=int, default=100)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--device", default="cpu")
    given = vars(parser.parse_args())
    {"memory": memory, "speed": speed}[given.pop("verb")](**given)


if __name__ == "__main__":
    main()
