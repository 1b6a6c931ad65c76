"""Whole jobs, as the command line runs them: train, encode, and everything that follows."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast import ranks
from dualcontrast.code_files import check_suffix
from dualcontrast.data.check import check_images
from dualcontrast.data.fingerprint import describe_change, fingerprint
from dualcontrast.data.open import open_source
from dualcontrast.data.skipped import write_skipped
from dualcontrast.data.source import ImageSource
from dualcontrast.data.split import Split, make_split
from dualcontrast.data.subset import SubsetSource
from dualcontrast.encoding import clear_leftovers_of, encode_to, pieces_beside
from dualcontrast.errors import DataError, RunError, SettingError
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.methods.base import ENOUGH_STEPS, Preset
from dualcontrast.model import VOLUME_PRESET, Model, apply_changes
from dualcontrast.random_streams import numpy_stream
from dualcontrast.run_folder import CODES, EVALUATION, REPORT, SKIPPED, WEIGHTS, WEIGHTS_SUM, RunFolder
from dualcontrast.training.batches import check_enough
from dualcontrast.training.loop import Checkpointing, NotFiniteError, Stopped

logger = logging.getLogger(__name__)

# The demos, with settings for few images, take less than one thousand.
FEW_STEPS = 500


@dataclass(frozen=True)
class DataOptions:
    """How the images of a run are opened and divided.

    Attributes
    ----------
    labels : str or None
        CSV file of labels, by particle id.
    folder_labels : bool
        Take the names of sub-folders as content labels.
    limit : int or None
        Use a random choice of this many training images, and of as many test images at the most.
    test_fraction : float
        Held out where the data set has no published split.
    datadir : str or None
        Folder to look for the files of a STAR file in first.
    skip_bad : bool
        Leave out images that cannot be used, and list them in the run's `skipped.csv`.
    tilt_range : tuple of float, or None
        First and last tilt in degrees of the tilt series behind the volumes, see `open_source`.
    """

    labels: str | None = None
    folder_labels: bool = False
    limit: int | None = None
    test_fraction: float = 0.2
    datadir: str | None = None
    skip_bad: bool = False
    tilt_range: tuple[float, float] | None = None


def train(
    data: str | Path,
    output: str | Path,
    *,
    method: str | None = None,
    preset: str | None = None,
    seed: int | None = None,
    changes: Mapping[str, Any] | None = None,
    options: DataOptions | None = None,
    normalisation: str = "auto",
    contrast: str | None = None,
    box: int | None = None,
    lowpass: float | None = None,
    mask_diameter: float | None = None,
    device: str = "auto",
    devices: int | str | None = None,
    nodes: int | None = None,
    precision: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_seconds: float = 60.0,
    evaluate: bool = True,
    progress: bool = True,
) -> RunFolder:
    """Train a method on images and fill a run folder.

    Parameters
    ----------
    data : str or Path
        A path, or the name of a data set.
    output : str or Path
        The run folder.
    method, preset : str, optional
        What to train; `dualcontrast` unless given, with the preset that suits the images (see `Model`).
    seed : int, optional
        Of everything random; 0 unless given.
    changes : mapping, optional
        Settings of the method or its recipe that differ from the preset; dotted names reach nested ones.
    options : DataOptions, optional
        Labels and split.
    normalisation : str
        `auto`, `unit` or `standardize`.
    contrast, box, lowpass, mask_diameter : optional
        How images are prepared besides; see `choose_preparation`.
    device, devices, nodes, precision : optional
        See `Model`. With several devices the first process writes the run, and the others end with the
        training, by `SystemExit`.
    resume : bool
        Go on with the run in `output` from its last checkpoint, with the settings of the run; those given
        here must agree with them. Where there is no run yet, start one.
    overwrite : bool
        Replace the run in `output`.
    checkpoint_seconds : float
        Shortest time between two checkpoints.
    evaluate : bool
        End by encoding all images, evaluating, and writing the report.
    progress : bool
        Show progress bars on standard error.

    Returns
    -------
    RunFolder
        The finished run.

    Raises
    ------
    DataError, SettingError, RunError
        For images, settings or a folder that cannot be used.
    Stopped
        After Ctrl-C or SIGTERM; the run can be resumed.
    """
    from dualcontrast.training.launch import make_fabric

    if resume and overwrite:
        raise SettingError("--resume and --overwrite exclude each other; choose one")
    run = RunFolder(Path(output))
    go_on = resume and run.exists()
    wanted = run.config["precision"] if go_on and precision is None else precision or "32-true"
    make_fabric(device, wanted, devices, nodes)
    where = {"device": device, "devices": devices, "nodes": nodes, "progress": progress}

    def prepare() -> tuple[Model, ImageSource]:
        if go_on:
            given = {"method": method, "preset": preset, "seed": seed, "precision": precision}
            model, source = _continue(run, data, given, dict(changes or {}), options or DataOptions(), where)
            other = run.preparation.contradiction(contrast, box, lowpass, mask_diameter, normalisation)
            if other:
                raise RunError(
                    f"{run.path}: the run was prepared with {other}; "
                    "resume with its own settings or choose another --output"
                )
            return model, source
        run.check_free(overwrite)
        preparing = {"normalisation", "contrast", "box", "lowpass", "mask_diameter"}
        misplaced = ({"method", "preset", "seed", "precision", *where} | preparing) & set(changes or {})
        if misplaced:
            name = min(misplaced)
            raise SettingError(
                f"'{name}' is not a setting of a method; give it as --{name.replace('_', '-')}"
            )
        # Building the model checks every setting before any image is read.
        model = Model(
            method,
            preset,
            seed=seed or 0,
            precision=wanted,
            normalisation=normalisation,
            contrast=contrast,
            box=box,
            lowpass=lowpass,
            mask_diameter=mask_diameter,
            **where,
            **dict(changes or {}),
        )
        asked = options or DataOptions()
        source = open_source(
            data,
            labels=asked.labels,
            folder_labels=asked.folder_labels,
            datadir=asked.datadir,
            skip_bad=asked.skip_bad,
            tilt_range=asked.tilt_range,
        )
        _begin(run.path, model, source, asked, overwrite)
        return model, source

    model, source = _prepared_by_first(prepare, run, data, where)
    if not (run.path / WEIGHTS).exists():
        # As recorded when the run began: a later version of the package may know of more settings.
        recorded = run.config
        identity = {name: recorded[name] for name in model.describe()}
        identity["image_shape"] = list(run.preparation.image_shape)
        checkpointing = Checkpointing(
            run.checkpoint, identity, resume, checkpoint_seconds, run.forget_metrics_after
        )
        try:
            model.fit(
                source,
                ids=run.split.train,
                preparation=run.preparation,
                checkpointing=checkpointing,
                report=run.append_metrics,
            )
        except (Stopped, NotFiniteError) as error:
            # All ranks know; one says it.
            if not ranks.first():
                raise SystemExit(128 + error.signal_number if isinstance(error, Stopped) else 2) from None
            raise
        if ranks.first():
            model.save(run.path / WEIGHTS)
    if ranks.first() and not (run.path / WEIGHTS_SUM).exists():
        run.record_identity()
    is_first = ranks.first()
    ranks.part()
    if not is_first:
        raise SystemExit(0)
    if evaluate:
        finish(run, device=device, progress=progress)
    return run


def _prepared_by_first(
    prepare: Callable[[], tuple[Model, ImageSource]],
    run: RunFolder,
    data: str | Path,
    where: Mapping[str, Any],
) -> tuple[Model, ImageSource]:
    """Let the first rank prepare a run while the others wait, and then open what it has written."""
    if ranks.first():
        ready = False
        try:
            prepared = prepare()
            ready = True
        finally:
            ranks.from_first(int(ready))
        return prepared
    if not ranks.from_first(0):
        raise SystemExit(2)
    return Model.from_description(run.config, **where), run.open_source(data)


def finish(run: RunFolder, *, device: str = "auto", progress: bool = True) -> None:
    """Do what follows a training and is not done yet: encode all images, evaluate, write the report.

    Parameters
    ----------
    run : RunFolder
        A trained run.
    device : str
        See `Model`.
    progress : bool
        Show progress bars on standard error.
    """
    # Drawing takes seconds to import, which a training without a report need not wait for.
    from dualcontrast.figures.report import write_report

    encode_run(run, device=device, progress=progress)
    if not (run.path / EVALUATION).exists():
        evaluate_run(run, seed=run.config["seed"], device=device)
    if not (run.path / REPORT).exists():
        write_report(run, device=device)


def encode_run(run: RunFolder, *, device: str = "auto", progress: bool = True) -> None:
    """Encode all images of a run, train and test, into its `codes.npz`, unless that is done already.

    Parameters
    ----------
    run : RunFolder
        A trained run.
    device : str
        See `Model`.
    progress : bool
        Show a progress bar on standard error.

    Raises
    ------
    RunError
        When the run is not trained.
    DataError
        When its images are no longer where they were.
    """
    if (run.path / CODES).exists():
        return
    split = run.split
    source = SubsetSource(run.open_source(), np.concatenate((split.train, split.test)))
    encode_to(run.load_model(device, progress), source, run.path / CODES, run.identity, resume=True)


def encode(
    run: RunFolder | str | Path,
    data: str | Path,
    output: str | Path,
    *,
    device: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
    datadir: str | Path | None = None,
    skip_bad: bool = False,
    part: tuple[int, int] | None = None,
    resume: bool = False,
) -> Path:
    """Encode images with the model of a run and write the codes; see `encode_to` for how.

    Parameters
    ----------
    run : RunFolder, str or Path
        A trained run.
    data : str or Path
        A path, or the name of a data set; prepared as the images of the run were.
    output : str or Path
        A file that ends in .npz or .parquet, or a Zarr store that ends in .zarr.
    device : str
        See `Model`.
    overwrite : bool
        Replace `output`.
    progress : bool
        Show a progress bar on standard error.
    datadir : str or Path, optional
        Folder to look for the files of a STAR file in first.
    skip_bad : bool
        Leave out images that cannot be used, and list them beside `output`, in `NAME.skipped.csv`.
    part : (int, int), optional
        Encode only the k-th of K parts, and leave the pieces in `OUTPUT.pieces`; a call without `part` and
        with `resume` encodes what is missing and joins them.
    resume : bool
        Go on with what a former call, or calls with `part`, left.

    Returns
    -------
    Path
        `output`, with the codes of all images in the order of the source, for `Codes.load`; or, with `part`,
        the folder of the pieces.

    Raises
    ------
    RunError
        When the run is not trained, or `output` exists and `overwrite` is not set.
    DataError
        For images that cannot be read or have another shape.
    SettingError
        For an unknown format, or `skip_bad` with `part`.
    """
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    output = Path(output)
    check_suffix(output)
    clear_leftovers_of(output)
    if output.exists() and not overwrite and not (resume and pieces_beside(output).exists()):
        raise RunError(f"{output}: exists already; add --overwrite or choose another --output")
    if skip_bad and part is not None:
        raise SettingError(
            "--skip-bad: every part would read all images; leave them out with `data pack` first"
        )
    source = open_source(data, datadir=datadir, skip_bad=skip_bad)
    model = run.load_model(device, progress)
    encode_to(model, source, output, run.identity, part=part, resume=resume, overwrite=overwrite)
    if skip_bad:
        write_skipped(skipped_beside(output), source.skipped)
    return output if part is None else pieces_beside(output)


def skipped_beside(output: Path) -> Path:
    """Name the file that lists what was skipped when codes were written to `output`."""
    return output.with_suffix(".skipped.csv")


def limit_split(split: Split, limit: int, seed: int) -> Split:
    """Choose at most `limit` training and `limit` test images at random.

    Raises
    ------
    SettingError
        When `limit` is less than 1.
    """
    if limit < 1:
        raise SettingError(f"--limit {limit}: give a number of images, at least 1")

    def choose(ids: np.ndarray, part: str) -> np.ndarray:
        if len(ids) <= limit:
            return ids
        # Sorted first, so that the choice depends on the ids and not on the order of the source.
        chosen = numpy_stream(seed, "limit", part).permutation(np.sort(ids))[:limit]
        return ids[np.isin(ids, chosen)]

    return Split(choose(split.train, "train"), choose(split.test, "test"))


def _begin(path: Path, model: Model, source: ImageSource, options: DataOptions, overwrite: bool) -> None:
    """Look at the images once, decide what a resumed run must not decide again, and write it down."""
    split = make_split(source, options.test_fraction, model.seed)
    if options.limit is not None:
        split = limit_split(split, options.limit, model.seed)
    model.suit(source.image_shape, len(split.train))
    check_enough(source, len(split.train), model.recipe.batch_size)
    used = SubsetSource(source, np.concatenate((split.train, split.test)))
    preparation = model.choose_preparation(used)
    # Settings that these images cannot have leave no run folder behind.
    doubts = model.untrained_network(preparation).doubts(model.recipe.batch_size, len(split.train))
    check_images(used)
    location = Path(source.location)
    data = {
        # Names of data sets stay names, and links stay links: what lies around them belongs to the data, as
        # the project does around a job folder of RELION that is kept elsewhere.
        "location": str(location.absolute()) if location.exists() else source.location,
        **_as_recorded(options),
    }
    recorded = {"data": data, **model.describe(), "preparation": preparation.to_dict()}
    run = RunFolder.create(path, {**recorded, "fingerprint": fingerprint(source)}, split, overwrite)
    if options.skip_bad:
        write_skipped(run.path / SKIPPED, source.skipped)
    _warn_of_few_steps(model, len(split.train))
    for doubt in doubts:
        logger.info(doubt)


def _as_recorded(options: DataOptions) -> dict[str, Any]:
    """Write options of the data as plain values: paths absolute, so that the run opens from any folder."""
    return {
        **vars(options),
        "labels": options.labels and str(Path(options.labels).resolve()),
        "datadir": options.datadir and str(Path(options.datadir).expanduser().resolve()),
        "tilt_range": options.tilt_range and list(options.tilt_range),
    }


def _warn_of_few_steps(model: Model, images: int) -> None:
    """Say so where a training is over before it has begun: with few images in large batches."""
    recipe = model.recipe
    steps = recipe.epochs * recipe.steps_per_epoch(images)
    if steps < FEW_STEPS:
        # `short` is made of `default`, whose networks and views are not for noisy volumes.
        has_shorter = "short" in model.method_class.presets and model.preset not in ("short", VOLUME_PRESET)
        smaller = "--preset short" if has_shorter else "a smaller --batch-size"
        enough = replace(recipe, least_steps=ENOUGH_STEPS).for_images(images)
        logger.info(
            f"{recipe.epochs} epochs of {images:,} images in batches of {recipe.batch_size} are only {steps} "
            f"steps of training; --epochs {enough.epochs} ({ENOUGH_STEPS:,} steps) or "
            f"{smaller} will most likely do better"
        )


def _continue(
    run: RunFolder,
    data: str | Path,
    given: Mapping[str, Any],
    changes: dict[str, Any],
    options: DataOptions,
    where: Mapping[str, Any],
) -> tuple[Model, ImageSource]:
    """Rebuild the model of a run, and refuse settings or images that are not those it began with."""
    run.clear_leftovers()
    config = run.config
    for name, value in given.items():
        if value is not None and value != config[name]:
            raise RunError(
                f"{run.path}: the run has {name} {config[name]!r}, not {value!r}; "
                "resume with its own settings or choose another --output"
            )
    not_given = _as_recorded(DataOptions())
    for name, value in _as_recorded(options).items():
        # Runs of earlier versions lack what these did not know.
        recorded = config["data"].get(name, not_given[name])
        if value != not_given[name] and value != recorded:
            raise RunError(
                f"{run.path}: the run has {name} {recorded!r}, not {value!r}; resume with its own settings "
                "or choose another --output" + "; `evaluate` takes other --labels" * (name == "labels")
            )
    model = Model.from_description(config, **where)
    asked = apply_changes(model.method_class, Preset(model.config, model.recipe), changes)
    if asked != Preset(model.config, model.recipe):
        raise RunError(
            f"{run.path}: the run has other settings than {', '.join(changes)} given here; "
            "resume with its own settings or choose another --output"
        )
    source = run.open_source(data)
    if config["data"].get("skip_bad") and not (run.path / SKIPPED).exists():
        write_skipped(run.path / SKIPPED, source.skipped)
    change = describe_change(config["fingerprint"], source)
    if change:
        raise DataError(f"{change}; restore the images the run began with, or train a new run")
    return model, source
