"""Every figure of a run, drawn from its folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dualcontrast.data.labels import LabelTable, Role, positions_of
from dualcontrast.data.source import ImageSource
from dualcontrast.data.split import Split
from dualcontrast.errors import SettingError
from dualcontrast.evaluation.d_score import stratified_rows
from dualcontrast.evaluation.inference import decode_codes, encode_images, read_prepared
from dualcontrast.figures import loss_curves, reconstructions, transfer_grid, traversals, volumes
from dualcontrast.figures.embeddings import (
    CAPTION as EMBEDDING_CAPTION,
)
from dualcontrast.figures.embeddings import (
    MOST_POINTS,
    Colouring,
    cluster_colouring,
    embed_both_ways,
    embedding_figure,
)
from dualcontrast.figures.style import class_colours, save_figure
from dualcontrast.methods.base import Method
from dualcontrast.random_streams import numpy_stream
from dualcontrast.run_folder import FIGURES, RunFolder

GRID_IMAGES = 10
LARGEST_GRID = 40
TRAVERSED_IMAGES = 3
SHOWN_VOLUMES = 4
SLICED_VOLUMES = 3


@dataclass(frozen=True)
class RunFigure:
    """One figure as a file.

    Attributes
    ----------
    path : Path
        The PNG in the run's `figures/`.
    title, caption : str
        What it shows, and how to read it.
    """

    path: Path
    title: str
    caption: str


def make_figures(
    run: RunFolder, labels: LabelTable | None = None, *, seed: int = 0, device: str = "auto"
) -> list[RunFigure]:
    """Draw the figures of a run into its `figures/` folder; existing ones are replaced.

    Parameters
    ----------
    run : RunFolder
        A trained run with its codes.
    labels : LabelTable, optional
        Colours and orders the images; the source's own labels by default.
    seed : int
        Chooses the images and places the embeddings.
    device : str
        Where the method runs.

    Returns
    -------
    list of RunFigure
        In the order in which the report shows them. A method without a decoder has only embeddings and loss
        curves.
    """
    source = run.open_source()
    labels = labels if labels is not None else source.labels
    shown = shown_ids(run.split)
    folder = run.path / FIGURES
    figures: list[RunFigure] = []
    method = run.load_method(device)
    if method.generative:
        examples = example_ids(shown, labels, GRID_IMAGES, seed)
        figures += _decoded_figures(run, source, method, examples, folder)
        if len(run.preparation.image_shape) == 4:
            figures += _volume_figures(run, source, method, examples, labels, seed, folder)
    figures += _embedding_figures(run, shown, labels, seed, folder)
    if run.metrics:
        path = save_figure(loss_curves.loss_figure(run.metrics), folder / "losses.png")
        figures.append(RunFigure(path, "Training", loss_curves.CAPTION))
    return figures


def write_transfer_grid(
    run: RunFolder,
    path: Path,
    *,
    ids: Sequence[str] | None = None,
    count: int = GRID_IMAGES,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Draw a transfer grid into a file of its own.

    Parameters
    ----------
    run : RunFolder
        A trained run.
    path : Path
        PNG file.
    ids : sequence of str, optional
        Particles to combine; `count` held-out ones are chosen by default.
    count : int
        From 2 to 40.
    seed : int
        Of the choice.
    device : str
        Where the method runs.

    Raises
    ------
    SettingError
        When the method has no decoder, or for fewer than 2 or more than 40 images.
    DataError
        When an id is not in the data.
    """
    wanted = count if ids is None else len(ids)
    if not 2 <= wanted <= LARGEST_GRID:
        raise SettingError(f"a transfer grid of {wanted} images: choose from 2 to {LARGEST_GRID}")
    method = run.load_method(device)
    if not method.generative:
        raise SettingError(f"the method {method.name} has no decoder, so it cannot transfer; use another run")
    source = run.open_source()
    if ids is None:
        particles = example_ids(shown_ids(run.split), source.labels, count, seed)
    else:
        particles = np.array(ids, dtype=str)
    images = read_prepared(source, run.preparation, particles)
    grid = transfer_grid.transfer_images(method, images)
    save_figure(transfer_grid.transfer_figure(images.numpy(), grid.numpy()), path)


def shown_ids(split: Split) -> np.ndarray:
    """Particles that figures show: held-out ones, or all where there are hardly any."""
    if len(split.test) >= GRID_IMAGES:
        return split.test
    return np.concatenate((split.train, split.test))


def example_ids(ids: np.ndarray, labels: LabelTable | None, count: int, seed: int) -> np.ndarray:
    """Choose particles for a transfer grid, of different classes where labels are known."""
    rng = numpy_stream(seed, "figures", "examples")
    return ids[transfer_grid.choose_examples(discrete_values(labels, ids), count, len(ids), rng)]


def mapped_ids(ids: np.ndarray, seed: int, labels: LabelTable | None = None) -> np.ndarray:
    """Choose particles for t-SNE and UMAP: as many as take seconds, in the shares of their classes."""
    rng = numpy_stream(seed, "figures", "embeddings")
    classes = discrete_values(labels, ids)
    if classes is not None:
        return ids[stratified_rows(classes, MOST_POINTS, rng)]
    return ids[np.sort(rng.permutation(len(ids))[:MOST_POINTS])]


def discrete_values(labels: LabelTable | None, ids: np.ndarray) -> np.ndarray | None:
    """Return the first discrete content factor of the given particles, where all of them have it."""
    if labels is None or not np.isin(ids, labels.ids).all():
        return None
    return next((f.values for f in labels.select(ids).of_role("content") if not f.is_continuous), None)


def _decoded_figures(
    run: RunFolder, source: ImageSource, method: Method, ids: np.ndarray, folder: Path
) -> list[RunFigure]:
    images = read_prepared(source, run.preparation, ids)
    codes = run.codes
    grid = transfer_grid.transfer_images(method, images)
    encoding = encode_images(method, images)
    content, transformation = encoding.content.mean, encoding.transformation.mean
    decoded = decode_codes(method, content, transformation)
    figures = [
        RunFigure(
            save_figure(
                transfer_grid.transfer_figure(images.numpy(), grid.numpy()), folder / "transfer_grid.png"
            ),
            "Transfer: content of one image, transformation of another",
            transfer_grid.CAPTION,
        ),
        RunFigure(
            save_figure(
                reconstructions.reconstruction_figure(images.numpy(), decoded.numpy()),
                folder / "reconstructions.png",
            ),
            "Reconstructions",
            reconstructions.CAPTION,
        ),
    ]
    # Starting images from all over the examples, which are sorted by class.
    starts = np.unique(np.linspace(0, len(ids) - 1, TRAVERSED_IMAGES).round().astype(int))
    for code in ("content", "transformation"):
        moved, shares = traversals.traversal_images(
            method, code, content[starts], transformation[starts], getattr(codes, code)
        )
        figure = traversals.traversal_figure(code, images[starts].numpy(), moved, shares)
        path = save_figure(figure, folder / f"traversal_{code}.png")
        figures.append(RunFigure(path, f"Traversal of the {code} code", traversals.CAPTIONS[code]))
    return figures


def _volume_figures(
    run: RunFolder,
    source: ImageSource,
    method: Method,
    ids: np.ndarray,
    labels: LabelTable | None,
    seed: int,
    folder: Path,
) -> list[RunFigure]:
    # From all over the examples, which are sorted by class.
    chosen = ids[np.unique(np.linspace(0, len(ids) - 1, SHOWN_VOLUMES).round().astype(int))]
    images = read_prepared(source, run.preparation, chosen)
    grid = transfer_grid.transfer_images(method, images).numpy()
    originals, decoded = images.numpy(), np.stack([grid[place, place] for place in range(len(grid))])
    few = slice(SLICED_VOLUMES)
    codes = run.codes
    classes = discrete_values(labels, codes.ids)
    if classes is None:
        classes = cluster_colouring(codes.content, seed).values
    names, sizes, content, transformation = volumes.class_codes(codes.content, codes.transformation, classes)
    of_classes = decode_codes(method, torch.from_numpy(content), torch.from_numpy(transformation)).numpy()
    colours = class_colours(len(names))
    column_of = [names.index(str(value)) for value in classes[positions_of(chosen, codes.ids)]]
    drawn = (
        (
            volumes.orthogonal_figure(originals, decoded),
            "orthogonal_sections.png",
            "Orthogonal views: volumes and their reconstructions",
            volumes.ORTHOGONAL_CAPTION,
        ),
        (
            volumes.slices_figure(originals[few], decoded[few]),
            "slices.png",
            "Slice by slice",
            volumes.SLICES_CAPTION,
        ),
        (
            volumes.class_surfaces_figure(of_classes, names, sizes, colours),
            "surfaces_of_classes.png",
            "Isosurfaces: the mean volume of each class",
            volumes.CLASSES_CAPTION,
        ),
        (
            volumes.transfer_surfaces_figure(grid, [colours[column] for column in column_of]),
            "surfaces_of_transfers.png",
            "Isosurfaces: content of one particle, transformation of another",
            volumes.TRANSFER_CAPTION,
        ),
    )
    return [
        RunFigure(save_figure(figure, folder / name), title, caption)
        for figure, name, title, caption in drawn
    ]


def _embedding_figures(
    run: RunFolder, ids: np.ndarray, labels: LabelTable | None, seed: int, folder: Path
) -> list[RunFigure]:
    ids = mapped_ids(ids, seed, labels)
    codes = run.codes.select(ids)
    places = {code: embed_both_ways(getattr(codes, code), seed) for code in ("content", "transformation")}
    figures = []
    roles: tuple[Role, ...] = ("content", "transformation")
    for role in roles:
        colouring = label_colouring(labels, role, ids)
        if colouring is None and role == "content":
            colouring = cluster_colouring(codes.content, seed)
        if colouring is None:
            continue
        path = save_figure(embedding_figure(places, colouring), folder / f"embeddings_by_{role}.png")
        figures.append(
            RunFigure(
                path,
                f"Maps of both codes, coloured by {colouring.title}",
                EMBEDDING_CAPTION
                + (
                    "Colours should form groups in the content code and be mixed in the transformation code."
                    if role == "content"
                    else "Colours should be ordered in the transformation code and mixed in the content code."
                ),
            )
        )
    return figures


def label_colouring(labels: LabelTable | None, role: Role, ids: np.ndarray) -> Colouring | None:
    """Return the first factor of a role as a colouring, where all of the given particles have it."""
    if labels is None or not labels.of_role(role) or not np.isin(ids, labels.ids).all():
        return None
    factor = labels.select(ids).of_role(role)[0]
    return Colouring(factor.name, factor.values)
