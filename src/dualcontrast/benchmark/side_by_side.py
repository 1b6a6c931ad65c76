"""The paper's figures 3 to 5 for all methods at once: transfer grids, t-SNE and UMAP side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dualcontrast.evaluation.inference import read_prepared
from dualcontrast.figures import transfer_grid
from dualcontrast.figures.embeddings import Colouring, scatter
from dualcontrast.figures.run_figures import example_ids, shown_ids
from dualcontrast.figures.style import (
    GRID,
    INK,
    NORMAL,
    SMALL,
    as_pictures,
    bare_axes,
    display_limits,
    mosaic,
    new_figure,
    show_sheet,
)
from dualcontrast.run_folder import RunFolder

GRID_IMAGES = 8
COLUMNS = 5


def transfer_grids_figure(runs: Sequence[tuple[str, RunFolder]], device: str = "auto") -> Figure | None:
    """Draw the transfer grid of every generative method, all of the same images.

    Parameters
    ----------
    runs : sequence of (str, RunFolder)
        Title and run of each method, all on one data set with one split.
    device : str
        Where the methods run.

    Returns
    -------
    matplotlib.figure.Figure or None
        None where no method has a decoder.
    """
    sheets = []
    for title, run in runs:
        method = run.load_method(device)
        if method.generative:
            source = run.open_source()
            ids = example_ids(shown_ids(run.split), source.labels, GRID_IMAGES, 0)
            images = read_prepared(source, run.preparation, ids)
            grid = transfer_grid.transfer_images(method, images)
            sheets.append((title, grid_sheet(images.numpy(), grid.numpy())))
    if not sheets:
        return None
    columns = min(COLUMNS, len(sheets))
    rows = -(-len(sheets) // columns)
    figure = new_figure(3.2 * columns, 3.5 * rows)
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, (title, sheet) in zip(panels, sheets, strict=False):
        axes.set_axis_on()
        show_sheet(axes, sheet)
        axes.set_title(title, fontsize=NORMAL, color=INK)
    caption = "content from the top row,\ntransformation from the left column"
    figure.supxlabel(caption, fontsize=SMALL, color=INK)
    return figure


def grid_sheet(originals: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Lay a transfer grid out with the originals above and left of it, one mosaic.

    Parameters
    ----------
    originals : numpy.ndarray, shape (K, C, *spatial)
        Prepared images.
    grid : numpy.ndarray, shape (K, K, C, *spatial)
        As from `transfer_images`.
    """
    count = len(originals)
    limits = display_limits(originals)
    margin = as_pictures(originals, limits)
    inside = as_pictures(grid.reshape(count * count, *grid.shape[2:]), limits).reshape(
        count, count, *margin.shape[1:]
    )
    corner = np.ones((1, *margin.shape[1:]))
    rows = [np.concatenate((corner, margin))]
    rows += [np.concatenate((margin[row : row + 1], inside[row])) for row in range(count)]
    return mosaic(np.concatenate(rows), count + 1)


def maps_figure(maps: Sequence[tuple[str, Path]], kind: str) -> Figure:
    """Draw the content codes of held-out images for every method, coloured by their content label.

    Parameters
    ----------
    maps : sequence of (str, Path)
        Title, and file of the places of each method.
    kind : {'t-SNE', 'UMAP'}
        Which places.
    """
    columns = min(COLUMNS, len(maps))
    rows = -(-len(maps) // columns)
    figure = new_figure(2.8 * columns, 3.1 * rows + 0.5)
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in panels:
        axes.set_axis_off()
    handles = None
    for axes, (title, path) in zip(panels, maps, strict=False):
        with np.load(path, allow_pickle=False) as stored:
            places, labels = stored[kind], stored["labels"]
        axes.set_axis_on()
        handles = scatter(axes, places, Colouring("", labels))
        bare_axes(axes)
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_color(GRID)
        axes.set_title(title, fontsize=NORMAL, color=INK)
    if isinstance(handles, list) and len(handles) > 1:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=min(len(handles), 3 * columns),
            frameon=False,
            fontsize=SMALL,
        )
    return figure
