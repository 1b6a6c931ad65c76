"""The report of a run: one HTML file that opens anywhere, offline."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from dualcontrast.clusters import Clusters
from dualcontrast.codes import BOTH_CODES
from dualcontrast.data.labels import LabelTable
from dualcontrast.errors import RunError
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.evaluation.readings import Reading, readings
from dualcontrast.evaluation.words import (
    collapse_sentences,
    label_free,
    next_steps,
    notes,
    overall,
)
from dualcontrast.figures.class_section import class_section, class_steps
from dualcontrast.figures.run_classes import load_clusterings
from dualcontrast.figures.run_figure import RunFigure
from dualcontrast.figures.run_figures import DRAWN_CLUSTERINGS, make_figures
from dualcontrast.figures.style import DOTS_PER_INCH
from dualcontrast.files import write_text
from dualcontrast.run_folder import COMMAND, ENVIRONMENT, EVALUATION, REPORT, RunFolder

LEVEL_WORDS = {"good": "good", "fair": "so-so", "poor": "poor", "unknown": "not measured"}
# Pixels of the screen for an inch of a figure: nine inches fill a card, and all words have one size.
SCREEN_INCH = 98
# Part of the page, its title, and its name in the table of contents.
GROUPS = (
    ("transfer", "Transfer: content of one, transformation of another", "Transfer"),
    ("reconstructions", "Reconstructions", "Reconstructions"),
    ("traversals", "Traversals: one code moves, the other stays", "Traversals"),
    ("maps", "Maps of both codes", "Maps of the codes"),
    ("classes", "Classes", "Classes"),
    ("training", "Training", "Training"),
)
# Title, keys of the scores, and what is asked.
SCORES = (
    (
        "Against the labels",
        ("d_score.", "curved_read_out.", "clustering.", "within_content."),
        "What is known of the images, predicted from one code alone; labels take no part in training. c "
        "should tell what an image shows, z the state that it is in, and neither what the other tells.",
    ),
    (
        "Against what is known of the imaging",
        ("confounds.",),
        "A code that tells how a particle was imaged sorts particles by that, and not by what they are.",
    ),
    (
        "Without labels",
        ("diagnostics.",),
        "From the images alone: they are turned by known angles, and codes of different images are combined, "
        "decoded and encoded again.",
    ),
)
GLOSSARY = (
    ("held out", "Images that took no part in training; scores on them hold for images of the same kind."),
    ("guessing", "What a score would be if the code told nothing: for classes, always naming the commonest."),
    (
        "R²",
        "Share of the variation of a quantity that is predicted: 0 is no better than its mean, 1 is exact.",
    ),
    (
        "Cohen's kappa",
        "Agreement of two namings of the same images: 0 for namings by chance, 1 for the same names.",
    ),
    (
        "adjusted Rand index",
        "Agreement of two groupings of the same images: 0 for groupings by chance, 1 for the same groups.",
    ),
    ("concordance", "Agreement of a code read back with the one asked for: 0 is chance, 1 is exact."),
    ("s.d.", "Standard deviation of a code over the images; most images lie within two of the mean."),
    ("alive, collapsed", "A collapsed code is the same for all images, or the decoder does not look at it."),
)


@dataclass(frozen=True)
class Embedded:
    """An image file as it stands in the page, and how many pixels of the screen it is wide at the most."""

    uri: str
    width: int


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the page."""

    still: Embedded
    film: Embedded | None
    title: str
    caption: str
    alternative: str
    clustering: str | None


@dataclass(frozen=True)
class PageGroup:
    """A part of the page."""

    key: str
    title: str
    short: str
    pictures: list[Picture]


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
    clusterings, problems = load_clusterings(run)
    figures = make_figures(run, labels, clusterings=clusterings, seed=seed, device=device)
    write_text(path, render(run, run.evaluation, figures, clusterings, problems))
    return path


def render(
    run: RunFolder,
    evaluation: dict[str, Any],
    figures: list[RunFigure],
    clusterings: Sequence[Clusters] = (),
    problems: Mapping[str, str] | None = None,
) -> str:
    """Fill the template; everything that comes from the user's files is escaped.

    Parameters
    ----------
    run : RunFolder
        Supplies settings, command and environment.
    evaluation : dict
        As `evaluate` returns it.
    figures : list of RunFigure
        Embedded in this order, each in its part of the page.
    clusterings : sequence of Clusters
        Classes of the run.
    problems : mapping of str to str, optional
        Clusterings that cannot be shown, and why.
    """
    environment = Environment(
        loader=PackageLoader("dualcontrast", "figures"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = as_code
    environment.filters["heads"] = lambda names, numbers_from: [
        {"name": name, "number": place >= numbers_from} for place, name in enumerate(names)
    ]
    level, verdict = overall(evaluation)
    judged = readings(evaluation)
    config = run.config
    problems = problems or {}
    hint = class_steps(run, [found.name for found in clusterings] + list(problems))
    generative = any(figure.group == "traversals" for figure in figures)
    return environment.get_template("report.html.jinja").render(
        title=run.path.resolve().name,
        summary=summary(config, evaluation, run.metrics),
        facts=facts(config, evaluation),
        level=level,
        verdict=verdict,
        alive=collapse_sentences(evaluation) + label_free(evaluation),
        notes=notes(evaluation),
        # Classes of a dead code would only mislead.
        steps=next_steps(evaluation, volumes=run.preparation.of_volumes) + (hint if level != "poor" else []),
        sections=[
            (name, lead, scores)
            for name, prefixes, lead in SCORES
            if (scores := _measured(judged, *prefixes))
        ],
        not_measured=[reading for reading in judged if reading.value is None],
        factors=[
            {"role": role} | factor
            for role in BOTH_CODES
            for factor in evaluation["d_score"][role]["factors"]
        ],
        # An evaluation of an earlier version has no such block.
        within=within if (within := evaluation.get("within_content")) and within["classes"] else None,
        curved=evaluation.get("curved_within_content"),
        glossary=GLOSSARY,
        level_words=LEVEL_WORDS,
        groups=_groups(figures),
        has_films=any(figure.film for figure in figures),
        classes=[class_section(run, found, len(clusterings) == 1, generative) for found in clusterings],
        drawn_clusterings=DRAWN_CLUSTERINGS,
        problems=list(problems.values()),
        class_hint=" ".join(hint),
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
    epochs = f"{metrics[-1]['epoch']:.0f}" if metrics else ""
    epochs = f" for {epochs} {'epoch' if epochs == '1' else 'epochs'}" if epochs else ""
    what = "volumes" if len(shape) == 4 else "images"
    return (
        f"The method {config['method']} (preset {config['preset']}, seed {config['seed']}) was "
        f"trained{epochs} on "
        f"{count['train']:,} {what} of {size} {'voxels' if len(shape) == 4 else 'pixels'}{kind}, without "
        f"labels. It describes each by {lengths['content']['of']} numbers of content (c: what it shows) and "
        f"{lengths['transformation']['of']} of transformation (z: the state it is in); "
        f"{count['test']:,} held-out {what} judge the result."
    )


def facts(config: dict[str, Any], evaluation: dict[str, Any]) -> list[tuple[str, str]]:
    """List what a reader looks up: data, labels, and how images were prepared."""
    preparation, data = config["preparation"], config["data"]
    found = [("data", str(data["location"]))]
    if data["labels"]:
        found.append(("labels", str(data["labels"])))
    labelled = evaluation["images"].get("labelled", 0)
    found.append(("labelled images", f"{labelled:,}, used for scores only" if labelled else "none"))
    shape, source = preparation["image_shape"], preparation.get("source_shape")
    if source and source != shape:
        sizes = ["×".join(str(length) for length in box[1:]) for box in (source, shape)]
        found.append(("box", f"{sizes[0]} as stored, {sizes[1]} in training"))
    if preparation.get("voxel_size"):
        found.append(("voxel size", f"{preparation['voxel_size']:g} Å"))
    found.append(("normalisation", str(preparation["normalisation"])))
    if preparation.get("contrast") in ("light", "dark"):
        found.append(("contrast", f"particles are {preparation['contrast']} in the files"))
    if preparation.get("lowpass") is not None:
        found.append(("low pass", f"{preparation['lowpass']:g} Å"))
    if preparation.get("mask_diameter") is not None:
        found.append(("mask", f"{preparation['mask_diameter']:.0%} of the box".replace("%", " %")))
    return found


def _measured(judged: list[Reading], *prefixes: str) -> list[Reading]:
    return [reading for reading in judged if reading.value is not None and reading.key.startswith(prefixes)]


def _groups(figures: list[RunFigure]) -> list[PageGroup]:
    """Sort figures into the parts of the page; classes are spoken of even where none are drawn."""
    groups = []
    for key, title, short in GROUPS:
        pictures = [_picture(figure) for figure in figures if figure.group == key]
        if pictures or key == "classes":
            groups.append(PageGroup(key, title, short, pictures))
    return groups


def _picture(figure: RunFigure) -> Picture:
    return Picture(
        _embedded(figure.path, "png"),
        _embedded(figure.film, "gif") if figure.film else None,
        figure.title,
        figure.caption,
        figure.alternative,
        figure.clustering,
    )


def _embedded(path: Path, kind: str) -> Embedded:
    with Image.open(path) as image:
        width = round(image.width * SCREEN_INCH / DOTS_PER_INCH)
    return Embedded(f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}", width)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""
