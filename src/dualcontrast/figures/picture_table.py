"""Pictures in rows of one kind and columns of one thing: the classes of a run, each seen in several ways."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dualcontrast.figures.style import INK, SMALL, add_panel, new_figure, shorten, show_sheet

WIDTH = 9.0
MOST_COLUMNS = 6


def picture_table(titles: Sequence[str], rows: Mapping[str, np.ndarray]) -> Figure:
    """Draw one column a thing, one row a kind of picture; more than six columns go on below.

    Parameters
    ----------
    titles : sequence of str, length K
        Of the columns.
    rows : mapping of str to numpy.ndarray, shape (K, h, w, 3)
        RGB pictures in [0, 1] of each kind, by its name.
    """
    columns = min(MOST_COLUMNS, len(titles))
    names, gap = 1.25, 0.05
    cell = min(1.45, (WIDTH - names) / columns)
    heights = {name: cell * pictures.shape[1] / pictures.shape[2] for name, pictures in rows.items()}
    head = 0.3 + 0.17 * max(title.count("\n") for title in titles)
    block = head + sum(heights.values()) + gap * len(rows)
    blocks = -(-len(titles) // columns)
    figure = new_figure(names + columns * cell, blocks * block, "by hand")
    for place, title in enumerate(titles):
        below, across = divmod(place, columns)
        top, left = below * block + head, names + across * cell
        for number, (name, pictures) in enumerate(rows.items()):
            axes = add_panel(figure, left, top, cell - gap, heights[name] * (cell - gap) / cell)
            show_sheet(axes, pictures[place])
            if number == 0:
                axes.set_title("\n".join(shorten(line, 18) for line in title.split("\n")), fontsize=SMALL)
            if across == 0:
                axes.set_ylabel(name, fontsize=SMALL, color=INK, rotation=0, ha="right", va="center")
            top += heights[name] + gap
    return figure
