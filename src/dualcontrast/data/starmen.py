"""Starmen: the published images where they have been downloaded, else generated ones.

The published data set (Bône et al. 2020, zenodo.org/records/5081988) is a folder `images` of 10,000 files
`SimulatedData__Reconstruction__starman__subject_s0__tp_0.npy`, ..., one 64×64 array each: 1,000 subjects at
10 visits. A table `df.csv` in or beside that folder gives, per image, the subject's onset `tau` and
acceleration `alpha`, the age `t` at the visit, and the file's `path`.
"""

import csv
import re
from pathlib import Path, PurePosixPath

import numpy as np

from dualcontrast.data.arrays import open_npz
from dualcontrast.data.cache import cache_folder
from dualcontrast.data.folder import FolderSource
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError
from dualcontrast.simulate.starmen import write_starmen

PUBLISHED_AT = "https://zenodo.org/records/5081988"
GENERATED_COUNT = 10_000
TRAIN_SHARE = 0.6

# Raise the number when the generator makes other images, so that no old file is taken for new.
_GENERATED = "generated-1.npz"
_PUBLISHED_FILES = "*starman__subject_s*__tp_*.npy"
_PUBLISHED_NAME = re.compile(r"starman__subject_s(\d+)__tp_(\d+)$")
# The folder of images itself, and the folders above it in the published archive.
_PLACES = (".", "images", "output_random/images", "starmen/output_random/images")
_COLUMNS = ("path", "t", "tau", "alpha")


def open_starmen(path: str | Path | None = None) -> ImageSource:
    """Open the starmen.

    All have the same fixed split: 60 % of the ids, chosen at random with a fixed seed, train, and the others
    test (6,000 and 4,000 of 10,000, as in the paper).

    Parameters
    ----------
    path : str or Path, optional
        The published download, unpacked (the folder of images or one above it), or an `.npz` file of
        generated starmen. By default the published download is looked for in the folder `starmen` of the data
        cache; where it is not, 10,000 images are generated there once.

    Returns
    -------
    ImageSource
        Images (1, 64, 64). The labels of generated images are their factors: build as content, pose as
        transformation. The published images come without their factors; they have `subject` and `visit` and,
        from `df.csv`, `age`, `onset_age` and `acceleration` as metadata, and as transformation
        `progression`, which is acceleration * (age - onset_age), how far the left arm has risen.

    Raises
    ------
    DataError
        When `path` is neither, or a file in it cannot be used.
    """
    if path is not None:
        return _open_path(Path(path))
    home = cache_folder() / "starmen"
    published = find_published(home)
    source = _open_cached(home / _GENERATED) if published is None else _open_published(published)
    # Runs record the location, and the name opens the same images on another machine, too.
    source.location = "starmen"
    return source


def find_published(folder: str | Path) -> Path | None:
    """Find the published images in a folder or below it, as they lie in the archive; None without any."""
    for place in _PLACES:
        images = Path(folder) / place
        if next(images.glob(_PUBLISHED_FILES), None) is not None:
            return images
    return None


def split_starmen(ids: np.ndarray) -> dict[str, np.ndarray]:
    """Split ids 60 : 40 into `train` and `test`; which go where does not depend on their order."""
    shuffled = np.random.default_rng(0).permutation(np.sort(ids))
    count = round(TRAIN_SHARE * len(ids))
    return {"train": np.sort(shuffled[:count]), "test": np.sort(shuffled[count:])}


def _open_path(path: Path) -> ImageSource:
    if path.is_file() and path.suffix == ".npz":
        return _open_generated(path)
    published = find_published(path) if path.is_dir() else None
    if published is None:
        raise DataError(
            f"{path}: no starmen here; give the folder unpacked from {PUBLISHED_AT}, or a file written by "
            "`dualcontrast simulate starmen`"
        )
    return _open_published(published)


def _open_generated(path: Path) -> ImageSource:
    source = open_npz(path)
    source.fixed_split = split_starmen(source.ids)
    return source


def _open_cached(path: Path) -> ImageSource:
    """Open the generated images in the cache, making them first where they are missing."""
    if not path.exists():
        _generate(path)
    try:
        return _open_generated(path)
    except DataError as error:
        raise DataError(f"{error}; or delete the file, and it is generated again") from None


def _generate(path: Path) -> None:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("generating starmen", total=GENERATED_COUNT)
        try:
            write_starmen(path, GENERATED_COUNT, on_progress=lambda made: progress.advance(task, made))
        except DataError:
            # Another training may have made the same meanwhile, and have it open.
            if not path.exists():
                raise
    console.print(f"starmen: generated {GENERATED_COUNT:,} images, kept in {path}", soft_wrap=True)


def _open_published(folder: Path) -> ImageSource:
    source = FolderSource(folder)
    matches = [_PUBLISHED_NAME.search(particle) for particle in source.ids.tolist()]
    factors = []
    for group, name in ((1, "subject"), (2, "visit")):
        numbers = []
        for particle, match in zip(source.ids, matches, strict=True):
            if match is None:
                raise DataError(f"{folder}/{particle}: not one of the starmen; move it out of their folder")
            numbers.append(int(match[group]))
        factors.append(Factor(name, "metadata", np.array(numbers, dtype=np.int64)))
    for table in (folder / "df.csv", folder.parent / "df.csv"):
        if table.is_file():
            factors += _read_progression(table, source.ids)
            break
    source.labels = LabelTable(source.ids, tuple(factors))
    source.fixed_split = split_starmen(source.ids)
    return source


def _read_progression(table: Path, ids: np.ndarray) -> list[Factor]:
    """Read ages and progression from the published table; raise `DataError` where it lacks an image."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{table}: has no column '{missing[0]}'; take the table of the same download")
            rows = {
                PurePosixPath(row["path"].replace("\\", "/")).stem: [
                    float(row[name]) for name in _COLUMNS[1:]
                ]
                for row in reader
            }
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise DataError(
            f"{table}: not the table of the starmen ({error}); take it from {PUBLISHED_AT}"
        ) from None
    unknown = [particle for particle in ids.tolist() if PurePosixPath(particle).name not in rows]
    if unknown:
        raise DataError(f"{table}: has no row for image '{unknown[0]}'; take the table of the same download")
    age, onset, acceleration = np.array([rows[PurePosixPath(particle).name] for particle in ids.tolist()]).T
    return [
        Factor("age", "metadata", age),
        Factor("onset_age", "metadata", onset),
        Factor("acceleration", "metadata", acceleration),
        Factor("progression", "transformation", acceleration * (age - onset)),
    ]
