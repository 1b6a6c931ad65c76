"""What labels could read of the identity from what `subtomogram` makes c of: docs/results.md.

    python benchmarks/invariants.py RUN...             # runs of benchmarks/subtomograms.py

c is a linear layer on rotation invariants of ball harmonics. A linear discriminant that is taught the
identities of the training particles reads the same invariants of the held-out ones: a c that is trained
without labels can hardly be expected to do better, whatever its loss. The last column is that of a kernel
machine, which is not bound to be linear.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from dualcontrast import RunFolder
from dualcontrast.evaluation.inference import read_prepared
from dualcontrast.views import as_a_view

HEADER = ("run", "particles to learn from", "c, linear", "invariants, linear", "invariants, kernel")
READ_AT_ONCE = 512


def invariants_and_names(run: RunFolder, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the invariants (n, I) of particles, as the encoder gets them, and their identities (n,)."""
    source, method = run.open_source(), run.load_method("cpu")
    harmonics: Any = method.encoder.harmonics
    parts = []
    for some in np.array_split(ids, max(1, len(ids) // READ_AT_ONCE)):
        volumes = as_a_view(read_prepared(source, run.preparation, some), method.config.views)
        parts.append(harmonics.invariants(harmonics.coefficients(volumes)).numpy())
    assert source.labels is not None, "simulated particles come with their identities"
    return np.concatenate(parts), source.labels.select(ids).of_role("content")[0].values


def main() -> None:
    """Teach both readers and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    print(f"| {' | '.join(HEADER)} |\n{'|---' * len(HEADER)}|")
    for path in parser.parse_args().runs:
        run = RunFolder.open(path)
        (learned, names), (held_out, truth) = (
            invariants_and_names(run, ids) for ids in (run.split.train, run.split.test)
        )
        scaler = StandardScaler().fit(learned)
        linear = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        found = [
            reader.fit(scaler.transform(learned), names).score(scaler.transform(held_out), truth)
            for reader in (linear, SVC(gamma=1 / (4 * learned.shape[1])))
        ]
        of_code = run.evaluation["d_score"]["content"]["from_content"]
        cells = [run.path.name, f"{len(learned):,}", *(f"{value:.3f}" for value in (of_code, *found))]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
