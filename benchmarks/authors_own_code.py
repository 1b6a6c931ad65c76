"""The authors' released code and the preset `reference` on the same images, read in the same way.

Needs a copy of their `train_mnist.py` (github.com/DuranRafid/DualContrast). Its network, losses and training
are run as they are, on the CPU; images and rotations come from this package, in the place of torchvision.
"""

import argparse
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualcontrast import Model, open_source
from dualcontrast.data.split import make_split
from dualcontrast.evaluation.d_score import classification_score
from dualcontrast.evaluation.regression import cross_fitted_r_squared
from dualcontrast.pipeline import limit_split
from dualcontrast.views import rotate

BATCH, CODE = 100, 10
TURNED = 2_000
COLUMNS = (
    "content from c",
    "content from z",
    "rotation from c",
    "rotation from z",
    "rotation from c, kernel",
    "rotation from z, kernel",
    "test MSE",
)


def their_module(path: Path) -> dict[str, Any]:
    """Run the definitions of their script, without a GPU and without torchvision."""
    torchvision = types.ModuleType("torchvision")
    sys.modules["torchvision"] = torchvision
    for name, members in (("transforms", ()), ("datasets", ()), ("utils", ("make_grid", "save_image"))):
        part = types.ModuleType(f"torchvision.{name}")
        for member in members:
            setattr(part, member, None)
        sys.modules[part.__name__] = part
        setattr(torchvision, name, part)
    names: dict[str, Any] = {"__name__": "their_code", "bs": BATCH, "z_dim": CODE}
    source = path.read_text(encoding="utf-8").replace(".cuda()", "")
    exec(compile(source, str(path), "exec"), names)
    return names


def train_theirs(path: Path, images: Tensor, epochs: int, learning_rate: float, seed: int) -> Any:
    """Train their network by their loop."""
    torch.manual_seed(seed)
    names = their_module(path)
    model = names["Model"](CODE, 28)

    class Loader:
        def __iter__(self) -> Iterator[tuple[Tensor, int]]:
            order = torch.randperm(len(images))
            for start in range(0, len(images) - BATCH + 1, BATCH):
                yield images[order[start : start + BATCH]], 0

    def turned(batch: Tensor) -> Tensor:
        angle = torch.rand(1) * 180 - 90
        return rotate(batch, angle.expand(len(batch)), "nearest")

    optimisers = [torch.optim.Adam(part.parameters(), learning_rate) for part in (model, model.encoder)]
    schedules = [torch.optim.lr_scheduler.StepLR(each, step_size=50, gamma=0.1) for each in optimisers]
    names["train"](model, epochs, Loader(), turned, *optimisers, *schedules)
    return model.eval()


def main() -> None:
    """Train both and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("script", type=Path, help="their train_mnist.py")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    source = open_source("mnist")
    split = make_split(source, 0.2, arguments.seed)
    train_ids = limit_split(split, arguments.images, arguments.seed).train
    rows, test_rows = (np.flatnonzero(np.isin(source.ids, ids)) for ids in (train_ids, split.test))
    images, test = (torch.from_numpy(source.read(chosen)) for chosen in (rows, test_rows))
    assert source.labels is not None
    labels = source.labels.factors[0].values
    angles = torch.rand(TURNED, generator=torch.Generator().manual_seed(arguments.seed)) * 180 - 90
    turned = rotate(test[:TURNED], angles)

    theirs = train_theirs(arguments.script, images, arguments.epochs, arguments.learning_rate, arguments.seed)
    ours = Model(
        preset="reference",
        seed=arguments.seed,
        epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
    ).fit(source, ids=train_ids)
    assert ours.network is not None
    network = ours.network

    @torch.inference_mode()
    def encode_theirs(batch: Tensor) -> tuple[Tensor, Tensor]:
        z, _, c, _ = theirs.encoder(batch)
        return c, z

    @torch.inference_mode()
    def encode_ours(batch: Tensor) -> tuple[Tensor, Tensor]:
        encoding = network.encode(batch)
        return encoding.content.mean, encoding.transformation.mean

    print(f"| | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name, encode, decode in (
        ("their code", encode_theirs, lambda c, z: theirs.decoder(z, c)),
        ("`reference`", encode_ours, network.decode),
    ):
        trained, held_out, moved = encode(images), encode(test), encode(turned)
        values = [
            classification_score(code.numpy(), labels[rows], tested.numpy(), labels[test_rows]).score
            for code, tested in zip(trained, held_out, strict=True)
        ]
        for nonlinear in (False, True):
            values += [
                cross_fitted_r_squared(
                    code.numpy(),
                    angles.double().numpy()[:, None],
                    np.random.default_rng(arguments.seed),
                    nonlinear=nonlinear,
                )
                for code in moved
            ]
        with torch.inference_mode():
            values.append(float((decode(*held_out) - test).square().mean()))
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |", flush=True)


if __name__ == "__main__":
    main()
