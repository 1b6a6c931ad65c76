"""What the tests of several ranks compute, in one process and in two; as a program, it is one of the two."""

import json
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.numpy import save_file

from dualcontrast import ranks, spread
from dualcontrast.errors import SettingError
from dualcontrast.methods.base import Batch
from dualcontrast.methods.registry import all_methods
from dualcontrast.model import apply_changes
from dualcontrast.prepare import choose_preparation
from dualcontrast.random_streams import torch_stream
from dualcontrast.training.batches import Batches
from dualcontrast.training.engine import build_method
from dualcontrast.views import ViewConfig
from dualcontrast.wedge import tilt_wedge
from toy_images import bar_source, bars

SHAPES = {2: (16, 16), 3: (16, 16, 16)}


def _cases() -> dict[str, tuple[str, str, int, dict]]:
    """Every method with every configuration that a preset of it has: method, preset, dimensions, changes."""
    cases, seen = {}, []
    for name, method in all_methods().items():
        for preset, settings in method.presets.items():
            for dimension in method.spatial_dims:
                # Volumes are slow: the presets that are made for them stand for all.
                known = (name, settings.config, dimension)
                if known not in seen and (dimension == 3) == (preset == "subtomogram"):
                    seen.append(known)
                    cases[f"{name}-{preset}-{dimension}d"] = (name, preset, dimension, {})
    return cases


CASES = _cases()
# These turn images or coordinates to single precision, whatever they are given.
SINGLE = ("vitae-default-2d", "dualcontrast-subtomogram-3d", "harmony-default-2d")
CASES["batch normalisation"] = (
    "dualcontrast",
    "default",
    2,
    {
        "layer_normalisation": "batch",
        "centre_codes": True,
        "decoder": "convolutional",
        "exchange_share": 0.5,
        "like_states_count": 3.0,
    },
)
CASES["every term"] = (
    "dualcontrast",
    "paper",
    3,
    {
        "decoder": "convolutional",
        "views": ViewConfig(both=True, elastic=0.05, scale=0.1, shift=0.1),
        "weights": dict.fromkeys(
            (
                "con_c_exchanged",
                "con_c_clusters",
                "independence",
                "independence_products",
                "independence_c",
                "rotation",
                "rotation_c",
            ),
            1.0,
        ),
        "reconstruct_views": True,
        "positive_z_pair": "exchange",
    },
)
# A batch that can be halved and one that cannot; volumes are slow.
BATCHES = {2: (slice(0, 6), slice(6, 11)), 3: (slice(6, 11),)}


def compute(case: str) -> dict[str, np.ndarray]:
    """Terms, gradients and buffers of two steps without an update, as the training loop makes them."""
    # Rounding errors are then no excuse.
    kind = torch.float32 if case in SINGLE else torch.float64
    torch.set_default_dtype(kind)
    name, preset, dimension, changes = CASES[case]
    method_class = all_methods()[name]
    changes = {k: vars(v) if isinstance(v, ViewConfig) else v for k, v in changes.items()}
    config = apply_changes(method_class, method_class.presets[preset], changes).config
    method = build_method(method_class, config, (1, *SHAPES[dimension]), True, seed=3).train()
    images = torch.from_numpy(bars(11, SHAPES[dimension])[0])
    wedges = None
    if dimension == 3:
        wedges = torch.stack([tilt_wedge(SHAPES[3], -60 + i, 60) for i in range(11)])
    found = {}
    for step, rows in enumerate(BATCHES[dimension]):
        generator = torch_stream(0, "step", step)
        own = [None if whole is None else whole[rows][spread.own_rows()] for whole in (images, wedges)]
        total = rows.stop - rows.start
        batch = Batch(*(None if part is None else spread.spread(part.to(kind), total) for part in own))
        for phase in method.phases():
            terms = method.losses(batch, generator, phase.name)
            weights = method.weights(0.3)
            loss = torch.stack([weights[term] * value for term, value in terms.items()]).sum()
            method.zero_grad()
            loss.backward(inputs=phase.parameters)
            ranks.average_gradients(phase.parameters)
            at = f"step {step}, {phase.name}: "
            found |= {f"{at}{term}": value.detach().numpy().copy() for term, value in terms.items()}
            found |= {
                f"{at}gradient of {key}": value.grad.flatten()[:: max(1, value.numel() // 500)].numpy().copy()
                for key, value in method.named_parameters()
                if value.grad is not None
            }
    return found | {f"buffer {key}": value.numpy().copy() for key, value in method.named_buffers()}


def operations(number_of_rows: int = 7) -> dict[str, np.ndarray]:
    """What a method may do with a batch besides, by value: known to `spread` or not."""
    rng = np.random.default_rng(0)
    whole = torch.from_numpy(rng.normal(size=(number_of_rows, 2, 4)))
    other = torch.from_numpy(rng.normal(size=(number_of_rows, 2, 4)))
    x = spread.spread(whole[spread.own_rows()].clone().requires_grad_(), number_of_rows)
    index = torch.tensor([6, 0, 3, 3])
    results = {
        "median": x.median(dim=0).values,
        "sorted": torch.sort(x, dim=0).values,
        "cumulative": x.cumsum(0),
        "softmax over rows": x.softmax(dim=0),
        "flattened with rows": x.flatten(0, 1) @ torch.eye(4, dtype=x.dtype)[:, :2],
        "transposed": x.transpose(0, 1),
        "stacked": torch.stack((x, x + 1)),
        "rows from anywhere": x[index],
        "every other row": x[::2],
        "one row": x[-1],
        "mask": x[torch.arange(number_of_rows) > 3],
        "matrices": x.mT @ x,
        "with a whole": torch.where(other > 0, x, other) - other * x,
        "narrow against wide": x[:, 0, :1].squeeze(1) * x[..., 0].T,
        "rolled": x.roll(3, dims=0),
        "halves": torch.cat(x.chunk(2)[::-1]),
        "reshaped": x.reshape(number_of_rows, -1) * 2,
        "reshaped across rows": x.reshape(-1, 4).sum(0),
        "norm": x.norm(),
        "places of what is positive": x[torch.where(x > 0)],
        "some columns": x[:, :, torch.tensor([3, 0])] + x[..., torch.tensor([1, 2])],
        "masked values": x[..., whole[0] > 0],
        "cut out": torch.cat((x[2:5], other[:2], x[:1])),
        "of a few rows": F.batch_norm(x[5:], None, None, training=True),
    }
    plain = {k: v.whole() if isinstance(v, spread.Spread) else v for k, v in results.items()}
    sum(value.square().sum() / ranks.world_size() for value in plain.values()).backward()
    leaf = x.local if isinstance(x, spread.Spread) else x
    gradient = spread.spread(leaf.grad, number_of_rows)
    plain["gradient"] = gradient.whole() if isinstance(gradient, spread.Spread) else gradient
    return {key: value.detach().numpy().copy() for key, value in plain.items()}


def refusals() -> list[str]:
    """Messages for what cannot be done on two ranks."""
    source = bar_source(3)
    preparation = choose_preparation(source, "auto")
    batch = spread.spread(torch.ones(2, 3), 4)
    tries = (
        lambda: Batches(source, preparation, np.arange(1), 1, 0, torch.device("cpu")),
        lambda: batch.fill_(0),
        lambda: batch.__setitem__(0, 1.0),
        lambda: torch.add(batch, 1, out=torch.ones(4, 3)),
    )
    messages = []
    for attempt in tries:
        try:
            attempt()
            messages.append("")
        except SettingError as error:
            messages.append(str(error))
    return messages


def main(number: int, count: int, folder: Path, cases: list[str]) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", store, timedelta(seconds=60), rank=number, world_size=count)
    gathered: list[int] = []
    gather = ranks.gather_rows

    def watched(rows, places):
        # Single rows do not count: their number does not grow with the batch.
        gathered.append(rows[:1].numel() if sum(map(len, places)) > 1 else 0)
        return gather(rows, places)

    ranks.gather_rows = watched
    for case in cases:
        gathered.clear()
        found = operations() if case == "operations" else compute(case)
        found["longest row gathered"] = np.array(max(gathered, default=0))
        save_file(found, folder / f"{case} {number}.safetensors")
    (folder / f"refusals {number}.json").write_text(json.dumps(refusals()))
    ranks.part()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
