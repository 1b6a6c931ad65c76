"""One map as a Bokeh figure: points, their density, and marks around the particles that are open."""

from typing import Any

from bokeh.models import BoxSelectTool, HoverTool, LassoSelectTool

from dualcontrast.explorer.look import make_figure

# Tag of the tools that select.
SELECTS = "selects"
TOOLTIP = '<img src="picture/@row.png" alt="" style="display:block;max-width:420px">'
POINTS = "points"
FAINT, FAINT_ON_DARK = 0.06, 0.14
ALPHA, ALPHA_OVER_DENSITY, SIZE_OVER_DENSITY = 0.75, 0.35, 2.0


def map_figure(code: str, points: Any, marks: Any, density: Any, mapper: Any, size: float, dark: bool) -> Any:
    """Make the figure of one code.

    Parameters
    ----------
    code : {'content', 'transformation'}
        Which.
    points, marks, density : ColumnDataSource
        Of points and marks with the columns `cx`, `cy`, `zx`, `zy`; the points have `shade` and `row`
        besides, the marks `name` and `line`. Both maps share them, so that what is selected in one is
        selected in both, in the browser. The density is an image.
    mapper : ColorMapper
        From `shade` to colours.
    size : float
        Of the points, in screen pixels.
    dark : bool
        Whether the page is dark.
    """
    letter = {"content": "c", "transformation": "z"}[code]
    place = {"x": f"{letter}x", "y": f"{letter}y"}
    colour = {"field": "shade", "transform": mapper}
    plot = make_figure(
        dark,
        ranges=True,
        tools="pan,wheel_zoom,box_zoom,reset",
        active_scroll="wheel_zoom",
        output_backend="webgl",
        sizing_mode="stretch_both",
        min_width=280,
        min_height=240,
        toolbar_location="above",
        name=code,
    )
    plot.image_rgba("image", "x", "y", "dw", "dh", source=density, level="image", name="density")
    drawn = plot.scatter(
        **place,
        name=POINTS,
        source=points,
        size=size,
        line_color=None,
        fill_color=colour,
        fill_alpha=ALPHA,
        selection_fill_alpha=0.95,
        nonselection_fill_color=colour,
        nonselection_fill_alpha=FAINT_ON_DARK if dark else FAINT,
    )
    plot.scatter(**place, source=marks, size=15, fill_color=None, line_color="line", line_width=2.5)
    plot.text(
        **place,
        text="name",
        source=marks,
        x_offset=9,
        y_offset=-7,
        text_font_style="bold",
        text_color="line",
    )
    box = BoxSelectTool(renderers=[drawn], tags=[SELECTS])
    lasso = LassoSelectTool(renderers=[drawn], tags=[SELECTS], continuous=False)
    plot.add_tools(box, lasso, HoverTool(renderers=[drawn], tooltips=TOOLTIP, limit=1, show_arrow=False))
    plot.toolbar.active_drag = lasso
    return plot


def show_density(plot: Any, shown: bool, size: float) -> None:
    """Show the density with small points over it, or points alone, which are all that is in view.

    Parameters
    ----------
    plot : figure
        From `map_figure`.
    shown : bool
        Whether more particles are in view than are drawn as points.
    size : float
        Of points alone, in screen pixels.
    """
    plot.select_one({"name": "density"}).visible = shown
    drawn = plot.select_one({"name": POINTS})
    for glyph in (drawn.glyph, drawn.selection_glyph, drawn.nonselection_glyph):
        glyph.size = SIZE_OVER_DENSITY if shown else size
    drawn.glyph.fill_alpha = ALPHA_OVER_DENSITY if shown else ALPHA
