"""How well `reclassify` sorts identities that the codes divide badly: docs/results.md.

    python benchmarks/reclassification.py RUN...             # runs of benchmarks/subtomograms.py

Clusters the content codes into three classes, moves particles between them, and compares with what the
simulation knows. The last column is what the same comparison gives with averages of the true classes, laid by
their true poses: no averages that are found can be expected to do better.
"""

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import starfile
import torch
from scipy.spatial.transform import Rotation

from dualcontrast import RunFolder
from dualcontrast.averaging.classification import compare
from dualcontrast.averaging.particles import mean_seen, read_particles, spectra_of, waves_for
from dualcontrast.averaging.reclassification import reclassify_run
from dualcontrast.averaging.search import Search
from dualcontrast.averaging.turns import turns_of
from dualcontrast.class_finding import cluster_run
from dualcontrast.clusters import Clusters, clusterings_of
from dualcontrast.evaluation.matching import matched

HEADER = (
    "run",
    "classes of c",
    "by averages",
    "expected",
    "calibration error",
    "moved",
    "rounds",
    "separation",
    "minutes",
    "by true averages",
)


def by_true_averages(run: RunFolder, ids: np.ndarray, identities: np.ndarray) -> float:
    """Share of particles whose true average is the one that they resemble most."""
    source = run.open_source()
    star: Any = starfile.read(Path(source.location))
    table = star["particles"].set_index("rlnImageName").loc[list(ids)]
    angles = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy()
    origins = table[["rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"]].to_numpy()
    volumes, wedges = read_particles(source, run.preparation, ids)
    waves = waves_for(run.preparation.image_shape)
    seen = None if wedges is None else mean_seen(waves, wedges, volumes.shape[-1])
    search = Search(waves, spectra_of(waves, volumes), seen, max_shift=waves.box / 10, seed=0)
    turns = turns_of(Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix(), search.highest)
    voxel = run.preparation.voxel_size or 1.0
    shifts = torch.from_numpy(-origins / voxel * waves.box / volumes.shape[-1]).float()
    laid = waves.turned(waves.coefficients(search.spectra, shifts), turns.wigner)
    kinds = np.unique(identities)
    means = torch.stack([laid[torch.from_numpy(identities == kind)].mean(dim=0) for kind in kinds])
    means /= search.share
    noise = float((laid - search.share * means[np.searchsorted(kinds, identities)]).square().mean())
    found = compare(search, means, noise).argmax(dim=1).numpy()
    return float((kinds[found] == identities).mean())


def main() -> None:
    """Sort the classes of runs and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"| {' | '.join(HEADER)} |\n{'|---' * len(HEADER)}|")
    for path in arguments.runs:
        run = RunFolder.open(path)
        name = f"content-{arguments.classes}"
        if name not in clusterings_of(run):
            cluster_run(run, "content", arguments.classes, name=name)
        begun = time.monotonic()
        found = reclassify_run(run, name, seed=arguments.seed, overwrite=True)
        minutes = (time.monotonic() - begun) / 60
        with (Path(run.open_source().location).parent / "particles.csv").open(newline="") as handle:
            truth = {row["id"]: row["content:identity"] for row in csv.DictReader(handle)}
        identities = np.array([truth[particle] for particle in found.ids])
        right = [
            float(np.mean(matched(identities, clusters.classes.names)))
            for clusters in (Clusters.load(run, name), found)
        ]
        fit, calibration = found.record["fit"], found.record["calibration"]["confidence"]
        cells = [
            run.path.name,
            *(f"{share:.3f}" for share in right),
            f"{found.classes.probability.mean():.3f}",
            f"{calibration['ece']:.3f}",
            f"{fit['moved']:.2f}",
            str(fit["rounds"]),
            f"{fit['separation']:.0f}",
            f"{minutes:.1f}",
            f"{by_true_averages(run, found.ids, identities):.3f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
