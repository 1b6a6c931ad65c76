"""The classes of a run in words and numbers, as the report shows them beside their pictures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualcontrast.averaging.class_averages import AVERAGES_RECORD
from dualcontrast.class_maps import MAPS_RECORD
from dualcontrast.clusters import AVERAGES, MAPS, Clusters, in_order, star_name
from dualcontrast.errors import DataError
from dualcontrast.figures.run_classes import read_averages
from dualcontrast.run_folder import CLUSTERS, RunFolder

MOST_ROWS = 60
METHODS = {"gmm": "a Gaussian mixture", "kmeans": "k-means", "likelihood": "likelihood"}
ON = {
    "content": "the content code c",
    "transformation": "the transformation code z",
    "both": "both codes",
    "averages": "the averages of other classes",
}


@dataclass(frozen=True)
class ClassRow:
    """One class or conformation.

    Attributes
    ----------
    name : str
        `2`, or `2.1` for a conformation.
    particles : int
        Its members.
    share : float
        Of all particles.
    tomograms : str
        How the members spread over the tomograms; empty where these are not known.
    states : str
        Particles in each state of its average; empty where there is only one.
    files : tuple of str
        Below the folder of the clustering.
    """

    name: str
    particles: int
    share: float
    tomograms: str
    states: str
    files: tuple[str, ...]

    @property
    def is_conformation(self) -> bool:
        """Whether it is part of a class."""
        return "." in self.name


@dataclass(frozen=True)
class ClassSection:
    """One clustering.

    Attributes
    ----------
    name : str
        Of the clustering.
    folder : str
        Where its files are, relative to the run.
    how : str
        How the classes were found, in a sentence.
    rows : list of ClassRow
        Each class, followed by its conformations.
    left_out : int
        Rows beyond the 60 that are shown.
    remarks : list of str
        What is damaged, and which commands make what is not there; backticks mark code.
    """

    name: str
    folder: str
    how: str
    rows: list[ClassRow]
    left_out: int
    remarks: list[str]


def class_section(run: RunFolder, clusters: Clusters, only: bool, generative: bool) -> ClassSection:
    """Describe one clustering.

    Parameters
    ----------
    run : RunFolder
        The run.
    clusters : Clusters
        One of its clusterings.
    only : bool
        Whether it is the only one, so that commands need not name it.
    generative : bool
        Whether the method has a decoder.
    """
    folder = run.path / CLUSTERS / clusters.name
    # Each class, then its conformations.
    names = in_order(clusters.class_names + clusters.conformation_names)
    described = clusters.record["classes"]
    states = _states(folder)
    tomograms = _tomograms(clusters)
    rows = [
        ClassRow(
            name,
            described[name]["particles"],
            described[name]["particles"] / len(clusters.ids),
            tomograms.get(name, ""),
            " + ".join(f"{count:,}" for count in states.get(name, [])),
            _files(folder, name),
        )
        for name in names[:MOST_ROWS]
    ]
    return ClassSection(
        clusters.name,
        f"{CLUSTERS}/{clusters.name}/",
        _how(clusters),
        rows,
        max(0, len(names) - MOST_ROWS),
        _remarks(run, clusters, folder, only, generative),
    )


def class_steps(run: RunFolder, clusterings: Sequence[str]) -> list[str]:
    """Say how to get classes where there are none yet; backticks mark code."""
    if clusterings:
        return []
    average = ", `dualcontrast average RUN` averages each of them" if _is_cube(run) else ""
    return [
        "Sort the particles into classes: `dualcontrast cluster RUN --conformations auto` finds them"
        f"{average}, and `dualcontrast report RUN --overwrite` shows them here."
    ]


def tomogram_words(label: str, counts: dict[str, dict[str, int]]) -> str:
    """Say in how many tomograms a class is, and where most of it is.

    Parameters
    ----------
    label : str
        The class.
    counts : dict of str to dict of str to int
        Members by tomogram and class.
    """
    of_class = {tomogram: there[label] for tomogram, there in counts.items() if there.get(label)}
    if not of_class:
        return ""
    fullest = max(of_class, key=lambda tomogram: of_class[tomogram])
    every = {tomogram: sum(there.values()) for tomogram, there in counts.items()}
    return (
        f"in {len(of_class):,} of {len(counts):,}; most in {fullest}: "
        f"{of_class[fullest] / sum(of_class.values()):.0%} of the class, "
        f"which has {every[fullest] / sum(every.values()):.0%} of all particles"
    ).replace("%", " %")


def _tomograms(clusters: Clusters) -> dict[str, str]:
    """Spread over tomograms by class and by conformation: the record holds the counts of either level."""
    levels = (clusters.class_names, clusters.conformation_names)
    return {
        name: tomogram_words(name, counted["counts"])
        for names, counted in zip(levels, clusters.record["tomograms"], strict=False)
        for name in names
    }


def _how(clusters: Clusters) -> str:
    settings, fit = clusters.record["settings"], clusters.record["fit"]
    count = len(clusters.class_names)
    chosen = "the number was asked for"
    if len(fit["bic"]) > 1:
        tried = sorted(int(number) for number in fit["bic"])
        chosen = f"the BIC chose the number, out of {tried[0]} to {tried[-1]}"
    if settings.get("begun_with"):
        chosen = f"they began as the classes '{settings['begun_with']}', and {fit['moved']:.0%} moved"
    within = ""
    if settings.get("conformations_on"):
        within = f" Each class was then sorted into conformations by {ON[settings['conformations_on']]}."
    if settings.get("edited_from"):
        within += f" Classes of '{settings['edited_from']}' were then merged or renamed by hand."
    if clusters.confidence is not None:
        others = len(settings["with"])
        by = f", by {others} other {'run' if others == 1 else 'runs'}" if others else ""
        within += f" Their mean confidence is {clusters.confidence.confidence.mean():.2f}{by}."
    return (
        f"{len(clusters.ids):,} particles in {count} {'class' if count == 1 else 'classes'} by "
        f"{METHODS[settings['method']]} on {ON[settings['on']]}; {chosen}.{within}"
    )


def _states(folder: Path) -> dict[str, list[int]]:
    """Particles in each state of each average, where there are several states."""
    try:
        record: dict[str, Any] = json.loads((folder / AVERAGES / AVERAGES_RECORD).read_text(encoding="utf-8"))
        return {
            name: [int(n) for n in counts] for name, counts in record["particles"].items() if len(counts) > 1
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        # Not made; or damaged, which the remarks say.
        return {}


def _files(folder: Path, name: str) -> tuple[str, ...]:
    """Files of a class: its particles, its maps, its averages with their poses."""
    patterns = (
        star_name(name),
        f"{MAPS}/class-{name}.mrc",
        f"{MAPS}/class-{name}.png",
        f"{AVERAGES}/class-{name}.mrc",
        f"{AVERAGES}/class-{name}_state-*.mrc",
        f"{AVERAGES}/{star_name(name)}",
    )
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return tuple(path.relative_to(folder).as_posix() for path in found)


def _remarks(run: RunFolder, clusters: Clusters, folder: Path, only: bool, generative: bool) -> list[str]:
    named = "" if only else f" --classes {clusters.name}"
    volumes = run.preparation.of_volumes
    remarks = []
    if not clusters.record["fit"]["converged"]:
        remarks.append("The fit did not reach its optimum; try another `--seed` or fewer classes.")
    if volumes and clusters.record["tomograms"]:
        remarks.append("A class that lives in one tomogram only is seldom a protein.")
    try:
        averaged = bool(read_averages(run, clusters))
    except DataError as error:
        remarks.append(f"Averages: {error}.")
        averaged = True
    if not averaged and _is_cube(run):
        remarks.append(
            f"No averages yet: `dualcontrast average RUN{named}` lays the particles of each class over each "
            "other, and writes their average (MRC) and poses (STAR)."
        )
        if clusters.record["settings"]["on"] == "content" and len(clusters.class_names) > 1:
            remarks.append(
                "Of noisy particles, codes divide identities badly: "
                f"`dualcontrast reclassify RUN{named}` moves each to the class whose average it resembles."
            )
    if generative and not (folder / MAPS / MAPS_RECORD).is_file():
        remarks.append(
            f"The decoded classes are drawn here only: `dualcontrast decode RUN{named}` writes them as "
            + ("MRC maps with a script for ChimeraX." if volumes else "pictures and as an array.")
        )
    return remarks


def _is_cube(run: RunFolder) -> bool:
    shape = run.preparation.image_shape
    return len(shape) == 4 and len(set(shape[1:])) == 1
