"""Small trained runs for the explorer, and the server that shows them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile

from dualcontrast import pipeline
from dualcontrast.class_finding import cluster_run
from star_project import write_mrc
from toy_images import bars

HOSTILE = '<img src=x onerror="window.hacked=1">'
BOX, VOXEL, COUNT = 32, 10.0, 36


def image_run(folder: Path) -> Path:
    """Train on 60 images of bars whose metadata are hostile; evaluated and reported."""
    images, number, angle = bars(60, (16, 16))
    ids = np.array([f"bar-{row:03d}" for row in range(60)])
    np.savez(folder / "bars.npz", images=images, ids=ids)
    rows = [
        f"{i},{n},{a:.3f},{HOSTILE if n == 1 else 'plain'}"
        for i, n, a in zip(ids, number, angle, strict=True)
    ]
    rows = [row.replace('"', "'") for row in rows]
    header = "id,content:bars,transformation:angle,metadata:<b>origin</b>"
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    options = pipeline.DataOptions(labels=folder / "labels.csv")
    path = folder / "images"
    with pytest.MonkeyPatch.context() as patch:
        # Its figures take long and are tested elsewhere, but for those of the loss.
        for of in ("embedding", "decoded"):
            patch.setattr(f"dualcontrast.figures.run_figures._{of}_figures", lambda *arguments: [])
        pipeline.train(
            folder / "bars.npz",
            path,
            changes={"epochs": 2, "batch_size": 24},
            options=options,
            progress=False,
            device="cpu",
        )
    return path


def volume_run(folder: Path) -> Path:
    """Train on 36 volumes of 32³ that a STAR file lists; encoded and clustered."""
    volumes, _, _ = bars(COUNT, (BOX, BOX, BOX))
    names = [f"Extract/job001/TS_{row % 2 + 1:02d}/{row:03d}.mrc" for row in range(COUNT)]
    for name, volume in zip(names, volumes, strict=True):
        write_mrc(folder / name, volume[0], VOXEL)
    rng = np.random.default_rng(3)
    particles = pd.DataFrame(
        {
            "rlnTomoName": [f"{row % 2 + 1:02d}" for row in range(COUNT)],
            **{f"rlnCoordinate{axis}": rng.uniform(0, 900, COUNT).round(3) for axis in "XYZ"},
            "rlnDefocusU": rng.uniform(20000, 30000, COUNT).round(1),
            "rlnImageName": names,
            "rlnOpticsGroup": [1] * COUNT,
        }
    )
    optics = pd.DataFrame({"rlnOpticsGroup": [1], "rlnImagePixelSize": [VOXEL], "rlnImageSize": [BOX]})
    star = folder / "Extract/job001/particles.star"
    starfile.write({"optics": optics, "particles": particles}, star)
    path = folder / "volumes"
    run = pipeline.train(
        star,
        path,
        changes={"epochs": 1, "batch_size": 12},
        evaluate=False,
        progress=False,
        device="cpu",
    )
    cluster_run(run, count=3, progress=False, device="cpu")
    return path


@contextmanager
def serving(run: Path, *options: str) -> Iterator[str]:
    """Start `dualcontrast explore`, and give the address that it prints."""
    command = [sys.executable, "-m", "dualcontrast", "explore", str(run), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        try:
            assert line.startswith("Open http://localhost:"), line
            yield line.split()[1]
        finally:
            server.terminate()
            server.communicate(timeout=60)
