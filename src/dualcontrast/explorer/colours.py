"""Colours of points: a palette that colour-blind readers can tell apart, or a scale even to the eye."""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from dualcontrast.clusters import in_order
from dualcontrast.explorer.columns import Column
from dualcontrast.figures.style import class_colours

MOST_CLASSES = 12
OTHERS = "#8a929b"
SCALE = "cividis"
STEPS = 256


@dataclass(frozen=True)
class Colouring:
    """How points are coloured.

    Attributes
    ----------
    shades : numpy.ndarray, uint8, shape (N,)
        Place of each point in the palette.
    palette : tuple of str
        `#rrggbb`; the last is that of points whose value is not known or not named in the legend.
    legend : tuple of (str, str, int)
        Name, colour and number of points of each class; empty for a scale.
    limits : tuple of float or None
        Values of the first and the last colour of a scale.
    """

    shades: np.ndarray
    palette: tuple[str, ...]
    legend: tuple[tuple[str, str, int], ...]
    limits: tuple[float, float] | None


def colour_by(column: Column | None, count: int) -> Colouring:
    """Colour points by a column; all alike without one.

    The twelve most frequent names have colours of their own. A scale runs from the 1st to the 99th
    percentile, so that one outlier does not take all of it.

    Parameters
    ----------
    column : Column or None
        Its values.
    count : int
        Number of points.
    """
    if column is None:
        return Colouring(np.zeros(count, dtype=np.uint8), (str(class_colours(1)[0]), OTHERS), (), None)
    if column.is_measured:
        return _on_a_scale(column.values)
    names = column.names()
    shown = names[:MOST_CLASSES]
    # Colours by name and not by frequency, so that a class keeps its colour when others change.
    colours = dict(zip(in_order(shown), map(str, class_colours(len(shown))), strict=True))
    palette = (*colours.values(), OTHERS)
    shade_of = {name: place for place, name in enumerate(colours)}
    unique, inverse, counts = np.unique(column.values, return_inverse=True, return_counts=True)
    shades = np.array([shade_of.get(name, len(colours)) for name in unique.tolist()], dtype=np.uint8)[inverse]
    count_of = dict(zip(unique.tolist(), counts.tolist(), strict=True))
    legend = [(name, colour, count_of[name]) for name, colour in colours.items()]
    rest = count - sum(number for _, _, number in legend)
    if rest:
        legend.append(
            (f"{len(names) - len(shown)} more" if len(names) > len(shown) else "not known", OTHERS, rest)
        )
    return Colouring(shades, palette, tuple(legend), None)


def _on_a_scale(values: np.ndarray) -> Colouring:
    palette = (*(to_hex(colour) for colour in colormaps[SCALE](np.linspace(0, 1, STEPS - 1))), OTHERS)
    known = np.isfinite(values)
    low, high = np.percentile(values[known], (1, 99)) if known.any() else (0.0, 1.0)
    if high <= low:
        high = low + 1.0
    shades = np.full(len(values), STEPS - 1, dtype=np.uint8)
    scaled = np.clip((values[known] - low) / (high - low), 0, 1)
    shades[known] = np.round(scaled * (STEPS - 2)).astype(np.uint8)
    return Colouring(shades, palette, (), (float(low), float(high)))
