"""What changes in the image when one code is moved and the other is kept."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dualcontrast.evaluation.inference import decode_codes
from dualcontrast.figures.style import (
    CONTENT,
    INK,
    LARGE,
    NORMAL,
    QUIET,
    SMALL,
    TRANSFORMATION,
    add_panel,
    as_pictures,
    display_limits,
    mosaic,
    new_figure,
    show_sheet,
)
from dualcontrast.methods.base import Method

STEPS = (-2.0, -1.25, -0.5, 0.0, 0.5, 1.25, 2.0)
MOST_AXES = 3
WIDTH = 9.0
CODE_COLOURS = {"content": CONTENT, "transformation": TRANSFORMATION}
CAPTIONS = {
    "content": (
        "c moves along its own main directions, z stays that of the image on the left. The identity should "
        "change, the pose should not."
    ),
    "transformation": (
        "z moves along its own main directions, c stays that of the image on the left. The pose should "
        "change, "
        "the identity should not. Rows without any change are directions the decoder does not use."
    ),
}


def principal_axes(codes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions in which a code varies most over the images.

    Parameters
    ----------
    codes : numpy.ndarray, shape (N, d)
        Posterior means.
    count : int
        How many directions, at most d.

    Returns
    -------
    centre : numpy.ndarray, shape (d,)
        Mean code.
    axes : numpy.ndarray, shape (count, d)
        Unit vectors, by falling variance; each points to where its largest component is positive.
    spreads : numpy.ndarray, shape (count,)
        Standard deviations along them.
    """
    codes = codes.astype(np.float64)
    centre = codes.mean(axis=0)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(codes.T, bias=True)))
    order = np.argsort(values)[::-1][:count]
    axes = vectors[:, order].T
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return centre, axes * signs[:, None], np.sqrt(np.clip(values[order], 0, None))


def traverse(
    start: np.ndarray,
    centre: np.ndarray,
    axis: np.ndarray,
    spread: float,
    steps: Sequence[float] | np.ndarray = STEPS,
) -> np.ndarray:
    """Move one code along one direction, to fixed places that are the same for every image.

    The code's coordinate along the axis becomes `step · spread` from the centre, for every step, by default
    from -2 to 2; its other coordinates stay.

    Returns
    -------
    numpy.ndarray, float32, shape (number of steps, d)
    """
    kept = start - axis * (axis @ (start - centre))
    return (kept[None] + np.asarray(steps)[:, None] * spread * axis[None]).astype(np.float32)


def traversal_images(
    method: Method,
    code: str,
    content: Tensor,
    transformation: Tensor,
    population: np.ndarray,
    steps: Sequence[float] | np.ndarray = STEPS,
    most_axes: int = MOST_AXES,
) -> tuple[np.ndarray, np.ndarray]:
    """Decode traversals of one code from several images.

    Parameters
    ----------
    method : Method
        A generative method.
    code : {'content', 'transformation'}
        Which code moves.
    content, transformation : Tensor, shape (M, d)
        Codes of the starting images.
    population : numpy.ndarray, shape (N, d)
        The moving code over many images; gives the directions.
    steps : sequence of float
        Places along each direction, in standard deviations from the mean.
    most_axes : int
        How many directions, at most.

    Returns
    -------
    images : numpy.ndarray, shape (axes, M, number of steps, C, *spatial)
        Decoded images.
    shares : numpy.ndarray, shape (axes,)
        Share of the code's variance along each direction.
    """
    moving, still = (content, transformation) if code == "content" else (transformation, content)
    centre, axes, spreads = principal_axes(population, min(most_axes, population.shape[1]))
    decoded = []
    for axis, spread in zip(axes, spreads, strict=True):
        for start, other in zip(moving.numpy().astype(np.float64), still, strict=True):
            moved = torch.from_numpy(traverse(start, centre, axis, spread, steps))
            kept = other[None].repeat(len(steps), 1)
            decoded.append(
                decode_codes(method, *((moved, kept) if code == "content" else (kept, moved))).numpy()
            )
    total = population.astype(np.float64).var(axis=0).sum()
    shares = spreads**2 / total if total > 0 else np.zeros(len(spreads))
    images = np.stack(decoded)
    return images.reshape(len(axes), len(moving), *images.shape[1:]), shares


def traversal_figure(code: str, originals: np.ndarray, images: np.ndarray, shares: np.ndarray) -> Figure:
    """Draw the decoded images of traversals; see `traversal_sheet`.

    Parameters
    ----------
    code : {'content', 'transformation'}
        Which code moves.
    originals : numpy.ndarray, shape (M, C, *spatial)
        The starting images.
    images, shares : numpy.ndarray
        As from `traversal_images`.
    """
    limits = display_limits(originals)
    cells = as_pictures(images.reshape(-1, *images.shape[3:]), limits)
    return traversal_sheet(
        code, as_pictures(originals, limits), cells.reshape(*images.shape[:3], *cells.shape[1:]), shares
    )


def traversal_sheet(
    code: str,
    starts: np.ndarray,
    cells: np.ndarray,
    shares: np.ndarray,
    steps: Sequence[float] | np.ndarray = STEPS,
) -> Figure:
    """Draw one block of rows a direction, one row a starting image, one column a step.

    Parameters
    ----------
    code : {'content', 'transformation'}
        Which code moves.
    starts : numpy.ndarray, shape (M, h, w, 3)
        Pictures of the starting images.
    cells : numpy.ndarray, shape (axes, M, number of steps, h, w, 3)
        Pictures of what is decoded.
    shares : numpy.ndarray, shape (axes,)
        Share of the code's variance along each direction.
    steps : sequence of float
        Places along each direction, in standard deviations from the mean.
    """
    panels, rows = cells.shape[:2]
    # Sizes in inches; a cell is one picture with its gap.
    label, heading, between = 0.5, 0.55, 0.12
    cell = (WIDTH - label) / (len(steps) + 1.25)
    block = rows * cell * starts.shape[1] / starts.shape[2]
    figure = new_figure(WIDTH, heading + panels * (block + between), "by hand")
    steps_left, steps_width = label + 1.25 * cell, len(steps) * cell
    for index in range(panels):
        top = heading + index * (block + between)
        left = add_panel(figure, label, top, cell * 0.94, block)
        right = add_panel(figure, steps_left, top, steps_width * 0.99, block)
        show_sheet(left, mosaic(starts, 1))
        show_sheet(right, mosaic(cells[index].reshape(-1, *cells.shape[3:]), len(steps)))
        left.set_ylabel(
            f"direction {index + 1}\n{shares[index]:.0%} of variance", fontsize=SMALL, color=QUIET
        )
        if index == 0:
            left.set_title("image", fontsize=NORMAL, color=INK)
    for place, step in enumerate(steps):
        figure.text(
            (steps_left + (place + 0.47) * cell) / WIDTH,
            1 - (heading - 0.07) / figure.get_size_inches()[1],
            step_name(step),
            fontsize=SMALL,
            color=INK,
            ha="center",
            va="bottom",
        )
    figure.text(
        (steps_left + steps_width / 2) / WIDTH,
        1 - 0.04 / figure.get_size_inches()[1],
        heading_of(code),
        fontsize=LARGE,
        color=CODE_COLOURS[code],
        fontweight="bold",
        ha="center",
        va="top",
    )
    return figure


def step_name(step: float) -> str:
    """Name a place along a direction."""
    return f"{step:+g} s.d.".replace("-", "\N{MINUS SIGN}") if step else "mean"


def heading_of(code: str) -> str:
    """Say which code moves."""
    return f"moving the {code} code {'c' if code == 'content' else 'z'}"
