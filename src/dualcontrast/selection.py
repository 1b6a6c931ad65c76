"""Which of several runs to believe: ranked by the score that needs no labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualcontrast.errors import RunError, SettingError
from dualcontrast.evaluation.label_free import LabelFreeScore, label_free_score
from dualcontrast.evaluation.words import overall
from dualcontrast.run_folder import RunFolder


@dataclass(frozen=True)
class Ranked:
    """One run among others.

    Attributes
    ----------
    path : Path
        The run folder.
    score : LabelFreeScore
        What it is ranked by.
    verdict : str
        The judgement of its evaluation, in a sentence.
    method, preset : str
        What was trained.
    seed : int
        Of the training.
    images : str
        Hash of a sample of the images, or where they are in runs of earlier versions; scores can be compared
        among runs on the same ones.
    """

    path: Path
    score: LabelFreeScore
    verdict: str
    method: str
    preset: str
    seed: int
    images: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as they are written and printed."""
        return {
            "run": str(self.path),
            "score": self.score.value,
            "parts": self.score.parts,
            "why": self.score.why,
            "verdict": self.verdict,
            "method": self.method,
            "preset": self.preset,
            "seed": self.seed,
        }


def select(runs: Sequence[RunFolder | str | Path]) -> list[Ranked]:
    """Rank evaluated runs on the same images by the label-free score, the best first.

    Parameters
    ----------
    runs : sequence of RunFolder, str or Path
        Run folders; equal scores keep their order.

    Returns
    -------
    list of Ranked
        See `label_free_score` for what the score is, and when not to believe it.

    Raises
    ------
    SettingError
        When there is no run, or one is named twice.
    RunError
        When a folder is no run or not evaluated, or two were trained on other images.
    """
    if not runs:
        raise SettingError("no runs to choose from; name at least one run folder")
    opened = [run if isinstance(run, RunFolder) else RunFolder.open(run) for run in runs]
    places = [run.path.resolve() for run in opened]
    for run, place in zip(opened, places, strict=True):
        if places.count(place) > 1:
            raise SettingError(f"{run.path}: is named twice; name every run once")
    found = [_judge(run) for run in opened]
    for other in found[1:]:
        if other.images != found[0].images:
            raise RunError(
                f"{other.path}: was trained on other images than {found[0].path}, so their scores cannot be "
                "compared; choose among runs on the same images"
            )
    return sorted(found, key=lambda ranked: -ranked.score.value)


def _judge(run: RunFolder) -> Ranked:
    config, evaluation = run.config, run.evaluation
    try:
        score = label_free_score(evaluation)
    except RunError as error:
        raise RunError(f"{run.path}: {error}") from None
    _, verdict = overall(evaluation)
    fingerprint = config.get("fingerprint") or {}
    return Ranked(
        run.path,
        score,
        verdict,
        config["method"],
        str(config.get("preset")),
        config["seed"],
        fingerprint.get("pixels", config["data"]["location"]),
    )
