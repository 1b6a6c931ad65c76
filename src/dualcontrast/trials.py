"""Several trainings on the same images, with other seeds or settings, of which the best is pointed out."""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualcontrast import settings
from dualcontrast.errors import RunError, SettingError
from dualcontrast.files import write_text
from dualcontrast.methods.registry import method_class
from dualcontrast.model import Model
from dualcontrast.nested import leaves
from dualcontrast.pipeline import train
from dualcontrast.run_folder import CONFIG, SELECTION, RunFolder
from dualcontrast.selection import Ranked, select
from dualcontrast.training.engine import check_devices
from dualcontrast.training.loop import NotFiniteError

# Trainings take long; a mistyped list should not start hundreds.
MOST_TRAININGS = 100


@dataclass(frozen=True)
class Trial:
    """One of the trainings.

    Attributes
    ----------
    folder : str
        Name of its run folder.
    seed : int
        Of everything random.
    changes : dict
        Settings that differ among the trials, by dotted name.
    """

    folder: str
    seed: int
    changes: dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """What came of the trainings.

    Attributes
    ----------
    ranked : list of Ranked
        Those that ended, the best first.
    failed : dict of str to str
        Folders of those that did not, and why.
    """

    ranked: list[Ranked]
    failed: dict[str, str]


def search_of(method: str | None) -> dict[str, Sequence[Any]]:
    """Return the settings of a method that matter most, each with the values that are worth trying.

    Raises
    ------
    SettingError
        When the method names none.
    """
    name = method or Model.default_method
    values = method_class(name).search
    if not values:
        raise SettingError(f"--search: {name} names no settings to search; name some yourself with --try")
    return dict(values)


def plan(restarts: int = 1, seed: int = 0, values: Mapping[str, Sequence[Any]] | None = None) -> list[Trial]:
    """List the trainings: every combination of the values, each with so many seeds.

    Parameters
    ----------
    restarts : int
        Seeds of each combination: `seed`, `seed + 1`, ...
    seed : int
        The first.
    values : mapping of str to sequence, optional
        Values to try of each setting, by dotted name.

    Raises
    ------
    SettingError
        When there would be only one training, or more than 100, or a value is named twice.
    """
    if restarts < 1:
        raise SettingError(f"--restarts {restarts}: at least one training is needed")
    values = values or {}
    if "seed" in values:
        raise SettingError("--try seed: --restarts N trains with the seeds from --seed on")
    if named := {"method", "preset"} & values.keys():
        raise SettingError(
            f"--try {min(named)}: is no setting; train each with --{min(named)}, or compare methods with "
            "`dualcontrast benchmark table1 --methods`"
        )
    for name, tried in values.items():
        if not tried or len({repr(value) for value in tried}) < len(tried):
            raise SettingError(f"--try {name}: name every value once, for example --try {name}=1,2")
    combinations = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    count = restarts * len(combinations)
    if count == 1:
        raise SettingError("only one training is asked for; give --restarts 3, or several values to --try")
    if count > MOST_TRAININGS:
        raise SettingError(f"{count:,} trainings are asked for, at most {MOST_TRAININGS}; try fewer values")
    trials = []
    for changes, offset in itertools.product(combinations, range(restarts)):
        words = [f"{name}-{value}" for name, value in changes.items()]
        folder = "_".join([*words, f"seed-{seed + offset}"])
        trials.append(Trial(re.sub(r"[^\w.-]+", "-", folder), seed + offset, changes))
    if len({trial.folder for trial in trials}) < len(trials):
        raise SettingError("--try: two values give the same name of a folder; train them one after the other")
    return trials


def train_several(
    data: str | Path,
    output: str | Path,
    *,
    restarts: int = 1,
    values: Mapping[str, Sequence[Any]] | None = None,
    seed: int | None = None,
    changes: Mapping[str, Any] | None = None,
    on_trial: Callable[[int, int, Trial], None] = lambda number, count, trial: None,
    **options: Any,
) -> Trained:
    """Train several times, each into a folder of its own in `output`, and rank the runs without labels.

    Parameters
    ----------
    data : str or Path
        As for `train`.
    output : str or Path
        Folder that gets a run folder for each training, such as `seed-0`, and `selection.json`: the ranking,
        as from `select`.
    restarts, values : optional
        See `plan`.
    seed : int, optional
        The first seed; 0 unless given.
    changes : mapping, optional
        Settings that all trainings have in common.
    on_trial : callable
        Told before each training: its number from 1, how many there are, and which.
    **options
        As for `train`. With `resume`, runs that are finished are kept, and the others go on or begin.

    Returns
    -------
    Trained
        The ranking.

    Raises
    ------
    SettingError
        As from `plan` and `train`, or for several devices, or without an evaluation to rank by.
    RunError
        When `output` holds a run, or no training ended.
    """
    output = Path(output)
    trials = plan(restarts, seed or 0, values)
    where = (options.get("device", "auto"), options.get("devices"), options.get("nodes"))
    # Those that torchrun or srun have started count too.
    if check_devices(*where) != (1, 1):
        raise SettingError(
            "several trainings go one after the other on one device; start them one by one with --devices, "
            "and rank them with `dualcontrast select`"
        )
    if not options.get("evaluate", True):
        raise SettingError("runs are ranked by their evaluation; leave --no-evaluate out")
    if (output / CONFIG).exists():
        raise RunError(f"{output}: holds a run; choose another --output for several")
    changes_of = {trial.folder: settings.nest({**(changes or {}), **trial.changes}) for trial in trials}
    for trial in trials:
        # A value that cannot be is found before the first training, not after it.
        Model(options.get("method"), options.get("preset"), seed=trial.seed, **changes_of[trial.folder])
    runs, failed = [], {}
    for number, trial in enumerate(trials, 1):
        on_trial(number, len(trials), trial)
        wanted = {"seed": trial.seed, "changes": changes_of[trial.folder]}
        try:
            runs.append(train(data, output / trial.folder, **wanted, **options))
            _check_alike(runs[0], runs[-1], values or {})
        except NotFiniteError as error:
            # Others may do better.
            failed[trial.folder] = str(error)
    if not runs:
        raise RunError(f"{output}: no training came to its end; the first: {next(iter(failed.values()))}")
    trained = Trained(select(runs), failed)
    _write(output, trained, trials)
    return trained


def _check_alike(first: RunFolder, other: RunFolder, tried: Iterable[str]) -> None:
    """Refuse to rank runs that differ in more than the seed and what is tried: some were there before."""
    mine, theirs = (_in_common(run.config, tuple(tried)) for run in (first, other))
    # Runs of earlier versions lack what these did not know.
    for name in mine.keys() & theirs.keys():
        if mine[name] != theirs[name]:
            raise RunError(
                f"{other.path}: has {name} {theirs[name]!r}, and {first.path} {mine[name]!r}, so they cannot "
                "be ranked together; give the options that the earlier runs had, or choose another --output"
            )


def _in_common(config: Mapping[str, Any], tried: tuple[str, ...]) -> dict[str, Any]:
    """List what all trainings of one call share, by dotted name."""
    # Larger batches are fewer steps, which `default` makes up for by epochs.
    if "batch_size" in tried or "least_steps" in tried:
        tried = (*tried, "epochs")
    of_method = {**config["settings"], **config["recipe"]}
    shared = {name: value for name, value in leaves(of_method) if not name.startswith(tried)}
    # What else a preparation holds is measured, on images that the seed chooses.
    prepared = {name: config["preparation"][name] for name in ("normalisation", "image_shape")}
    prepared |= {name: config["preparation"].get(name) for name in ("lowpass", "mask_diameter")}
    of_data = {f"data.{name}": value for name, value in config["data"].items()}
    named = {name: config.get(name) for name in ("method", "preset", "precision")}
    return shared | prepared | of_data | named


def _write(output: Path, trained: Trained, trials: Sequence[Trial]) -> None:
    changes = {trial.folder: trial.changes for trial in trials}
    rows = [
        {**ranked.as_dict(), "run": ranked.path.name, "changes": changes[ranked.path.name]}
        for ranked in trained.ranked
    ]
    record = {"best": rows[0]["run"], "runs": rows, "failed": trained.failed}
    write_text(output / SELECTION, json.dumps(record, indent=2, allow_nan=False) + "\n")
