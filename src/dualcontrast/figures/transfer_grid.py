"""The K×K grid that shows what each code holds (paper, section 4)."""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dualcontrast.evaluation.inference import decode_codes, encode_images
from dualcontrast.figures.style import (
    CONTENT,
    INK,
    LARGE,
    TRANSFORMATION,
    as_pictures,
    display_limits,
    mosaic,
    new_figure,
    show_sheet,
)
from dualcontrast.methods.base import Method

CAPTION = (
    "Every image inside the frame is made by the decoder from the content of the image above its column "
    "and the "
    "transformation of the image left of its row. Columns should keep one identity, rows one pose; the "
    "diagonal "
    "holds plain reconstructions."
)


def transfer_images(method: Method, images: Tensor) -> Tensor:
    """Combine the content of every image with the transformation of every image.

    Parameters
    ----------
    method : Method
        A generative method.
    images : Tensor, shape (K, C, *spatial)
        Prepared images.

    Returns
    -------
    Tensor, shape (K, K, C, *spatial)
        Entry (i, j) is decode(c_j, z_i): content of image j, transformation of image i.
    """
    count = len(images)
    encoding = encode_images(method, images)
    content = encoding.content.mean.repeat(count, 1)
    transformation = encoding.transformation.mean.repeat_interleave(count, dim=0)
    return torch.reshape(decode_codes(method, content, transformation), (count, count, *images.shape[1:]))


def transfer_figure(originals: np.ndarray, grid: np.ndarray) -> Figure:
    """Draw the grid with the originals on its margins.

    Parameters
    ----------
    originals : numpy.ndarray, shape (K, C, *spatial)
        Prepared images.
    grid : numpy.ndarray, shape (K, K, C, *spatial)
        As from `transfer_images`.
    """
    count = len(originals)
    limits = display_limits(originals)
    sources = as_pictures(originals, limits)
    cells = as_pictures(grid.reshape(count * count, *grid.shape[2:]), limits)
    side = min(9.0, 1.6 + 0.75 * count)
    aspect = sources.shape[1] / sources.shape[2]
    figure = new_figure(side, side * (aspect * count + 1.3) / (count + 1.3), "tight")
    axes = figure.subplots(
        2, 2, width_ratios=(1, count * 1.06), height_ratios=(1, count * 1.06), squeeze=False
    )
    axes[0, 0].axis("off")
    show_sheet(axes[0, 1], mosaic(sources, count))
    show_sheet(axes[1, 0], mosaic(sources, 1))
    show_sheet(axes[1, 1], mosaic(cells, count))
    axes[0, 1].set_title("content of …", color=CONTENT, fontsize=LARGE, fontweight="bold")
    axes[1, 0].set_ylabel("transformation of …", color=TRANSFORMATION, fontsize=LARGE, fontweight="bold")
    for spine in axes[1, 1].spines.values():
        spine.set_visible(True)
        spine.set_color(INK)
        spine.set_linewidth(0.8)
    return figure


def choose_examples(
    values: np.ndarray | None, count: int, available: int, rng: np.random.Generator
) -> np.ndarray:
    """Choose images for the grid: of different classes where labels are known, else at random.

    Parameters
    ----------
    values : numpy.ndarray or None, shape (N,)
        A discrete content factor.
    count : int
        How many to choose, at most `available`.
    available : int
        N.
    rng : numpy.random.Generator
        Makes the choice.

    Returns
    -------
    numpy.ndarray of int, shape (min(count, N),)
        Rows; sorted by class where labels are known.
    """
    count = min(count, available)
    order = rng.permutation(available)
    if values is None:
        return order[:count]
    _, classes = np.unique(values[order], return_inverse=True)
    # The how-manieth of its class each image is: firsts of every class come first, then seconds, and so on.
    turn = np.empty(available, dtype=np.int64)
    for label in np.unique(classes):
        turn[classes == label] = np.arange(np.sum(classes == label))
    chosen = np.argsort(turn, kind="stable")[:count]
    return order[chosen[np.argsort(classes[chosen], kind="stable")]]
