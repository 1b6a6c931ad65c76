"""Whether to believe the run: its evaluation in words, and its loss curves, while it is training too."""

from collections.abc import Callable
from typing import Any

import panel as pn
from bokeh.models import ColumnDataSource
from markupsafe import Markup

from dualcontrast.errors import RunError
from dualcontrast.evaluation.readings import readings
from dualcontrast.evaluation.words import collapse_sentences, label_free, next_steps, notes, overall
from dualcontrast.explorer.locked import watch
from dualcontrast.explorer.look import make_figure, note_html
from dualcontrast.explorer.styles import html
from dualcontrast.figures.report import LEVEL_WORDS, as_code, summary
from dualcontrast.run_folder import EVALUATION, METRICS, REPORT, WEIGHTS, RunFolder

TOTAL = "loss"


class HealthPane:
    """Verdict, measures and curves of a run.

    Parameters
    ----------
    run : RunFolder
        Trained, or still training.
    dark : bool
        Whether the page is dark.
    say : callable
        Takes a message.
    """

    def __init__(self, run: RunFolder, dark: bool, say: Callable[[str], None]) -> None:
        self._run, self._say = run, say
        self._seen: tuple[Any, ...] = ()
        self._words = html("", "health")
        self._progress = html("", "training")
        self._term = pn.widgets.Select(
            name="Curve", options=[TOTAL], value=TOTAL, width=250, css_classes=["curve"]
        )
        self._curve = ColumnDataSource(data={"epoch": [], "value": []})
        self._plot = make_figure(
            dark, tools="pan,wheel_zoom,reset", height=230, sizing_mode="stretch_width", x_axis_label="epoch"
        )
        self._plot.line("epoch", "value", source=self._curve, line_width=2, color="#0072b2")
        watch(self._term, "value", self._draw)
        self.refresh()

    def panel(self) -> pn.viewable.Viewable:
        """Return the pane."""
        return pn.Column(
            self._progress,
            self._term,
            pn.pane.Bokeh(self._plot, height=230),
            self._words,
            css_classes=["pane"],
            sizing_mode="stretch_width",
        )

    def refresh(self) -> None:
        """Look whether the run has gone on, and show it."""
        seen = tuple(
            (path.stat().st_mtime_ns, path.stat().st_size)
            if (path := self._run.path / name).is_file()
            else None
            for name in (METRICS, EVALUATION, WEIGHTS, REPORT)
        )
        if seen == self._seen:
            return
        self._seen = seen
        self._draw()
        try:
            self._words.object = self._in_words()
        except (RunError, KeyError, TypeError) as error:
            self._words.object = note_html(f"The evaluation cannot be read ({error}); make it again.", "poor")

    def _draw(self) -> None:
        try:
            rows = self._run.metrics
        except RunError:
            # A line that is being written is half there; the next look finds it whole.
            return
        terms = list(dict.fromkeys(name for row in rows for name in row["terms"]))
        options = [TOTAL, *terms]
        if options != self._term.options:
            self._term.param.update(
                options=options, value=self._term.value if self._term.value in options else TOTAL
            )
        name = self._term.value
        shown = [
            (row["epoch"], row[TOTAL] if name == TOTAL else row["terms"].get(name))
            for row in rows
            if name == TOTAL or name in row["terms"]
        ]
        self._curve.data = {"epoch": [epoch for epoch, _ in shown], "value": [value for _, value in shown]}
        self._plot.title.text = name.replace("_", " ")
        trained = (self._run.path / WEIGHTS).is_file()
        if not rows:
            self._progress.object = note_html(
                "Nothing has been measured yet; the first line comes after 50 steps."
            )
            return
        last = rows[-1]
        epochs = self._run.config["recipe"]["epochs"]
        state = "trained" if trained else "training"
        self._progress.object = note_html(
            f"{state}: epoch {last['epoch']:.1f} of {epochs}, step {last['step']:,}, "
            f"{last['images_per_second']:,.0f} images/s",
            "good" if trained else "fair",
        )

    def _in_words(self) -> str:
        if not (self._run.path / EVALUATION).is_file():
            return note_html("Not evaluated yet: the words come with `dualcontrast evaluate`.")
        evaluation = self._run.evaluation
        level, verdict = overall(evaluation)
        judged = Markup("").join(
            Markup('<tr class="{}"><th scope=row>{}</th><td>{}</td><td>{}</td></tr>').format(
                reading.level, reading.title, LEVEL_WORDS[reading.level], reading.meaning
            )
            for reading in readings(evaluation)
            if reading.value is not None
        )
        advice = next_steps(evaluation, volumes=self._run.preparation.of_volumes)
        steps = Markup("").join(Markup("<li>{}</li>").format(as_code(step)) for step in advice)
        limits = Markup("").join(
            Markup("<p>{}</p>").format(text)
            for text in (*collapse_sentences(evaluation), *label_free(evaluation), *notes(evaluation))
        )
        report = (
            Markup('<p><a href="files/{}" target="_blank" rel="noopener">the whole report</a></p>').format(
                REPORT
            )
            if (self._run.path / REPORT).is_file()
            else ""
        )
        return str(
            Markup(
                '<p class="note {}"><b>{}</b></p>{}<h2>What to do next</h2><ul>{}</ul>{}'
                "<h2>Measures</h2><table class=facts>{}</table><p>{}</p>"
            ).format(
                level,
                verdict,
                limits,
                steps,
                report,
                judged,
                summary(self._run.config, evaluation, self._run.metrics),
            )
        )
