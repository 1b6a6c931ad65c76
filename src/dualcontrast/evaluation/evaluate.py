"""Everything that is measured of a run, in one dictionary and one file."""

import json
from typing import Any

import numpy as np

from dualcontrast.codes import Codes
from dualcontrast.data.labels import LabelTable, positions_of
from dualcontrast.data.source import ImageSource
from dualcontrast.data.split import Split
from dualcontrast.errors import RunError
from dualcontrast.evaluation.clustering import clustering
from dualcontrast.evaluation.confounds import confounds
from dualcontrast.evaluation.curved_read_out import curved_read_out
from dualcontrast.evaluation.curved_within_content import curved_within_content
from dualcontrast.evaluation.d_score import d_score, stratified_rows
from dualcontrast.evaluation.diagnostics import FEWEST_IMAGES, diagnostics, image_limit
from dualcontrast.evaluation.inference import read_prepared
from dualcontrast.evaluation.within_content import within_content
from dualcontrast.evaluation.words import sentences
from dualcontrast.files import write_text
from dualcontrast.methods.base import Method
from dualcontrast.prepare import Preparation
from dualcontrast.random_streams import numpy_stream
from dualcontrast.run_folder import EVALUATION, RunFolder

# Scores of more than these differ from those of these by less than the seeds do.
MOST_SCORED = 100_000


def evaluate(
    method: Method,
    codes: Codes,
    source: ImageSource,
    preparation: Preparation,
    split: Split,
    labels: LabelTable | None = None,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a trained method: with labels where there are any, and always without.

    Of more than 100,000 labelled particles, as many are scored: a seeded sample that keeps the shares of the
    split and of the first discrete content factor.

    Parameters
    ----------
    method : Method
        Trained; put into evaluation mode.
    codes : Codes
        Of all particles of the split.
    source : ImageSource
        Images of the particles.
    preparation : Preparation
        Applied to the images as in training.
    split : Split
        Scores are fitted on `train` and measured on `test`.
    labels : LabelTable, optional
        Ground truth; the source's own labels by default. Particles may be missing, and particles that the
        run does not have are left out.
    seed : int
        Of every random choice.

    Returns
    -------
    dict
        Plain numbers, strings, lists and dicts. `d_score` (see `d_score`), `curved_read_out` (see
        `curved_read_out`), `clustering` (see `clustering`),
        `within_content` and `curved_within_content` (see the functions of these names), `confounds` (see
        `confounds`), `diagnostics` (see `diagnostics`), `images` (how many of each part), `scored` (how many
        labelled ones were used), `seed`, and `verdict`, a list of sentences. A measure that could not be
        taken is None, and a `reason` beside it says why.
    """
    method.eval()
    labels = labels if labels is not None else source.labels
    particles = np.concatenate((split.train, split.test))
    labels = _of_run(labels, particles)
    labelled = len(labels.ids)
    labels = _scored(labels, split, seed)
    held_out = split.test if len(split.test) >= FEWEST_IMAGES else particles
    evaluation: dict[str, Any] = {
        "method": method.name,
        "seed": seed,
        "images": {"train": len(split.train), "test": len(split.test), "labelled": labelled},
        "scored": len(labels.ids),
        "d_score": d_score(codes, labels, split.train, split.test, seed),
        "curved_read_out": curved_read_out(codes, labels, split.train, split.test, seed),
        "clustering": clustering(codes, labels, split.train, split.test, seed),
        "within_content": within_content(codes, labels, split.train, split.test, seed),
        "curved_within_content": curved_within_content(codes, labels, split.train, split.test, seed),
        "confounds": confounds(codes, labels, seed),
        "diagnostics": _diagnostics(method, source, preparation, held_out, seed),
    }
    evaluation["diagnostics"]["held_out"] = held_out is split.test
    return evaluation | {"verdict": sentences(evaluation)}


def _of_run(labels: LabelTable | None, particles: np.ndarray) -> LabelTable:
    if labels is None:
        return LabelTable(particles[:0], ())
    labelled = particles[np.isin(particles, labels.ids)]
    if not len(labelled) and labels.factors:
        raise RunError(
            f"labels: none of the {len(labels.ids):,} ids, first '{labels.ids[0]}', is a particle of the "
            "run, "
            f"first '{particles[0]}'; use the ids that `dualcontrast data info` shows"
        )
    return labels.select(labelled) if len(labelled) else LabelTable(particles[:0], ())


def _scored(labels: LabelTable, split: Split, seed: int) -> LabelTable:
    """Choose the labelled particles that scores are taken of."""
    if len(labels.ids) <= MOST_SCORED:
        return labels
    strata = np.where(positions_of(labels.ids, split.test) < 0, "train", "test")
    factor = next((factor for factor in labels.of_role("content") if not factor.is_continuous), None)
    if factor is not None:
        strata = np.char.add(np.char.add(strata, " "), factor.values.astype(str))
    rows = stratified_rows(strata, MOST_SCORED, numpy_stream(seed, "evaluation", "scored"))
    return labels.select(labels.ids[rows])


def _diagnostics(
    method: Method, source: ImageSource, preparation: Preparation, ids: np.ndarray, seed: int
) -> dict[str, Any]:
    rng = numpy_stream(seed, "evaluation", "images")
    chosen = np.sort(rng.permutation(len(ids))[: image_limit(preparation.image_shape)])
    return diagnostics(method, read_prepared(source, preparation, ids[chosen]), seed)


def evaluate_run(
    run: RunFolder,
    labels: LabelTable | None = None,
    *,
    seed: int = 0,
    overwrite: bool = False,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure a run folder and write its `evaluation.json`.

    Parameters
    ----------
    run : RunFolder
        A trained run with its codes.
    labels : LabelTable, optional
        Ground truth to use instead of the labels that came with the images.
    seed : int
        Of every random choice.
    overwrite : bool
        Measure again where the file exists.
    device : str
        Where the method runs.

    Returns
    -------
    dict
        As from `evaluate`.

    Raises
    ------
    RunError
        When the file exists and `overwrite` is not set.
    """
    path = run.path / EVALUATION
    if path.exists() and not overwrite:
        raise RunError(f"{path}: the run is evaluated already; add --overwrite to measure it again")
    evaluation = evaluate(
        run.load_method(device), run.codes, run.open_source(), run.preparation, run.split, labels, seed=seed
    )
    write_text(path, json.dumps(evaluation, indent=2, allow_nan=False) + "\n")
    return evaluation
