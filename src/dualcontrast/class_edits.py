"""Classes that somebody looked at and changed: merged or renamed. What was clustered stays as it was."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dualcontrast.clusters import Clusters, Level, clusterings_of, describe, in_order, write_clusters
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import SettingError
from dualcontrast.run_folder import RunFolder


def merge_classes(clusters: Clusters, names: Sequence[str], into: str, codes: np.ndarray) -> Clusters:
    """Make one class of several.

    A particle keeps the probability of the class that it came from, and the confidence in it, which are lower
    bounds of those of the merged one. Conformations of the merged classes are numbered on, and stay what they
    were.

    Parameters
    ----------
    clusters : Clusters
        The classes.
    names : sequence of str
        At least two classes.
    into : str
        Name of the merged class: one of `names`, or a new one.
    codes : numpy.ndarray, shape (N, d)
        Of the particles of `clusters`, in their order; members are ranked by the distance from their mean.

    Returns
    -------
    Clusters
        Named as before; the record is the caller's to renew.

    Raises
    ------
    SettingError
        For fewer than two classes, a class that is not there, or a name that is taken or cannot be used.
    """
    if len(set(names)) < 2:
        raise SettingError("merging takes at least two classes; choose another one")
    _check_names(clusters, names, into)
    of_merged = np.isin(clusters.classes.names, list(names))
    renamed = np.where(of_merged, into, clusters.classes.names.astype(object)).astype(str)
    rank = clusters.classes.nearest_rank.copy()
    members = np.flatnonzero(of_merged)
    mean = codes[members].mean(axis=0, dtype=np.float64)
    distance = np.linalg.norm(codes[members] - mean, axis=1)
    rank[members[np.argsort(distance, kind="stable")]] = np.arange(1, len(members) + 1)
    conformations = clusters.conformations
    if conformations is not None:
        inner = in_order(conformations.names[members].tolist())
        numbered = {old: f"{into}.{place}" for place, old in enumerate(inner, start=1)}
        conformations = _renamed(conformations, numbered)
    return replace(
        clusters,
        classes=Level(renamed, clusters.classes.probability, rank),
        conformations=conformations,
    )


def rename_class(clusters: Clusters, old: str, new: str) -> Clusters:
    """Give a class another name; its conformations follow.

    Parameters
    ----------
    clusters : Clusters
        The classes.
    old : str
        A class.
    new : str
        Letters, digits, `-` and `_`.

    Returns
    -------
    Clusters
        Named as before; the record is the caller's to renew.

    Raises
    ------
    SettingError
        For a class that is not there, or a name that is taken or cannot be used.
    """
    _check_names(clusters, [old], new)
    conformations = clusters.conformations
    if conformations is not None:
        inner = [name for name in clusters.conformation_names if name.rpartition(".")[0] == old]
        conformations = _renamed(conformations, {name: f"{new}.{name.rpartition('.')[2]}" for name in inner})
    return replace(clusters, classes=_renamed(clusters.classes, {old: new}), conformations=conformations)


def _renamed(level: Level, new_names: dict[str, str]) -> Level:
    names = [new_names.get(name, name) for name in level.names.tolist()]
    return replace(level, names=np.array(names, dtype=str))


def _check_names(clusters: Clusters, old: Sequence[str], new: str) -> None:
    """Raise `SettingError` where classes that are to be `new` are not there, or another is called so."""
    known = clusters.class_names
    missing = [name for name in old if name not in known]
    if missing:
        raise SettingError(f"no class '{missing[0]}'; choose from {', '.join(known)}")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", new):
        raise SettingError(f"class name '{new}': use letters, digits, '-' and '_' only")
    if new in known and new not in old:
        raise SettingError(f"class '{new}' is there already; choose another name")


def write_edited(run: RunFolder, edited: Clusters, source: ImageSource) -> Clusters:
    """Write edited classes as a clustering of their own, `NAME-edited`; the one they are from stays.

    Parameters
    ----------
    run : RunFolder
        The run.
    edited : Clusters
        From `merge_classes` or `rename_class`, still under the name of what was edited. A clustering that is
        an edit already is replaced.
    source : ImageSource
        The images of the run.

    Returns
    -------
    Clusters
        As written.

    Raises
    ------
    DataError
        When the STAR file of the run is no longer what it was.
    """
    name, settings = edited.name, edited.record["settings"]
    if "edited_from" not in settings:
        settings = {**settings, "edited_from": name}
        taken = clusterings_of(run)
        name = next(
            candidate
            for count in range(1, len(taken) + 2)
            if (candidate := f"{edited.name}-edited{'' if count == 1 else f'-{count}'}") not in taken
        )
    # Classes of earlier versions have no confidence.
    fits = {key: edited.record.get(key) for key in ("fit", "fit_within", "confidence")}
    written = replace(edited, name=name, record={})
    written.record.update(describe(written, settings, fits, source.labels))
    written.record["codes"] = edited.record["codes"]
    write_clusters(run, written, source)
    return written
