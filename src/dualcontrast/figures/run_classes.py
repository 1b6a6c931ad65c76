"""The classes of a run in pictures: their averages, and what the decoder draws of each."""

import json
from pathlib import Path

import numpy as np

from dualcontrast.averaging.class_averages import AVERAGES_RECORD
from dualcontrast.class_maps import decode_centres
from dualcontrast.clusters import AVERAGES, BIC_FIGURE, Clusters, clusterings_of
from dualcontrast.data.mrc import read_mrc
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError, RunError
from dualcontrast.evaluation.inference import read_prepared
from dualcontrast.figures.isosurfaces import SIDE
from dualcontrast.figures.picture_table import picture_table
from dualcontrast.figures.run_figure import RunFigure
from dualcontrast.figures.style import PALETTE, as_pictures, class_colours, display_limits, save_figure
from dualcontrast.figures.surface_pictures import Colour, half_width, mesh_of, surface_pictures
from dualcontrast.figures.volumes import LEVEL_NOTE, MOST_CLASSES, TAIL
from dualcontrast.methods.base import Method
from dualcontrast.run_folder import CLUSTERS, RunFolder

AVERAGES_CAPTION = (
    "Averages of the particles of each class, aligned with each other without a template; the decoder has no "
    "part in them. Surface from in front, surface turned by 90° about y, and the section through the centre. "
    "How a map lies is a matter of chance, and no resolution is claimed. "
)
MAPS_CAPTION = (
    "What the decoder draws of each class: from the mean codes of the members, and from the codes of the "
    "member nearest the centre. Where z holds the pose, its mean is a state that no particle is in: then "
    "trust the member. "
)
IMAGES_CAPTION = MAPS_CAPTION + "Below, that member's own image."
BIC_CAPTION = (
    "How the number of classes was chosen: the lowest point of the Bayesian information criterion. A sharp "
    "corner means groups; a curve that falls slowly means that the codes form no clear groups."
)


def load_clusterings(run: RunFolder) -> tuple[list[Clusters], dict[str, str]]:
    """Read every clustering of a run.

    Returns
    -------
    clusterings : list of Clusters
        Those that can be used, by name.
    problems : dict of str to str
        Of the others, what is wrong.
    """
    usable, problems = [], {}
    for name in clusterings_of(run):
        try:
            usable.append(Clusters.load(run, name))
        except RunError as error:
            problems[name] = str(error)
    return usable, problems


def class_figures(
    run: RunFolder, clusters: Clusters, source: ImageSource, method: Method, folder: Path
) -> list[RunFigure]:
    """Draw a clustering: its averages where they were made, the decoded classes, and its BIC curves.

    Parameters
    ----------
    run : RunFolder
        The run.
    clusters : Clusters
        One of its clusterings.
    source : ImageSource
        Its images.
    method : Method
        One without a decoder leaves out what is decoded.
    folder : Path
        Where the files go: `classes_NAME_averages.png`, `_decoded.png`, `_conformations.png`.
    """
    colours = dict(zip(clusters.class_names, class_colours(len(clusters.class_names)), strict=True))
    figures = [*_averages(run, clusters, colours, folder)]
    if method.generative:
        levels = (
            ("decoded", "classes", clusters.class_names),
            ("conformations", "conformations", clusters.conformation_names),
        )
        for ending, what, names in levels:
            if names:
                figures.append(
                    _decoded(
                        run, clusters, source, method, names[:MOST_CLASSES], what, colours, folder, ending
                    )
                )
    curves = run.path / CLUSTERS / clusters.name / BIC_FIGURE
    if curves.is_file():
        figures.append(
            RunFigure(
                curves,
                "Number of classes",
                BIC_CAPTION,
                "Curves of the Bayesian information criterion over the number of components.",
                "classes",
                clustering=clusters.name,
            )
        )
    return figures


def read_averages(run: RunFolder, clusters: Clusters) -> dict[str, np.ndarray]:
    """Read the averages of a clustering, by the title of each; empty where none were made.

    Raises
    ------
    DataError
        When the record or one of the maps is damaged or missing.
    """
    folder = run.path / CLUSTERS / clusters.name / AVERAGES
    if not (folder / AVERAGES_RECORD).is_file():
        return {}
    try:
        files = json.loads((folder / AVERAGES_RECORD).read_text(encoding="utf-8"))["maps"]
        # Only names: a record that was changed must not reach beyond its folder.
        files = {str(title): folder / Path(str(file)).name for title, file in files.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder / AVERAGES_RECORD}: cannot be read ({error}); make the averages again with "
            "`average --overwrite`"
        ) from None
    averages = {}
    for title, file in files.items():
        volume = read_mrc(file)
        if volume.shape != run.preparation.image_shape[1:]:
            raise DataError(f"{file}: has another box than the run; make the averages again with --overwrite")
        averages[title.removeprefix("class-").replace("_state-", ", state ")] = volume
    return averages


def _averages(
    run: RunFolder, clusters: Clusters, colours: dict[str, Colour], folder: Path
) -> list[RunFigure]:
    try:
        averages = read_averages(run, clusters)
    except DataError:
        # The report says so beside the table of the classes.
        return []
    shown = list(averages)[:MOST_CLASSES]
    if not shown:
        return []
    volumes = np.stack([averages[title] for title in shown])[:, None]
    rows = _views(
        [colours.get(title.split(",")[0], PALETTE[0]) for title in shown], {"": volumes}, turned=True
    )
    path = folder / f"classes_{clusters.name}_averages.png"
    return [
        RunFigure(
            save_figure(picture_table([f"class {title}" for title in shown], rows), path),
            "Averages of the particles" + _how_many(shown, list(averages)),
            AVERAGES_CAPTION + LEVEL_NOTE,
            f"Maps of {len(shown)} averages, each as a surface from two sides and as a central section.",
            "classes",
            clustering=clusters.name,
        )
    ]


def _decoded(
    run: RunFolder,
    clusters: Clusters,
    source: ImageSource,
    method: Method,
    names: list[str],
    what: str,
    colours: dict[str, Colour],
    folder: Path,
    ending: str,
) -> RunFigure:
    centres = decode_centres(run, clusters, method, names)
    drawn = {"mean": centres.means, "member": centres.members}
    volumes = centres.means.ndim == 5
    if volumes:
        rows = _views([colours[name.split(".")[0]] for name in names], drawn, turned=False)
    else:
        own = read_prepared(source, run.preparation, centres.member_ids).numpy()
        limits = display_limits(own)
        rows = {name: as_pictures(images, limits) for name, images in {**drawn, "its image": own}.items()}
    described = clusters.record["classes"]
    one = "class" if what == "classes" else "conformation"
    titles = [f"{one} {name}\n{described[name]['particles']:,} particles" for name in names]
    every = clusters.class_names if what == "classes" else clusters.conformation_names
    path = folder / f"classes_{clusters.name}_{ending}.png"
    return RunFigure(
        save_figure(picture_table(titles, rows), path),
        f"Decoded {what}" + _how_many(names, every),
        MAPS_CAPTION + LEVEL_NOTE if volumes else IMAGES_CAPTION,
        f"What the decoder draws of {len(names)} {what}: of the mean of each, and of the member nearest its "
        "centre.",
        "classes",
        clustering=clusters.name,
    )


def _views(colours: list[Colour], volumes: dict[str, np.ndarray], turned: bool) -> dict[str, np.ndarray]:
    """Rows of pictures of each kind of volume (K, C, D, H, W): surface, maybe from the side too, section."""
    meshes = {kind: [mesh_of(volume) for volume in stack] for kind, stack in volumes.items()}
    limit = half_width([mesh for kind in meshes.values() for mesh in kind])
    rows = {}
    for kind, stack in volumes.items():
        before = f"{kind}: " if kind else ""
        rows[f"{before}surface"] = surface_pictures(meshes[kind], colours, limit)
        if turned:
            rows["from the side"] = surface_pictures(meshes[kind], colours, limit, SIDE)
        rows[f"{before}section"] = as_pictures(stack, display_limits(stack, TAIL))
    return rows


def _how_many(shown: list[str], every: list[str]) -> str:
    return f" (the first {len(shown)} of {len(every)})" if len(shown) < len(every) else ""
