"""How the pages look: figures in light and dark, and the small pieces of HTML that several panes use."""

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.models import Range1d
from bokeh.plotting import figure
from markupsafe import Markup, escape

from dualcontrast.explorer.colours import Colouring
from dualcontrast.explorer.pictures import data_uri

LIGHT = {"paper": "#ffffff", "ink": "#1f2933", "grid": "#e4e7eb", "quiet": "#52606d"}
DARK = {"paper": "#161b22", "ink": "#e6edf3", "grid": "#2b3139", "quiet": "#9aa5b1"}


def make_figure(dark: bool, ranges: bool = False, **settings: Any) -> Any:
    """Make a Bokeh figure in the colours of the page, without what distracts.

    Parameters
    ----------
    dark : bool
        Light ink on dark paper.
    ranges : bool
        Whether the caller sets the ranges; Bokeh follows the data otherwise.
    **settings
        Of `bokeh.plotting.figure`. Its types know too little of what it takes, hence `Any`.
    """
    if ranges:
        settings |= {"x_range": Range1d(start=0, end=1), "y_range": Range1d(start=0, end=1)}
    plot: Any = figure(**settings)
    tones = DARK if dark else LIGHT
    plot.background_fill_color = plot.border_fill_color = tones["paper"]
    plot.outline_line_color = tones["grid"]
    plot.title.text_color = tones["ink"]
    plot.toolbar.logo = None
    for axis in plot.axis:
        axis.major_label_text_color = axis.axis_label_text_color = tones["quiet"]
        axis.axis_line_color = axis.major_tick_line_color = tones["grid"]
        axis.minor_tick_line_color = None
    for grid in plot.grid:
        grid.grid_line_color = tones["grid"]
    return plot


def legend_html(colouring: Colouring, title: str) -> str:
    """Name the colours: classes with their numbers, or a scale with its ends."""
    head = Markup("<b>{}</b> ").format(title)
    if colouring.limits is not None:
        low, high = colouring.limits
        stops = ", ".join(colouring.palette[:-1:16])
        bar = Markup('<span class="scale" style="background:linear-gradient(90deg, {})"></span>').format(
            stops
        )
        return str(head + Markup("{} {} {}").format(f"{low:.4g}", bar, f"{high:.4g}"))
    entries = [
        Markup('<span class="entry"><i style="background:{}"></i>{} <small>{}</small></span>').format(
            colour, name, f"{count:,}"
        )
        for name, colour, count in colouring.legend
    ]
    return str(head + Markup(" ").join(entries))


def table_html(rows: Sequence[tuple[str, str]], caption: str) -> str:
    """Set names and values in two columns."""
    body = Markup("").join(Markup("<tr><th scope=row>{}</th><td>{}</td></tr>").format(*row) for row in rows)
    return str(Markup("<table class=facts><caption>{}</caption>{}</table>").format(caption, body))


def grid_html(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Set a table with a head; the first column names the rows."""
    top = Markup("").join(Markup("<th scope=col>{}</th>").format(cell) for cell in head)
    body = Markup("").join(
        Markup("<tr><th scope=row>{}</th>{}</tr>").format(
            row[0], Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row[1:])
        )
        for row in rows
    )
    return str(
        Markup("<table class=counts><caption>{}</caption><thead><tr>{}</tr></thead>{}</table>").format(
            caption, top, body
        )
    )


def pictures_html(pictures: Mapping[str, bytes | str], alone: bool = False) -> str:
    """Show PNG pictures, each below its title; a text stands where there is none.

    Parameters
    ----------
    pictures : mapping of str to bytes or str
        PNG, or why there is no picture.
    alone : bool
        One below the other.
    """
    found = Markup("").join(
        Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(
            title,
            Markup('<img src="{}" alt="{}">').format(data_uri(shown), title)
            if isinstance(shown, bytes)
            else Markup('<p class="missing">{}</p>').format(shown),
        )
        for title, shown in pictures.items()
    )
    return str(Markup('<div class="pictures{}">{}</div>').format(" alone" if alone else "", found))


def note_html(text: str, level: str = "plain") -> str:
    """Set a sentence; `level` is plain, good, fair or poor."""
    return str(Markup('<p class="note {}">{}</p>').format(level, escape(text)))
