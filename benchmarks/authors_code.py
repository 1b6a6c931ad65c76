"""What the exceptions of the `reference` preset change: train it with the authors' bugs put back.

    python benchmarks/authors_code.py                  # all of them, at 40 epochs
    python benchmarks/authors_code.py --bugs           # none: the preset as it is
    python benchmarks/authors_code.py --bugs shared-layer

A row is kept in `runs/authors-code`, and read where it is there already.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from dualcontrast import Codes, Model, open_source
from dualcontrast.data.source import ImageSource
from dualcontrast.data.split import Split, make_split
from dualcontrast.evaluation.evaluate import evaluate
from dualcontrast.files import write_text
from dualcontrast.losses import kl_to_standard_normal
from dualcontrast.methods.base import Encoding, Posterior
from dualcontrast.methods.dualcontrast import DualContrastConfig, DualContrastMethod
from dualcontrast.pipeline import limit_split

BUGS = {
    "shared-layer": "c and z enter the decoder through one layer",
    "kl": "the log-variance is read as log-deviation in the KL terms",
}
COLUMNS = {
    "content from c": ("d_score", "content", "from_content"),
    "content from z": ("d_score", "content", "from_transformation"),
    "c, their classifier": ("their_classifier", "content"),
    "z, their classifier": ("their_classifier", "transformation"),
    "rotation from z": ("diagnostics", "rotation_readout", "from_transformation"),
    "rotation from c": ("diagnostics", "rotation_readout", "from_content"),
    "swap, c": ("diagnostics", "swap_consistency", "content"),
    "swap, z": ("diagnostics", "swap_consistency", "transformation"),
    "test MSE": ("diagnostics", "reconstruction", "mse"),
}


def with_bugs(bugs: list[str]) -> type[DualContrastMethod]:
    """Make the method that computes what the authors' code computes."""

    class AuthorsCode(DualContrastMethod):
        """DualContrast with some of the bugs of its authors' code."""

        def __init__(self, config: DualContrastConfig, image_shape: tuple[int, ...], bounded: bool) -> None:
            super().__init__(config, image_shape, bounded)
            if "shared-layer" in bugs:
                self.decoder.from_transformation = self.decoder.from_content

        def _variational_terms(
            self, both: Tensor, measured: Tensor | None, encoding: Encoding, generator: torch.Generator
        ) -> dict[str, Tensor]:
            terms = super()._variational_terms(both, measured, encoding, generator)
            if "kl" in bugs:
                pixels = both[0].numel()
                for name, posterior in encoding._asdict().items():
                    doubled = Posterior(posterior.mean, 2 * posterior.log_variance)
                    # The preset adds the terms of the image and of its view, hence the 2.
                    terms[f"kl_{name}"] = 2 * kl_to_standard_normal(doubled) / pixels
            return terms

    return AuthorsCode


def their_classifier(source: ImageSource, codes: Codes, split: Split) -> dict[str, float]:
    """Score the digit as the authors do: scikit-learn's defaults on codes as they are, not standardised."""
    assert source.labels is not None
    labels = [source.labels.select(ids).of_role("content")[0].values for ids in (split.train, split.test)]
    scores = {}
    for code in ("content", "transformation"):
        train, test = (getattr(codes.select(ids), code) for ids in (split.train, split.test))
        scores[code] = float(LogisticRegression().fit(train, labels[0]).score(test, labels[1]))
        print(f"standard deviation of {code}: {np.std(train, axis=0).mean():.3f}")
    return scores


def measure(bugs: list[str], epochs: int, seed: int, limit: int | None) -> dict[str, Any]:
    """Train on MNIST and evaluate."""
    source = open_source("mnist")
    split: Split = make_split(source, seed=seed)
    if limit is not None:
        split = limit_split(split, limit, seed)
    model = Model(preset="reference", seed=seed, epochs=epochs)
    model.method_class = with_bugs(bugs)
    model.fit(source, ids=split.train)
    assert model.network is not None and model.preparation is not None
    codes = model.encode(source)
    evaluation = evaluate(model.network, codes, source, model.preparation, split, seed=seed)
    return evaluation | {"their_classifier": their_classifier(source, codes, split)}


def main() -> None:
    """Train what is missing and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bugs", nargs="*", choices=list(BUGS), default=list(BUGS))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="a random choice of this many images")
    parser.add_argument("--output", type=Path, default=Path("runs/authors-code"))
    arguments = parser.parse_args()
    name = "+".join(arguments.bugs) or "none"
    path = arguments.output / f"{name}-{arguments.epochs}-epochs-seed-{arguments.seed}.json"
    if not path.exists():
        evaluation = measure(arguments.bugs, arguments.epochs, arguments.seed, arguments.limit)
        write_text(path, json.dumps(evaluation, indent=2))
    evaluation = json.loads(path.read_text(encoding="utf-8"))
    print(f"| bugs put back | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    cells = []
    for keys in COLUMNS.values():
        value = evaluation
        for key in keys:
            value = value[key]
        cells.append(f"{value:.3f}")
    print(f"| {', '.join(BUGS[bug] for bug in arguments.bugs) or 'none'} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
