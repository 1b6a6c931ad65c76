"""How well `average` lays the particles of a class alike, and tells conformations: docs/results.md.

    python benchmarks/class_averages.py RUN                 # a run of benchmarks/subtomograms.py
    python benchmarks/class_averages.py RUN --states 6
    python benchmarks/class_averages.py RUN --states 6 --name content-3-by-averages   # after reclassify

Clusters the content codes into three classes, averages each, and compares with what the simulation knows. Of
classes with more members than averages are found from, those and the others are rows of their own.
"""

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import starfile
from scipy.spatial.transform import Rotation
from sklearn.metrics import adjusted_rand_score

from dualcontrast import Codes, RunFolder
from dualcontrast.averaging.class_averages import AVERAGES_RECORD, average_classes
from dualcontrast.class_finding import cluster_run
from dualcontrast.clusters import clusterings_of
from dualcontrast.evaluation.within_content import within_content
from dualcontrast.run_folder import CODES

WITHIN = 15.0


def share_in_one_frame(frames: Rotation) -> tuple[float, float]:
    """Share of the frames within 15 degrees of the commonest, and their median distance from it."""
    best = (0.0, np.nan)
    for place in range(0, len(frames), max(1, len(frames) // 100)):
        angles = np.degrees((frames[place].inv() * frames).magnitude())
        near = angles[angles < WITHIN]
        best = max(best, (len(near) / len(frames), float(np.median(near))))
    return best


def main() -> None:
    """Average the classes of a run and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--states", type=int, default=6)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--most", type=int, default=2000, help="particles that averages are found from")
    parser.add_argument("--name", help="classes that are there, instead of those of the codes")
    arguments = parser.parse_args()
    run = RunFolder.open(arguments.run)
    name = arguments.name or f"content-{arguments.classes}"
    if arguments.name is None and name not in clusterings_of(run):
        cluster_run(run, "content", arguments.classes, name=name)
    source = run.open_source()
    star: Any = starfile.read(Path(source.location))
    poses = star["particles"].set_index("rlnImageName")
    with (Path(source.location).parent / "particles.csv").open(newline="") as handle:
        truth = {
            row["id"]: (row["content:identity"], row["transformation:conformation"])
            for row in csv.DictReader(handle)
        }
    begun = time.monotonic()
    maps = average_classes(run, name, states=arguments.states, most=arguments.most, overwrite=True)
    minutes = (time.monotonic() - begun) / 60
    with (maps.folder / "poses.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    print("| class | particles | mostly | share | in one frame | median error, degrees | ARI of states |")
    print("|---|---|---|---|---|---|---|")
    for label in sorted({row["class"] for row in rows}, key=int):
        members = [row for row in rows if row["class"] == label]
        for part in (members[: arguments.most], members[arguments.most :]):
            if not part:
                continue
            identities = np.array([truth[row["id"]][0] for row in part])
            kinds, counts = np.unique(identities, return_counts=True)
            mostly = kinds[counts.argmax()]
            own = [row for row, kind in zip(part, identities, strict=True) if kind == mostly]
            found = Rotation.from_euler(
                "ZYZ", [[float(row[f"{angle}_deg"]) for angle in ("rot", "tilt", "psi")] for row in own], True
            )
            columns = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
            true = Rotation.from_euler("ZYZ", poses.loc[[row["id"] for row in own], columns].to_numpy(), True)
            share, error = share_in_one_frame(found * true.inv())
            ari = adjusted_rand_score([truth[row["id"]][1] for row in own], [row["state"] for row in own])
            purity = counts.max() / len(part)
            cells = [label, f"{len(part):,}", mostly, f"{purity:.2f}", f"{share:.2f}"]
            print(f"| {' | '.join(cells)} | {error:.1f} | {ari:.2f} |")
    labels = source.labels
    split = run.split
    assert labels is not None
    scores = within_content(Codes.load(maps.folder / CODES), labels, split.train, split.test)
    of_run = within_content(run.codes, labels, split.train, split.test)
    print("\n| conformation within an identity | ARI of z | from z | from c | chance |")
    print("|---|---|---|---|---|")
    for codes, found in (("of the run", of_run), ("of particles laid alike", scores)):
        numbers = [found[key] for key in ("ari", "from_transformation", "from_content", "chance")]
        print(f"| {codes} | {' | '.join(f'{number:.3f}' for number in numbers)} |")
    print("\n| class | states differ by, in units of noise |\n|---|---|")
    record = json.loads((maps.folder / AVERAGES_RECORD).read_text())
    for label, apart in record["separation"].items():
        print(f"| {label} | {apart:.1f} |")
    print(f"\n{minutes:.1f} minutes")


if __name__ == "__main__":
    main()
