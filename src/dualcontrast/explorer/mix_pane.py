"""Content of one particle with the transformation of another, the way from one to the other, and grids."""

import time

import numpy as np
import panel as pn
from markupsafe import Markup

from dualcontrast.explorer.drawing import Drawing
from dualcontrast.explorer.locked import watch
from dualcontrast.explorer.look import note_html, pictures_html
from dualcontrast.explorer.pictures import picture_of, to_png
from dualcontrast.explorer.run_view import RunView
from dualcontrast.explorer.state import MOST_PICKED, State
from dualcontrast.explorer.styles import button, html
from dualcontrast.figures.style import mosaic
from dualcontrast.random_streams import numpy_stream

AT_A_TIME = 5
WALKS = {"z from A to B, content of A": "transformation", "c from A to B, transformation of A": "content"}


class MixPane:
    """Decodes mixtures of two particles, from their codes alone."""

    def __init__(self, view: RunView, state: State) -> None:
        self._view, self._state = view, state
        self._names = html("", "mix-names")
        self._pictures = html("", "mix-pictures")
        self._time = html("", "mix-time")
        self._grid = html("", "mix-grid")
        self._drawing = Drawing(view.run.preparation.image_shape, self._draw)
        self._walk = pn.widgets.FloatSlider(
            name="Walk from A to B", start=0.0, end=1.0, step=0.05, value=1.0, width=330, css_classes=["walk"]
        )
        self._what = pn.widgets.Select(name="Walk", options=WALKS, value="transformation", width=330)
        self._swap = button(
            "exchange A and B",
            "exchange",
            lambda: state.param.update(first=state.second, second=state.first),
            width=160,
        )
        self._make = button("draw the grid", "grid", self._draw_grid, width=105)
        self._some = button(f"pick {AT_A_TIME} of the selection", "pick-some", self._pick_some, width=155)
        self._none = button("clear", "clear-grid", lambda: setattr(state, "picked", []), width=60)
        self._list = html("", "mix-list")
        watch(self._walk, "value", self._draw)
        watch(self._what, "value", self._draw)
        watch(state, ("first", "second"), self._draw)
        watch(state, "picked", self._show_list)
        self._show_list()
        self._draw()

    def panel(self) -> pn.viewable.Viewable:
        """Return the pane."""
        if self._view.no_decoder is not None:
            return pn.Column(html(note_html(f"Nothing can be mixed: {self._view.no_decoder}."), "note"))
        return pn.Column(
            self._names,
            self._what,
            self._walk,
            self._pictures,
            self._time,
            self._drawing.controls(),
            self._swap,
            html("<h2>Transfer grid</h2>", "title"),
            self._list,
            pn.Row(self._make, self._some, self._none),
            self._grid,
            css_classes=["pane"],
            sizing_mode="stretch_width",
        )

    def _draw(self) -> None:
        if self._view.no_decoder is not None:
            return
        first, second = (self._view.row_of.get(name) for name in (self._state.first, self._state.second))
        if first is None or second is None:
            missing = "A and B" if first is None and second is None else "A" if first is None else "B"
            self._names.object = note_html(f"Open a particle and use it as {missing}.")
        else:
            self._names.object = str(
                Markup("<dl><dt>A</dt><dd>{}</dd><dt>B</dt><dd>{}</dd></dl>").format(
                    self._state.first, self._state.second
                )
            )
        self._walk.disabled = first is None or second is None
        shown: dict[str, np.ndarray | str] = {}
        for letter, row in (("A", first), ("B", second)):
            if row is not None:
                shown[letter] = self._view.image_or_reason(row)
        if first is not None and second is not None:
            codes, share = self._view.codes, self._walk.value
            c, z = codes.content[first], codes.transformation[first]
            if self._what.value == "transformation":
                z = (1 - share) * z + share * codes.transformation[second]
                title = f"content of A, {share:.0%} of the way to B's transformation"
            else:
                c = (1 - share) * c + share * codes.content[second]
                title = f"transformation of A, {share:.0%} of the way to B's content"
            start = time.perf_counter()
            shown[title] = self._view.decode(c[None], z[None])[0]
            milliseconds = 1000 * (time.perf_counter() - start)
            self._time.object = f"<small>decoded in {milliseconds:.0f} ms</small>"
        wide = any(not isinstance(image, str) and image.ndim == 4 for image in shown.values())
        self._pictures.object = pictures_html(self._drawing.draw(shown), alone=wide)

    def _pick_some(self) -> None:
        chosen = self._view.selections.current
        rows = np.flatnonzero(chosen) if chosen.any() else np.arange(len(self._view))
        some = numpy_stream(self._view.seed, "explorer", "pick", len(rows)).permutation(rows)[:AT_A_TIME]
        self._state.picked = self._view.ids[np.sort(some)].tolist()

    def _show_list(self) -> None:
        picked = self._state.picked
        if not picked:
            text = note_html(f"Open particles and add them to the grid, at most {MOST_PICKED}.")
        else:
            text = str(
                Markup("<ol>{}</ol>").format(
                    Markup("").join(Markup("<li>{}</li>").format(particle) for particle in picked)
                )
            )
        self._list.object = text
        self._make.disabled = len(picked) < 2
        self._grid.object = ""

    def _draw_grid(self) -> None:
        codes = self._view.codes
        rows = [self._view.row_of[particle] for particle in self._state.picked]
        count = len(rows)
        decoded = self._view.decode(
            np.tile(codes.content[rows], (count, 1)), np.repeat(codes.transformation[rows], count, axis=0)
        )
        pictures = np.stack([_one_section(image) for image in decoded])
        png = to_png(mosaic(pictures, count), 0)
        caption = (
            "columns: content of 1, 2, …; rows: transformation of 1, 2, …; the diagonal: reconstructions"
        )
        self._grid.object = pictures_html({caption: png}, alone=True)


def _one_section(image: np.ndarray) -> np.ndarray:
    """Draw an image, or the central xy section of a volume."""
    return picture_of(image if image.ndim == 3 else image[:, image.shape[1] // 2])
