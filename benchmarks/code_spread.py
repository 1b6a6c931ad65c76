"""How parallel codes are in the first steps of a training on MNIST: mean cosine of two images' codes.

python benchmarks/code_spread.py
"""

from typing import Any

import numpy as np
import torch

from dualcontrast import Model, open_source

STEPS = (20, 100, 200)
IMAGES = 500
SETTINGS: dict[str, dict[str, Any]] = {
    "`paper`": {"preset": "paper"},
    "`default`": {"preset": "default"},
    "`default`, codes centred": {"preset": "default", "centre_codes": True},
}


def mean_cosine(codes: np.ndarray) -> float:
    """Mean cosine of the angle between the codes of two different images, codes (N, dim)."""
    directions = torch.nn.functional.normalize(torch.from_numpy(codes), dim=1)
    cosines = directions @ directions.T
    return float((cosines.sum() - len(codes)) / (len(codes) * (len(codes) - 1)))


def main() -> None:
    """Train for a few steps, each time from the start, and print the table as Markdown."""
    source = open_source("mnist")
    held_out = source.read(np.arange(len(source) - IMAGES, len(source)))
    print(f"| | {' | '.join(f'c, {n} steps | z, {n} steps' for n in STEPS)} |")
    print("|---" * (2 * len(STEPS) + 1) + "|")
    for name, settings in SETTINGS.items():
        cells = []
        for steps in STEPS:
            model = Model(**settings, epochs=1, schedule="constant", progress=False)
            model.fit(source, ids=source.ids[: steps * model.recipe.batch_size])
            codes = model.encode(held_out)
            cells += [f"{mean_cosine(code):.2f}" for code in (codes.content, codes.transformation)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
