"""One browser window: puts the panes together, and keeps them up to date."""

import panel as pn
from panel.theme import DarkTheme, DefaultTheme, Native

from dualcontrast.explorer.busy_strip import BusyStrip
from dualcontrast.explorer.classes_pane import ClassesPane
from dualcontrast.explorer.desk import Desk
from dualcontrast.explorer.health_pane import HealthPane
from dualcontrast.explorer.locked import watch
from dualcontrast.explorer.look import note_html
from dualcontrast.explorer.maps_pane import MapsPane
from dualcontrast.explorer.mix_pane import MixPane
from dualcontrast.explorer.particle_pane import ParticlePane
from dualcontrast.explorer.selections_pane import SelectionsPane
from dualcontrast.explorer.state import ADDRESS, TABS, State
from dualcontrast.explorer.styles import ASSETS, html, style_sheet

LOOK_EVERY_MS, LOOK_AT_RUN_EVERY = 400, 5
TITLES = {
    "particle": "Particle",
    "mix": "Mix",
    "classes": "Classes",
    "selections": "Selections",
    "health": "Health",
}


def make_window(desk: Desk) -> pn.Template:
    """Build the page of a run for one browser window.

    Parameters
    ----------
    desk : Desk
        What all windows share.
    """
    state = State()
    if pn.state.location is not None:
        pn.state.location.sync(state, ADDRESS)
    window = Window(desk, state)
    template = pn.Template(
        (ASSETS / "page.html").read_text(encoding="utf-8"),
        theme=DarkTheme if state.dark else DefaultTheme,
        design=Native,
        location=True,
    )
    template.add_variable("run_name", desk.run.path.resolve().name)
    template.add_variable("dark", state.dark)
    for name, part in window.parts.items():
        template.add_panel(name, part)
    pn.state.add_periodic_callback(window.look, LOOK_EVERY_MS)
    return template


class Window:
    """The panes of one browser window.

    Attributes
    ----------
    parts : dict of str to panel object
        By the names that the page gives them: `busy`, `content`, `transformation`, `controls`, `side`.
    """

    def __init__(self, desk: Desk, state: State) -> None:
        self._desk, self._state = desk, state
        self._busy = BusyStrip(desk)
        self._health = HealthPane(desk.run, state.dark, self._busy.say)
        self._ticks, self._version, self._chosen = 0, desk.version, None
        self._had_view = True
        view = desk.view
        if view is None:
            waiting = "The run is still training, or has not been encoded: its maps come with its codes."
            missing = desk.problem or waiting
            self._had_view = False
            self._maps = self._selections = self._classes = None
            panes: dict[str, pn.viewable.Viewable] = {"health": self._health.panel()}
            maps = {"content": html(note_html(missing), "waiting"), "transformation": html("", "waiting")}
            controls: pn.viewable.Viewable = html("", "waiting")
        else:
            self._maps = MapsPane(desk, view, state, self._busy.say)
            self._selections = SelectionsPane(view, self._busy.say)
            self._classes = ClassesPane(desk, view, state, self._busy.say)
            panes = {
                "particle": ParticlePane(view, state).panel(),
                "mix": MixPane(view, state).panel(),
                "classes": self._classes.panel(),
                "selections": self._selections.panel(),
                "health": self._health.panel(),
            }
            maps = {
                code: pn.pane.Bokeh(plot, sizing_mode="stretch_both")
                for code, plot in self._maps.figures.items()
            }
            controls = self._maps.controls()
            self._chosen = view.selections.current
            if view.no_images:
                self._busy.say(view.no_images)
        self._tabs = self._make_tabs(panes)
        self.parts = {"busy": self._busy.panel(), **maps, "controls": controls, "side": self._tabs}

    def look(self) -> None:
        """Bring the page up to date: work that goes on, what other windows did, a run that is training."""
        self._desk.poll()
        self._busy.refresh()
        self._ticks += 1
        if self._ticks % LOOK_AT_RUN_EVERY == 0:
            self._health.refresh()
        view = self._desk.view
        if view is None or self._maps is None or self._selections is None or self._classes is None:
            if not self._had_view and view is not None and pn.state.location is not None:
                # The codes are there now; the page is made again, with its maps.
                self._had_view = True
                pn.state.location.reload = True
            return
        if self._busy.finished in ("failed", "cancelled"):
            self._maps.give_up()
        if self._desk.version != self._version:
            self._version = self._desk.version
            self._maps.refresh()
            self._classes.refresh()
            self._selections.refresh()
            self._maps.start_waiting()
        if view.selections.current is not self._chosen:
            self._chosen = view.selections.current
            self._maps.show_selection()
            self._selections.refresh()

    def _make_tabs(self, panes: dict[str, pn.viewable.Viewable]) -> pn.Tabs:
        names = [name for name in TABS if name in panes]
        if self._state.tab not in names:
            self._state.tab = names[0]
        tabs = pn.Tabs(
            *((TITLES[name], panes[name]) for name in names),
            active=names.index(self._state.tab),
            sizing_mode="stretch_both",
            css_classes=["side-tabs"],
            stylesheets=[style_sheet("widgets.css")],
        )
        watch(tabs, "active", lambda: setattr(self._state, "tab", names[tabs.active]))
        watch(self._state, "tab", lambda: setattr(tabs, "active", names.index(self._state.tab)))
        return tabs
