"""Starmen: images of a star-shaped man in many builds (content) and poses (transformation).

Made as the published data set of Bône et al. (2020), International Journal of Computer Vision
(zenodo.org/records/5081988): a template man is deformed by the geodesic flow of a Gaussian kernel whose five
control points sit on the hands, the feet and the head. Their ten initial momentum components are the pose.
The build varies the template itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualcontrast.errors import DataError, SettingError
from dualcontrast.files import atomic_path
from dualcontrast.simulate.geodesic import shoot
from dualcontrast.simulate.raster import polygon_coverage
from dualcontrast.simulate.starman_shape import BUILD_RANGES, LIMB_ENDS, outlines

# Width of the kernel: a moved hand takes its arm along, and leaves the other limbs nearly where they were.
KERNEL_WIDTH = 0.45

# Lowest and highest initial momentum of each control point, in half image widths. A control point alone
# would move by just its momentum. Arms go up and down, legs sideways, the head tilts.
POSE_RANGES = {
    "left_arm_x": (-0.06, 0.12),
    "left_arm_y": (-0.36, 0.44),
    "right_arm_x": (-0.12, 0.06),
    "right_arm_y": (-0.36, 0.44),
    "left_leg_x": (-0.16, 0.22),
    "left_leg_y": (-0.04, 0.16),
    "right_leg_x": (-0.22, 0.16),
    "right_leg_y": (-0.04, 0.16),
    "head_x": (-0.20, 0.20),
    "head_y": (-0.06, 0.06),
}

# Images made at once: few enough for their points to stay in the processor's cache.
_BATCH = 128


@dataclass(frozen=True)
class Starmen:
    """Images of starmen with the factors they were made from.

    Attributes
    ----------
    images : numpy.ndarray, uint8, shape (N, 1, size, size)
        White man on black ground; 255 is a pixel that lies wholly inside.
    ids : numpy.ndarray of str, shape (N,)
        `starman-00000` and so on.
    identity : dict of str to numpy.ndarray, float32, shape (N,)
        Content: `leg_thickness` and `arm_thickness` (half the thickness), `torso_width` (half the width) and
        `head_size` (radius), all of the undeformed template and in half image widths.
    pose : dict of str to numpy.ndarray, float32, shape (N,)
        Transformation: initial momenta of the control points, `left_arm_x`, `left_arm_y`, `right_arm_x`, ...,
        `head_y`, in half image widths; x to the right, y up; left and right are those of the image.
    """

    images: np.ndarray
    ids: np.ndarray
    identity: dict[str, np.ndarray]
    pose: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)


def generate_starmen(
    count: int, seed: int = 0, size: int = 64, on_progress: Callable[[int], None] | None = None
) -> Starmen:
    """Make images of starmen, each of another build and in another pose.

    All factors are drawn evenly from `BUILD_RANGES` and `POSE_RANGES`, independently of each other. Image i
    depends on `seed`, `size` and i alone: a larger `count` only adds images.

    Parameters
    ----------
    count : int
        Number of images N, at least 1.
    seed : int
        Seed of the factors, at least 0.
    size : int
        Height and width in pixels, at least 16.
    on_progress : callable, optional
        Called with the number of images made since the last call.

    Returns
    -------
    Starmen
        Images and factors.

    Raises
    ------
    SettingError
        When a number is outside its range.
    """
    for name, value, lowest in (("count", count, 1), ("seed", seed, 0), ("size", size, 16)):
        if value < lowest:
            raise SettingError(f"{name}: {value} is not allowed; give a whole number of at least {lowest}")
    identity, pose = draw_factors(count, seed)
    images = np.empty((count, 1, size, size), dtype=np.uint8)
    for start in range(0, count, _BATCH):
        batch = slice(start, start + _BATCH)
        coverage = draw_starmen(identity[batch], pose[batch], size)
        images[batch, 0] = np.rint(255 * coverage)
        if on_progress is not None:
            on_progress(len(coverage))
    return Starmen(
        images=images,
        ids=np.array([f"starman-{index:05d}" for index in range(count)]),
        identity=dict(zip(BUILD_RANGES, identity.T.astype(np.float32), strict=True)),
        pose=dict(zip(POSE_RANGES, pose.T.astype(np.float32), strict=True)),
    )


def draw_factors(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw identity (count, 4) and pose (count, 10), evenly within their ranges.

    Row i is the same for every `count`: the generator fills the table row by row.
    """
    low, high = np.array([*BUILD_RANGES.values(), *POSE_RANGES.values()]).T
    factors = low + (high - low) * np.random.default_rng(seed).random((count, len(low)))
    return factors[:, : len(BUILD_RANGES)], factors[:, len(BUILD_RANGES) :]


def pose_outlines(identity: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Outlines of deformed men.

    Parameters
    ----------
    identity : numpy.ndarray, shape (n, 4)
        Build, in the order of `BUILD_RANGES`.
    pose : numpy.ndarray, shape (n, 10)
        Initial momenta, in the order of `POSE_RANGES`.

    Returns
    -------
    numpy.ndarray, shape (n, P, 2)
        Corners (x, y) of closed polygons, in half image widths from the middle of the image, y up.
    """
    control_points = np.tile(np.array(list(LIMB_ENDS.values())), (len(pose), 1, 1))
    momenta = pose.reshape(len(pose), len(LIMB_ENDS), 2)
    _, _, points = shoot(control_points, momenta, outlines(identity), width=KERNEL_WIDTH)
    return points


def draw_starmen(identity: np.ndarray, pose: np.ndarray, size: int) -> np.ndarray:
    """Draw men of the given factors; see `pose_outlines`. Returns coverage in [0, 1], (n, size, size)."""
    pixels = (pose_outlines(identity, pose) * (1.0, -1.0) + 1.0) * (size / 2)
    return polygon_coverage(pixels, size)


def write_starmen(
    path: str | Path,
    count: int = 10_000,
    seed: int = 0,
    size: int = 64,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Path:
    """Generate starmen into an `.npz` file that `dualcontrast` opens as a data set.

    The file holds `images` (N, size, size) in uint8, `ids`, and one float column per factor, named
    `content:leg_thickness`, ..., `transformation:left_arm_x`, ....

    Parameters
    ----------
    path : str or Path
        File to write, ending in `.npz`. Its folder is made when missing.
    count, seed, size, on_progress
        See `generate_starmen`.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        When the file exists and `overwrite` is not set.
    SettingError
        When the path does not end in `.npz`, or a number is outside its range.
    UserError
        When the file cannot be written; an old file then stays as it was.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise SettingError(f"{path}: starmen are written as one .npz file; give a name that ends in .npz")
    _check_free(path, overwrite)
    starmen = generate_starmen(count, seed, size, on_progress)
    columns = {f"content:{name}": values for name, values in starmen.identity.items()}
    columns |= {f"transformation:{name}": values for name, values in starmen.pose.items()}
    with atomic_path(path) as temporary:
        with temporary.open("wb") as handle:
            np.savez(handle, images=starmen.images[:, 0], ids=starmen.ids, **columns)  # pyright: ignore[reportArgumentType]
        # Once more: it took a minute, and another may have written the file and opened it.
        _check_free(path, overwrite)
    return path


def _check_free(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise DataError(f"{path}: exists already; choose another name or allow overwriting with --overwrite")
