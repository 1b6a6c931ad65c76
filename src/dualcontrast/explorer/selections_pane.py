"""Selections: combined, chosen by a column, named, and written for other programs."""

from collections.abc import Callable

import numpy as np
import panel as pn
from markupsafe import Markup

from dualcontrast.errors import SettingError, UserError
from dualcontrast.explorer.exports import EXPORTS, Kind, export_selection
from dualcontrast.explorer.locked import watch
from dualcontrast.explorer.look import note_html
from dualcontrast.explorer.run_view import RunView
from dualcontrast.explorer.selections import Combination
from dualcontrast.explorer.styles import button, choice, html
from dualcontrast.run_folder import EXPLORER

COMBINATIONS: dict[str, Combination] = {"only": "replace", "and": "and", "or": "or", "not": "not"}
MOST_NAMES = 200
KINDS: dict[str, Kind] = {"ids (.txt)": "ids", "STAR, all columns": "star", "codes (.npz)": "codes"}


class SelectionsPane:
    """What is done with the current selection and the named ones."""

    def __init__(self, view: RunView, say: Callable[[str], None]) -> None:
        self._view, self._say = view, say
        self._count = html("", "selection-count")
        self._clear = button("clear", "clear", lambda: self._set(np.zeros(len(view), dtype=bool), "clearing"))
        self._all = button("all", "all", lambda: self._set(np.ones(len(view), dtype=bool), "selecting all"))
        self._invert = button("invert", "invert", lambda: self._set(~view.selections.current, "inverting"))
        self._column = pn.widgets.Select(name="By a column", options=[], width=330, css_classes=["by-column"])
        self._values = pn.widgets.MultiSelect(
            name="is one of", options=[], size=4, width=330, css_classes=["by-values"]
        )
        self._low = pn.widgets.FloatInput(name="from", width=150, css_classes=["by-low"])
        self._high = pn.widgets.FloatInput(name="to", width=150, css_classes=["by-high"])
        self._range = pn.Row(self._low, self._high)
        self._how_column = choice(dict(COMBINATIONS), "by-how", 180)
        self._by_column = button("apply", "by-column", self._choose_by_column)
        self._name = pn.widgets.TextInput(
            name="Save as", placeholder="name", width=200, css_classes=["save-as"]
        )
        self._save = button("save", "save", self._save_named, margin=(24, 4, 5, 4))
        self._named = pn.widgets.Select(name="Saved", options=[], width=200, css_classes=["saved"])
        self._how_named = choice(dict(COMBINATIONS), "named-how", 180)
        self._apply = button("apply", "apply-named", self._apply_named, width=70)
        self._delete = button("delete", "delete-named", self._delete_named, width=70)
        self._kind = pn.widgets.Select(name="Write", options=KINDS, width=170, css_classes=["export-kind"])
        self._file = pn.widgets.TextInput(
            name="file name", value="selection", width=150, css_classes=["export-name"]
        )
        self._write = button("write", "export", self._export)
        self._files = html("", "exported")
        watch(self._column, "value", self._show_column)
        self.refresh()

    def panel(self) -> pn.viewable.Viewable:
        """Return the pane."""
        return pn.Column(
            self._count,
            pn.Row(self._all, self._invert, self._clear),
            html("<h2>Choose by a column</h2>", "title"),
            self._column,
            pn.Column(self._values, self._range, height=110),
            pn.Row(self._how_column, self._by_column),
            html("<h2>Named selections</h2>", "title"),
            pn.Row(self._name, self._save),
            self._named,
            pn.Row(self._how_named, self._apply, self._delete),
            html("<h2>Take home</h2>", "title"),
            pn.Row(self._kind, self._file),
            self._write,
            self._files,
            css_classes=["pane"],
            sizing_mode="stretch_width",
        )

    def refresh(self) -> None:
        """Show the columns, the named selections and the files that there are."""
        titles = list(self._view.columns)
        if titles != self._column.options:
            kept = self._column.value if self._column.value in titles else (titles[0] if titles else None)
            self._column.param.update(options=titles, value=kept)
            self._show_column()
        names = self._view.selections.names()
        if names != self._named.options:
            kept = self._named.value if self._named.value in names else (names[-1] if names else None)
            self._named.param.update(options=names, value=kept)
        self._apply.disabled = self._delete.disabled = not names
        count = self._view.selections.count
        self._count.object = str(
            Markup("<p><b>{}</b> of {} particles selected</p>").format(f"{count:,}", f"{len(self._view):,}")
        )
        self._write.disabled = self._save.disabled = count == 0
        self._list_files()

    def _show_column(self) -> None:
        column = self._view.columns.get(self._column.value or "")
        if column is None:
            return
        self._values.visible, self._range.visible = not column.is_measured, column.is_measured
        if column.is_measured:
            known = column.values[np.isfinite(column.values)]
            low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
            self._low.value, self._high.value = low, high
        else:
            self._values.param.update(options=column.names()[:MOST_NAMES], value=[])

    def _choose_by_column(self) -> None:
        column = self._view.columns.get(self._column.value or "")
        if column is None:
            return
        if column.is_measured:
            # An end that is left empty is open.
            low = -np.inf if self._low.value is None else self._low.value
            high = np.inf if self._high.value is None else self._high.value
            with np.errstate(invalid="ignore"):
                chosen = (column.values >= low) & (column.values <= high)
            title = f"{column.title} from {low:.6g} to {high:.6g}"
        else:
            chosen = np.isin(column.values, self._values.value)
            title = f"{column.title} {', '.join(self._values.value)}"
        self._combine(self._how_column.value, chosen, title)

    def _save_named(self) -> None:
        try:
            self._view.selections.save(self._name.value)
        except UserError as error:
            self._say(str(error))
            return
        self._say(f"saved {self._view.selections.count:,} particles as “{self._name.value.strip()}”")
        self._name.value = ""
        self.refresh()

    def _apply_named(self) -> None:
        name = self._named.value
        if name is None:
            return
        try:
            chosen = self._view.selections.load(name)
        except UserError as error:
            self._say(str(error))
            return
        self._combine(self._how_named.value, chosen, f"“{name}”")

    def _delete_named(self) -> None:
        if self._named.value is not None:
            self._view.selections.delete(self._named.value)
            self.refresh()

    def _combine(self, how: Combination, chosen: np.ndarray, title: str) -> None:
        try:
            self._view.selections.combine(how, chosen, title)
        except UserError as error:
            self._say(str(error))

    def _set(self, chosen: np.ndarray, what: str) -> None:
        try:
            self._view.selections.set(chosen, what)
        except UserError as error:
            self._say(str(error))

    def _export(self) -> None:
        view = self._view
        try:
            path = export_selection(
                view.folder,
                self._file.value,
                self._kind.value,
                view.selections.current,
                view.codes,
                view.source,
                view.columns,
            )
        except (UserError, SettingError) as error:
            self._say(str(error))
            return
        self._say(f"wrote {view.selections.count:,} particles to {path}")
        self._list_files()

    def _list_files(self) -> None:
        folder = self._view.folder / EXPORTS
        files = sorted(folder.iterdir(), key=lambda path: -path.stat().st_mtime) if folder.is_dir() else []
        links = Markup("").join(
            Markup('<li><a href="files/{}/{}/{}" download>{}</a></li>').format(
                EXPLORER, EXPORTS, path.name, path.name
            )
            for path in files
            if not path.name.startswith(".")
        )
        head = note_html("Written into explorer/exports of the run; click to download.") if links else ""
        self._files.object = str(Markup("{}<ul class=files>{}</ul>").format(Markup(head), links))
