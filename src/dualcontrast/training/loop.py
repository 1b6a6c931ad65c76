"""The training loop: one for every method and every data set."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualcontrast import ranks
from dualcontrast.errors import RunError
from dualcontrast.methods.base import Method, Recipe
from dualcontrast.training.batches import Batches
from dualcontrast.training.checkpoint import load_checkpoint, save_checkpoint
from dualcontrast.training.interruption import stop_between_steps
from dualcontrast.training.step import Steps

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LOG_EVERY = 50


@dataclass(frozen=True)
class Checkpointing:
    """Where and how often a training keeps its state.

    Attributes
    ----------
    path : Path
        The checkpoint file.
    identity : dict
        What the run is; a checkpoint with another identity is refused.
    resume : bool
        Go on from `path` where it exists.
    every_seconds : float
        Shortest time between two checkpoints; they fall on logged steps and on the end.
    on_resume : callable
        Told the step from which the training goes on.
    """

    path: Path
    identity: dict[str, Any]
    resume: bool = False
    every_seconds: float = 60.0
    on_resume: Callable[[int], None] = lambda step: None


class NotFiniteError(RunError):
    """The loss is no longer a finite number; every rank knows it."""


class Stopped(Exception):
    """The training was asked to stop and has kept its state.

    Attributes
    ----------
    signal_number : int
        The signal that asked.
    step : int
        Steps done.
    """

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.signal_number, self.step = signal_number, step


def train(
    method: Method,
    batches: Batches,
    recipe: Recipe,
    fabric: "Fabric",
    seed: int,
    checkpointing: Checkpointing | None = None,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> None:
    """Train a method in place.

    Parameters
    ----------
    method : Method
        Supplies phases, named terms and their weights.
    batches : Batches
        Supplies the images of every step.
    recipe : Recipe
        Epochs, learning rate and schedule.
    fabric : lightning_fabric.Fabric
        Device and precision. With several devices every rank computes the same terms, of the whole batch, and
        the first one writes the checkpoint.
    seed : int
        Of the run; every random draw is made from it and the step.
    checkpointing : Checkpointing, optional
        Without it, nothing is written.
    report : callable, optional
        Given a row of metrics (`step`, `epoch`, `loss`, `images_per_second`, `terms`) every `LOG_EVERY`
        steps and at the end of every epoch; term values are means since the last row.

    Raises
    ------
    Stopped
        After Ctrl-C or SIGTERM, once the checkpoint is written.
    NotFiniteError
        When the loss is no longer finite; the last checkpoint is kept.
    LostRankError
        When another process of the training is gone; the last checkpoint is kept.
    """
    steps = Steps(method, recipe, fabric, seed, batches.per_epoch)
    total = recipe.epochs * batches.per_epoch
    start = 0
    if checkpointing and checkpointing.resume and checkpointing.path.exists():
        start, states = load_checkpoint(checkpointing.path, checkpointing.identity)
        try:
            steps.go_on_from(states)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunError(
                f"{checkpointing.path}: does not fit the networks of this run ({reason}); "
                "train again with --overwrite"
            ) from None
    if checkpointing and checkpointing.resume and ranks.first():
        checkpointing.on_resume(start)

    def keep(step: int) -> None:
        if checkpointing and ranks.first():
            save_checkpoint(checkpointing.path, checkpointing.identity, step, steps.states())

    ranks.meet()
    images_seen = 0
    logged_at = kept_at = time.monotonic()
    with stop_between_steps() as stop:
        for step, batch in enumerate(batches.from_step(start, total), start):
            steps.take(batch, step)
            images_seen += len(batch.images)
            done = step + 1
            if done % LOG_EVERY == 0 or done % batches.per_epoch == 0:
                # Reading the means waits for the device, so it happens here only.
                means = steps.means()
                bad = [name for name, value in means.items() if not math.isfinite(value)]
                # The last of these steps may have spoiled weights that no loss has seen yet.
                if bad or not steps.weights_are_finite():
                    raise NotFiniteError(_not_finite(bad or ["a weight"], done, checkpointing))
                now = time.monotonic()
                weights = steps.weights(step)
                report(
                    {
                        "step": done,
                        "epoch": done / batches.per_epoch,
                        "loss": sum(weights[name] * value for name, value in means.items()),
                        "images_per_second": images_seen / (now - logged_at),
                        "terms": means,
                    }
                )
                images_seen, logged_at = 0, now
                if done == total or (checkpointing and now - kept_at > checkpointing.every_seconds):
                    keep(done)
                    kept_at = time.monotonic()
            asked = stop.of_any_rank()
            if asked is not None:
                # All ranks are asked, so all of them come here.
                if not steps.weights_are_finite():
                    raise NotFiniteError(_not_finite(["a weight"], done, checkpointing))
                keep(done)
                ranks.meet()
                raise Stopped(asked, done)
    # Gradients would hold the memory of recorded steps.
    method.zero_grad()
    method.eval()


def _not_finite(bad: list[str], step: int, checkpointing: Checkpointing | None) -> str:
    kept = ""
    if checkpointing and checkpointing.path.exists():
        kept = f"{checkpointing.path} holds the last good state, from which --resume comes here again; "
    return (
        f"training stopped at step {step}: {', '.join(bad)} is no longer a finite number; {kept}"
        "train anew (--overwrite) with a lower --learning-rate or in --precision 32-true, and look for "
        "extreme pixels in the images (`dualcontrast data info`)"
    )
