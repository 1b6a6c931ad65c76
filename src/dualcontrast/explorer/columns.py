"""What is known of every particle, as columns by which points are coloured and particles are chosen."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dualcontrast.averaging.class_averages import POSES
from dualcontrast.clusters import AVERAGES, Clusters, clusterings_of
from dualcontrast.codes import BOTH_CODES, Codes
from dualcontrast.data.labels import LabelTable, positions_of
from dualcontrast.data.split import Split
from dualcontrast.errors import RunError
from dualcontrast.run_folder import CLUSTERS, RunFolder

# Whole numbers of more values than these are measured, not names of classes.
MOST_WHOLE_NUMBERS = 24
NOT_KNOWN = ""


@dataclass(frozen=True)
class Column:
    """One value of every particle.

    Attributes
    ----------
    title : str
        For example `class (content)` or `rlnDefocusU`.
    values : numpy.ndarray, shape (N,)
        Floats for a measured quantity, NaN where it is not known; strings for names, empty where not known.
    """

    title: str
    values: np.ndarray

    @property
    def is_measured(self) -> bool:
        """Whether the values lie on a scale, rather than being names."""
        return bool(np.issubdtype(self.values.dtype, np.floating))

    def names(self) -> list[str]:
        """Return the names that occur, the most frequent first; none for a measured quantity."""
        if self.is_measured:
            return []
        found, counts = np.unique(self.values, return_counts=True)
        order = np.lexsort((found, -counts))
        return [str(found[place]) for place in order if found[place] != NOT_KNOWN]


def columns_of(run: RunFolder, codes: Codes, labels: LabelTable | None) -> dict[str, Column]:
    """Collect the columns of a run's particles, by title.

    Parameters
    ----------
    run : RunFolder
        Its clusterings, averages and split.
    codes : Codes
        The particles, in the order of the values.
    labels : LabelTable or None
        Labels and metadata.

    Returns
    -------
    dict of str to Column
        Classes first, then labels, then what the codes tell, then metadata.
    """
    found: dict[str, Column] = {}
    for column in (
        *_of_clusterings(run, codes.ids),
        *_of_labels(labels, codes.ids, BOTH_CODES),
        *_of_codes(codes),
        _part(run.split, codes.ids),
        *_of_labels(labels, codes.ids, ("metadata",)),
    ):
        # Of images that are not there, nothing is known.
        if np.isfinite(column.values).any() if column.is_measured else (column.values != NOT_KNOWN).any():
            found.setdefault(column.title, column)
    return found


def _of_clusterings(run: RunFolder, ids: np.ndarray) -> Iterator[Column]:
    for name in clusterings_of(run):
        try:
            clusters = Clusters.load(run, name)
        except RunError:
            # Made from other codes than those of the run; the verbs say so, and here it is left out.
            continue
        rows = positions_of(ids, clusters.ids)
        yield Column(f"class ({name})", _named(clusters.classes.names, rows))
        yield Column(f"probability ({name})", _measured(clusters.classes.probability, rows))
        sure = clusters.confidence
        if sure is not None:
            yield Column(f"confidence ({name})", _measured(sure.confidence, rows))
            yield Column(f"agreement of runs ({name})", _measured(sure.agreement, rows))
            yield Column(f"expected probability ({name})", _measured(sure.expected, rows))
        if clusters.conformations is not None:
            yield Column(f"conformation ({name})", _named(clusters.conformations.names, rows))
        yield from _of_averages(run, name, ids)


def _of_averages(run: RunFolder, name: str, ids: np.ndarray) -> Iterator[Column]:
    path = run.path / CLUSTERS / name / AVERAGES / POSES
    if not path.is_file():
        return
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle, strict=True))
        known = np.array([row["id"] for row in rows], dtype=str)
        states = np.array([f"{row['class']}, state {row['state']}" for row in rows], dtype=str)
    except (OSError, ValueError, KeyError, csv.Error):
        return
    yield Column(f"state ({name})", _named(states, positions_of(ids, known)))


def _of_labels(labels: LabelTable | None, ids: np.ndarray, roles: tuple[str, ...]) -> Iterator[Column]:
    if labels is None:
        return
    rows = positions_of(ids, labels.ids)
    for factor in labels.factors:
        if factor.role not in roles:
            continue
        values = factor.values
        whole = np.issubdtype(values.dtype, np.integer) and len(np.unique(values)) > MOST_WHOLE_NUMBERS
        if factor.is_continuous or (whole and factor.role == "metadata"):
            yield Column(factor.name, _measured(values, rows))
        else:
            yield Column(factor.name, _named(values.astype(str), rows))


def _of_codes(codes: Codes) -> Iterator[Column]:
    for letter, log_variance in (
        ("c", codes.content_log_variance),
        ("z", codes.transformation_log_variance),
    ):
        if log_variance is not None and log_variance.shape[1]:
            # Geometric mean over the dimensions: how far the posterior reaches, on the scale of the code.
            width = np.exp(0.5 * log_variance.astype(np.float64).mean(axis=1))
            yield Column(f"posterior width of {letter}", width)


def _part(split: Split, ids: np.ndarray) -> Column:
    held_out = np.isin(ids, split.test)
    return Column("part of the split", np.where(held_out, "held-out", "training"))


def _named(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    known = np.array([*values.tolist(), NOT_KNOWN], dtype=str)
    return known[rows]


def _measured(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    known = np.append(np.asarray(values, dtype=np.float64), np.nan)
    known[~np.isfinite(known)] = np.nan
    return known[rows]
