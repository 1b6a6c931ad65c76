"""t-SNE and UMAP of both codes."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dualcontrast.evaluation.mixture import FITTED_ROWS
from dualcontrast.evaluation.regression import standardise
from dualcontrast.figures.style import (
    CONTENT,
    GRID,
    INK,
    LARGE,
    QUIET,
    SMALL,
    TRANSFORMATION,
    bare_axes,
    class_colours,
    new_figure,
    shorten,
)
from dualcontrast.random_streams import numpy_stream, stream_seed

MOST_POINTS = 2_000
MOST_NAMED_CLASSES = 24
LEGEND_WIDTH = 110
CAPTION = (
    "Each point is a held-out image, placed by t-SNE (left) and UMAP (right) so that neighbours in the "
    "code are "
    "neighbours here; distances between groups mean little. "
)


@dataclass(frozen=True)
class Colouring:
    """What colours the points.

    Attributes
    ----------
    title : str
        Of the legend.
    values : numpy.ndarray, shape (N,)
        Floats are drawn on a continuous scale, anything else as classes.
    """

    title: str
    values: np.ndarray


def embed_both_ways(codes: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Place codes in the plane by t-SNE and by UMAP.

    Parameters
    ----------
    codes : numpy.ndarray, shape (N, d)
        At most 2,000 rows keep it to seconds.
    seed : int
        Of both.

    Returns
    -------
    dict of str to numpy.ndarray, shape (N, 2)
        `t-SNE` and `UMAP`. A code that does not vary, or fewer than 10 images, gives zeros.
    """
    return {"t-SNE": embed(codes, "t-SNE", seed), "UMAP": embed(codes, "UMAP", seed)}


def embed(codes: np.ndarray, way: Literal["t-SNE", "UMAP"], seed: int = 0) -> np.ndarray:
    """Place codes in the plane, shape (N, 2); zeros for a code that does not vary, or fewer than 10 images.

    Parameters
    ----------
    codes : numpy.ndarray, shape (N, d)
        Standardised first.
    way : {'t-SNE', 'UMAP'}
        How.
    seed : int
        Of the map.
    """
    (x,) = standardise(codes)
    if x.shape[1] == 0 or len(x) < 10:
        return np.zeros((len(codes), 2))
    random_state = stream_seed(seed, "embeddings") % 2**31
    with warnings.catch_warnings():
        # numba and umap warn about their own internals and about the single thread that a seed asks for.
        warnings.simplefilter("ignore")
        if way == "UMAP":
            from umap import UMAP

            _keep_what_is_compiled()
            umap = UMAP(n_neighbors=min(15, len(x) - 1), random_state=random_state, n_jobs=1)
            with _torch_threads_kept():
                return np.asarray(umap.fit_transform(x))
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits

        # On one thread, sums in a fixed order give the same map again, and nothing waits for a busy core.
        with threadpool_limits(1):
            tsne = TSNE(
                perplexity=min(30.0, (len(x) - 1) / 3),
                init="pca" if x.shape[1] > 1 else "random",
                random_state=random_state,
            )
            return np.asarray(tsne.fit_transform(x))


@contextlib.contextmanager
def _torch_threads_kept() -> Iterator[None]:
    """Undo what numba's first parallel function does to OpenMP: threads for all cores, in torch as well.

    A training that follows in the same process would then add up in another order.
    """
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _keep_what_is_compiled() -> None:
    """Let numba keep on disk what it compiles of UMAP: that takes 15 s in every process, the map itself one.

    UMAP asks for it for a part of its functions only. Where no folder can be written, all is as before.
    """
    from numba.core.dispatcher import Dispatcher

    for name, module in list(sys.modules.items()):
        if not name.startswith(("umap.", "pynndescent.")):
            continue
        for function in vars(module).values():
            if isinstance(function, Dispatcher) and not function.stats.cache_path:
                with contextlib.suppress(RuntimeError):
                    function.enable_caching()


def cluster_colouring(content: np.ndarray, seed: int = 0, count: int = 8) -> Colouring:
    """Colour by k-means groups of the content code, for images without labels; at most 20,000 are fitted."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    (x,) = standardise(content)
    if x.shape[1] == 0 or len(x) < count:
        return Colouring("no labels", np.zeros(len(content), dtype=np.int64))
    with threadpool_limits(1):
        means = KMeans(count, random_state=stream_seed(seed, "groups") % 2**31)
        rows = numpy_stream(seed, "groups", "rows").permutation(len(x))[:FITTED_ROWS]
        groups = means.fit_predict(x) if len(rows) == len(x) else means.fit(x[rows]).predict(x)
    return Colouring("group in c (k-means, no labels)", np.asarray(groups) + 1)


def embedding_figure(places: dict[str, dict[str, np.ndarray]], colouring: Colouring) -> Figure:
    """Draw both codes by both maps, with one colouring.

    Parameters
    ----------
    places : dict
        For `content` and `transformation`, what `embed_both_ways` returns.
    colouring : Colouring
        Of the N points.
    """
    figure = new_figure(9.0, 8.2)
    panels = figure.subplots(2, 2)
    handles = None
    for row, (code, maps) in zip(panels, places.items(), strict=True):
        colour = CONTENT if code == "content" else TRANSFORMATION
        for axes, (name, points) in zip(row, maps.items(), strict=True):
            handles = scatter(axes, points, colouring)
            bare_axes(axes)
            for spine in axes.spines.values():
                spine.set_visible(True)
                spine.set_color(GRID)
            axes.set_title(f"{code} · {name}", fontsize=LARGE, color=colour, loc="left", fontweight="bold")
            if not points.any():
                axes.text(
                    0.5, 0.42, "the code does not vary", transform=axes.transAxes, ha="center", color=QUIET
                )
    if isinstance(handles, list):
        longest = max(len(str(handle.get_label())) for handle in handles) + 4
        legend = figure.legend(
            handles=handles,
            title=shorten(colouring.title, 40),
            loc="outside lower center",
            ncols=max(1, min(len(handles), LEGEND_WIDTH // longest)),
            frameon=False,
            fontsize=SMALL,
            title_fontsize=SMALL,
            labelcolor=INK,
            handletextpad=0.1,
            columnspacing=1.0,
        )
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
    elif handles is not None:
        bar = figure.colorbar(handles, ax=panels, location="bottom", shrink=0.5, aspect=40, pad=0.02)
        bar.set_label(shorten(colouring.title, 40), fontsize=SMALL, color=INK)
        bar.ax.tick_params(labelsize=SMALL, color=QUIET)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def scatter(axes: Axes, points: np.ndarray, colouring: Colouring):
    """Draw the points; return legend handles for classes, or the mappable of a continuous scale."""
    size = float(np.clip(9_000 / max(len(points), 1), 4, 30))
    values = colouring.values
    style = {"s": size, "linewidths": 0, "alpha": 0.8, "rasterized": True}
    if np.issubdtype(values.dtype, np.floating):
        return axes.scatter(*points.T, c=values, cmap="viridis", **style)
    names, index = np.unique(values, return_inverse=True)
    colours = class_colours(len(names))
    # Drawn in random order, so that no class hides another.
    order = np.random.default_rng(0).permutation(len(points))
    axes.scatter(*points[order].T, color=[colours[i] for i in index[order]], **style)
    if len(names) > MOST_NAMED_CLASSES:
        return None
    return [
        axes.scatter([], [], s=36, linewidths=0, color=colour, label=shorten(str(name)))
        for name, colour in zip(names, colours, strict=True)
    ]
