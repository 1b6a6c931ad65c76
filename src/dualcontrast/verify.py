"""Whether a run is still what it says: its images, weights, codes and scores, computed again and compared."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast.codes import Codes
from dualcontrast.data.fingerprint import describe_change
from dualcontrast.data.labels import LabelTable
from dualcontrast.data.source import ImageSource
from dualcontrast.data.subset import SubsetSource
from dualcontrast.errors import UserError
from dualcontrast.evaluation.evaluate import evaluate
from dualcontrast.model import Model
from dualcontrast.nested import leaves
from dualcontrast.random_streams import numpy_stream
from dualcontrast.run_folder import ENVIRONMENT, RunFolder, environment

# Codes: shares of the spread of a code. Another device or version of torch sums in another order, which
# changes about the sixth digit; a code of another model or image differs by about the spread.
CODE_TOLERANCE = 1e-3
# Scores: as codes, and an image or two of a thousand may fall on the other side of a boundary.
SCORE_TOLERANCE = 1e-3
SAMPLE = 1_024


@dataclass(frozen=True)
class Check:
    """One thing that was compared.

    Attributes
    ----------
    name : str
        `images`, `weights`, `codes`, `evaluation` or `versions`.
    matches : bool or None
        None where there is nothing to compare with, or where a difference proves nothing.
    words : str
        What was found, for reading.
    """

    name: str
    matches: bool | None
    words: str


@dataclass(frozen=True)
class Verification:
    """What `verify_run` found.

    Attributes
    ----------
    path : Path
        The run folder.
    checks : tuple of Check
        In the order in which they were made.
    scores : dict of str to (float, float)
        Recorded and recomputed value of every number of the evaluation, by dotted name.
    """

    path: Path
    checks: tuple[Check, ...]
    scores: dict[str, tuple[float, float]]

    @property
    def matches(self) -> bool:
        """Whether nothing contradicts what is recorded."""
        return all(check.matches is not False for check in self.checks)


def verify_run(
    run: RunFolder | str | Path,
    data: str | Path | None = None,
    *,
    labels: LabelTable | None = None,
    sample: int | None = SAMPLE,
    scores: bool = True,
    device: str = "auto",
) -> Verification:
    """Compute again what a run has recorded, and compare.

    Parameters
    ----------
    run : RunFolder, str or Path
        A finished run; nothing in it is changed.
    data : str or Path, optional
        Where its images are now, if no longer where they were.
    labels : LabelTable, optional
        Ground truth of the evaluation, where that was not what came with the images.
    sample : int or None
        About so many images are encoded again, in the batches in which they were encoded; None for all.
    scores : bool
        Evaluate again, which takes as long as the evaluation took.
    device : str
        See `Model`.

    Returns
    -------
    Verification
        With a line for each check. Files that cannot be read do not match; they are no error.

    Raises
    ------
    RunError
        When there is no run, or its configuration cannot be read.
    """
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    recorded_images = run.config["fingerprint"]
    found: dict[str, tuple[float, float]] = {}
    source: ImageSource | None = None

    def of_images() -> Check:
        nonlocal source
        opened = run.open_source(data)
        change = describe_change(recorded_images, opened)
        if change is None:
            source = opened
        count = recorded_images["count"]
        return Check("images", change is None, change or f"{count:,} images, ids and pixels as recorded")

    def of_codes() -> Check:
        return _check_codes(run, source, sample, device)

    def of_scores() -> Check:
        check, numbers = _check_scores(run, source, labels, device)
        found.update(numbers)
        return check

    checks = [_tried("images", of_images), _tried("weights", lambda: _check_weights(run))]
    if source is None:
        why = "not computed again, because the images are not those of the run"
        checks += [Check("codes", None, why), Check("evaluation", None, why)]
    else:
        checks.append(_tried("codes", of_codes))
        checks.append(
            _tried("evaluation", of_scores) if scores else Check("evaluation", None, "not asked for")
        )
    checks.append(_tried("versions", lambda: _check_versions(run)))
    return Verification(run.path, tuple(checks), found)


def _tried(name: str, check: Callable[[], Check]) -> Check:
    """Make a check; what cannot be read or computed does not match."""
    try:
        return check()
    except UserError as error:
        return Check(name, False, str(error))


def _check_weights(run: RunFolder) -> Check:
    now, recorded = run.identity, run.recorded_identity
    if recorded is None:
        return Check("weights", None, f"SHA-256 {now[:12]}…; an earlier version recorded none")
    if now == recorded:
        return Check("weights", True, f"SHA-256 {now[:12]}…, as recorded")
    return Check("weights", False, f"SHA-256 {now[:12]}…, recorded {recorded[:12]}…: the file has changed")


def _check_codes(run: RunFolder, source: ImageSource | None, sample: int | None, device: str) -> Check:
    assert source is not None
    recorded, split = run.codes, run.split
    ids = np.concatenate((split.train, split.test))
    if not np.array_equal(recorded.ids, ids):
        return Check(
            "codes", False, f"of {len(recorded):,} images, which are not the {len(ids):,} of the split"
        )
    model = run.load_model(device, progress=False)
    batches = _batches(len(ids), model, sample, run.config["seed"])
    rows = np.concatenate(batches)
    again = Codes.joined(list(model.encode_batches(SubsetSource(source, ids), batches)))
    worst, where, identical = 0.0, "", True
    for name, values in again.arrays().items():
        if name == "ids":
            continue
        stored = recorded.arrays().get(name)
        if stored is None or stored[rows].shape != values.shape:
            return Check("codes", False, f"{name} is missing, or has another shape than the model's")
        identical &= np.array_equal(stored[rows], values)
        # A dead code has no spread; its rounding errors are no difference.
        spread = max(float(values.std()), 1e-3)
        difference = np.abs(stored[rows].astype(np.float64) - values).max(axis=1)
        # NaN is no small difference.
        difference = np.nan_to_num(difference, nan=np.inf) / spread
        if difference.max() > worst:
            worst, where = float(difference.max()), f"{name} of '{ids[rows[difference.argmax()]]}'"
    count = f"{len(rows):,} of {len(ids):,} images encoded again"
    if identical:
        return Check("codes", True, f"{count}: the same bit for bit")
    words = f"{count}: they differ by at most {worst:.2g} of their spread, {where}"
    return Check("codes", worst <= CODE_TOLERANCE, words)


def _batches(count: int, model: Model, sample: int | None, seed: int) -> list[np.ndarray]:
    """Choose whole batches of those in which a run encodes its images: sums of others differ in last bits."""
    size = model.batch_rows
    numbers = np.arange(-(-count // size))
    if sample is not None:
        wanted = max(1, -(-sample // size))
        numbers = np.sort(numpy_stream(seed, "verify").permutation(numbers)[:wanted])
    return [np.arange(number * size, min((number + 1) * size, count)) for number in numbers]


def _check_scores(
    run: RunFolder, source: ImageSource | None, labels: LabelTable | None, device: str
) -> tuple[Check, dict[str, tuple[float, float]]]:
    assert source is not None
    recorded = run.evaluation
    again = evaluate(
        run.load_method(device),
        run.codes,
        source,
        run.preparation,
        run.split,
        labels,
        seed=recorded.get("seed", 0),
    )
    # As they stand in the file.
    before, now = dict(leaves(recorded)), dict(leaves(json.loads(json.dumps(again))))
    numbers = {
        name: (float(before[name]), float(now[name]))
        for name in before
        if name in now and _is_number(before[name]) and _is_number(now[name])
    }
    off = {name: pair for name, pair in numbers.items() if not _close(*pair)}
    # Sentences follow from the numbers, and are worded otherwise by other versions.
    unlike = [
        name
        for name in before.keys() | now.keys()
        if name not in numbers and not name.startswith("verdict") and before.get(name) != now.get(name)
    ]
    if off or unlike:
        words = [f"{name} is {now:.6g}, recorded {was:.6g}" for name, (was, now) in sorted(off.items())]
        words += [f"{name} is not as recorded" for name in sorted(unlike)]
        more = f"; and {len(words) - 5} more" if len(words) > 5 else ""
        hint = "" if labels is not None else " (measured against other labels? give --labels)" * bool(unlike)
        return Check("evaluation", False, "; ".join(words[:5]) + more + hint), numbers
    largest = max((abs(was - now) for was, now in numbers.values()), default=0.0)
    differ = f"they differ by at most {largest:.2g}" if largest else "the same to the last digit"
    return Check("evaluation", True, f"{len(numbers)} numbers computed again: {differ}"), numbers


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _close(was: float, now: float) -> bool:
    return abs(was - now) <= SCORE_TOLERANCE * max(1.0, abs(was))


def _check_versions(run: RunFolder) -> Check:
    """Say what runs now that did not run then; that alone is no contradiction."""
    then, now = run.environment, environment()
    before = {"python": then.get("python"), **then.get("packages", {})}
    after = {"python": now["python"], **now["packages"]}
    differ = [
        f"{name} {before.get(name)}, now {after[name]}" for name in after if before.get(name) != after[name]
    ]
    differ += [
        f"{name} {then.get(name)}, now {now[name]}"
        for name in ("platform", "cuda", "torch_threads")
        if then.get(name) != now[name]
    ]
    if not differ:
        return Check("versions", True, "of Python, packages, platform and device: as recorded")
    return Check("versions", None, f"differ from {ENVIRONMENT}: {'; '.join(differ)}")
