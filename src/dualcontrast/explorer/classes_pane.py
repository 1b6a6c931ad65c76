"""Classes: made again with other numbers, merged, renamed, counted by tomogram, and decoded to maps."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource
from markupsafe import Markup

from dualcontrast.class_edits import merge_classes, rename_class, write_edited
from dualcontrast.class_maps import MAPS_RECORD
from dualcontrast.clusters import MAPS, Clusters, clusterings_of, delete_clusters, write_clusters
from dualcontrast.errors import SettingError, UserError
from dualcontrast.explorer.class_work import cluster_in_background, decode_in_background
from dualcontrast.explorer.desk import Desk
from dualcontrast.explorer.locked import watch
from dualcontrast.explorer.look import grid_html, make_figure, note_html, pictures_html
from dualcontrast.explorer.run_view import RunView
from dualcontrast.explorer.state import State
from dualcontrast.explorer.styles import button, html
from dualcontrast.run_folder import CLUSTERS

MOST_TOMOGRAMS = 200
MOST_CLASSES = 50


class ClassesPane:
    """Everything that is done with clusterings."""

    def __init__(self, desk: Desk, view: RunView, state: State, say: Callable[[str], None]) -> None:
        self._desk, self._view, self._state, self._say = desk, view, state, say
        self._loaded: Clusters | None = None
        self._name = pn.widgets.Select(name="Classes", options=[], width=330, css_classes=["clustering"])
        self._classes = pn.widgets.CheckBoxGroup(options={}, css_classes=["classes"])
        self._select = button("select these", "select-classes", self._select_members)
        self._merged = pn.widgets.TextInput(placeholder="name", width=120, css_classes=["class-name"])
        self._merge = button("merge", "merge", lambda: self._edit(self._merge_into))
        self._rename = button("rename", "rename", lambda: self._edit(self._rename_to))
        self._counts = html("", "class-counts")
        self._bic_data = ColumnDataSource(data={"count": [], "bic": []})
        self._bic = self._make_bic()
        self._maps = html("", "class-maps")
        self._decode = button("decode maps", "decode", self._start_decoding)
        self._on = pn.widgets.Select(
            name="New classes from",
            options=["content", "transformation", "both"],
            width=120,
            css_classes=["new-on"],
        )
        self._method = pn.widgets.Select(
            name="by", options={"mixture (GMM)": "gmm", "k-means": "kmeans"}, width=130
        )
        self._low = pn.widgets.IntInput(
            name="from", value=2, start=1, end=MOST_CLASSES, width=70, css_classes=["new-low"]
        )
        self._high = pn.widgets.IntInput(
            name="to", value=8, start=1, end=MOST_CLASSES, width=70, css_classes=["new-high"]
        )
        self._new_name = pn.widgets.TextInput(
            name="name", value="", placeholder="chosen for you", width=150, css_classes=["new-name"]
        )
        self._make = button("cluster", "cluster", self._start_clustering)
        watch(self._name, "value", self._load)
        self.refresh()

    def panel(self) -> pn.viewable.Viewable:
        """Return the pane."""
        return pn.Column(
            self._name,
            self._classes,
            self._select,
            pn.Row(self._merged, self._merge, self._rename),
            self._bic_pane,
            self._counts,
            html("<h2>Maps</h2>", "title"),
            self._decode,
            self._maps,
            html("<h2>Cluster again</h2>", "title"),
            pn.Row(self._on, self._method),
            pn.Row(self._low, self._high, self._new_name),
            html(note_html("Of a range, the Bayesian information criterion (BIC) chooses."), "note"),
            self._make,
            css_classes=["pane"],
            sizing_mode="stretch_width",
        )

    def refresh(self) -> None:
        """Read what clusterings there are, and the chosen one again."""
        names = clusterings_of(self._view.run)
        kept = self._name.value if self._name.value in names else (names[0] if names else None)
        if names != self._name.options or kept != self._name.value:
            self._name.param.update(options=names, value=kept)
        self._load()

    def _load(self) -> None:
        before, self._loaded = self._loaded, None
        try:
            if self._name.value is not None:
                self._loaded = Clusters.load(self._view.run, self._name.value)
        except UserError as error:
            self._say(str(error))
        loaded = self._loaded
        for action in (self._select, self._merge, self._rename, self._decode):
            action.disabled = loaded is None
        if loaded is None:
            self._classes.options = {}
            self._counts.object = note_html("There are no classes yet; cluster below.")
            self._bic_pane.visible = False
            self._maps.object = ""
            return
        total = len(loaded.ids)
        described = loaded.record["classes"]
        shown = {
            f"{name} · {described[name]['particles']:,} ({described[name]['particles'] / total:.0%})": name
            for name in loaded.class_names
        }
        # The same classes are read again whenever work ends somewhere; ticks are not to be lost by that.
        same = before is not None and before.name == loaded.name
        ticked = [name for name in self._classes.value if same and name in loaded.class_names]
        self._classes.param.update(options=shown, value=ticked)
        bic = loaded.record["fit"]["bic"]
        self._bic_pane.visible = len(bic) > 1
        counts = sorted(int(count) for count in bic)
        values = [bic[str(count)] for count in counts]
        self._bic_data.data = {"count": counts, "bic": values}
        if values:
            margin = 0.1 * (max(values) - min(values) or 1.0)
            self._bic.x_range.update(start=counts[0] - 0.5, end=counts[-1] + 0.5)
            self._bic.y_range.update(start=min(values) - margin, end=max(values) + margin)
        self._counts.object = _tomograms(loaded)
        self._show_maps()

    def _make_bic(self):
        plot = make_figure(
            self._state.dark,
            tools="",
            height=150,
            sizing_mode="stretch_width",
            x_axis_label="classes",
            title="BIC: lower is better",
            ranges=True,
        )
        plot.line("count", "bic", source=self._bic_data, line_width=2, color="#0072b2")
        plot.scatter("count", "bic", source=self._bic_data, size=7, color="#0072b2")
        self._bic_pane = pn.pane.Bokeh(plot, height=150)
        return plot

    def _select_members(self) -> None:
        if self._loaded is None or not self._classes.value:
            self._say("tick one or more classes first")
            return
        members = np.isin(self._loaded.classes.names, self._classes.value)
        chosen = np.isin(self._view.ids, self._loaded.ids[members])
        self._view.selections.set(chosen, f"selecting class {', '.join(self._classes.value)}")

    def _edit(self, change: Callable[[Clusters, list[str], str], Clusters]) -> None:
        before = self._loaded
        if before is None:
            return
        try:
            if self._view.source is None:
                raise SettingError(self._view.no_images or "the images are not there")
            edited = change(before, list(self._classes.value), self._merged.value.strip())
            written = write_edited(self._view.run, edited, self._view.source)
        except UserError as error:
            self._say(str(error))
            return
        self._view.history.add(
            f"editing the classes '{before.name}'", lambda: self._put_back(before, written.name)
        )
        self._merged.value = ""
        self._classes.value = []
        self._show_edited(written.name)

    def _put_back(self, before: Clusters, name: str) -> None:
        if before.name == name and self._view.source is not None:
            write_clusters(self._view.run, before, self._view.source)
        else:
            delete_clusters(self._view.run, name)
        self._desk.changed()

    def _show_edited(self, name: str) -> None:
        self._desk.changed()
        names = clusterings_of(self._view.run)
        self._name.param.update(options=names, value=name)
        self._load()
        self._state.colour = f"class ({name})"

    def _merge_into(self, clusters: Clusters, ticked: list[str], name: str) -> Clusters:
        on = clusters.record["settings"]["on"]
        codes = self._view.codes.select(clusters.ids)
        parts = {"content": (codes.content,), "transformation": (codes.transformation,)}
        joined = np.concatenate(parts.get(on, (codes.content, codes.transformation)), axis=1)
        return merge_classes(clusters, ticked, name or (ticked[0] if ticked else ""), joined)

    def _rename_to(self, clusters: Clusters, ticked: list[str], name: str) -> Clusters:
        if len(ticked) != 1:
            raise SettingError("tick the one class that is to have another name")
        return rename_class(clusters, ticked[0], name)

    def _start_clustering(self) -> None:
        low = self._low.value or 1
        high = max(low, self._high.value or low)
        on, method = self._on.value, self._method.value
        if method == "kmeans":
            high = low
        taken = clusterings_of(self._view.run)
        name = self._new_name.value.strip() or _free_name(
            f"{on}-{low if low == high else f'{low}-{high}'}", taken
        )
        try:
            if name in taken:
                raise SettingError(f"classes '{name}' are there already; choose another name")
            self._desk.start(
                f"clustering '{name}'",
                cluster_in_background,
                str(self._view.run.path),
                on,
                (low, high),
                method,
                name,
            )
        except UserError as error:
            self._say(str(error))

    def _start_decoding(self) -> None:
        if self._loaded is None:
            return
        try:
            self._desk.start(
                f"maps of '{self._loaded.name}'",
                decode_in_background,
                str(self._view.run.path),
                self._loaded.name,
            )
        except UserError as error:
            self._say(str(error))

    def _show_maps(self) -> None:
        assert self._loaded is not None
        folder = Path(CLUSTERS) / self._loaded.name / MAPS
        there = self._view.run.path / folder
        if not (there / MAPS_RECORD).is_file():
            self._maps.object = note_html(
                "Each class as the decoder draws its mean, and its most typical member."
            )
            return
        files = sorted(path.name for path in there.iterdir() if path.suffix in (".mrc", ".npy", ".cxc"))
        links = Markup("").join(
            Markup('<li><a href="files/{}" download>{}</a></li>').format((folder / name).as_posix(), name)
            for name in files
        )
        picture = there / "maps.png"
        shown = pictures_html({"classes": picture.read_bytes()}, alone=True) if picture.is_file() else ""
        self._maps.object = str(Markup("{}<ul class=files>{}</ul>").format(Markup(shown), links))


def _tomograms(clusters: Clusters) -> str:
    """Count the members of each class by tomogram."""
    if not clusters.record["tomograms"]:
        return ""
    counted = clusters.record["tomograms"][0]
    names = clusters.class_names
    rows = [
        [tomogram, *(f"{counts.get(name, 0):,}" for name in names)]
        for tomogram, counts in list(counted["counts"].items())[:MOST_TOMOGRAMS]
    ]
    return grid_html([counted["column"], *names], rows, "Particles by tomogram")


def _free_name(name: str, taken: list[str]) -> str:
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name}-run-{count}"
    return found
