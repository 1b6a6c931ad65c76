"""Labels and metadata that ride along with images by particle id.

A column's header says what it describes: `content:NAME`, `transformation:NAME` or `metadata:NAME`. In a CSV
file a column named `label`, `labels`, `class` or `content` is content and one named `transformation` is
transformation; every other name is metadata, which is carried along and never scored.
"""

import csv
import difflib
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, cast

import numpy as np

from dualcontrast.data.limits import check_file
from dualcontrast.errors import DataError

Role = Literal["content", "transformation", "metadata"]
ROLES: tuple[Role, ...] = ("content", "transformation", "metadata")
BARE_ROLES: dict[str, Role] = {
    "label": "content",
    "labels": "content",
    "class": "content",
    "content": "content",
    "transformation": "transformation",
}
ID_HEADERS = ("id", "filename", "image")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")


@dataclass(frozen=True)
class Factor:
    """One column of labels.

    Attributes
    ----------
    name : str
        For example `digit` or `leg_thickness`.
    role : {'content', 'transformation', 'metadata'}
        What the factor describes; metadata are carried along but never scored.
    values : numpy.ndarray, shape (N,)
        Floats for a continuous factor; integers or strings for a discrete one.
    """

    name: str
    role: Role
    values: np.ndarray

    @property
    def is_continuous(self) -> bool:
        """Whether the factor is scored by regression rather than by classification."""
        return bool(np.issubdtype(self.values.dtype, np.floating))


@dataclass(frozen=True)
class LabelTable:
    """Factors by particle id.

    Attributes
    ----------
    ids : numpy.ndarray of str, shape (N,)
        Particle ids; unique.
    factors : tuple of Factor
        Columns with different names, each with N values in the order of `ids`.

    Raises
    ------
    DataError
        When ids or names are repeated, a column has another length, or a value of a column that is scored
        is NaN or infinite.
    """

    ids: np.ndarray
    factors: tuple[Factor, ...]

    def __post_init__(self) -> None:
        check_unique(self.ids, "label table")
        names = [factor.name for factor in self.factors]
        for factor in self.factors:
            if names.count(factor.name) > 1:
                raise DataError(f"label table: column '{factor.name}' is there twice; rename one of them")
            if factor.values.shape != (len(self.ids),):
                raise DataError(
                    f"label table: column '{factor.name}' has {factor.values.shape[0]} values for "
                    f"{len(self.ids)} particles; give one value per particle"
                )
            if factor.role != "metadata" and factor.is_continuous:
                wrong = self.ids[~np.isfinite(factor.values)]
                if len(wrong):
                    raise DataError(
                        f"label table: column '{factor.name}' has no finite number for {len(wrong)} "
                        f"particles, first '{wrong[0]}'; fill them in or "
                        f"mark the column `metadata:{factor.name}`"
                    )

    def of_role(self, role: Role) -> tuple[Factor, ...]:
        """Return the factors of one role."""
        return tuple(factor for factor in self.factors if factor.role == role)

    def select(self, ids: np.ndarray) -> "LabelTable":
        """Return the rows of the given ids, in their order.

        Raises
        ------
        DataError
            When an id has no row.
        """
        ids = np.asarray(ids, dtype=str)
        rows = positions_of(ids, self.ids)
        if (rows < 0).any():
            missing = ids[rows < 0]
            raise DataError(f"labels: {len(missing)} particles have no label, first '{missing[0]}'")
        return LabelTable(ids, tuple(Factor(f.name, f.role, f.values[rows]) for f in self.factors))

    def joined(self, other: "LabelTable") -> "LabelTable":
        """Add the factors of another table of the same ids; its factors replace those of the same name."""
        replaced = {factor.name for factor in other.factors}
        kept = tuple(factor for factor in self.factors if factor.name not in replaced)
        return LabelTable(self.ids, kept + other.select(self.ids).factors)


def positions_of(wanted: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Find where each wanted id stands in `ids`.

    Returns
    -------
    numpy.ndarray, int64, shape (len(wanted),)
        Positions; -1 for an id that is not there.
    """
    position = {particle: row for row, particle in enumerate(ids.tolist())}
    return np.array([position.get(particle, -1) for particle in wanted.tolist()], dtype=np.int64)


def check_unique(ids: np.ndarray, where: str) -> None:
    """Raise `DataError` when an id is repeated."""
    # A set is many times faster than sorting, and most ids are unique.
    if len(set(ids.tolist())) != len(ids):
        unique, counts = np.unique(ids, return_counts=True)
        raise DataError(f"{where}: particle id '{unique[counts > 1][0]}' is repeated; make every id unique")


def parse_header(header: str, bare_roles: dict[str, Role] = BARE_ROLES) -> tuple[str, Role]:
    """Split a column's header into the factor's name and role.

    Parameters
    ----------
    header : str
        For example `content:digit`, `label` or `defocus`.
    bare_roles : dict of str to role
        Role of headers without a marker; any other is metadata.

    Raises
    ------
    DataError
        When the marker is nearly, but not quite, one of the roles, or no name follows it.
    """
    marker, colon, name = (part.strip() for part in header.partition(":"))
    if not colon:
        return marker, bare_roles.get(marker.lower(), "metadata")
    if marker.lower() in ROLES:
        if not name:
            raise DataError(f"column '{header}' has no name; write for example `{marker}:shape`")
        return name, cast(Role, marker.lower())
    meant = difflib.get_close_matches(marker.lower(), ROLES, n=1)
    if meant:
        raise DataError(f"column '{header}': unknown role '{marker}'; did you mean `{meant[0]}:{name}`?")
    return header, "metadata"


def parse_column(texts: Sequence[str]) -> np.ndarray:
    """Turn the cells of one CSV column into integers, floats or strings.

    Whole numbers are discrete (`7`); numbers of which at least one has a decimal point or exponent are
    continuous (`7.0`); anything else, `007` too, is a discrete name. Empty cells among floats become NaN.
    """
    if all(_INTEGER.fullmatch(text) for text in texts):
        return np.array([int(text) for text in texts], dtype=np.int64)
    try:
        values = np.array([float(text) if text else math.nan for text in texts], dtype=np.float64)
    except ValueError:
        return np.array(texts, dtype=str)
    # "007" and "1_000" also parse as floats, but their writers meant names.
    named = any(re.fullmatch(r"[+-]?0[0-9].*|.*_.*", text) for text in texts)
    return np.array(texts, dtype=str) if named or np.isnan(values).all() else values


def read_label_csv(path: str | Path) -> LabelTable:
    """Read labels from a CSV file.

    Parameters
    ----------
    path : str or Path
        Comma-separated, UTF-8, with a header. The first column is `id` (or `filename`, `image`).

    Raises
    ------
    DataError
        When the file is missing, is no such table, or has repeated or empty ids, empty cells in a column
        that is scored, or rows of another length.
    """
    check_file(path)
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except FileNotFoundError:
        raise DataError(f"{path}: no such label file; check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV file ({error}); save it as UTF-8 CSV") from None
    try:
        return _label_table(rows)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _label_table(rows: list[tuple[int, list[str]]]) -> LabelTable:
    """Build the table from the numbered lines of a CSV file."""
    if not rows:
        raise DataError("is empty; write a header `id,content:NAME,…` and one row per image")
    (_, header), body = rows[0], rows[1:]
    if header[0].lower() not in ID_HEADERS:
        raise DataError(f"the first column is '{header[0]}'; it must be `id`, `filename` or `image`")
    for line, row in body:
        if len(row) != len(header):
            raise DataError(f"line {line} has {len(row)} cells for {len(header)} columns; mend that line")
        if not row[0]:
            raise DataError(f"line {line} has no {header[0]}; name the image that the line describes")
    columns = list(zip(*(row for _, row in body), strict=True)) or [()] * len(header)
    factors = []
    for title, cells in zip(header[1:], columns[1:], strict=True):
        name, role = parse_header(title)
        if role != "metadata" and "" in cells:
            line = body[cells.index("")][0]
            raise DataError(f"line {line} has no value in '{title}'; fill it in or drop the column")
        factors.append(Factor(name, role, parse_column(cells)))
    return LabelTable(np.array(columns[0], dtype=str), tuple(factors))


def align(table: LabelTable, ids: np.ndarray, origin: str, ignored: Collection[str] = ()) -> LabelTable:
    """Bring a table into the order of a source's ids.

    File names match ids with or without their suffix.

    Parameters
    ----------
    table : LabelTable
        Rows in any order.
    ids : numpy.ndarray of str, shape (N,)
        The source's particle ids.
    origin : str
        Where the table is from, for messages.
    ignored : collection of str
        Ids whose rows are left out: those of images that were skipped.

    Raises
    ------
    DataError
        When an image has no row, or a row has no image.
    """
    known = {*ids.tolist(), *ignored}
    names = [name if name in known else _without_suffix(name) for name in table.ids.tolist()]
    check_unique(np.array(names, dtype=str), origin)
    table = LabelTable(np.array(names, dtype=str), table.factors)
    table = table.select(table.ids[~np.isin(table.ids, np.array(list(ignored), dtype=str))])
    missing = ids[positions_of(ids, table.ids) < 0]
    unknown = table.ids[positions_of(table.ids, ids) < 0]
    lengths = f"{origin}: {len(table.ids)} rows of labels for {len(ids)} images"
    if len(missing):
        raise DataError(f"{lengths}; {len(missing)} images have no row, first '{missing[0]}'; add them")
    if len(unknown):
        raise DataError(f"{lengths}; {len(unknown)} rows name no image, first '{unknown[0]}'; remove them")
    return table.select(ids)


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path.with_suffix("")) if path.name else name
