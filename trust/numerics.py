"""Do precision, threads and batches change results? Small trainings on scikit-learn's digits.

python trust/numerics.py
python trust/numerics.py --tables precision --device cuda

A CPU without instructions for bf16 takes an hour a seed by PyTorch's own way around them. There, products of
bf16 numbers are taken in float32 and rounded to bf16, which is what the instructions do (`Bf16Products`).

It prints the tables, and ends with exit code 1 where mixed precision moves a score by more than seeds do, or
codes differ beyond the stated tolerances.
"""

import argparse
import sys
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dualcontrast.codes import Codes
from dualcontrast.data.open import open_source
from dualcontrast.data.split import make_split
from dualcontrast.data.subset import SubsetSource
from dualcontrast.evaluation.d_score import d_score
from dualcontrast.model import Model

aten = torch.ops.aten
# Of the standard deviation of a code's dimension. Sums in another order differ in the last of 24 bits, some
# thousand times over on the way through the networks.
TOLERANCE = 1e-3
PRECISIONS = ("32-true", "bf16-mixed")
SCORES = ("digit from c", "digit from z")
TABLES = ("precision", "batches", "threads")


class Bf16Products(TorchDispatchMode):
    """Convolutions and matrix products of bf16 numbers: exact products, added up in float32, rounded once."""

    products = frozenset(
        {
            *(aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default),
            *(aten.convolution.default, aten.convolution_backward.default),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in self.products or not any(_is_bf16(value) for value in args):
            return func(*args, **(kwargs or {}))
        self.taken += 1
        found = func(*(value.float() if _is_bf16(value) else value for value in args), **(kwargs or {}))
        if isinstance(found, tuple):
            return tuple(None if value is None else value.bfloat16() for value in found)
        return found.bfloat16()


def _is_bf16(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bfloat16


def has_bf16(device: str) -> bool:
    """Say whether the device multiplies bf16 numbers by instructions of its own."""
    capability = torch.backends.cpu.get_cpu_capability()
    return device != "cpu" or "AMX" in capability or torch.cpu._is_avx512_bf16_supported()


def trained(precision: str, seed: int, epochs: int, device: str = "cpu") -> tuple[Model, dict[str, float]]:
    """Train a model, and score its codes on held-out images."""
    source = open_source("digits")
    split = make_split(source, seed=0)
    model = Model(
        "dualcontrast",
        seed=seed,
        device=device,
        precision=precision,
        progress=False,
        epochs=epochs,
        batch_size=64,
        learning_rate=1e-3,
    ).fit(SubsetSource(source, split.train))
    codes = model.encode(source)
    scores = d_score(codes, source.labels, split.train, split.test, 0)["content"]
    return model, dict(zip(SCORES, (scores["from_content"], scores["from_transformation"]), strict=True))


def deviation(one: Codes, other: Codes) -> float:
    """Return the largest difference of two sets of codes, in standard deviations of the dimension."""
    found = []
    for name in ("content", "transformation"):
        a, b = (getattr(codes, name).astype(np.float64) for codes in (one, other))
        found.append(np.abs(a - b).max(axis=0) / np.maximum(a.std(axis=0), 1e-6 * np.abs(a).max()))
    return float(np.concatenate(found).max())


def precision_table(seeds: int, epochs: int, device: str) -> tuple[str, bool]:
    """Train in both precisions; True where no score differs by more than seeds make it differ."""
    found: dict[str, list[dict[str, float]]] = {precision: [] for precision in PRECISIONS}
    instructions = has_bf16(device)
    for precision in PRECISIONS:
        for seed in range(seeds):
            with Bf16Products() if precision != "32-true" and not instructions else nullcontext() as products:
                _, scores = trained(precision, seed, epochs, device)
            if isinstance(products, Bf16Products) and not products.taken:
                raise RuntimeError("no product was of bf16 numbers: what was to be measured was not")
            found[precision].append(scores)
            print(f"{precision}, seed {seed}: {scores}", file=sys.stderr, flush=True)
    lines = ["| score | 32-true | bf16-mixed | difference | noise of seeds |", "|---|---:|---:|---:|---:|"]
    fine = True
    for score in SCORES:
        plain, mixed = (np.array([one[score] for one in found[precision]]) for precision in PRECISIONS)
        difference = mixed.mean() - plain.mean()
        # Two standard errors of a difference of means; never less than one image in a hundred.
        noise = max(0.01, 2 * np.sqrt((plain.var(ddof=1) + mixed.var(ddof=1)) / seeds))
        fine &= bool(abs(difference) <= noise)
        shown = [f"{values.mean():.3f} ± {values.std(ddof=1):.3f}" for values in (plain, mixed)]
        lines.append(f"| {score} | {shown[0]} | {shown[1]} | {difference:+.3f} | {noise:.3f} |")
    return "\n".join(lines), fine


def codes_table(epochs: int) -> tuple[str, bool]:
    """Encode with other numbers of threads and in other batches; True where codes agree to `TOLERANCE`."""
    model, _ = trained("32-true", 0, epochs)
    source = open_source("digits")
    rows = np.arange(300)
    before = torch.get_num_threads()

    def encoded(size: int, threads: int = 1) -> Codes:
        torch.set_num_threads(threads)
        batches = [rows[first : first + size] for first in range(0, len(rows), size)]
        return Codes.joined(list(model.encode_batches(source, batches)))

    try:
        expected = encoded(len(rows))
        found = {f"batches of {size}": encoded(size) for size in (1, 7, 64)}
        found["2 threads"] = encoded(len(rows), threads=2)
        found["the same again"] = encoded(len(rows))
    finally:
        torch.set_num_threads(before)
    lines = ["| 300 images at once, 1 thread, against | largest difference, deviations |", "|---|---:|"]
    deviations = {name: deviation(expected, codes) for name, codes in found.items()}
    lines += [f"| {name} | {value:.1e} |" for name, value in deviations.items()]
    return "\n".join(lines), max(deviations.values()) <= TOLERANCE and deviations["the same again"] == 0


def threads_table(epochs: int) -> tuple[str, bool]:
    """Train with one and with two threads; True where the scores agree to one image in fifty."""
    before = torch.get_num_threads()
    found = {}
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found[threads] = trained("32-true", 0, epochs)[1]
    finally:
        torch.set_num_threads(before)
    lines = ["| score, seed 0 | 1 thread | 2 threads |", "|---|---:|---:|"]
    lines += [f"| {score} | {found[1][score]:.3f} | {found[2][score]:.3f} |" for score in SCORES]
    return "\n".join(lines), all(abs(found[1][score] - found[2][score]) <= 0.02 for score in SCORES)


def main() -> int:
    """Print the tables, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--tables", default=",".join(TABLES), help="some of them")
    parser.add_argument("--device", default="cpu", help="of the precisions; the others are about CPUs")
    asked = parser.parse_args()
    wanted = asked.tables.split(",")
    if unknown := set(wanted) - set(TABLES):
        parser.error(f"--tables {', '.join(sorted(unknown))}: choose from {', '.join(TABLES)}")
    torch.set_num_threads(1)
    tables = {
        "precision": lambda: precision_table(asked.seeds, asked.epochs, asked.device),
        "batches": lambda: codes_table(asked.epochs),
        "threads": lambda: threads_table(asked.epochs),
    }
    all_fine = True
    for name in wanted:
        table, fine = tables[name]()
        print(table, flush=True)
        all_fine &= fine
    return 0 if all_fine else 1


if __name__ == "__main__":
    sys.exit(main())
