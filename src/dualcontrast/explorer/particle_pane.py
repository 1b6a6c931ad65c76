"""One particle: its image, what the decoder makes of it, all that is known of it, and where it was."""

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource
from markupsafe import Markup

from dualcontrast.clusters import TOMOGRAM_COLUMNS
from dualcontrast.explorer.drawing import Drawing
from dualcontrast.explorer.locked import watch
from dualcontrast.explorer.look import make_figure, pictures_html, table_html
from dualcontrast.explorer.run_view import RunView
from dualcontrast.explorer.state import MOST_PICKED, State
from dualcontrast.explorer.styles import button, html

COORDINATES = ("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ")
MOST_NEIGHBOURS = 5_000


class ParticlePane:
    """Shows the particle that was clicked, and goes on to others by id or by arrow keys."""

    def __init__(self, view: RunView, state: State) -> None:
        self._view, self._state = view, state
        self._title = html("", "particle-title")
        self._pictures = html("", "particle-pictures")
        self._facts = html("", "particle-facts")
        self._drawing = Drawing(view.run.preparation.image_shape, self._draw)
        self._find = pn.widgets.TextInput(
            name="Go to a particle",
            placeholder="id, or a part of one",
            css_classes=["find-particle"],
            width=330,
        )
        watch(self._find, "value", self._search)
        self._previous = button("◀ previous", "previous", lambda: self._step(-1))
        self._next = button("next ▶", "next", lambda: self._step(1))
        self._first = button("use as A", "as-first", lambda: self._use(first=state.particle))
        self._second = button("use as B", "as-second", lambda: self._use(second=state.particle))
        self._pick = button("add to grid", "pick", self._add_to_grid)
        self._tomogram = self._make_tomogram()
        watch(state, "particle", self._show)
        self._show()

    def panel(self) -> pn.viewable.Viewable:
        """Return the pane."""
        parts: list = [
            self._find,
            pn.Row(self._previous, self._next),
            self._title,
            pn.Row(self._first, self._second, self._pick),
            self._pictures,
            self._drawing.controls(),
        ]
        if self._tomogram is not None:
            parts.append(pn.pane.Bokeh(self._tomogram, height=240))
        return pn.Column(*parts, self._facts, css_classes=["pane"], sizing_mode="stretch_width")

    def _show(self) -> None:
        row = self._view.row_of.get(self._state.particle)
        nothing = row is None
        for action in (self._first, self._second, self._pick):
            action.disabled = nothing
        if row is None:
            self._title.object = "<p>Click a point in a map, or type an id.</p>"
            self._pictures.object = self._facts.object = ""
            self._show_tomogram(None)
            return
        self._title.object = str(Markup("<h2>{}</h2>").format(self._state.particle))
        self._draw()
        facts = [(title, _text(column.values[row])) for title, column in self._view.columns.items()]
        for letter, code in (("c", self._view.codes.content), ("z", self._view.codes.transformation)):
            facts.append((letter, " ".join(f"{value:.3g}" for value in code[row])))
        self._facts.object = table_html(facts, "What is known of it")
        self._show_tomogram(row)

    def _draw(self) -> None:
        row = self._view.row_of.get(self._state.particle)
        if row is None:
            return
        shown: dict[str, np.ndarray | str] = {"image": self._view.image_or_reason(row)}
        if self._view.no_decoder is None:
            codes = self._view.codes
            shown["reconstruction"] = self._view.decode(codes.content[[row]], codes.transformation[[row]])[0]
        self._pictures.object = pictures_html(self._drawing.draw(shown), alone=_is_wide(shown))

    def _search(self) -> None:
        text = self._find.value.strip()
        if not text:
            return
        if text in self._view.row_of:
            self._state.particle = text
            return
        found = next((particle for particle in self._view.row_of if text in particle), None)
        if found is None:
            self._title.object = str(
                Markup('<p class="missing">no particle has “{}” in its id</p>').format(text)
            )
        else:
            self._state.particle = found

    def _step(self, by: int) -> None:
        """Go on among the selected particles, or among all where none is selected."""
        chosen = self._view.selections.current
        rows = np.flatnonzero(chosen) if chosen.any() else np.arange(len(self._view))
        now = self._view.row_of.get(self._state.particle, -1 if by > 0 else len(self._view))
        later = rows[rows > now] if by > 0 else rows[rows < now][::-1]
        row = later[0] if len(later) else rows[0 if by > 0 else -1]
        self._state.particle = str(self._view.ids[row])

    def _use(self, **which: str) -> None:
        self._state.param.update(**which, tab="mix")

    def _add_to_grid(self) -> None:
        if self._state.particle not in self._state.picked:
            self._state.picked = [*self._state.picked, self._state.particle][-MOST_PICKED:]

    def _make_tomogram(self):
        columns = self._view.columns
        self._tomogram_column = next((name for name in TOMOGRAM_COLUMNS if name in columns), None)
        if self._tomogram_column is None or not all(name in columns for name in COORDINATES):
            return None
        self._around = ColumnDataSource(data={"x": [], "y": []})
        self._here = ColumnDataSource(data={"x": [], "y": []})
        plot = make_figure(
            self._state.dark,
            tools="",
            height=240,
            sizing_mode="stretch_width",
            x_axis_label="x (pixels of the tomogram)",
            y_axis_label="y",
            ranges=True,
        )
        plot.scatter(
            "x", "y", source=self._around, size=4, fill_color="#8a929b", line_color=None, fill_alpha=0.7
        )
        plot.scatter(
            "x", "y", source=self._here, size=13, marker="star", fill_color="#d55e00", line_color=None
        )
        plot.title.text_font_size = "11px"
        return plot

    def _show_tomogram(self, row: int | None) -> None:
        plot = self._tomogram
        if plot is None:
            return
        if row is None:
            self._around.data = self._here.data = {"x": [], "y": []}
            plot.title.text = "position in the tomogram"
            return
        assert self._tomogram_column is not None
        names = self._view.columns[self._tomogram_column].values
        x, y, z = (self._view.columns[name].values for name in COORDINATES)
        rows = np.flatnonzero(names == names[row])[:MOST_NEIGHBOURS]
        self._around.data = {"x": x[rows], "y": y[rows]}
        self._here.data = {"x": [x[row]], "y": [y[row]]}
        for span, values in ((plot.x_range, x[rows]), (plot.y_range, y[rows])):
            low, high = float(np.nanmin(values)), float(np.nanmax(values))
            margin = 0.05 * max(high - low, 1.0)
            span.update(start=low - margin, end=high + margin)
        plot.title.text = f"tomogram {names[row]}: {len(rows):,} particles; this one at z = {z[row]:.6g}"


def _text(value) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def _is_wide(shown: dict[str, np.ndarray | str]) -> bool:
    return any(not isinstance(image, str) and image.ndim == 4 for image in shown.values())
