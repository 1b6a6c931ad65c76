"""Classes of the particles of a run, and the files that give them back."""

import contextlib
import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast.codes import Codes
from dualcontrast.confidence import DIGITS, Confidence
from dualcontrast.data.labels import LabelTable, positions_of
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import RunError, SettingError
from dualcontrast.evaluation.calibration import calibration
from dualcontrast.evaluation.matching import matched
from dualcontrast.export.star import StarText, write_star_subset
from dualcontrast.files import write_text
from dualcontrast.recorded_files import delete_named, delete_recorded
from dualcontrast.run_folder import CLUSTERS, RunFolder

TABLE, RECORD, BIC_FIGURE = "classes.csv", "clusters.json", "bic.png"
MAPS, AVERAGES = "maps", "averages"
MAPS_RECORD, AVERAGES_RECORD = "maps.json", "averages.json"
TOMOGRAM_COLUMNS = ("rlnTomoName", "rlnMicrographName")
NEAREST_LISTED = 10
EARLIER_HEADER = (
    "id",
    "class",
    "probability",
    "nearest_rank",
    "conformation",
    "conformation_probability",
    "conformation_nearest_rank",
)
HEADER = (*EARLIER_HEADER, "expected_probability", "agreement", "confidence")


@dataclass(frozen=True)
class Level:
    """Classes, or conformations within classes.

    Attributes
    ----------
    names : numpy.ndarray of str, shape (N,)
        Class (`2`) or conformation (`2.1`) of each particle.
    probability : numpy.ndarray, shape (N,)
        Of that class given the particle's code, the posterior mean.
    nearest_rank : numpy.ndarray of int, shape (N,)
        1 for the member that is nearest the centre of its class, 2 for the next, ...
    """

    names: np.ndarray
    probability: np.ndarray
    nearest_rank: np.ndarray


@dataclass(frozen=True)
class Clusters:
    """The classes of a run's particles.

    Attributes
    ----------
    name : str
        Of the clustering; its folder in the run is `clusters/NAME`.
    ids : numpy.ndarray of str, shape (N,)
        Particle ids.
    classes : Level
        The clusters.
    conformations : Level or None
        Clusters within each class, where they were asked for.
    record : dict
        Settings, counts and curves, as in `clusters.json`.
    confidence : Confidence or None
        How sure the class of each particle is; None in files of earlier versions.
    """

    name: str
    ids: np.ndarray
    classes: Level
    conformations: Level | None
    record: dict[str, Any]
    confidence: Confidence | None = None

    @property
    def class_names(self) -> list[str]:
        """Names of the classes: `1`, `2`, ... by falling size."""
        return in_order(self.classes.names.tolist())

    @property
    def conformation_names(self) -> list[str]:
        """Names of the conformations: `1.1`, `1.2`, ...; empty where none were asked for."""
        return [] if self.conformations is None else in_order(self.conformations.names.tolist())

    def members(self, name: str, min_confidence: float | None = None) -> np.ndarray:
        """Return the ids of the members of a class or conformation, nearest its centre first.

        Parameters
        ----------
        name : str
            Of the class or conformation.
        min_confidence : float, optional
            Only members that are at least as sure of their class, where their confidence is known.

        Raises
        ------
        RunError
            When there is no such class.
        """
        known = self.class_names + self.conformation_names
        if name not in known:
            raise RunError(f"clusters '{self.name}': no class '{name}'; choose one of {', '.join(known)}")
        level = self.classes if self.conformations is None or name in self.class_names else self.conformations
        rows = np.flatnonzero(level.names == name)
        rows = rows[np.argsort(level.nearest_rank[rows], kind="stable")]
        if min_confidence is not None and self.confidence is not None:
            rows = rows[self.confidence.confidence[rows] >= min_confidence]
        return self.ids[rows]

    def table(self) -> str:
        """Return the text of `classes.csv`."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(HEADER)
        for row, particle in enumerate(self.ids.tolist()):
            writer.writerow(
                [
                    particle,
                    *_cells(self.classes, row),
                    *_cells(self.conformations, row),
                    *_confidence_cells(self.confidence, row),
                ],
            )
        return out.getvalue()

    @classmethod
    def load(cls, run: RunFolder, name: str | None = None) -> "Clusters":
        """Read the classes that `cluster_run` wrote.

        Parameters
        ----------
        run : RunFolder
            The run.
        name : str, optional
            Of the clustering; may be left out where the run has only one.

        Raises
        ------
        RunError
            When there is no such clustering, its files are damaged, or the run was trained or encoded again
            since then.
        """
        there = clusterings_of(run)
        if not there:
            raise RunError(f"{run.path}: has no classes; make them with `dualcontrast cluster {run.path}`")
        if name is None and len(there) > 1:
            raise RunError(f"{run.path}: has several clusterings; choose one of {', '.join(there)}")
        name = name or there[0]
        if name not in there:
            raise RunError(f"{run.path}: has no clusters '{name}'; choose one of {', '.join(there)}")
        folder = run.path / CLUSTERS / name
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            with (folder / TABLE).open(newline="", encoding="utf-8") as handle:
                header, *rows = csv.reader(handle, strict=True)
            if tuple(header) not in (HEADER, EARLIER_HEADER) or not rows:
                raise ValueError("another header")
            made_from = record["codes"]
            columns = list(zip(*rows, strict=True))
            ids = np.array(columns[0], dtype=str)
            clusters = cls(
                name,
                ids,
                _level(columns[1:4]),
                _level(columns[4:7]) if columns[4][0] else None,
                record,
                _confidence(columns[7:]),
            )
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise RunError(
                f"{folder}: classes cannot be read ({error}); make them again with `cluster --overwrite`"
            ) from None
        if made_from != codes_digest(run.codes):
            raise RunError(
                f"{folder}: made from other codes than those of the run; make them again with "
                "`cluster --overwrite`"
            )
        return clusters


def clusterings_of(run: RunFolder) -> list[str]:
    """Return the names of the finished clusterings of a run."""
    return sorted(path.parent.name for path in (run.path / CLUSTERS).glob(f"*/{RECORD}"))


def tomogram_counts(
    labels: LabelTable | None, ids: np.ndarray, classes: np.ndarray
) -> tuple[str, dict[str, dict[str, int]]] | None:
    """Count the members of each class in each tomogram.

    Parameters
    ----------
    labels : LabelTable or None
        With a column `rlnTomoName`, or else `rlnMicrographName`.
    ids, classes : numpy.ndarray of str, shape (N,)
        Particles and their classes.

    Returns
    -------
    column : str
        The one that names the tomograms.
    counts : dict of str to dict of str to int
        By tomogram and class; classes that do not occur in a tomogram are left out of its dict.

    None where no such column is there.
    """
    names = [] if labels is None else [factor.name for factor in labels.factors]
    column = next((name for name in TOMOGRAM_COLUMNS if name in names), None)
    if labels is None or column is None:
        return None
    counts: dict[str, dict[str, int]] = {}
    values = labels.select(ids).factors[names.index(column)].values.astype(str)
    for tomogram, label in zip(values.tolist(), classes.tolist(), strict=True):
        of_tomogram = counts.setdefault(tomogram, {})
        of_tomogram[label] = of_tomogram.get(label, 0) + 1
    return column, {tomogram: counts[tomogram] for tomogram in sorted(counts)}


def describe(
    clusters: Clusters, settings: dict[str, Any], fits: dict[str, Any], labels: LabelTable | None
) -> dict[str, Any]:
    """Collect what `clusters.json` holds, but for the hash of the codes.

    Parameters
    ----------
    clusters : Clusters
        Its record is not looked at.
    settings, fits : dict
        How the classes came about; `fit` and `fit_within` of the fits, and how their `confidence` was found.
    labels : LabelTable or None
        Tells the tomogram of each particle, and what its class should be.
    """
    levels = [clusters.classes.names] + (
        [clusters.conformations.names] if clusters.conformations is not None else []
    )
    tomograms = [tomogram_counts(labels, clusters.ids, names) for names in levels]
    described: dict[str, dict[str, Any]] = {}
    for label in clusters.class_names + clusters.conformation_names:
        members = clusters.members(label)
        described[label] = {"particles": len(members), "nearest": members[:NEAREST_LISTED].tolist()}
        sure = clusters.members(label, settings.get("min_confidence"))
        if len(sure) < len(members):
            described[label]["not_in_star"] = len(members) - len(sure)
    return {
        "settings": settings,
        "particles": len(clusters.ids),
        **fits,
        "classes": described,
        "tomograms": [
            {"column": counted[0], "counts": counted[1]} for counted in tomograms if counted is not None
        ],
        "calibration": _calibration(clusters, settings["on"], labels),
    }


def _calibration(clusters: Clusters, on: str, labels: LabelTable | None) -> dict[str, Any] | None:
    """Compare the confidence with the labels, where there are discrete ones of what was clustered.

    A class is right for a particle whose label is the one that is matched to it (Hungarian method). Classes
    beyond the number of labels are never right, nor are labels beyond that of classes.
    """
    role = "transformation" if on == "transformation" else "content"
    factors = [] if labels is None else [f for f in labels.of_role(role) if not f.is_continuous]
    if labels is None or not factors or clusters.confidence is None:
        return None
    rows = positions_of(clusters.ids, labels.ids)
    there = np.flatnonzero(rows >= 0)
    if not len(there):
        return None
    right = matched(factors[0].values[rows[there]], clusters.classes.names[there])
    numbers = {
        "probability": np.clip(clusters.classes.probability, 0, 1),
        "expected_probability": clusters.confidence.expected,
        "confidence": clusters.confidence.confidence,
    }
    return {
        "factor": factors[0].name,
        "particles": len(there),
        **{name: calibration(values[there], right) for name, values in numbers.items()},
    }


def write_clusters(
    run: RunFolder,
    clusters: Clusters,
    source: ImageSource,
    curves: Mapping[str, dict[int, float]] | None = None,
) -> None:
    """Write classes into `RUN/clusters/NAME`, in place of classes of that name with their maps and averages.

    Parameters
    ----------
    run : RunFolder
        The run.
    clusters : Clusters
        The classes. The settings in their record say from which confidence on a particle is in a STAR file,
        and which column of it holds the confidence.
    source : ImageSource
        Its STAR file, where it has one, is written once for each class, with the rows of its members.
    curves : mapping of str to dict of int to float, optional
        BIC by number of classes, drawn where BIC chose.

    Raises
    ------
    DataError
        When the STAR file is no longer what it was.
    """
    folder = run.path / CLUSTERS / clusters.name
    # Read before anything is written: a STAR file that has changed ends here.
    star = None if source.star_file is None else StarText(source.star_file)
    if star is not None:
        star.subset(clusters.ids.tolist())
    _delete(folder)
    write_text(folder / TABLE, clusters.table())
    if any(len(curve) > 1 for curve in (curves or {}).values()):
        from dualcontrast.figures.bic_curves import bic_figure
        from dualcontrast.figures.style import save_figure

        save_figure(bic_figure(dict(curves or {})), folder / BIC_FIGURE)
    if star is not None:
        settings = clusters.record["settings"]
        column, values = settings.get("confidence_column"), None
        if column and clusters.confidence is not None:
            cells = [f"{value:.{DIGITS}f}" for value in clusters.confidence.confidence.tolist()]
            values = {f"_{column}": dict(zip(clusters.ids.tolist(), cells, strict=True))}
        for label in clusters.class_names + clusters.conformation_names:
            members = clusters.members(label, settings.get("min_confidence"))
            if len(members):
                write_star_subset(star, members.tolist(), folder / star_name(label), values)
    # Last, because a folder with a record counts as a clustering.
    write_text(folder / RECORD, json.dumps(clusters.record, indent=1) + "\n")


def delete_clusters(run: RunFolder, name: str) -> None:
    """Delete the classes of that name, with their STAR files, maps and averages, and nothing else."""
    folder = run.path / CLUSTERS / name
    _delete(folder)
    for empty in (folder / MAPS, folder / AVERAGES, folder):
        # A folder in which somebody keeps files of their own stays.
        with contextlib.suppress(OSError):
            empty.rmdir()


def star_name(label: str) -> str:
    """File name of the STAR file of a class."""
    return f"class-{label}.star"


def check_clustering_name(name: str) -> None:
    """Raise `SettingError` for a name that is no safe name of a folder."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise SettingError(f"--name '{name}': use letters, digits, '-', '_' and '.' only")


def codes_digest(codes: Codes) -> str:
    """Hash ids and codes, in whatever order, so that classes of other codes are noticed."""
    codes = codes.sorted_by_id()
    digest = hashlib.blake2b("\n".join(codes.ids.tolist()).encode(), digest_size=16)
    for code in (codes.content, codes.transformation):
        digest.update(np.ascontiguousarray(code).tobytes())
    return digest.hexdigest()


def in_order(names: Iterable[str]) -> list[str]:
    """Sort the names of classes or conformations, each once: numbers by value, and before other names."""

    def key(name: str) -> list[tuple[bool, int, str]]:
        parts = name.split(".")
        return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]

    return sorted(set(names), key=key)


def _cells(level: Level | None, row: int) -> list[str]:
    if level is None:
        return ["", "", ""]
    return [str(level.names[row]), f"{level.probability[row]:.6f}", str(level.nearest_rank[row])]


def _level(columns: Sequence[Sequence[str]]) -> Level:
    names, probability, rank = columns
    return Level(
        np.array(names, dtype=str), np.array(probability, dtype=np.float64), np.array(rank, dtype=np.int64)
    )


def _confidence_cells(confidence: Confidence | None, row: int) -> list[str]:
    if confidence is None:
        return ["", "", ""]
    values = (confidence.expected[row], confidence.agreement[row], confidence.confidence[row])
    return ["" if np.isnan(value) else f"{value:.{DIGITS}f}" for value in values]


def _confidence(columns: Sequence[Sequence[str]]) -> Confidence | None:
    """Read the columns of the confidence; none are there, or are empty, where it was not known."""
    if not columns or not columns[-1][0]:
        return None
    expected, agreement, confidence = columns
    values = np.array([expected, [cell or "nan" for cell in agreement], confidence], dtype=np.float64)
    return Confidence(*values)


def _delete(folder: Path) -> None:
    """Delete the files of a former clustering of that name, with its maps and averages, and no others."""
    (folder / RECORD).unlink(missing_ok=True)
    stars = [star_name(label) for label in _labels_in(folder / TABLE)]
    delete_recorded(folder / MAPS / MAPS_RECORD, "maps.npy", "maps.png", "classes.cxc")
    further = ("averages.npy", "averages.png", "averages.cxc", "poses.csv", "codes.npz", *stars)
    delete_recorded(folder / AVERAGES / AVERAGES_RECORD, *further)
    # The table last: it says which STAR files there are.
    delete_named(folder, (*stars, BIC_FIGURE, TABLE))


def _labels_in(table: Path) -> set[str]:
    """Read the names of classes and conformations from a `classes.csv`, and none where it cannot be read."""
    try:
        with table.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, ValueError, csv.Error):
        return set()
    return {row[column] for row in rows for column in ("class", "conformation") if row.get(column)}
