"""A small project of subtomograms on disk, as RELION lays it out."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import starfile

BOX = 16
VOXEL = 10.0


@dataclass
class Project:
    """Files of a project: `star` in `Extract/job001`, volumes in `Extract/job001/Subtomograms`."""

    root: Path
    star: Path
    names: list[str]
    volumes: np.ndarray
    optics: pd.DataFrame
    particles: pd.DataFrame

    def file(self, row):
        return self.root / self.names[row]

    def write(self, **blocks):
        """Write the STAR file with RELION 4's two blocks; blocks given replace those, None drops one."""
        all_blocks = {"optics": self.optics, "particles": self.particles, **blocks}
        self.star.parent.mkdir(parents=True, exist_ok=True)
        starfile.write(
            {name: b for name, b in all_blocks.items() if b is not None}, self.star, overwrite=True
        )
        return self.star


def write_mrc(path, data, voxel_size=VOXEL, **header):
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NaN, which some tests write on purpose
        mrc = mrcfile.new(path, data, overwrite=True)
    with mrc:
        mrc.voxel_size = voxel_size
        for name, value in header.items():
            mrc.header[name] = value


def make_project(root, count=5):
    volumes = np.random.default_rng(1).normal(size=(count, BOX, BOX, BOX)).astype(np.float32)
    names = [f"Extract/job001/Subtomograms/TS_{row % 2 + 1:02d}/{row}_data.mrc" for row in range(count)]
    for name, volume in zip(names, volumes, strict=True):
        write_mrc(root / name, volume)
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["optics 1"],
            "rlnImagePixelSize": [VOXEL],
            "rlnImageSize": [BOX],
            "rlnImageDimensionality": [3],
        }
    )
    particles = pd.DataFrame(
        {
            "rlnTomoName": [f"{row % 2 + 1:02d}" for row in range(count)],
            "rlnAngleRot": np.arange(count) * 10.5,
            "rlnImageName": names,
            "rlnOpticsGroup": [1] * count,
        }
    )
    project = Project(root, root / "Extract/job001/particles.star", names, volumes, optics, particles)
    project.write()
    return project
