"""The particle table of a STAR file, whichever version of RELION, Warp or M wrote it."""

import linecache
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import starfile

from dualcontrast.errors import DataError

IMAGE_NAME, CTF_IMAGE = "rlnImageName", "rlnCtfImage"
OPTICS_GROUP, OPTICS_NAME = "rlnOpticsGroup", "rlnOpticsGroupName"
PARTICLES_FILE = "rlnTomoParticlesFile"
STACKS_2D = "rlnTomoSubTomosAre2DStacks"
# What says which tomogram a particle is from: RELION 4 and later, and before that (and Warp).
TOMOGRAM_COLUMNS = ("rlnTomoName", "rlnMicrographName")

EXTRACT_3D = (
    "extract 3-D subtomograms (RELION 5, job 'Extract subtomos': set 'Write output as 2D stacks?' to No)"
)

# Å are this over that, as RELION 3.0 has it.
_OLD_SIZES = ("rlnDetectorPixelSize", "rlnMagnification")
# Names that look like numbers ("01", "7") must stay as they are.
_NAME_COLUMN = re.compile(r"^_(\w*(?:Name|File|Image|VisibleFrames))\b", re.MULTILINE)
_BLOCK = re.compile(r"^data_\S*[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class ParticleTable:
    """Particles of a STAR file, checked as far as the file alone allows.

    Attributes
    ----------
    path : Path
        The STAR file.
    columns : dict of str to numpy.ndarray, each shape (N,)
        All columns but the image name, by RELION's names without the underscore: float64 or str.
    names : numpy.ndarray of str, shape (N,)
        `rlnImageName` as written; the particle ids.
    voxel_sizes : numpy.ndarray, float64, shape (N,)
        Å; NaN where the file does not give one.
    boxes : numpy.ndarray, float64, shape (N,)
        `rlnImageSize` of the particle's optics group, in voxels; NaN where the file does not give one.
    groups : dict of str to int
        Particles of each optics group, by its name.
    problems : dict of int to str
        Rows that cannot be used, with the reason.
    """

    path: Path
    columns: Mapping[str, np.ndarray]
    names: np.ndarray
    voxel_sizes: np.ndarray
    boxes: np.ndarray
    groups: Mapping[str, int]
    problems: Mapping[int, str]

    @property
    def tomograms(self) -> np.ndarray | None:
        """Name of each particle's tomogram, str, shape (N,); None where no column says it."""
        return next((self.columns[name] for name in TOMOGRAM_COLUMNS if name in self.columns), None)


def read_particle_table(path: str | Path) -> ParticleTable:
    """Read the particles of a STAR file; no other file is touched.

    RELION 3.0 and Warp write one block with all columns; RELION 3.1 and later `data_optics` and
    `data_particles`, RELION 5 also `data_general`. The voxel size is `rlnImagePixelSize` of the optics group;
    else `rlnPixelSize`; else `rlnDetectorPixelSize` (µm) · 10⁴ / `rlnMagnification`.

    Raises
    ------
    DataError
        When the file is no STAR file, has no table of particles or an empty one, names an image twice, has a
        row that is cut short, or lists 2-D images.
    """
    path = Path(path)
    blocks = _read_blocks(path)
    general = blocks.get("general")
    if general is not None and STACKS_2D in general.columns and (_numbers(general[STACKS_2D]) == 1).any():
        raise DataError(f"{path}: lists stacks of 2-D images ({STACKS_2D} is 1); {EXTRACT_3D}")
    particles = _particles_of(blocks, path)
    if not len(particles):
        raise DataError(f"{path}: the table of particles is empty; select or extract some particles")
    names = _texts(particles[IMAGE_NAME])
    _check_names(names, path)
    problems: dict[int, str] = dict.fromkeys(
        np.flatnonzero(names == "").tolist(), "the image has no name; remove the row"
    )
    sizes, boxes, groups = _from_optics(blocks.get("optics"), particles, path, problems)
    sizes = np.where(np.isnan(sizes), _from_rows(particles, path), sizes)
    for row in np.flatnonzero(np.isinf(sizes) | (sizes <= 0)):
        problems.setdefault(int(row), f"a voxel size of {sizes[row]:g} Å; correct it in the STAR file")
    columns = {str(name): _values(particles[name]) for name in particles.columns if name != IMAGE_NAME}
    return ParticleTable(path, columns, names, sizes, boxes, groups, problems)


def _read_blocks(path: Path) -> dict[str, pd.DataFrame]:
    """Read all blocks as tables, those without a loop as tables of one row."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read as a STAR file ({reason}); give a text file") from None
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=_NAME_COLUMN.findall(text))
    except Exception as error:
        # What starfile had read so far it would find again, even after the file was mended.
        linecache.clearcache()
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not a whole STAR file ({reason}); write or copy it again") from None
    assert isinstance(blocks, dict)
    if not blocks:
        raise DataError(f"{path}: holds no data block; give a STAR file of particles")
    if len(blocks) != len(_BLOCK.findall(text)):
        raise DataError(
            f"{path}: has a block without content, two of one name, or a row that begins with `data_`; "
            "correct it"
        )
    tables = {
        str(name): block if isinstance(block, pd.DataFrame) else pd.DataFrame([block])
        for name, block in blocks.items()
    }
    for name, table in tables.items():
        if not table.columns.is_unique:
            twice = table.columns[table.columns.duplicated()][0]
            raise DataError(f"{path}: block data_{name} has the column _{twice} twice; remove one")
        _check_whole_rows(table, text, path)
    return tables


def _check_whole_rows(table: pd.DataFrame, text: str, path: Path) -> None:
    """Refuse rows with too few values, which starfile fills up with NaN."""
    if not len(table) or not table.iloc[:, -1].isna().any():
        return
    first = str(table.iloc[int(np.argmax(table.iloc[:, -1].isna())), 0])
    for number, line in enumerate(text.splitlines(), start=1):
        values = line.split()
        if values and values[0].strip("\"'") == first and "#" not in line and len(values) < table.shape[1]:
            raise DataError(
                f"{path}: line {number} has {len(values)} values for {table.shape[1]} columns; "
                "write or copy the file again"
            )


def _particles_of(blocks: dict[str, pd.DataFrame], path: Path) -> pd.DataFrame:
    """Find the block that names images."""
    if "particles" in blocks and IMAGE_NAME in blocks["particles"].columns:
        return blocks["particles"]
    with_images = [table for table in blocks.values() if IMAGE_NAME in table.columns]
    if with_images:
        return with_images[0]
    all_columns = {str(column) for table in blocks.values() for column in table.columns}
    listed = [table[PARTICLES_FILE].iloc[0] for table in blocks.values() if PARTICLES_FILE in table.columns]
    if listed:
        raise DataError(f"{path}: is an optimisation set; give its file of particles, {listed[0]}")
    if "rlnCoordinateX" in all_columns:
        raise DataError(f"{path}: has coordinates but no _{IMAGE_NAME}; extract the subtomograms first")
    raise DataError(f"{path}: has no _{IMAGE_NAME}; give the STAR file of extracted subtomograms")


def _check_names(names: np.ndarray, path: Path) -> None:
    # starfile turns ' into ", so that names with either would be others than those of the file.
    for row in np.flatnonzero(np.char.find(names, '"') >= 0):
        raise DataError(f"{path}: row {row + 1} has a quote within the name {names[row]}; rename that file")
    unique, first, counts = np.unique(names, return_index=True, return_counts=True)
    for name, row in zip(unique[counts > 1], first[counts > 1], strict=True):
        if name:
            again = np.flatnonzero(names == name)[1]
            raise DataError(f"{path}: rows {row + 1} and {again + 1} both name '{name}'; remove one of them")


def _from_optics(
    optics: pd.DataFrame | None, particles: pd.DataFrame, path: Path, problems: dict[int, str]
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Voxel size and box of each particle's optics group, NaN where unknown, and the size of each group."""
    unknown = np.full(len(particles), np.nan)
    if OPTICS_GROUP not in particles.columns:
        return unknown, unknown, {}
    groups = _numbers(particles[OPTICS_GROUP])
    if optics is None or OPTICS_GROUP not in optics.columns:
        raise DataError(f"{path}: has _{OPTICS_GROUP} but no block data_optics; add the optics groups")
    defined = _numbers(optics[OPTICS_GROUP])
    if len(np.unique(defined)) != len(defined):
        raise DataError(f"{path}: data_optics defines a group twice; give each its own number")
    row_of = {number: row for row, number in enumerate(defined.tolist())}
    rows = np.array([row_of.get(number, -1) for number in groups.tolist()])
    for row in np.flatnonzero(rows < 0):
        problems.setdefault(
            int(row), f"optics group {groups[row]:g} is not defined in data_optics; add it there"
        )
    if "rlnImageDimensionality" in optics.columns:
        flat = np.flatnonzero(_numbers(optics["rlnImageDimensionality"]) == 2)
        if np.isin(rows, flat).any():
            raise DataError(f"{path}: lists 2-D images (rlnImageDimensionality is 2); {EXTRACT_3D}")

    def of_group(*columns: str) -> np.ndarray:
        column = next((name for name in columns if name in optics.columns), None)
        return unknown if column is None else np.append(_lengths(optics, column, path), np.nan)[rows]

    names = _texts(optics[OPTICS_NAME] if OPTICS_NAME in optics.columns else optics[OPTICS_GROUP])
    counts = {name: int((rows == row).sum()) for row, name in enumerate(names.tolist())}
    return of_group("rlnImagePixelSize", "rlnPixelSize"), of_group("rlnImageSize"), counts


def _from_rows(particles: pd.DataFrame, path: Path) -> np.ndarray:
    """Voxel sizes in Å of the columns that RELION 3.0 and Warp use; NaN where there are none."""
    if "rlnPixelSize" in particles.columns:
        return _lengths(particles, "rlnPixelSize", path)
    if set(_OLD_SIZES) <= set(particles.columns):
        with np.errstate(divide="ignore", invalid="ignore"):
            pixel, magnification = (_lengths(particles, name, path) for name in _OLD_SIZES)
            return pixel * 1e4 / magnification
    return np.full(len(particles), np.nan)


def _numbers(column: Any) -> np.ndarray:
    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


def _lengths(table: pd.DataFrame, name: str, path: Path) -> np.ndarray:
    """Read a column of numbers; text in it is not taken for a length that is unknown."""
    values = _numbers(table[name])
    for row in np.flatnonzero(np.isnan(values)):
        found = table[name].iloc[row]
        if isinstance(found, str) and found.lower() not in ("", "nan", "none", "<na>"):
            raise DataError(f"{path}: _{name} is '{found}', which is no number; correct it")
    return values


def _texts(column: Any) -> np.ndarray:
    return np.array([text if isinstance(text, str) else "" for text in column.tolist()], dtype=str)


def _values(column: Any) -> np.ndarray:
    """Numbers as float64, anything else as text."""
    return _numbers(column) if pd.api.types.is_numeric_dtype(column) else _texts(column)
