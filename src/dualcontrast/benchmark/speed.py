"""How long trainings take."""

from typing import Any

from dualcontrast.data.open import open_source
from dualcontrast.data.split import make_split
from dualcontrast.model import Model
from dualcontrast.run_folder import RunFolder

TIMED_STEPS = 12


def training_seconds(run: RunFolder) -> float:
    """Seconds that the steps of a training took, from its rows of metrics; pauses do not count."""
    rows = run.metrics
    steps_before = [0, *(row["step"] for row in rows[:-1])]
    images_a_step = len(run.split.train) / (rows[-1]["step"] / run.config["recipe"]["epochs"])
    return sum(
        (row["step"] - before) * images_a_step / row["images_per_second"]
        for row, before in zip(rows, steps_before, strict=True)
    )


def estimate_epoch_seconds(
    data: str,
    method: str,
    preset: str,
    changes: dict[str, Any],
    *,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> float:
    """Estimate how long an epoch takes, from two dozen steps of a model that is then thrown away.

    Parameters
    ----------
    data : str
        What `open_source` takes.
    method, preset : str
        What would be trained.
    changes : dict
        Settings that differ from the preset.
    limit : int, optional
        Training images that would be used.
    seed : int
        Of the split.
    device : str
        See `Model`.
    """
    source = open_source(data)
    twice: dict[str, Any] = changes | {"epochs": 2}
    model = Model(method, preset, seed=seed, device=device, progress=False, **twice)
    train = make_split(source, 0.2, seed).train
    count = len(train) if limit is None else min(limit, len(train))
    timed = min(count, TIMED_STEPS * model.recipe.batch_size)
    # The second epoch counts: the first loads libraries, chooses kernels and, on a GPU, records the step.
    model.fit(source, ids=train[:timed])
    return count / model.history[-1]["images_per_second"]
