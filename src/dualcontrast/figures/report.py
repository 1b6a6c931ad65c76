"""The report of a run: one HTML file that opens anywhere, offline."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from dualcontrast.data.labels import LabelTable
from dualcontrast.errors import RunError
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.evaluation.readings import Reading, readings
from dualcontrast.evaluation.words import (
    collapse_sentences,
    next_steps,
    notes,
    overall,
)
from dualcontrast.figures.run_figures import RunFigure, make_figures
from dualcontrast.files import write_text
from dualcontrast.run_folder import COMMAND, ENVIRONMENT, EVALUATION, REPORT, RunFolder

LEVEL_WORDS = {"good": "good", "fair": "so-so", "poor": "poor", "unknown": "not measured"}


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the page."""

    data_uri: str
    title: str
    caption: str


def write_report(
    run: RunFolder,
    labels: LabelTable | None = None,
    *,
    seed: int = 0,
    overwrite: bool = False,
    device: str = "auto",
) -> Path:
    """Draw the figures of a run and write its `report.html`; evaluate it first where that is still to do.

    Parameters
    ----------
    run : RunFolder
        A trained run with its codes.
    labels : LabelTable, optional
        Ground truth to use instead of the labels that came with the images.
    seed : int
        Of the figures, and of the evaluation where it is still to do.
    overwrite : bool
        Replace an existing report.
    device : str
        Where the method runs.

    Returns
    -------
    Path
        Of the report.

    Raises
    ------
    RunError
        When the report exists and `overwrite` is not set.
    """
    path = run.path / REPORT
    if path.exists() and not overwrite:
        raise RunError(f"{path}: the report exists already; add --overwrite to write it again")
    if not (run.path / EVALUATION).exists():
        evaluate_run(run, labels, seed=seed, device=device)
    figures = make_figures(run, labels, seed=seed, device=device)
    write_text(path, render(run, run.evaluation, figures))
    return path


def render(run: RunFolder, evaluation: dict[str, Any], figures: list[RunFigure]) -> str:
    """Fill the template; everything that comes from the user's files is escaped.

    Parameters
    ----------
    run : RunFolder
        Supplies settings, command and environment.
    evaluation : dict
        As `evaluate` returns it.
    figures : list of RunFigure
        Embedded in this order.
    """
    environment = Environment(
        loader=PackageLoader("dualcontrast", "figures"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = as_code
    level, verdict = overall(evaluation)
    judged = readings(evaluation)
    config = run.config
    return environment.get_template("report.html.jinja").render(
        title=run.path.resolve().name,
        summary=summary(config, evaluation, run.metrics),
        level=level,
        verdict=verdict,
        collapse=collapse_sentences(evaluation),
        notes=notes(evaluation),
        steps=next_steps(evaluation),
        sections=[
            section
            for section in (
                ("Against the labels", _measured(judged, "d_score.", "clustering.", "within_content.")),
                ("Against what is known of the imaging", _measured(judged, "confounds.")),
                ("Without labels", _measured(judged, "diagnostics.")),
            )
            if section[1]
        ],
        not_measured=[reading for reading in judged if reading.value is None],
        factors=[
            {"role": role} | factor
            for role in ("content", "transformation")
            for factor in evaluation["d_score"][role]["factors"]
        ],
        # An evaluation of an earlier version has no such block.
        within=within if (within := evaluation.get("within_content")) and within["classes"] else None,
        level_words=LEVEL_WORDS,
        pictures=[_embed(figure) for figure in figures],
        settings=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        command=_text(run.path / COMMAND),
        environment=_text(run.path / ENVIRONMENT),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def as_code(text: str) -> Markup:
    """Escape a sentence, and set what stands between backticks as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(parts)
    )


def summary(config: dict[str, Any], evaluation: dict[str, Any], metrics: list[dict[str, Any]]) -> str:
    """Say in two sentences what was run on what."""
    lengths, count = evaluation["diagnostics"]["active_dimensions"], evaluation["images"]
    shape = config["preparation"]["image_shape"]
    size = "×".join(str(length) for length in shape[1:])
    kind = {1: "", 3: " (3 channels)"}.get(shape[0], f" ({shape[0]} channels)")
    epochs = f" for {metrics[-1]['epoch']:.0f} epochs" if metrics else ""
    what = "volumes" if len(shape) == 4 else "images"
    return (
        f"The method {config['method']} (preset {config['preset']}, seed {config['seed']}) was "
        f"trained{epochs} on "
        f"{count['train']:,} {what} of {size} {'voxels' if len(shape) == 4 else 'pixels'}{kind} from "
        f"{config['data']['location']}, without labels. It describes each by "
        f"{lengths['content']['of']} numbers of content (c: what it shows) and "
        f"{lengths['transformation']['of']} of transformation (z: the state "
        "it is in); "
        f"{count['test']:,} held-out {what} judge the result."
    )


def _measured(judged: list[Reading], *prefixes: str) -> list[Reading]:
    return [reading for reading in judged if reading.value is not None and reading.key.startswith(prefixes)]


def _embed(figure: RunFigure) -> Picture:
    encoded = base64.b64encode(figure.path.read_bytes()).decode("ascii")
    return Picture(f"data:image/png;base64,{encoded}", figure.title, figure.caption)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""
