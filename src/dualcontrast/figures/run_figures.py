"""Every figure of a run, drawn from its folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from dualcontrast.clusters import Clusters
from dualcontrast.codes import BOTH_CODES
from dualcontrast.data.labels import LabelTable, Role, positions_of
from dualcontrast.data.source import ImageSource
from dualcontrast.data.split import Split
from dualcontrast.errors import SettingError
from dualcontrast.evaluation.d_score import stratified_rows
from dualcontrast.evaluation.inference import decode_codes, encode_images, read_prepared
from dualcontrast.figures import loss_curves, reconstructions, transfer_grid, volumes
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
from dualcontrast.figures.run_classes import class_figures
from dualcontrast.figures.run_figure import RunFigure
from dualcontrast.figures.run_traversals import traversal_figures
from dualcontrast.figures.style import class_colours, save_figure
from dualcontrast.methods.base import Encoding, Method, Posterior
from dualcontrast.random_streams import numpy_stream
from dualcontrast.run_folder import FIGURES, RunFolder

GRID_IMAGES = 10
LARGEST_GRID = 40
TRAVERSED_IMAGES = 3
SHOWN_VOLUMES = 4
SLICED_VOLUMES = 3
# Each adds up to a megabyte and a half to the report, which is to stay small enough to send.
DRAWN_CLUSTERINGS = 3


def make_figures(
    run: RunFolder,
    labels: LabelTable | None = None,
    *,
    clusterings: Sequence[Clusters] = (),
    seed: int = 0,
    device: str = "auto",
) -> list[RunFigure]:
    """Draw the figures of a run into its `figures/` folder; existing ones are replaced.

    Parameters
    ----------
    run : RunFolder
        A trained run with its codes.
    labels : LabelTable, optional
        Colours and orders the images; the source's own labels by default.
    clusterings : sequence of Clusters
        Classes of the run; the first three clusterings are drawn, too.
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
    clusterings = clusterings[:DRAWN_CLUSTERINGS]
    shown = shown_ids(run.split)
    folder = run.path / FIGURES
    figures: list[RunFigure] = []
    method = run.load_method(device)
    if method.generative:
        examples = example_ids(shown, labels, GRID_IMAGES, seed)
        figures += _decoded_figures(run, source, method, examples, folder)
        if run.preparation.of_volumes:
            figures += _volume_figures(run, source, method, examples, labels, clusterings, seed, folder)
    figures += _embedding_figures(run, shown, labels, clusterings, seed, folder)
    for clusters in clusterings:
        figures += class_figures(run, clusters, source, method, folder)
    if run.metrics:
        path = save_figure(loss_curves.loss_figure(run.metrics), folder / "losses.png")
        figures.append(
            RunFigure(
                path,
                "Loss curves",
                loss_curves.CAPTION,
                "Curves of the loss and of each of its terms over the epochs, each in a panel of its own.",
                "training",
            )
        )
    _delete_others(folder, {figure.path.name for figure in figures})
    return figures


def _delete_others(folder: Path, drawn: set[str]) -> None:
    """Delete figures of classes that the run no longer has; other figures are always drawn again."""
    for pattern in ("classes_*.png", "embeddings_by_classes_*.png"):
        for file in folder.glob(pattern):
            if file.name not in drawn:
                file.unlink()


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
    grid = transfer_grid.transfer_images(method, images)
    encoding = encode_images(method, images)
    decoded = decode_codes(method, encoding.content.mean, encoding.transformation.mean)
    count = len(ids)
    figures = [
        RunFigure(
            save_figure(
                transfer_grid.transfer_figure(images.numpy(), grid.numpy()), folder / "transfer_grid.png"
            ),
            "Content of one image, transformation of another",
            transfer_grid.CAPTION,
            f"Grid of {count} by {count} decoded images, with the {count} originals above and beside it; "
            "each column has the content of one of them, each row the transformation of one.",
            "transfer",
        ),
        RunFigure(
            save_figure(
                reconstructions.reconstruction_figure(images.numpy(), decoded.numpy()),
                folder / "reconstructions.png",
            ),
            "Images and their reconstructions",
            reconstructions.CAPTION,
            f"Three rows of {count} pictures: originals, reconstructions, absolute differences.",
            "reconstructions",
        ),
    ]
    # Starting images from all over the examples, which are sorted by class.
    starts = np.unique(np.linspace(0, count - 1, TRAVERSED_IMAGES).round().astype(int))
    of_starts = Encoding(*(Posterior(code.mean[starts]) for code in encoding))
    return figures + traversal_figures(method, images[starts], of_starts, run.codes, folder)


def _volume_figures(
    run: RunFolder,
    source: ImageSource,
    method: Method,
    ids: np.ndarray,
    labels: LabelTable | None,
    clusterings: Sequence[Clusters],
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
        # Found classes are better known to the reader than groups that are made for this figure alone.
        colouring = class_colouring(clusterings[0], codes.ids) if clusterings else None
        classes = (colouring or cluster_colouring(codes.content, seed)).values
    names, sizes, content, transformation = volumes.class_codes(codes.content, codes.transformation, classes)
    of_classes = decode_codes(method, torch.from_numpy(content), torch.from_numpy(transformation)).numpy()
    colours = class_colours(len(names))
    column_of = [names.index(str(value)) for value in classes[positions_of(chosen, codes.ids)]]
    count = len(chosen)
    figures = [
        RunFigure(
            save_figure(
                volumes.transfer_surfaces_figure(grid, [colours[column] for column in column_of]),
                folder / "surfaces_of_transfers.png",
            ),
            "Isosurfaces: content of one particle, transformation of another",
            volumes.TRANSFER_CAPTION,
            f"Grid of {count} by {count} decoded surfaces; columns share content, rows share transformation.",
            "transfer",
        ),
        RunFigure(
            save_figure(
                volumes.orthogonal_figure(originals, decoded),
                folder / "orthogonal_sections.png",
            ),
            "Orthogonal sections",
            volumes.ORTHOGONAL_CAPTION,
            f"For each of {count} particles, its three central sections beside those of its reconstruction.",
            "reconstructions",
        ),
        RunFigure(
            save_figure(volumes.slices_figure(originals[few], decoded[few]), folder / "slices.png"),
            "Slice by slice",
            volumes.SLICES_CAPTION,
            f"For each of {len(originals[few])} particles, sections from low to high z above those of its "
            "reconstruction.",
            "reconstructions",
        ),
    ]
    figures.append(
        RunFigure(
            save_figure(
                volumes.class_surfaces_figure(of_classes, names, sizes, colours),
                folder / "surfaces_of_classes.png",
            ),
            "Isosurfaces: the mean volume of each class, in one state",
            volumes.CLASSES_CAPTION,
            f"Decoded surfaces of {min(len(names), volumes.MOST_CLASSES)} classes, from in front and from "
            "the side.",
            "classes",
        )
    )
    return figures


def _embedding_figures(
    run: RunFolder,
    ids: np.ndarray,
    labels: LabelTable | None,
    clusterings: Sequence[Clusters],
    seed: int,
    folder: Path,
) -> list[RunFigure]:
    ids = mapped_ids(ids, seed, labels)
    codes = run.codes.select(ids)
    places = {code: embed_both_ways(getattr(codes, code), seed) for code in BOTH_CODES}
    coloured = {f"by_{role}": label_colouring(labels, role, ids) for role in BOTH_CODES}
    if coloured["by_content"] is None and not clusterings:
        coloured["by_content"] = cluster_colouring(codes.content, seed)
    coloured |= {f"by_classes_{found.name}": class_colouring(found, ids) for found in clusterings}
    expected = {
        "by_content": "Colours should form groups in the content code and be mixed in the transformation "
        "code.",
        "by_transformation": "Colours should be ordered in the transformation code and mixed in the content "
        "code.",
    }
    figures = []
    for name, colouring in coloured.items():
        if colouring is None:
            continue
        figures.append(
            RunFigure(
                save_figure(embedding_figure(places, colouring), folder / f"embeddings_{name}.png"),
                f"Coloured by {colouring.title}",
                EMBEDDING_CAPTION
                + expected.get(name, "Classes should be groups in the code that they were found in."),
                f"Four scatter plots of {len(ids):,} points coloured by {colouring.title}: t-SNE and UMAP of "
                "the content code, t-SNE and UMAP of the transformation code.",
                "maps",
            )
        )
    return figures


def class_colouring(clusters: Clusters, ids: np.ndarray) -> Colouring:
    """Return the classes of some particles as a colouring."""
    names = clusters.classes.names[positions_of(ids, clusters.ids)]
    if all(name.isdecimal() for name in clusters.class_names):
        # As numbers, so that class 10 does not come before class 2; merged classes have other names.
        names = names.astype(np.int64)
    return Colouring(f"class ({clusters.name})", names)


def label_colouring(labels: LabelTable | None, role: Role, ids: np.ndarray) -> Colouring | None:
    """Return the first factor of a role as a colouring, where all of the given particles have it."""
    if labels is None or not labels.of_role(role) or not np.isin(ids, labels.ids).all():
        return None
    factor = labels.select(ids).of_role(role)[0]
    return Colouring(factor.name, factor.values)
