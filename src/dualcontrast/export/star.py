"""Some of the particles of a STAR file, as a STAR file that differs in nothing else.

Lines are copied as they stand: nothing is parsed to a number and written again, so names such as `01` and the
digits of floats stay as they were, and so do comments, blocks and the order of the columns. Paths are kept as
text too. RELION takes them relative to the project folder, wherever the STAR file itself lies.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualcontrast.errors import DataError
from dualcontrast.files import atomic_path

IMAGE_NAME, OPTICS_GROUP, OPTICS_BLOCK = "_rlnImageName", "_rlnOpticsGroup", "optics"
# A value in quotes ends at a quote that white space follows; a comment begins with # after white space.
_VALUES = re.compile(r"""(?<!\S)(?:'([^\n]*?)'(?!\S)|"([^\n]*?)"(?!\S)|(\#.*)|(\S+))""")


@dataclass(frozen=True)
class _Table:
    """One loop of a STAR file: its block's name, its columns, and which lines hold its rows and labels."""

    block: str
    columns: list[str]
    lines: list[int]
    rows: list[list[str]]
    labels: list[int]

    def column(self, name: str) -> list[str]:
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


class StarText:
    """A STAR file of particles, as text.

    Parameters
    ----------
    path : str or Path
        With a table that has a column `_rlnImageName`: of RELION 3.0 (one block), 3.1, 4 or 5, or of Warp/M.

    Attributes
    ----------
    path : Path
        Of the file.
    image_names : numpy.ndarray of str, shape (N,)
        `rlnImageName` of every particle, without quotes, in the order of the file.
    columns : tuple of str
        Labels of the table of particles, such as `_rlnImageName`.

    Raises
    ------
    DataError
        When the file cannot be read, holds no table of particles or several, or has a row with more or fewer
        values than columns.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            # Bytes that are no UTF-8 (old path names) pass through unchanged.
            text = self.path.read_bytes().decode("utf-8", errors="surrogateescape")
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from None
        self._lines = re.findall(r"[^\n]*\n|[^\n]+", text)
        tables = self._tables()
        particles = [table for table in tables if IMAGE_NAME in table.columns]
        if len(particles) != 1:
            found = "no table" if not particles else f"{len(particles)} tables"
            raise DataError(f"{path}: has {found} with {IMAGE_NAME}; give a STAR file of particles")
        self._particles = particles[0]
        self._optics = next(
            (t for t in tables if t.block == OPTICS_BLOCK and OPTICS_GROUP in t.columns), None
        )
        self.columns = tuple(self._particles.columns)
        self.image_names = np.array(self._particles.column(IMAGE_NAME), dtype=str)

    @property
    def has_optics(self) -> bool:
        """Whether there is a table of optics groups, which files of RELION 3.0 and older lack."""
        return self._optics is not None

    def subset(
        self, image_names: Iterable[str], values: Mapping[str, Mapping[str, str]] | None = None
    ) -> str:
        """Return the text of the file with the rows of some particles and the optics groups they use.

        Parameters
        ----------
        image_names : iterable of str
            Of the particles to keep; their order does not matter, rows stay in the order of the file.
        values : mapping of str to mapping of str to str, optional
            For a column such as `_rlnAngleRot`, the new value of every particle that is kept, by its image
            name, without white space. A column that is not there is added as the last.

        Raises
        ------
        DataError
            When a name is not in the file or there twice, none is given, or a particle's optics group is not
        defined.
        """
        wanted = set(map(str, image_names))
        missing = wanted - set(self.image_names.tolist())
        if missing:
            raise DataError(
                f"{self.path}: has no particle '{min(missing)}' ({len(missing)} are missing); "
                "give the STAR file that the run was trained on"
            )
        if not wanted:
            raise DataError(f"{self.path}: no particles are asked for; choose at least one")
        keep = [name in wanted for name in self.image_names.tolist()]
        if sum(keep) != len(wanted):
            twice = Counter(name for name in self.image_names.tolist() if name in wanted).most_common(1)[0][0]
            raise DataError(f"{self.path}: lists the particle '{twice}' twice; remove one of the rows")
        dropped = {line for line, kept in zip(self._particles.lines, keep, strict=True) if not kept}
        if self._optics is not None and OPTICS_GROUP in self._particles.columns:
            groups = self._particles.column(OPTICS_GROUP)
            used = {group for group, kept in zip(groups, keep, strict=True) if kept}
            defined = self._optics.column(OPTICS_GROUP)
            undefined = used - set(defined)
            if undefined:
                raise DataError(
                    f"{self.path}: optics group {min(undefined)} is not defined in data_optics; add it"
                )
            dropped |= {
                line for line, group in zip(self._optics.lines, defined, strict=True) if group not in used
            }
        lines = self._with_values(keep, values) if values else self._lines
        return "".join(line for number, line in enumerate(lines) if number not in dropped)

    def _with_values(self, keep: list[bool], values: Mapping[str, Mapping[str, str]]) -> list[str]:
        """Return all lines, those of the particles that are kept with new values."""
        lines, columns = self._lines.copy(), self._particles.columns
        added = [name for name in values if name not in columns]
        ending = "\r\n" if lines[self._particles.labels[-1]].endswith("\r\n") else "\n"
        labels = [f"{name} #{len(columns) + place}{ending}" for place, name in enumerate(added, start=1)]
        # No line of a loop stands between its last label and its first row, but comments may.
        lines[self._particles.labels[-1]] += "".join(labels)
        names = self.image_names.tolist()
        for number, name, kept in zip(self._particles.lines, names, keep, strict=True):
            if not kept:
                continue
            line = lines[number]
            spans = [match.span() for match in _VALUES.finditer(line) if match.group(3) is None]
            end = spans[-1][1]
            new = line[:end] + "".join(f" {values[column][name]}" for column in added) + line[end:]
            for place in reversed(range(len(columns))):
                if columns[place] in values:
                    start, stop = spans[place]
                    new = new[:start] + values[columns[place]][name] + new[stop:]
            lines[number] = new
        return lines

    def _tables(self) -> list[_Table]:
        tables: list[_Table] = []
        block, table = "", None
        for number, line in enumerate(self._lines):
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            # With more values on the line it is a row whose first value happens to begin like this.
            if stripped.startswith("data_") and len(stripped.split()) == 1:
                block, table = stripped.removeprefix("data_"), None
            elif stripped == "loop_":
                table = _Table(block, [], [], [], [])
                tables.append(table)
            elif table is not None and stripped.startswith("_") and not table.rows:
                table.columns.append(stripped.split()[0])
                table.labels.append(number)
            elif table is not None:
                row = _values(stripped)
                if len(row) != len(table.columns):
                    raise DataError(
                        f"{self.path}: line {number + 1} has {len(row)} values for {len(table.columns)} "
                        "columns; mend that line"
                    )
                table.lines.append(number)
                table.rows.append(row)
        return tables


def write_star_subset(
    star: StarText | str | Path,
    image_names: Iterable[str],
    output: str | Path,
    values: Mapping[str, Mapping[str, str]] | None = None,
) -> Path:
    """Write a STAR file that holds some of the particles of another, and everything else as it was.

    Paths in it stay as they are written. Where they are relative, the new file means the same images only to
    programs that take them from the project folder, as RELION does.

    Parameters
    ----------
    star : StarText, str or Path
        The whole file; give a `StarText` to write several subsets of one.
    image_names : iterable of str
        `rlnImageName` of the particles to keep, as written in the file.
    output : str or Path
        File to write; replaced where it exists.
    values : mapping, optional
        New values of some columns, see `StarText.subset`.

    Raises
    ------
    DataError
        See `StarText` and `StarText.subset`.
    UserError
        When the file cannot be written.
    """
    star = star if isinstance(star, StarText) else StarText(star)
    output = Path(output)
    text = star.subset(image_names, values)
    with atomic_path(output) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    return output


def _values(line: str) -> list[str]:
    if "'" not in line and '"' not in line and "#" not in line:
        return line.split()
    values = []
    for match in _VALUES.finditer(line):
        single, double, comment, plain = match.groups()
        if comment is not None:
            break
        values.append(next(value for value in (single, double, plain) if value is not None))
    return values
