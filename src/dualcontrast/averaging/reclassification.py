"""Moving the particles of a run between its classes, by which average each resembles."""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dualcontrast.averaging.classification import Classification, classify
from dualcontrast.averaging.particles import (
    check_cubes,
    mean_seen,
    parts_of,
    read_weights,
    rows_of,
    spectra_of,
    waves_for,
)
from dualcontrast.averaging.states import HARDLY_APART
from dualcontrast.clusters import (
    RECORD,
    Clusters,
    Level,
    check_clustering_name,
    codes_digest,
    describe,
    write_clusters,
)
from dualcontrast.confidence import DIGITS, Confidence
from dualcontrast.data.labels import positions_of
from dualcontrast.errors import DataError, RunError, SettingError
from dualcontrast.export.star import StarText
from dualcontrast.random_streams import numpy_stream
from dualcontrast.run_folder import CLUSTERS, RunFolder
from dualcontrast.training.batches import read_prepared
from dualcontrast.training.progress import stages

# Classes of fewer give averages in which their own noise decides who belongs to them.
LEAST_MEMBERS = 10
# Particles whose wedges are averaged.
WEDGES = 512
logger = logging.getLogger(__name__)


def reclassify_run(
    run: RunFolder | str | Path,
    classes: str | None = None,
    *,
    rounds: int = 40,
    name: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Clusters:
    """Move particles between the classes of a run by their averages, and write the new classes.

    The classes that `cluster_run` found in the codes are where it begins: their averages are computed, with
    no template, and particles compared with all of them; see `classify`. The new classes have the names of
    the old ones, and a clustering of their own, in which `probability` and `confidence` are that of the class
    given the particle and all averages.

    Parameters
    ----------
    run : RunFolder, str or Path
        A run with classes.
    classes : str, optional
        Name of the clustering to begin with, where the run has several.
    rounds : int
        Of sorting, at the most; it ends before where all particles are sure of their class.
    name : str, optional
        Of the new clustering; that of the old one with `-by-averages` unless given.
    seed : int
        Of the first orientations, and of the order of the particles.
    overwrite : bool
        Replace a clustering of that name.
    progress : bool
        Show a progress bar on standard error.

    Raises
    ------
    RunError
        When the run has no such classes, or a clustering of the new name and `overwrite` is not set.
    DataError
        When the particles are no longer where they were, or a class has fewer than ten.
    SettingError
        For images that are no cubes, one class, or numbers and names that cannot be used.
    """
    if rounds < 1:
        raise SettingError(f"--rounds {rounds}: give at least 1")
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    old = Clusters.load(run, classes)
    name = f"{old.name}-by-averages" if name is None else name
    check_clustering_name(name)
    if name == old.name:
        raise SettingError(f"--name {name}: is that of the classes to begin with; choose another")
    folder = run.path / CLUSTERS / name
    if (folder / RECORD).exists() and not overwrite:
        raise RunError(f"{folder}: exists already; add --overwrite or choose another --name")
    check_cubes(run.preparation)
    names = old.class_names
    if len(names) < 2:
        raise SettingError(f"{run.path}: there is one class only, and nowhere to move to; cluster into more")
    members = [positions_of(old.members(label), old.ids) for label in names]
    for label, rows in zip(names, members, strict=True):
        if len(rows) < LEAST_MEMBERS:
            raise DataError(
                f"{run.path}: {len(rows)} particles of class {label} are too few for an average; "
                f"cluster into fewer classes, so that each has at least {LEAST_MEMBERS}"
            )
    source = run.open_source()
    # Read before anything is compared: a STAR file that has changed ends here.
    if source.star_file is not None:
        StarText(source.star_file).subset(old.ids.tolist())
    places = rows_of(source, old.ids)
    waves = waves_for(run.preparation.image_shape)
    some = numpy_stream(seed, "wedges").permutation(places)[:WEDGES]
    wedges = read_weights(source, run.preparation, some)
    seen = None if wedges is None else mean_seen(waves, wedges, run.preparation.image_shape[-1])

    def read(rows: np.ndarray) -> Tensor:
        parts = [places[rows][part] for part in parts_of(len(rows), run.preparation)]
        return torch.cat([spectra_of(waves, read_prepared(source, run.preparation, part)) for part in parts])

    with stages(f"{len(names)} classes", enabled=progress) as report:
        found = classify(read, members, waves, seen, rounds=rounds, seed=seed, report=report)
    clusters = _clusters(name, old, found)
    _warn(found, clusters, names)
    settings = {
        "on": "averages",
        "begun_with": old.name,
        "count": len(names),
        "method": "likelihood",
        "rounds": rounds,
        "conformations": None,
        "conformations_on": None,
        "seed": seed,
        "with": [],
        "min_confidence": None,
        "confidence_column": None,
    }
    fits = {
        "fit": {
            "clusters": len(names),
            "converged": True,
            "bic": {},
            "rounds": found.rounds,
            "separation": found.separation,
            "moved": float((clusters.classes.names != old.classes.names).mean()),
        },
        "fit_within": {},
        "confidence": {"posteriors": [True], "temperature": 1.0, "shared": [], "agreement": []},
    }
    clusters.record.update(describe(clusters, settings, fits, source.labels))
    clusters.record["codes"] = codes_digest(run.codes)
    write_clusters(run, clusters, source)
    return clusters


def _clusters(name: str, old: Clusters, found: Classification) -> Clusters:
    probabilities = found.probabilities
    places = probabilities.argmax(axis=1)
    rows = np.arange(len(places))
    probability = np.round(probabilities[rows, places], DIGITS)
    # The surest first: probabilities near 1 are all alike, their logarithms are not.
    logs = found.log_likelihoods.double().numpy().copy()
    own = logs[rows, places]
    logs[rows, places] = -np.inf
    margin = own - logs.max(axis=1)
    rank = np.empty(len(places), dtype=np.int64)
    for place in range(probabilities.shape[1]):
        there = np.flatnonzero(places == place)
        rank[there[np.argsort(-margin[there], kind="stable")]] = np.arange(1, len(there) + 1)
    classes = Level(np.array(old.class_names, dtype=str)[places], probability, rank)
    confidence = Confidence(probability, np.full(len(places), np.nan), probability)
    return Clusters(name, old.ids, classes, None, {}, confidence)


def _warn(found: Classification, clusters: Clusters, names: list[str]) -> None:
    empty = [label for label in names if label not in clusters.class_names]
    if empty:
        logger.warning(f"no particle is left in class {', '.join(empty)}; begin with fewer classes")
    if found.separation is not None and found.separation < HARDLY_APART:
        logger.warning(
            f"two of the {len(names)} averages differ hardly more than noise makes them "
            f"({found.separation:.1f} times as much): they may show the same particle; begin with fewer "
            "classes, or merge them"
        )
