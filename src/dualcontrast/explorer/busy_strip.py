"""The strip at the top: long work with its progress and a way to cancel it, messages, and undo."""

import panel as pn
from markupsafe import escape

from dualcontrast.errors import UserError
from dualcontrast.explorer.desk import Desk
from dualcontrast.explorer.styles import button, html


class BusyStrip:
    """Shows what goes on; always of one height."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._text = html("", "message", height=24, margin=(12, 8, 0, 8))
        self._bar = pn.indicators.Progress(
            value=-1, max=100, width=140, height=10, margin=(18, 8), visible=False, active=False
        )
        self._cancel = button("cancel", "cancel", desk.close, width=70, margin=(8, 4))
        self._cancel.visible = False
        self._undo = button("undo", "undo", self._take_back, width=70, margin=(8, 4))
        self._undo.disabled = True
        self._told: object = None
        self.finished: str | None = None

    def panel(self) -> pn.viewable.Viewable:
        """Return the strip."""
        return pn.Row(self._text, self._bar, self._cancel, self._undo, height=48, css_classes=["busy"])

    def say(self, text: str) -> None:
        """Show a message."""
        self._text.object = f'<span role="status">{escape(text)}</span>'

    def refresh(self) -> None:
        """Show how far the work is; `finished` is then its state, once, when it has ended."""
        self.finished = None
        view = self._desk.view
        last = None if view is None else view.history.last
        self._undo.disabled = last is None
        self._undo.description = f"take back: {last}" if last else None
        job = self._desk.job
        running = job is not None and job.state == "running"
        self._bar.visible = self._cancel.visible = running
        self._bar.active = running
        if job is None:
            return
        if running:
            share = "" if job.share is None else f", {job.share:.0%}"
            self._bar.value = -1 if job.share is None else round(100 * job.share)
            self.say(f"{job.text}{share} · {job.seconds:.0f} s")
            self._told = None
        elif self._told is not job:
            self._told = job
            self.finished = job.state
            self.say(f"{job.text}: done in {job.seconds:.0f} s" if job.state == "done" else job.text)

    def _take_back(self) -> None:
        view = self._desk.view
        if view is None:
            return
        try:
            text = view.history.undo()
        except UserError as error:
            self.say(str(error))
            return
        if text is not None:
            self.say(f"took back: {text}")
