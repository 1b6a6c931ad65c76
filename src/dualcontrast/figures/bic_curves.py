"""How the Bayesian information criterion chose numbers of clusters."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dualcontrast.figures.style import INK, LARGE, NORMAL, QUIET, SMALL, class_colours, new_figure, quiet_axes

MOST_NAMED = 12


def bic_figure(curves: Mapping[str, Mapping[int, float]]) -> Figure:
    """Draw BIC curves above their lowest point: classes in one panel, what is within classes in another.

    Parameters
    ----------
    curves : mapping of str to mapping of int to float
        By title, BIC by number of components. The first is that of the classes; curves of one point are left
        out.
    """
    shown = {title: curve for title, curve in curves.items() if len(curve) > 1}
    first = next(iter(curves))
    panels = [[title for title in shown if title == first], [title for title in shown if title != first]]
    panels = [titles for titles in panels if titles]
    figure = new_figure(4.6 * len(panels), 3.4)
    for axes, titles in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for title, colour in zip(titles, class_colours(len(titles)), strict=True):
            counts, values = list(shown[title]), list(shown[title].values())
            lowest = min(values)
            above = [value - lowest for value in values]
            axes.plot(counts, above, color=colour, linewidth=1.8, marker="o", markersize=4, label=title)
            best = above.index(0.0)
            axes.plot(counts[best], 0.0, "o", markersize=11, markerfacecolor="none", color=colour)
        quiet_axes(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("number of components", fontsize=SMALL, color=QUIET)
        axes.set_ylabel("BIC above the lowest", fontsize=SMALL, color=QUIET)
        axes.set_title(
            titles[0] if len(titles) == 1 else "within classes", fontsize=LARGE, color=INK, loc="left"
        )
        if 1 < len(titles) <= MOST_NAMED:
            axes.legend(frameon=False, fontsize=SMALL, labelcolor=INK, title_fontsize=NORMAL)
    return figure
