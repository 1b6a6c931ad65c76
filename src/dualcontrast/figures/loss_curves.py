"""How the loss and each of its terms went down."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dualcontrast.figures.style import (
    CONTENT,
    INK,
    NORMAL,
    QUIET,
    SMALL,
    TRANSFORMATION,
    new_figure,
    quiet_axes,
)

CAPTION = (
    "The loss and its terms, unweighted, over the training (thin: as logged; thick: smoothed). Curves "
    "that still "
    "fall at the right edge ask for more epochs."
)
SMOOTHED_ROWS = 30


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred running mean over `window` values, over fewer at the ends."""
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    index = np.arange(len(values))
    low, high = np.maximum(index - window // 2, 0), np.minimum(index + window // 2 + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def loss_figure(metrics: list[dict[str, Any]]) -> Figure:
    """Draw the loss and every term in a panel of its own.

    Parameters
    ----------
    metrics : list of dict
        Rows of `metrics.jsonl`: `epoch`, `loss` and `terms`.
    """
    names = list(dict.fromkeys(name for row in metrics for name in row["terms"]))
    curves = {"loss": [(row["epoch"], row["loss"]) for row in metrics]}
    for name in names:
        curves[name] = [(row["epoch"], row["terms"][name]) for row in metrics if name in row["terms"]]
    columns = min(4, len(curves))
    rows = -(-len(curves) // columns)
    figure = new_figure(9.0, 0.3 + 1.75 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(curves) :]:
        axes.axis("off")
    for axes, (name, points) in zip(panels.flat, curves.items(), strict=False):
        epochs, values = np.array(points, dtype=np.float64).T
        colour = _colour(name)
        window = max(1, len(values) // SMOOTHED_ROWS) | 1
        axes.plot(epochs, values, color=colour, linewidth=0.7, alpha=0.35 if window > 1 else 1)
        axes.plot(
            epochs,
            smooth(values, window),
            color=colour,
            linewidth=1.8,
            marker="o" if len(values) == 1 else "",
        )
        quiet_axes(axes)
        axes.set_title(name.replace("_", " "), fontsize=NORMAL, color=INK, loc="left")
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4), useMathText=True)
        axes.yaxis.get_offset_text().set_fontsize(SMALL)
    for axes in panels[-1]:
        axes.set_xlabel("epoch", fontsize=SMALL, color=QUIET)
    return figure


def _colour(name: str) -> str:
    words = set(name.split("_"))
    if words & {"z", "transformation"}:
        return TRANSFORMATION
    return CONTENT if words & {"c", "content"} else INK
