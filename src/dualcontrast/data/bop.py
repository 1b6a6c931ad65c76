"""Objects in pictures of the BOP format, cut out and brought to one size.

The format is described in the BOP toolkit's `docs/bop_datasets_format.md`. A folder of training pictures has
one sub-folder `000001`, … for every object, with `rgb/000000.png`, …, masks `mask/000000_000000.png`, … (the
picture's number, then that of the annotation in it), and `scene_gt.json`: for every picture a list of
annotations with `obj_id` and `cam_R_m2c`, the rotation from the object to the camera, row by row.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dualcontrast.data.arrays import ArraySource, open_npz
from dualcontrast.data.cache import cache_folder
from dualcontrast.data.viewpoint import viewpoint_of
from dualcontrast.errors import DataError
from dualcontrast.files import atomic_path

SIDE = 64
MARGIN = 8
TRAIN_VIEWS = 1000
ALL_VIEWS = 1313
OBJECTS = (
    "ape",
    "benchvise",
    "bowl",
    "cam",
    "can",
    "cat",
    "cup",
    "driller",
    "duck",
    "eggbox",
    "glue",
    "holepuncher",
    "iron",
    "lamp",
    "phone",
)

# Raise the number when preparing makes other images or labels, so that no old file is taken for new.
_RECIPE = 1
# The folder of objects itself, and the folders above it as archives and people unpack them.
_PLACES = (".", "train", "lm_train", "lm_train/train", "lm/train")
_OBJECT_FOLDER = "[0-9][0-9][0-9][0-9][0-9][0-9]"
_ANNOTATIONS = "scene_gt.json"
_MASKS = ("mask", "mask_visib")
_SUFFIXES = (".png", ".jpg", ".jpeg")
# Degrees; less is the rounding of stored rotations.
_TURNED = 1.0


class BopView(NamedTuple):
    """One object in one picture.

    Attributes
    ----------
    particle : str
        Id, for example `000001/000042`.
    object_id : int
        Number of the object.
    rotation : numpy.ndarray, shape (3, 3)
        From the object to the camera.
    picture, mask : Path
        Files.
    """

    particle: str
    object_id: int
    rotation: np.ndarray
    picture: Path
    mask: Path


def find_bop(folder: str | Path) -> Path | None:
    """Find the folder that has one sub-folder for every object, here or below; None without any."""
    for place in _PLACES:
        objects = Path(folder) / place
        if next(objects.glob(f"{_OBJECT_FOLDER}/{_ANNOTATIONS}"), None) is not None:
            return objects
    return None


def open_bop(folder: str | Path) -> ArraySource:
    """Open the objects of a BOP folder, one in a picture.

    Each object is cut out by the box of its mask with a margin of 8 pixels, and resized to 64×64; what lies
    beyond the picture is black. The box is resized as it is, so that its aspect is lost, as in the code of
    DualContrast's authors. Decoding the pictures takes minutes, so the images are kept in the data cache.

    Parameters
    ----------
    folder : str or Path
        The folder with `000001`, …, or one above it.

    Returns
    -------
    ArraySource
        Images (3, 64, 64), memory-mapped. The content label is `object`. Transformation labels are
        `azimuth_sin`, `azimuth_cos` and `elevation` (degrees), and `in_plane_sin`, `in_plane_cos` where
        pictures are turned by different angles; see `viewpoint_of`. An angle that wraps around cannot be read
        by a linear regression, so `azimuth` and `in_plane` in degrees are metadata, and so is `obj_id`. The
        split: `split_views`.

    Raises
    ------
    DataError
        When the folder is none of that kind, a file is missing or damaged, or a mask is empty.
    """
    objects = find_bop(folder)
    if objects is None:
        raise DataError(
            f"{folder}: not in the BOP format; give the folder that has 000001/{_ANNOTATIONS} and so on"
        )
    kept = cache_folder() / "linemod" / f"prepared-{_fingerprint(objects)}.npz"
    if not kept.exists():
        _prepare(objects, kept)
    try:
        source = open_npz(kept)
    except DataError as error:
        raise DataError(f"{error}; or delete the file, and it is made again") from None
    source.location = str(folder)
    return source


def read_views(objects: Path) -> list[BopView]:
    """List the objects in the pictures of a BOP folder, in the order of objects and pictures.

    Raises
    ------
    DataError
        When annotations cannot be read, or a picture or mask is missing.
    """
    views = []
    for annotations in sorted(objects.glob(f"{_OBJECT_FOLDER}/{_ANNOTATIONS}")):
        views.extend(_views_of(annotations))
    if not views:
        raise DataError(f"{objects}: the annotations name no pictures; unpack the archive again")
    return views


def split_views(views_per_object: int, seed: int = 0) -> tuple[np.ndarray, int]:
    """Choose which views of an object train.

    BOP stores views from the pole to the horizon, so the first 1,000 as stored would leave the views from
    the side for the test alone. Views are therefore shuffled with a fixed seed, the same way for all objects,
    and the first 1,000 of 1,313 train: the share is 1,000 : 313 where there are fewer.

    Parameters
    ----------
    views_per_object : int
        How many there are.
    seed : int
        Of the order.

    Returns
    -------
    order : numpy.ndarray, int64, shape (views_per_object,)
        Views, shuffled.
    count : int
        How many of the first train.
    """
    order = np.random.default_rng(seed).permutation(views_per_object)
    share = round(views_per_object * TRAIN_VIEWS / ALL_VIEWS)
    return order, TRAIN_VIEWS if views_per_object >= ALL_VIEWS else share


def crop(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cut an object out of its picture, and resize it.

    Parameters
    ----------
    picture : numpy.ndarray, uint8, shape (H, W, 3)
        Colours.
    mask : numpy.ndarray, shape (H, W)
        Not 0 where the object is.

    Returns
    -------
    numpy.ndarray, uint8, shape (64, 64, 3)
        Resized by bicubic interpolation, smoothed where it shrinks.

    Raises
    ------
    ValueError
        When the mask is empty or of another size.
    """
    if mask.shape != picture.shape[:2]:
        raise ValueError(f"the mask is {mask.shape[1]}×{mask.shape[0]}, not the picture's size")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError("the mask is empty")
    # With a black margin all around, no box leaves the picture.
    framed = np.pad(picture, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)))
    cut = framed[rows[0] : rows[-1] + 1 + 2 * MARGIN, columns[0] : columns[-1] + 1 + 2 * MARGIN]
    return np.asarray(Image.fromarray(cut).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _views_of(annotations: Path) -> Iterator[BopView]:
    """Read the annotations of one object's folder."""
    folder = annotations.parent
    try:
        pictures = {int(number): entries for number, entries in json.loads(annotations.read_bytes()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{annotations}: cannot be read ({error}); unpack the archive again") from None
    for number, entries in sorted(pictures.items()):
        position, entry = _annotation_of(entries, int(folder.name), f"{annotations}: picture {number}")
        stem = f"{number:06d}"
        places = [folder / "rgb" / f"{stem}{suffix}" for suffix in _SUFFIXES]
        masks = [folder / name / f"{stem}_{position:06d}.png" for name in _MASKS]
        yield BopView(
            f"{folder.name}/{stem}",
            entry["obj_id"],
            _rotation(entry.get("cam_R_m2c"), f"{annotations}: picture {number}"),
            _first_file(places),
            _first_file(masks),
        )


def _annotation_of(entries: Any, object_id: int, where: str) -> tuple[int, dict[str, Any]]:
    """Find the annotation of the folder's object, and its position."""
    if isinstance(entries, list):
        for position, entry in enumerate(entries):
            if isinstance(entry, dict) and entry.get("obj_id") == object_id:
                return position, entry
    raise DataError(f"{where} has no annotation of object {object_id}; give a folder of training pictures")


def _rotation(values: Any, where: str) -> np.ndarray:
    """Turn nine numbers into a rotation matrix."""
    try:
        matrix = np.array(values, dtype=np.float64).reshape(3, 3)
    except (TypeError, ValueError):
        matrix = np.zeros((3, 3))
    if not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3) or np.linalg.det(matrix) < 0:
        raise DataError(f"{where}: cam_R_m2c is no rotation matrix; unpack the archive again")
    return matrix


def _first_file(places: list[Path]) -> Path:
    for place in places:
        if place.is_file():
            return place
    raise DataError(f"{places[0]}: missing; unpack the archive again")


def _fingerprint(objects: Path) -> str:
    """Hash names, sizes and times of all files that images are made from."""
    digest = hashlib.sha256(f"recipe {_RECIPE}".encode())
    for annotations in sorted(objects.glob(f"{_OBJECT_FOLDER}/{_ANNOTATIONS}")):
        digest.update(annotations.parent.name.encode())
        digest.update(annotations.read_bytes())
        for name in ("rgb", *_MASKS):
            folder = annotations.parent / name
            if folder.is_dir():
                for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                    stat = entry.stat()
                    digest.update(f"{name}/{entry.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _prepare(objects: Path, path: Path) -> None:
    """Cut out all objects and write them, with their labels and split, to a file that `open_npz` reads."""
    from rich.console import Console
    from rich.progress import Progress

    views = read_views(objects)
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("cutting out objects", total=len(views))
        images = _cut_out(views, lambda: progress.advance(task))
    angles = viewpoint_of(np.stack([view.rotation for view in views]))
    azimuth, in_plane = np.radians(angles.azimuth), np.radians(angles.in_plane)
    arrays = {
        "images": images,
        "ids": np.array([view.particle for view in views]),
        "split": _split_of(views),
        "content:object": np.array([_name_of(view.object_id) for view in views]),
        "transformation:azimuth_sin": np.sin(azimuth),
        "transformation:azimuth_cos": np.cos(azimuth),
        "transformation:elevation": angles.elevation,
        "metadata:azimuth": angles.azimuth,
        "metadata:in_plane": angles.in_plane,
        "metadata:obj_id": np.array([view.object_id for view in views]),
    }
    # Rendered views are all upright; what does not vary is no label to score.
    if np.abs(np.exp(1j * in_plane) - np.exp(1j * in_plane[0])).max() > np.radians(_TURNED):
        arrays["transformation:in_plane_sin"] = np.sin(in_plane)
        arrays["transformation:in_plane_cos"] = np.cos(in_plane)
    with atomic_path(path) as temporary, temporary.open("wb") as output:
        np.savez(output, **arrays)  # pyright: ignore[reportArgumentType]
    console.print(f"linemod: cut out {len(views):,} images, kept in {path}", soft_wrap=True)


def _cut_out(views: list[BopView], done: Callable[[], None]) -> np.ndarray:
    """Read and crop all pictures, shape (N, 3, 64, 64)."""
    images = np.empty((len(views), 3, SIDE, SIDE), dtype=np.uint8)
    # Decoding releases Python's lock, so threads share the work.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for row, image in enumerate(pool.map(_read_view, views)):
            images[row] = np.moveaxis(image, -1, 0)
            done()
    return images


def _read_view(view: BopView) -> np.ndarray:
    """Read one picture and crop it; name the file in whatever is wrong."""
    try:
        with Image.open(view.mask) as opened:
            mask = np.asarray(opened.convert("L"))
    except Exception as error:
        raise DataError(f"{view.mask}: cannot be read ({_reason(error)}); unpack the archive again") from None
    try:
        with Image.open(view.picture) as opened:
            return crop(np.asarray(opened.convert("RGB")), mask)
    except ValueError as error:
        raise DataError(f"{view.mask}: {error}; unpack the archive again") from None
    except Exception as error:
        raise DataError(
            f"{view.picture}: cannot be read ({_reason(error)}); unpack the archive again"
        ) from None


def _reason(error: Exception) -> str:
    return " ".join(re.sub(r"'[^']*'", "it", str(error)).split()) or type(error).__name__


def _split_of(views: list[BopView]) -> np.ndarray:
    """Say `train` or `test` for every view; see `split_views`."""
    folders = np.array([view.particle.partition("/")[0] for view in views])
    parts = np.empty(len(views), dtype="<U5")
    for folder in np.unique(folders):
        rows = np.flatnonzero(folders == folder)
        order, count = split_views(len(rows))
        parts[rows[order[:count]]] = "train"
        parts[rows[order[count:]]] = "test"
    return parts


def _name_of(object_id: int) -> str:
    return OBJECTS[object_id - 1] if 1 <= object_id <= len(OBJECTS) else f"object-{object_id}"
