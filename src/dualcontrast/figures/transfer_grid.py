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
    add_panel,
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
    top_sheet, side_sheet, sheet = mosaic(sources, count), mosaic(sources, 1), mosaic(cells, count)
    height, width = sources.shape[1:3]
    # Inches a pixel, one for margins and grid, so that their pictures are in line.
    scale = min(9.0, 1.6 + 0.75 * count) / (sheet.shape[1] + 1.25 * width)
    names, rim = 0.4, 0.05
    left, top = names + scale * 1.25 * width, names + scale * 1.25 * height
    figure = new_figure(left + scale * sheet.shape[1] + rim, top + scale * sheet.shape[0] + rim, "by hand")
    above = add_panel(figure, left, names, scale * sheet.shape[1], scale * height)
    beside = add_panel(figure, names, top, scale * width, scale * sheet.shape[0])
    inside = add_panel(figure, left, top, scale * sheet.shape[1], scale * sheet.shape[0])
    for axes, pictures in ((above, top_sheet), (beside, side_sheet), (inside, sheet)):
        show_sheet(axes, pictures)
    above.set_title("content of …", color=CONTENT, fontsize=LARGE, fontweight="bold")
    beside.set_ylabel("transformation of …", color=TRANSFORMATION, fontsize=LARGE, fontweight="bold")
    for spine in inside.spines.values():
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
