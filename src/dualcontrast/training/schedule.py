"""Learning rate of every step, from the recipe."""

import math

from dualcontrast.methods.base import Recipe

WARM_UP = 0.1


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of one step.

    Parameters
    ----------
    recipe : Recipe
        `constant`, `step` (times `decay` every `decay_epochs` epochs) or `one_cycle` (a linear warm-up over
        the first tenth of the run, then a cosine down to zero).
    step : int
        Counted from 0 over the whole run.
    steps_per_epoch : int
        Batches in an epoch.
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if recipe.schedule == "step":
        return recipe.learning_rate * recipe.decay ** (step // steps_per_epoch // recipe.decay_epochs)
    total = recipe.epochs * steps_per_epoch
    warm = max(1, round(WARM_UP * total))
    if step < warm:
        return recipe.learning_rate * (step + 1) / warm
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
