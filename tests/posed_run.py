"""A run on two particles, drawn from formulas in known orientations, whose content codes are given."""

from pathlib import Path

import mrcfile
import numpy as np

from dualcontrast import Codes, RunFolder, pipeline
from dualcontrast.run_folder import CODES
from posed_blobs import BLOBS, drawn, posed_blobs

VOXEL, EACH = 8.0, 36
OTHER = BLOBS * [0.5, 0.5, 1.4]
ROTATIONS, SHIFTS = drawn(2 * EACH, 0)
IDENTITY = np.repeat([0, 1], EACH)


def posed_run(folder: Path, content: np.ndarray) -> Path:
    """Train for a moment on a STAR file of both particles, and replace the codes.

    Parameters
    ----------
    folder : Path
        Gets the volumes `000.mrc` and so on, `particles.star` and the run.
    content : numpy.ndarray, shape (72,)
        What the first number of each content code is near to.
    """
    volumes = np.concatenate(
        [
            posed_blobs(ROTATIONS[i == IDENTITY], SHIFTS[i == IDENTITY], places, 0.3, i)[:, 0].numpy()
            for i, places in enumerate((BLOBS, OTHER))
        ]
    )
    rows = []
    for i, volume in enumerate(volumes):
        with mrcfile.new(folder / f"{i:03d}.mrc") as file:
            file.set_data(volume.astype(np.float32))
            file.voxel_size = VOXEL
        rows.append(f"{i:03d}.mrc 1 99.0 keep{i}")
    star = folder / "particles.star"
    star.write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnImageSize\n1 8.0 16\n\n"
        "data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n_rlnAngleRot #3\n_rlnNote #4\n"
        + "\n".join(rows)
        + "\n"
    )
    path = folder / "run"
    changes = {"epochs": 1, "batch_size": 32}
    pipeline.train(
        star, path, changes=changes, contrast="light", evaluate=False, progress=False, device="cpu"
    )
    sizes = RunFolder.open(path).config["settings"]
    codes = np.random.default_rng(0).normal(0, 0.05, (2 * EACH, sizes["content_dim"]))
    codes[:, 0] += content
    transformation = np.zeros((2 * EACH, sizes["transformation_dim"]), dtype=np.float32)
    ids = np.array([f"{i:03d}.mrc" for i in range(2 * EACH)])
    Codes(ids, codes.astype(np.float32), transformation).save(path / CODES)
    return path
