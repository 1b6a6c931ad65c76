"""Where the points of a map of codes lie: principal axes, two dimensions of a code, UMAP or t-SNE."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

import numpy as np

from dualcontrast.errors import SettingError
from dualcontrast.evaluation.regression import standardise
from dualcontrast.figures.embeddings import embed
from dualcontrast.figures.traversals import principal_axes
from dualcontrast.files import atomic_path
from dualcontrast.random_streams import numpy_stream

# What UMAP and t-SNE place by themselves in about a minute; the others go to their neighbours.
FITTED = 10_000
NEIGHBOURS = 8
ROWS_AT_ONCE = 20_000
PRINCIPAL, SLOW = "axes", ("UMAP", "t-SNE")
_DIMENSIONS = re.compile(r"dimensions-([1-9][0-9]*)-([1-9][0-9]*)")

Say = Callable[[str, float | None], None]


def dimensions_of(way: str, length: int) -> tuple[int, int] | None:
    """Read `dimensions-3-7`, which counts from 1; None for another way.

    Raises
    ------
    SettingError
        For a dimension that the code does not have, or a way that is none.
    """
    if way == PRINCIPAL or way in SLOW:
        return None
    match = _DIMENSIONS.fullmatch(way)
    if match is None:
        raise SettingError(f"map '{way}': choose {PRINCIPAL}, UMAP, t-SNE or dimensions-I-J")
    first, second = int(match[1]), int(match[2])
    if max(first, second) > length:
        raise SettingError(f"map '{way}': the code has {length} dimensions")
    return first, second


def quick_places(codes: np.ndarray, way: str) -> np.ndarray:
    """Project codes onto two principal axes or two of their dimensions.

    Parameters
    ----------
    codes : numpy.ndarray, shape (N, d)
        Posterior means.
    way : str
        `axes` or `dimensions-I-J`, counted from 1.

    Returns
    -------
    numpy.ndarray, float32, shape (N, 2)
        A code of one dimension has zeros for the second.
    """
    chosen = dimensions_of(way, codes.shape[1])
    if chosen is not None:
        return codes[:, [chosen[0] - 1, chosen[1] - 1]].astype(np.float32)
    centre, axes, _ = principal_axes(codes, min(2, codes.shape[1]))
    found = ((codes - centre) @ axes.T).astype(np.float32)
    return np.pad(found, ((0, 0), (0, 2 - found.shape[1])))


def stored_places(folder: Path, codes: np.ndarray, way: str, seed: int) -> Path:
    """Name the file that keeps the places of these codes; it is there once they have been computed."""
    digest = hashlib.blake2b(np.ascontiguousarray(codes).tobytes(), digest_size=8).hexdigest()
    return folder / f"{way}-{digest}-{seed}.npy"


def compute_places(say: Say, codes: np.ndarray, way: str, seed: int, path: Path) -> None:
    """Place codes by UMAP or t-SNE, and write the places.

    At most 10,000 rows, chosen at random, are placed by the method itself; every other goes to the mean of
    its eight nearest neighbours among them, weighted by the inverse of the distance between the codes.

    Parameters
    ----------
    say : callable
        Told what is being done, and the share of it that is done where that is known.
    codes : numpy.ndarray, shape (N, d)
        Posterior means.
    way : {'UMAP', 't-SNE'}
        The method.
    seed : int
        Of the method and of the choice.
    path : Path
        Of a `.npy` file, float32 of shape (N, 2).
    """
    rows = np.sort(numpy_stream(seed, "explorer", "places").permutation(len(codes))[:FITTED])
    say(f"{way} of {len(rows):,} of {len(codes):,} particles", None)
    fitted = embed(codes[rows], cast(Literal["UMAP", "t-SNE"], way), seed)
    places = np.empty((len(codes), 2), dtype=np.float32)
    places[rows] = fitted
    others = np.setdiff1d(np.arange(len(codes)), rows)
    if len(others):
        from sklearn.neighbors import NearestNeighbors

        x, everything = standardise(codes[rows], codes[others])
        nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(x)
        for start in range(0, len(others), ROWS_AT_ONCE):
            say(f"{way}: placing the other particles", start / len(others))
            part = slice(start, start + ROWS_AT_ONCE)
            distances, neighbours = nearest.kneighbors(everything[part])
            weights = 1 / np.maximum(distances, 1e-6)
            weights /= weights.sum(axis=1, keepdims=True)
            places[others[part]] = np.einsum("nk,nkd->nd", weights, fitted[neighbours])
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, places)
