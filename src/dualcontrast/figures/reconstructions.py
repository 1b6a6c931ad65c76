"""Originals, their reconstructions, and what is missing."""

import numpy as np
from matplotlib.figure import Figure

from dualcontrast.figures.style import (
    INK,
    NORMAL,
    as_pictures,
    display_limits,
    heat_map,
    mosaic,
    new_figure,
    show_sheet,
)

CAPTION = (
    "Held-out images, what the decoder makes of their own two codes, and the absolute difference (white: "
    "none). "
    "Detail that is missing here is in neither code."
)


def reconstruction_figure(originals: np.ndarray, reconstructions: np.ndarray) -> Figure:
    """Draw three rows: originals, reconstructions, absolute differences.

    Parameters
    ----------
    originals, reconstructions : numpy.ndarray, shape (K, C, *spatial)
        Prepared images.
    """
    count = len(originals)
    limits = display_limits(originals)
    shown, made = as_pictures(originals, limits), as_pictures(reconstructions, limits)
    difference = np.abs(shown - made).mean(axis=-1)
    rows = (("original", shown), ("reconstruction", made), ("difference", heat_map()(difference)[..., :3]))
    aspect = shown.shape[1] / shown.shape[2]
    width = 9.0
    figure = new_figure(width, 0.15 + 3 * (width - 1.2) / count * aspect * 1.05, "tight")
    for axes, (name, pictures) in zip(figure.subplots(3, 1), rows, strict=True):
        show_sheet(axes, mosaic(pictures, count))
        axes.set_ylabel(name, fontsize=NORMAL, color=INK, rotation=0, ha="right", va="center")
    return figure
