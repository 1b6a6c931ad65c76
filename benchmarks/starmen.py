"""The starmen tables of docs/results.md: which code holds each factor, and which code moves it in a transfer.

    python benchmarks/starmen.py                # 10,000 men, split as in the paper
    python benchmarks/starmen.py --seed 1 --precision bf16-mixed
    python benchmarks/starmen.py --run runs/demo    # of a run that is there

The settings are those of the demo but for `MORE`, which takes longer. What a decoded man looks like is read
by a network that was taught with the labels of other men; it plays no part in the training. The run folder is
`runs/starmen-SEED`; an interrupted run is resumed, a finished one is read.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualcontrast import RunFolder, train
from dualcontrast.benchmark.speed import training_seconds
from dualcontrast.cli.demo import STARMEN_SETTINGS
from dualcontrast.simulate.starmen import generate_starmen

MEN_TO_LEARN_FROM, STEPS, BATCH = 12_000, 2_500, 64
# z has to hold how a view is turned, shifted and warped beside the ten moves of the pose. Whether so long a
# code depends on c shows in large batches only, and not in its numbers alone, but in their products.
MORE = {
    "transformation_dim": 40,
    "batch_size": 256,
    "epochs": 60,
    "like_states_count": 6.0,
    "views": STARMEN_SETTINGS["views"] | {"narrow_to": 30.0},
    "weights": STARMEN_SETTINGS["weights"]
    | {"independence": 2.0, "independence_products": 2.0, "independence_c": 1.0},
}
# Men that no training here has seen: those of the runs are drawn with seed 0.
READER_SEED = 7
HELD_OUT = 1_000


class Reader:
    """A network that reads the factors, standardised, from images (N, 1, 64, 64)."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        men = generate_starmen(MEN_TO_LEARN_FROM + HELD_OUT, seed=READER_SEED)
        factors = np.stack([*men.identity.values(), *men.pose.values()], axis=1)
        self.mean, self.deviation = factors.mean(axis=0), factors.std(axis=0)
        wanted = torch.from_numpy(self.standardised(factors)).float()
        images = torch.from_numpy(men.images).float() / 255
        layers: list[nn.Module] = []
        for before, after in ((1, 32), (32, 64), (64, 128), (128, 128)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        head = nn.Linear(256, wanted.shape[1])
        self.network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, 256), nn.ReLU(), head)
        self._learn(images[:-HELD_OUT], wanted[:-HELD_OUT])
        # Decoded images are softer than drawn ones, so the reader has to read soft ones as well.
        self.accuracy = shared_variance(self.read(soft(images[-HELD_OUT:])), wanted[-HELD_OUT:].numpy())

    def _learn(self, images: Tensor, wanted: Tensor) -> None:
        optimiser = torch.optim.Adam(self.network.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=STEPS)
        for step in range(STEPS):
            rows = torch.randint(len(images), (BATCH,))
            shown = soft(images[rows]) if step % 2 else images[rows]
            loss = F.mse_loss(self.network(shown), wanted[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        self.network.eval()

    @torch.inference_mode()
    def read(self, images: Tensor) -> np.ndarray:
        """Read standardised factors, shape (N, 14)."""
        return torch.cat([self.network(part) for part in images.split(500)]).numpy()

    def standardised(self, factors: np.ndarray) -> np.ndarray:
        """Bring factors (N, 14) to the scale of `read`."""
        return (factors - self.mean) / self.deviation


def soft(images: Tensor) -> Tensor:
    """Average each pixel with its neighbours."""
    return F.avg_pool2d(images, 3, stride=1, padding=1)


def shared_variance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared correlation of each column of two tables."""
    return np.array([np.corrcoef(x, y)[0, 1] ** 2 for x, y in zip(a.T, b.T, strict=True)])


def in_exchanges(run: RunFolder, reader: Reader) -> np.ndarray:
    """Squared correlation (14, 2) of what is read from decoded exchanges with the men of c and of z."""
    codes, labels = run.codes.select(run.split.test), run.open_source().labels
    assert labels is not None, "starmen come with their factors"
    labels = labels.select(codes.ids)
    factors = reader.standardised(np.stack([factor.values for factor in labels.factors], axis=1))
    partner = np.roll(np.arange(len(codes)), 1)
    exchanged = replace(codes, transformation=codes.transformation[partner])
    read = reader.read(torch.from_numpy(run.load_model(progress=False).decode(exchanged)))
    return np.stack([shared_variance(read, factors), shared_variance(read, factors[partner])], axis=1)


def print_table(run: RunFolder, reader: Reader) -> None:
    """Print, for each factor, what c and z know of it and which of them sets it in a decoded exchange."""
    moved = in_exchanges(run, reader)
    evaluation = run.evaluation
    known = [
        (factor["name"], factor["from_content"], factor["from_transformation"])
        for role in ("content", "transformation")
        for factor in evaluation["d_score"][role]["factors"]
    ]
    print("| | R² from c | R² from z | r² with the man of c | r² with the man of z | reader |")
    print("|---|---|---|---|---|---|")
    values = np.column_stack([[row[1:] for row in known], moved, reader.accuracy])
    for name, rows in (("build, mean", slice(0, 4)), ("pose, mean", slice(4, None))):
        print(f"| **{name}** | {' | '.join(f'{value:.2f}' for value in values[rows].mean(axis=0))} |")
    for (name, *_), row in zip(known, values, strict=True):
        print(f"| {name.replace('_', ' ')} | {' | '.join(f'{value:.2f}' for value in row)} |")
    print()
    for name, role in (("build", "content"), ("pose", "transformation")):
        curved = evaluation["curved_read_out"][role]
        print(f"{name} by a curved fit, mean R²: from c {curved['from_content']:.2f}, ", end="")
        print(f"from z {curved['from_transformation']:.2f}")
    swap = evaluation["diagnostics"]["swap_consistency"]
    print(f"swap consistency: c {swap['content']:.2f}, z {swap['transformation']:.2f}; ", end="")
    print(f"test MSE {evaluation['diagnostics']['reconstruction']['mse']:.4f}; ", end="")
    print(f"{training_seconds(run) / 60:.1f} minutes of training")


def main() -> None:
    """Train unless a run is given, and print its table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--epochs", type=int, default=MORE["epochs"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    folder = arguments.run or Path(f"runs/starmen-{arguments.seed}")
    if not (folder / "report.html").exists():
        train(
            "starmen",
            folder,
            seed=arguments.seed,
            changes=STARMEN_SETTINGS | MORE | {"epochs": arguments.epochs},
            precision=arguments.precision,
            device=arguments.device,
            resume=True,
        )
    print_table(RunFolder.open(folder), Reader())


if __name__ == "__main__":
    main()
