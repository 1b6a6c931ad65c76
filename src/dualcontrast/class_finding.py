"""Finding the classes of a run's particles: clusters of their codes, and how sure each of them is."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dualcontrast.clusters import (
    RECORD,
    TABLE,
    Clusters,
    Level,
    check_clustering_name,
    codes_digest,
    describe,
    in_order,
    write_clusters,
)
from dualcontrast.codes import BOTH_CODES, Codes
from dualcontrast.confidence import RunClasses, check_confidence, combine
from dualcontrast.data.labels import positions_of
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError, RunError, SettingError
from dualcontrast.evaluation.mixture import ClusterMethod, Partition, check_count, partition
from dualcontrast.export.star import StarText
from dualcontrast.other_runs import codes_of_other_runs
from dualcontrast.run_folder import CLUSTERS, RunFolder

CODE_NAMES = (*BOTH_CODES, "both")

Count = int | tuple[int, int] | None
On = Literal["content", "transformation", "both"]


def cluster_run(
    run: RunFolder | str | Path,
    on: On = "content",
    count: Count = None,
    method: ClusterMethod = "gmm",
    *,
    conformations: Count | Literal["auto"] = None,
    conformations_on: On = "transformation",
    others: Sequence[RunFolder | str | Path] = (),
    min_confidence: float | None = None,
    confidence_column: str | None = None,
    name: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> Clusters:
    """Cluster the codes of all particles of a run, and write the classes into `RUN/clusters/NAME`.

    Written are `classes.csv`, `clusters.json`, a figure of the BIC curves where BIC chose, and, for images
    from a STAR file, that file once for each class and conformation, with the rows of its members.

    How sure the class of a particle is follows from the posterior of its code, and from the classes that
    other trainings give to it; see `partition` and `combine`. Conformations have no confidence.

    Parameters
    ----------
    run : RunFolder, str or Path
        A trained run; it is encoded first where that is not done.
    on : {'content', 'transformation', 'both'}
        The code that is clustered; both are put side by side.
    count : int, (int, int) or None
        Number of classes, or the lowest and highest of which BIC chooses; None stands for 1 to 10.
    method : {'gmm', 'kmeans'}
        See `partition`. k-means needs a number.
    conformations : int, (int, int), 'auto' or None
        Number of conformations to look for within each class, in the same way; None looks for none.
    conformations_on : {'content', 'transformation', 'both'}
        The code that is clustered within each class.
    others : sequence of RunFolder, str or Path
        Other trainings on the same particles (known by their ids), with other seeds. They are clustered in
        the same way, into as many classes as the run, and only read; but encoded where that is not done.
    min_confidence : float, optional
        Leave particles that are less sure of their class out of the STAR files, from 0 to 1.
    confidence_column : str, optional
        Column of the STAR files that gets the confidence, such as `rlnParticleFigureOfMerit`; none unless
        given.
    name : str, optional
        Of the clustering; the name of the code unless given.
    seed : int
        Of the sample and the starts.
    overwrite : bool
        Replace a clustering of that name, with its class STAR files and maps.
    device : str
        Where images are encoded.
    progress : bool
        Show a progress bar while images are encoded.

    Raises
    ------
    SettingError
        For numbers or names that cannot be used, more clusters than particles, or options of STAR files where
        the images are not from one.
    RunError
        When a clustering of that name exists and `overwrite` is not set, the run or another is not trained,
        or another cannot be compared with it; see `codes_of_other_runs`.
    DataError
        When the images of the run are no longer where they were, or the STAR file has the column already.
    """
    from dualcontrast.pipeline import encode_run

    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    name = _check_settings(on, count, method, conformations, conformations_on, name)
    folder = run.path / CLUSTERS / name
    if (folder / RECORD).exists() and not overwrite:
        raise RunError(f"{folder}: exists already; add --overwrite or choose another --name")
    encode_run(run, device=device, progress=progress)
    source = run.open_source()
    codes = run.codes.sorted_by_id()
    missing = codes.ids[positions_of(codes.ids, source.ids) < 0]
    if len(missing):
        raise DataError(
            f"{source.location}: lacks {len(missing)} of the particles of the run, first '{missing[0]}'; "
            "restore the images that the run was trained on"
        )
    _check_star_settings(source, min_confidence, confidence_column)
    theirs = codes_of_other_runs(run, codes, others, device=device, progress=progress)
    found = _partition(codes, on, count, method, seed, f"{on} codes")
    # A run that has fewer particles, or a dead code, ends here, with its name.
    again = [
        _partition(each, on, len(found.centres), method, seed, f"{_path_of(other)}: {on} codes")
        for each, other in zip(theirs, others, strict=True)
    ]
    combined = combine(
        RunClasses(codes.ids, found.labels, found.expected),
        [RunClasses(r.ids, p.labels, p.expected) for r, p in zip(theirs, again, strict=True)],
    )
    classes = _as_level(found, "")
    inner: dict[str, Partition] = {}
    level = None
    if conformations is not None:
        inner_count = None if conformations == "auto" else conformations
        within = _chosen(codes, conformations_on)
        for label in in_order(classes.names.tolist()):
            inner[label] = partition(
                within[classes.names == label], inner_count, method, seed, f"class {label}"
            )
        level = _joined(classes.names, inner)
    settings = {
        "on": on,
        "count": count,
        "method": method,
        "conformations": conformations,
        "conformations_on": conformations_on if conformations is not None else None,
        "seed": seed,
        "with": [str(_path_of(other)) for other in others],
        "min_confidence": min_confidence,
        "confidence_column": confidence_column,
    }
    clusters = Clusters(name, codes.ids, classes, level, {}, combined.confidence)
    fits = {
        "fit": _fit(found),
        "fit_within": {label: _fit(part) for label, part in inner.items()},
        "confidence": {
            "posteriors": [_variances(each, on) is not None for each in (codes, *theirs)],
            "temperature": combined.temperature,
            "shared": combined.shared,
            "agreement": combined.agreement,
        },
    }
    clusters.record.update(describe(clusters, settings, fits, source.labels))
    clusters.record["codes"] = codes_digest(codes)
    curves = {"classes": found.bic} | {f"within class {label}": part.bic for label, part in inner.items()}
    write_clusters(run, clusters, source, curves)
    return clusters


def _check_settings(
    on: str,
    count: Count,
    method: str,
    conformations: Count | str,
    conformations_on: str,
    name: str | None,
) -> str:
    for option, code in (("on", on), ("conformations-on", conformations_on)):
        if code not in CODE_NAMES:
            raise SettingError(f"--{option} {code}: choose one of {', '.join(CODE_NAMES)}")
    check_count(count, method)
    if conformations is not None:
        if isinstance(conformations, str) and conformations != "auto":
            raise SettingError(f"conformations '{conformations}': give a number, a range, or auto")
        check_count(None if isinstance(conformations, str) else conformations, method)
    name = on if name is None else name
    check_clustering_name(name)
    return name


def _check_star_settings(
    source: ImageSource, min_confidence: float | None, confidence_column: str | None
) -> None:
    check_confidence(min_confidence)
    column = confidence_column
    if column is not None and not re.fullmatch(r"[A-Za-z]\w*", column, re.ASCII):
        raise SettingError(f"--confidence-column '{column}': give a label such as rlnParticleFigureOfMerit")
    if source.star_file is None:
        for option, value in (("min-confidence", min_confidence), ("confidence-column", column)):
            if value is not None:
                raise SettingError(
                    f"--{option}: the images are not from a STAR file; leave it out, and choose by the "
                    f"column `confidence` of {TABLE}"
                )
    elif column is not None and f"_{column}" in StarText(source.star_file).columns:
        raise DataError(
            f"{source.star_file}: has a column {column} already, which is not overwritten; "
            "give another --confidence-column"
        )


def _chosen(codes: Codes, on: str) -> np.ndarray:
    if on == "both":
        return np.concatenate((codes.content, codes.transformation), axis=1)
    return getattr(codes, on)


def _variances(codes: Codes, on: str) -> np.ndarray | None:
    """Return the posterior variances of the code that is clustered; None where there are no posteriors."""
    names = BOTH_CODES if on == "both" else (on,)
    logarithms = [getattr(codes, f"{name}_log_variance") for name in names]
    if any(logarithm is None for logarithm in logarithms):
        return None
    return np.exp(np.concatenate(logarithms, axis=1, dtype=np.float64))


def _partition(codes: Codes, on: str, count: Count, method: ClusterMethod, seed: int, what: str) -> Partition:
    return partition(_chosen(codes, on), count, method, seed, what, _variances(codes, on))


def _path_of(run: RunFolder | str | Path) -> Path:
    return run.path if isinstance(run, RunFolder) else Path(run)


def _as_level(found: Partition, prefix: str) -> Level:
    rank = np.empty(len(found.labels), dtype=np.int64)
    for label in range(len(found.centres)):
        rows = np.flatnonzero(found.labels == label)
        rank[rows[np.argsort(found.distances[rows], kind="stable")]] = np.arange(1, len(rows) + 1)
    return Level(
        np.array([f"{prefix}{label + 1}" for label in found.labels.tolist()], dtype=str),
        found.responsibilities[np.arange(len(found.labels)), found.labels],
        rank,
    )


def _joined(classes: np.ndarray, inner: dict[str, Partition]) -> Level:
    """Put the conformations of all classes into one level."""
    parts = [(np.flatnonzero(classes == label), _as_level(p, f"{label}.")) for label, p in inner.items()]
    back = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return Level(
        np.concatenate([level.names for _, level in parts])[back],
        np.concatenate([level.probability for _, level in parts])[back],
        np.concatenate([level.nearest_rank for _, level in parts])[back],
    )


def _fit(found: Partition) -> dict[str, Any]:
    return {
        "clusters": len(found.centres),
        "dimensions": found.dimensions,
        "converged": found.converged,
        "bic": {str(count): value for count, value in found.bic.items()},
    }
