"""The two maps: content and transformation, linked, with everything that chooses what they show."""

from functools import partial
from typing import Any

import numpy as np
import panel as pn
from bokeh.events import RangesUpdate, SelectionGeometry, Tap
from bokeh.models import ColumnDataSource, LinearColorMapper

from dualcontrast.codes import BOTH_CODES
from dualcontrast.errors import UserError
from dualcontrast.explorer.colours import Colouring, colour_by
from dualcontrast.explorer.density import CELLS, density_image
from dualcontrast.explorer.desk import Desk
from dualcontrast.explorer.locked import watch
from dualcontrast.explorer.look import legend_html
from dualcontrast.explorer.map_figure import SELECTS, map_figure, show_density
from dualcontrast.explorer.picking import clicked, in_view, inside
from dualcontrast.explorer.places import PRINCIPAL, SLOW, compute_places, dimensions_of
from dualcontrast.explorer.run_view import RunView
from dualcontrast.explorer.state import State
from dualcontrast.explorer.styles import choice, html
from dualcontrast.random_streams import numpy_stream

# Points that a browser without a graphics card draws and selects at once; of more, a sample is drawn on top
# of their density.
MOST_POINTS = 10_000
CHOSEN_DIMENSIONS = "two dimensions"
WAYS = {
    "principal axes": PRINCIPAL,
    "UMAP": "UMAP",
    "t-SNE": "t-SNE",
    "two dimensions of the code": CHOSEN_DIMENSIONS,
}
MODES = {"new": "replace", "add": "append", "remove": "subtract", "within": "intersect"}
MARGIN, REACH = 0.04, 0.03


class MapsPane:
    """Two scatter plots over the same particles.

    Parameters
    ----------
    desk : Desk
        Starts UMAP and t-SNE.
    view : RunView
        The particles.
    state : State
        What the window shows.
    """

    def __init__(self, desk: Desk, view: RunView, state: State, say: Any) -> None:
        self._desk, self._view, self._state, self._say = desk, view, state, say
        for code in BOTH_CODES:
            name = f"{code}_map"
            setattr(state, name, view.usable_way(code, getattr(state, name)))
        if state.colour not in view.columns:
            state.colour = next(iter(view.columns), "")
        # In random order, so that no class hides another.
        self._order = numpy_stream(view.seed, "explorer", "order").permutation(len(view))
        self._places: dict[str, np.ndarray] = {}
        self._waiting: set[str] = set()
        self._pushing = False
        self._pending: set[str] = set()
        self._colouring: Colouring = colour_by(None, len(view))
        self._source: Any = ColumnDataSource(
            data={name: [] for name in ("cx", "cy", "zx", "zy", "shade", "row")}
        )
        self._marks: Any = ColumnDataSource(
            data={name: [] for name in ("cx", "cy", "zx", "zy", "name", "line")}
        )
        self._densities: dict[str, Any] = {
            code: ColumnDataSource(data={"image": [], "x": [], "y": [], "dw": [], "dh": []})
            for code in BOTH_CODES
        }
        # In screen pixels; smaller where there are many.
        self._size = max(4.0, min(7.0, 500 / max(len(view), 1) ** 0.5))
        self._mapper = LinearColorMapper(palette=["#0072b2"], low=-0.5, high=0.5)
        self.figures = {code: self._figure(code) for code in BOTH_CODES}
        self._make_controls()
        self._shown = self._order[:MOST_POINTS]
        self._recolour()
        for code in BOTH_CODES:
            self._place(code)
        self._fill()
        self.show_selection()
        self._show_marks()
        watch(state, ("particle", "first", "second"), self._show_marks)

    @property
    def is_large(self) -> bool:
        """Whether there are more particles than are drawn one by one."""
        return len(self._view) > MOST_POINTS

    def _figure(self, code: str) -> Any:
        plot = map_figure(
            code, self._source, self._marks, self._densities[code], self._mapper, self._size, self._state.dark
        )
        show_density(plot, self.is_large, self._size)
        plot.on_event(Tap, lambda event: self._tap(code, event))
        plot.on_event(RangesUpdate, lambda event: self._moved(code, event))
        plot.on_event(SelectionGeometry, lambda event: self._chosen(code, event))
        return plot

    def _make_controls(self) -> None:
        state = self._state
        self._ways: dict[str, pn.widgets.Select] = {}
        self._dimensions: dict[str, tuple[pn.widgets.IntInput, pn.widgets.IntInput]] = {}
        for code in BOTH_CODES:
            length = self._view.code(code).shape[1]
            way = getattr(state, f"{code}_map")
            chosen = dimensions_of(way, length)
            self._ways[code] = pn.widgets.Select(
                name=f"{code.capitalize()} by",
                options=WAYS,
                value=CHOSEN_DIMENSIONS if chosen else way,
                css_classes=[f"map-{code}"],
                width=150,
                margin=(5, 5, 5, 10),
            )
            pair = chosen or (1, min(2, length))
            self._dimensions[code] = tuple(  # pyright: ignore[reportArgumentType]
                pn.widgets.IntInput(
                    name=axis, value=value, start=1, end=length, width=56, margin=(5, 4), disabled=not chosen
                )
                for axis, value in zip(("x", "y"), pair, strict=True)
            )
            watch(self._ways[code], "value", partial(self._choose_way, code))
            for number in self._dimensions[code]:
                watch(number, "value", partial(self._choose_way, code))
        self._colour = pn.widgets.Select(
            name="Colour by",
            options=list(self._view.columns),
            value=state.colour,
            width=200,
            css_classes=["colour-by"],
        )
        watch(self._colour, "value", self._choose_colour)
        self._mode = choice(MODES, "lasso-mode", 220)
        watch(self._mode, "value", self._set_mode)
        self._legend = html("", "legend", height=58)
        self._count = html("", "selected-count", margin=(8, 10, 0, 10))
        # A selection that the browser makes of all points; of a sample, the geometry decides.
        self._source.selected.on_change("indices", lambda attr, old, new: self._indices_changed())

    def controls(self) -> pn.viewable.Viewable:
        """Return the strip below the maps."""
        of_maps = [pn.Row(self._ways[code], *self._dimensions[code], width=318) for code in BOTH_CODES]
        selecting = pn.Row(
            html("A box or lasso makes", "label", sizing_mode=None, width=140, margin=(8, 0, 0, 10)),
            self._mode,
            self._count,
        )
        return pn.Column(
            pn.Row(*of_maps, self._colour),
            selecting,
            self._legend,
            sizing_mode="stretch_width",
            css_classes=["map-controls"],
        )

    def refresh(self) -> None:
        """Take in new columns, and places that have been computed."""
        options = list(self._view.columns)
        if options != self._colour.options:
            kept = self._colour.value if self._colour.value in options else options[0]
            self._colour.param.update(options=options, value=kept)
        self._recolour()
        for code in sorted(self._waiting):
            self._place(code)
        self._fill()
        self.show_selection()
        self._show_marks()

    def show_selection(self) -> None:
        """Highlight the current selection."""
        chosen = self._view.selections.current
        indices = np.flatnonzero(chosen[self._shown]).tolist()
        if indices != self._source.selected.indices:
            self._pushing = True
            self._source.selected.indices = indices
            self._pushing = False
        if self.is_large:
            for code in BOTH_CODES:
                self._draw_density(code)
        count = self._view.selections.count
        text = (
            f"{count:,} of {len(self._view):,} particles selected"
            if count
            else f"{len(self._view):,} particles"
        )
        if self.is_large:
            text += f" · {len(self._shown):,} drawn as points, all as density"
        self._count.object = f'<span role="status">{text}</span>'

    def _choose_way(self, code: str) -> None:
        way = self._ways[code].value
        chosen = way == CHOSEN_DIMENSIONS
        for number in self._dimensions[code]:
            number.disabled = not chosen
        if chosen:
            way = "dimensions-{}-{}".format(*(number.value or 1 for number in self._dimensions[code]))
        self._state.param.update(**{f"{code}_map": way, f"{code}_range": ""})
        self._place(code)
        self._fill()
        self.show_selection()
        self._show_marks()

    def _place(self, code: str) -> None:
        """Find the places of one map; where they are still to be computed, begin that and show the axes."""
        way = getattr(self._state, f"{code}_map")
        self._waiting.discard(code)
        places = self._view.places(code, way)
        words = {PRINCIPAL: "principal axes"}.get(way, way if way in SLOW else way.replace("-", " ", 1))
        title = f"{code} · {words}"
        if places is None:
            places = self._view.places(code, PRINCIPAL)
            assert places is not None
            title = f"{code} · principal axes until {way} is ready"
            self._waiting.add(code)
            try:
                if self._desk.job is None or self._desk.job.state != "running":
                    self._desk.start(
                        f"{way} of the {code} codes",
                        compute_places,
                        self._view.code(code),
                        way,
                        self._view.seed,
                        self._view.places_file(code, way),
                    )
            except UserError as error:
                self._say(str(error))
        self._places[code] = places
        plot = self.figures[code]
        plot.title.text = title
        self._set_range(code)

    def start_waiting(self) -> None:
        """Begin the next computation that a map waits for, when nothing else goes on."""
        if self._waiting and (self._desk.job is None or self._desk.job.state == "done"):
            self._place(min(self._waiting))

    def give_up(self) -> None:
        """Go back to the principal axes where a computation was cancelled or failed."""
        for code in sorted(self._waiting):
            self._ways[code].value = PRINCIPAL

    def _set_range(self, code: str) -> None:
        plot, places = self.figures[code], self._places[code]
        bounds = _parse(getattr(self._state, f"{code}_range"))
        if bounds is None:
            low, high = places.min(axis=0).astype(float), places.max(axis=0).astype(float)
            margin = np.maximum(high - low, 1e-6) * MARGIN
            (left, bottom), (right, top) = low - margin, high + margin
            bounds = left, right, bottom, top
        for span, start, end in ((plot.x_range, *bounds[:2]), (plot.y_range, *bounds[2:])):
            span.update(start=float(start), end=float(end), reset_start=float(start), reset_end=float(end))

    def _bounds(self, code: str) -> tuple[float, float, float, float]:
        plot = self.figures[code]
        return plot.x_range.start, plot.x_range.end, plot.y_range.start, plot.y_range.end

    def _moved(self, code: str, event: RangesUpdate) -> None:
        bounds = (event.x0, event.x1, event.y0, event.y1)
        if any(bound is None for bound in bounds):
            return
        setattr(self._state, f"{code}_range", ",".join(f"{bound:.5g}" for bound in bounds))
        if self.is_large and code not in self._pending:
            # The ranges change many times in one movement; what is drawn follows when they rest.
            self._pending.add(code)
            document = pn.state.curdoc
            if document is not None:
                document.add_timeout_callback(lambda: self._settle(code), 200)

    def _settle(self, code: str) -> None:
        self._pending.discard(code)
        left, right, low, high = self._bounds(code)
        seen = in_view(self._places[code][self._order], (left, right), (low, high))
        rows = self._order[seen]
        others = self._order[~seen] if len(rows) < MOST_POINTS else rows[:0]
        self._shown = np.concatenate((rows[:MOST_POINTS], others[: max(0, MOST_POINTS - len(rows))]))
        show_density(self.figures[code], len(rows) > MOST_POINTS, self._size)
        self._fill()
        self.show_selection()

    def _choose_colour(self) -> None:
        self._state.colour = self._colour.value
        self._recolour()
        self._source.data = {**self._source.data, "shade": self._colouring.shades[self._shown]}
        if self.is_large:
            for code in BOTH_CODES:
                self._draw_density(code)

    def _recolour(self) -> None:
        column = self._view.columns.get(self._state.colour)
        self._colouring = colour_by(column, len(self._view))
        palette = list(self._colouring.palette)
        self._mapper.update(palette=palette, low=-0.5, high=len(palette) - 0.5)
        self._legend.object = legend_html(self._colouring, self._state.colour)

    def _fill(self) -> None:
        rows = self._shown
        content, transformation = (self._places[code][rows] for code in BOTH_CODES)
        self._pushing = True
        self._source.data = {
            "cx": content[:, 0],
            "cy": content[:, 1],
            "zx": transformation[:, 0],
            "zy": transformation[:, 1],
            "shade": self._colouring.shades[rows],
            "row": rows.astype(np.int32),
        }
        self._pushing = False

    def _draw_density(self, code: str) -> None:
        left, right, low, high = self._bounds(code)
        image = density_image(
            self._places[code], self._colouring, self._view.selections.current, (left, right), (low, high)
        )
        assert image.shape == (CELLS, CELLS)
        self._densities[code].data = {
            "image": [image],
            "x": [left],
            "y": [low],
            "dw": [right - left],
            "dh": [high - low],
        }

    def _set_mode(self) -> None:
        for plot in self.figures.values():
            for tool in plot.select({"tags": SELECTS}):
                tool.mode = self._mode.value

    def _indices_changed(self) -> None:
        if self._pushing or self.is_large:
            return
        chosen = np.zeros(len(self._view), dtype=bool)
        chosen[self._shown[np.asarray(self._source.selected.indices, dtype=np.int64)]] = True
        self._keep(chosen, "a selection in a map")

    def _chosen(self, code: str, event: SelectionGeometry) -> None:
        if not self.is_large or not event.final or event.geometry is None:
            return
        held = inside(event.geometry, self._places[code])
        now, mode = self._view.selections.current, self._mode.value
        chosen = {"append": now | held, "subtract": now & ~held, "intersect": now & held}.get(mode, held)
        self._keep(chosen, f"a selection in the {code} map")

    def _keep(self, chosen: np.ndarray, what: str) -> None:
        try:
            self._view.selections.set(chosen, what)
        except UserError as error:
            self._say(str(error))

    def _tap(self, code: str, event: Tap) -> None:
        if event.x is None or event.y is None:
            return
        left, right, low, high = self._bounds(code)
        plot, spans = self.figures[code], (right - left, high - low)
        pixels = (plot.inner_width or 400, plot.inner_height or 400)
        half = tuple(0.5 * self._size * span / count for span, count in zip(spans, pixels, strict=True))
        places = self._places[code][self._shown]
        found = clicked((event.x, event.y), places, spans, half, REACH)  # pyright: ignore[reportArgumentType]
        if found is not None:
            self._state.param.update(particle=str(self._view.ids[self._shown[found]]), tab="particle")

    def _show_marks(self) -> None:
        marks: dict[str, list] = {name: [] for name in ("cx", "cy", "zx", "zy", "name", "line")}
        ink = "#ffffff" if self._state.dark else "#000000"
        for particle, name in (
            (self._state.first, "A"),
            (self._state.second, "B"),
            (self._state.particle, ""),
        ):
            row = self._view.row_of.get(particle)
            if row is None:
                continue
            for letter, code in (("c", "content"), ("z", "transformation")):
                for axis, value in zip("xy", self._places[code][row].tolist(), strict=True):
                    marks[f"{letter}{axis}"].append(value)
            marks["name"].append(name)
            marks["line"].append(ink)
        self._marks.data = marks


def _parse(text: str) -> tuple[float, float, float, float] | None:
    """Read a range from the address; None where there is none, or it makes no sense."""
    try:
        left, right, low, high = (float(part) for part in text.split(","))
    except ValueError:
        return None
    return (
        (left, right, low, high)
        if left < right and low < high and np.isfinite([left, right, low, high]).all()
        else None
    )
