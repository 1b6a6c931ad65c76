"""Turn views rendered of several objects into one file that every command reads, with labels and a split.

    python benchmarks/rendered_views.py views.npz prepared.npz
    python benchmarks/rendered_views.py views.npz small.npz --views-per-object 300

`views.npz` holds `images` (objects, views, H, W, 3) uint8, `azimuth` and `elevation` (views,) in radians, and
`names` (objects,). Views are shuffled with seed 0, the same way for all objects, and the first 1,000 of 1,313
train; of fewer views, the same share.
"""

import argparse
from pathlib import Path

import numpy as np

from dualcontrast.data.bop import split_views
from dualcontrast.errors import DataError
from dualcontrast.files import atomic_path


def convert(views: Path, output: Path, views_per_object: int | None = None) -> None:
    """Write the file; see the module's text for what it reads.

    Parameters
    ----------
    views : Path
        Rendered views.
    output : Path
        An `.npz` file with `images` (N, H, W, 3), `ids` such as `duck-0042`, `split`, the content label
        `object`, the transformation labels `azimuth_sin`, `azimuth_cos` and `elevation` (degrees), and
        `azimuth` (degrees) as metadata: it wraps around, so it cannot be read linearly.
    views_per_object : int, optional
        Keep the first so many of the shuffled views; all by default.

    Raises
    ------
    DataError
        When an array is missing or of another shape, or there are fewer views.
    """
    try:
        with np.load(views, allow_pickle=False) as stored:
            images, names = stored["images"], stored["names"]
            azimuth, elevation = stored["azimuth"], stored["elevation"]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{views}: holds no rendered views ({error}); see --help") from None
    objects, count = len(names), len(azimuth)
    if images.shape[:2] != (objects, count) or elevation.shape != (count,):
        raise DataError(
            f"{views}: {images.shape[:2]} images for {objects} names and {count} views; see --help"
        )
    kept = count if views_per_object is None else views_per_object
    if not 2 <= kept <= count:
        raise DataError(f"{views}: {kept} views per object of {count}; choose from 2 to {count}")
    order, _ = split_views(count)
    _, train = split_views(kept)
    order = order[:kept]
    arrays = {
        "images": images[:, order].reshape(-1, *images.shape[2:]),
        "ids": np.array([f"{name}-{view:04d}" for name in names for view in order]),
        "split": np.tile(np.where(np.arange(kept) < train, "train", "test"), objects),
        "content:object": np.repeat(names, kept),
        "transformation:azimuth_sin": np.tile(np.sin(azimuth[order]), objects),
        "transformation:azimuth_cos": np.tile(np.cos(azimuth[order]), objects),
        "transformation:elevation": np.tile(np.degrees(elevation[order]), objects),
        "metadata:azimuth": np.tile(np.degrees(azimuth[order]), objects),
    }
    with atomic_path(output) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **arrays)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("views", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--views-per-object", type=int)
    given = parser.parse_args()
    convert(given.views, given.output, given.views_per_object)
