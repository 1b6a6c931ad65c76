"""One look for every figure: colours that colour-blind readers can tell apart, quiet axes, readable type."""

from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from dualcontrast.files import atomic_path

INK = "#1f2933"
QUIET = "#5f6b78"
GRID = "#e4e7eb"
# Of the two codes, dark enough for words on white; surfaces take the first two colours of the palette.
CONTENT = "#0072b2"
TRANSFORMATION = "#b54f00"
# Okabe and Ito's palette, without black and with yellow last, then four tones of Paul Tol's muted one.
PALETTE = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#882255",
    "#999933",
    "#332288",
    "#bbbbbb",
    "#f0e442",
    "#44aa99",
)
DOTS_PER_INCH = 160
SMALL, NORMAL, LARGE = 8.5, 10.0, 12.0


def new_figure(
    width: float, height: float, layout: Literal["spacious", "tight", "by hand"] = "spacious"
) -> Figure:
    """Make a figure that belongs to no global state.

    Parameters
    ----------
    width, height : float
        Inches.
    layout : {'spacious', 'tight', 'by hand'}
        Room between panels that matplotlib places; `by hand` for `add_panel`.
    """
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    if layout == "tight":
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0))
    elif layout == "spacious":
        figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    return figure


def quiet_axes(axes: Axes) -> None:
    """Leave the left and bottom axis, a light grid, and small labels."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
    axes.tick_params(colors=INK, labelsize=SMALL, length=3, color=QUIET)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def bare_axes(axes: Axes) -> None:
    """Leave nothing but what is drawn."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def class_colours(count: int) -> list[tuple[float, ...] | str]:
    """Give `count` colours: the palette, or steps of a perceptually even map where it is too short."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    from matplotlib import colormaps

    return [tuple(colormaps["turbo"](value)) for value in np.linspace(0.03, 0.97, count)]


def heat_map() -> LinearSegmentedColormap:
    """Return a white-to-dark map for differences."""
    return LinearSegmentedColormap.from_list("difference", ["white", "#e69f00", "#7a1f00"])


def as_pictures(images: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Turn prepared images into pictures with values in [0, 1].

    Parameters
    ----------
    images : numpy.ndarray, shape (N, C, H, W) or (N, C, D, H, W)
        Of a volume, the central slice along the first axis is shown. Three channels are taken as RGB; of any
        other number, the mean is shown.
    limits : tuple of float, optional
        Values shown as black and white; by default the images' 0.5th and 99.5th percentile.

    Returns
    -------
    numpy.ndarray, shape (N, H, W, 3)
        RGB pictures.
    """
    if images.ndim == 5:
        images = images[:, :, images.shape[2] // 2]
    low, high = limits or display_limits(images)
    shown = np.clip((images - low) / (high - low if high > low else 1.0), 0, 1)
    if shown.shape[1] != 3:
        shown = np.repeat(shown.mean(axis=1, keepdims=True), 3, axis=1)
    return np.moveaxis(shown, 1, -1)


def display_limits(images: np.ndarray, tail: float = 0.5) -> tuple[float, float]:
    """Choose the values shown as black and white: [0, 1] for images that fill it, else robust extremes.

    Parameters
    ----------
    images : numpy.ndarray
        Prepared images.
    tail : float
        Percentage of the pixels that may be darker than black, and lighter than white.
    """
    low, high = (float(value) for value in np.percentile(images, (tail, 100 - tail)))
    return (0.0, 1.0) if low >= -0.02 and 0.5 < high <= 1.02 else (low, high)


def mosaic(pictures: np.ndarray, columns: int, gap: int | None = None) -> np.ndarray:
    """Lay pictures out in rows on white, shape (rows · (H + gap) - gap, columns · (W + gap) - gap, 3).

    Parameters
    ----------
    pictures : numpy.ndarray, shape (N, H, W, 3)
        Row by row.
    columns : int
        Pictures a row.
    gap : int, optional
        Pixels between pictures; a sixteenth of a picture by default.
    """
    count, height, width, _ = pictures.shape
    gap = max(1, height // 16) if gap is None else gap
    rows = -(-count // columns)
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for index, picture in enumerate(pictures):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def show_sheet(axes: Axes, sheet: np.ndarray) -> None:
    """Draw a mosaic without smoothing between its pixels."""
    axes.imshow(sheet, interpolation="nearest", aspect="equal", vmin=0, vmax=1)
    bare_axes(axes)


def shorten(text: str, length: int = 22) -> str:
    """Cut a name that is too long for a legend, and keep dollar signs from starting a formula."""
    text = text if len(text) <= length else text[: length - 1] + "…"
    return text.replace("$", r"\$")


def pixels(figure: Figure) -> np.ndarray:
    """Draw a figure and return its pixels, uint8, shape (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, atomically."""
    path = Path(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
    return path


def add_panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes whose upper left corner and size are given in inches from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
