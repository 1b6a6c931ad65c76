"""STAR files of subtomograms, as RELION, Warp and M write them."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dualcontrast.data.ctf_volume import (
    check_ctf_header,
    has_multiplicity,
    mean_over_tilts,
    read_ctf_volume,
)
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.data.locate import FileFinder, parts_of, split_name
from dualcontrast.data.mrc import MrcHeader, read_mrc_header, read_pixels_of
from dualcontrast.data.particle_table import CTF_IMAGE, EXTRACT_3D, ParticleTable, read_particle_table
from dualcontrast.data.pixels import as_float32, bounds, check_finite
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError

_WEDGE_CACHE_BYTES = 128 << 20
_SAME_SIZE = 1e-3


class StarSource(ImageSource):
    """Subtomograms that a STAR file lists, read when asked for.

    Opening reads the STAR file and the header of one volume, whatever the number of rows. A particle's id is
    its `rlnImageName` as written; all other columns ride along as metadata, numbers as floats. A name
    `000012@stack.mrc` is a member of a stack of volumes.

    Parameters
    ----------
    path : str or Path
        The STAR file.
    datadir : str or Path, optional
        Folder to look for the files in first; see `FileFinder`.
    skip_bad : bool
        Look at the header of every file, leave out the particles that cannot be used, and list them in
        `skipped`. Where boxes or voxel sizes differ, those of most particles count.
    leave_out : collection of str
        Ids of particles known to be bad, which are left out without looking at any file.
    progress : callable, optional
        Called with the number of particles looked at so far (`skip_bad`).

    Raises
    ------
    DataError
        As `read_particle_table`; when the first file is not found or holds no volume; when voxel sizes
        differ; and for rows that cannot be used, unless `skip_bad` is set.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        datadir: str | Path | None = None,
        skip_bad: bool = False,
        leave_out: Sequence[str] = (),
        progress: Callable[[int], None] | None = None,
    ) -> None:
        table = read_particle_table(path)
        files = SubtomogramFiles(table, None if datadir is None else Path(datadir).expanduser())
        self.location = self.star_file = str(path)
        keep = np.flatnonzero(~np.isin(table.names, np.asarray(leave_out, dtype=str)))
        if skip_bad:
            survey = files.survey(keep, progress)
            self.skipped = {str(table.names[row]): reason for row, reason in survey.reasons.items()}
            keep = keep[[row not in survey.reasons for row in keep.tolist()]]
            if not len(keep):
                reason = next(iter(self.skipped.values()))
                raise DataError(f"{path}: no particle can be used, the first because {reason}")
        else:
            _refuse_problems(table, keep)
            _refuse_mixed_sizes(table, keep)
        if not len(keep):
            raise DataError(f"{path}: no particle is left; select others")
        self._rows, self._table, self._files = keep, table, files
        self.ids = table.names[keep]
        # The particle whose name comes first stands for all, so that it is the same in any order of the rows.
        header = files.header(int(keep[np.argsort(self.ids)[0]]))
        self._box = header.shape[-3:]
        self.image_shape = (1, *self._box)
        self.stored_type = header.dtype.name
        self._are_sums = self._have_multiplicity(int(keep[np.argsort(self.ids)[0]]))
        size = table.voxel_sizes[keep[0]]
        self.voxel_size = header.voxel_size if math.isnan(size) else float(size)
        factors = [Factor(name, "metadata", values[keep]) for name, values in table.columns.items()]
        self.labels = LabelTable(self.ids, tuple(factors))
        each = 4 * self._box[0] * self._box[1] * (self._box[2] // 2 + 1)
        # RELION 3 names one CTF volume for all particles of a tomogram.
        self._read_wedge = lru_cache(max(1, _WEDGE_CACHE_BYTES // each))(self._read_wedge_of)

    @property
    def stored_range(self) -> tuple[float, float] | None:
        """Lowest and highest value that `read` can return, where the stored type bounds them."""
        return None if self._are_sums else bounds(np.dtype(self.stored_type))

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read volumes as float32, shape (n, 1, D, H, W); see `ImageSource.read`.

        Those that are sums over tilts, by their CTF volumes, are divided by how many tilts were added to each
        Fourier component; see `ctf_volume`.
        """
        volumes = np.empty((len(indices), *self.image_shape), dtype=np.float32)
        for place, index in enumerate(indices):
            row = int(self._rows[index])
            header = self._files.header(row)
            if header.shape[-3:] != self._box or bounds(header.dtype) != bounds(np.dtype(self.stored_type)):
                raise DataError(
                    f"{header.path}: a volume of {_size(header.shape[-3:])} {header.dtype.name}, but in "
                    f"{self.location} others are {_size(self._box)} {self.stored_type}; bring all to one"
                )
            volumes[place, 0] = as_float32(read_pixels_of(header, self._files.member(row)))
            check_finite(volumes[place][None], self.ids[[index]], str(header.path))
            if self._are_sums:
                ctf = self._files.ctf_path(str(self._table.columns[CTF_IMAGE][row]))
                volumes[place, 0] = mean_over_tilts(volumes[place, 0], ctf)
        return volumes

    def read_wedges(self, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
        """Read the CTF volumes of `rlnCtfImage`; see `ImageSource.read_wedges` and `ctf_volume`."""
        if self.tilt_range is not None or CTF_IMAGE not in self._table.columns:
            return super().read_wedges(indices)
        names = self._table.columns[CTF_IMAGE][self._rows[np.asarray(indices, dtype=np.int64)]]
        if not len(names):
            depth, height, width = self._box
            return np.empty((0, depth, height, width // 2 + 1), dtype=np.float32)
        return np.stack([self._read_wedge(name) for name in names.tolist()])

    def _have_multiplicity(self, row: int) -> bool:
        if CTF_IMAGE not in self._table.columns:
            return False
        try:
            return has_multiplicity(self._files.ctf_path(str(self._table.columns[CTF_IMAGE][row])), self._box)
        except DataError:
            # Told where the CTF volumes are read, which they are not where --tilt-range is given.
            return False

    def _read_wedge_of(self, name: str) -> np.ndarray:
        return read_ctf_volume(self._files.ctf_path(name), self._box)


@dataclass(frozen=True)
class Survey:
    """What a look at the headers of all files of a STAR file found.

    Attributes
    ----------
    headers : dict of int to MrcHeader
        By row; rows without a readable volume are not there.
    reasons : dict of int to str
        Rows that cannot be used, and why.
    missing : dict of int to str
        Rows of which a file was not found, and its name.
    """

    headers: dict[int, MrcHeader]
    reasons: dict[int, str]
    missing: dict[int, str]


class SubtomogramFiles:
    """The files that the rows of a particle table name.

    Parameters
    ----------
    table : ParticleTable
        The rows.
    datadir : Path, optional
        See `FileFinder`.

    Raises
    ------
    DataError
        When `datadir` is no folder, or makes two particles one file.
    """

    def __init__(self, table: ParticleTable, datadir: Path | None = None) -> None:
        self._table = table
        self._images = FileFinder(table.path, datadir)
        self._ctfs = FileFinder(table.path, datadir)
        self._images.set_reference(split_name(name)[1] for name in table.names.tolist())
        if CTF_IMAGE in table.columns:
            self._ctfs.set_reference(table.columns[CTF_IMAGE].tolist())
        self._refuse_collisions()

    def path(self, row: int) -> Path:
        """Find the file of a row, or raise `DataError`."""
        name = split_name(str(self._table.names[row]))[1]
        found = self._images.find(name)
        if found is None:
            raise MissingFileError(
                f"{self._table.path}: row {row + 1} names '{name}', which is not there; "
                f"{self._images.explain(name)}"
            )
        return found

    def ctf_path(self, name: str) -> Path:
        """Find a CTF volume, or raise `DataError`."""
        found = self._ctfs.find(name) if name else None
        if found is None:
            raise MissingFileError(
                f"{self._table.path}: names the CTF volume '{name}', which is not there; "
                f"{self._ctfs.explain(name)}"
            )
        return found

    def member(self, row: int) -> int | None:
        """Position in a stack of volumes, from 0; None for a file of its own."""
        return split_name(str(self._table.names[row]))[0]

    def header(self, row: int) -> MrcHeader:
        """Read the header of a row's file, and make sure that it holds a volume.

        Raises
        ------
        DataError
            When it is not there, cannot be read, or holds 2-D images.
        """
        header, member = read_mrc_header(self.path(row)), self.member(row)
        if header.kind.startswith("image") or (header.kind == "volume" and member is not None):
            raise DataError(f"{header.path}: holds 2-D images, not one volume; {EXTRACT_3D}")
        if header.kind == "volume stack":
            if member is None:
                raise DataError(f"{header.path}: is a stack of volumes; name them 000001@{header.path.name}")
            if not 0 <= member < header.shape[0]:
                raise DataError(
                    f"{header.path}: has {header.shape[0]} volumes, not {member + 1}; correct row {row + 1}"
                )
        return header

    def survey(self, rows: np.ndarray, progress: Callable[[int], None] | None = None) -> Survey:
        """Look at the headers of all files, those of CTF volumes too.

        Boxes and voxel sizes that are not those of most particles are among the reasons.
        """
        table = self._table
        headers: dict[int, MrcHeader] = {}
        reasons: dict[int, str] = {}
        missing: dict[int, str] = {}
        for done, row in enumerate(rows.tolist(), start=1):
            if row in table.problems:
                reasons[row] = table.problems[row]
            else:
                try:
                    headers[row] = self.header(row)
                except MissingFileError as error:
                    reasons[row] = str(error)
                    missing[row] = str(table.names[row])
                except DataError as error:
                    reasons[row] = str(error)
            if progress is not None:
                progress(done)
        self._compare(headers, reasons)
        if CTF_IMAGE in table.columns:
            self._look_at_ctfs(headers, reasons, missing)
        return Survey(headers, dict(sorted(reasons.items())), missing)

    def _compare(self, headers: dict[int, MrcHeader], reasons: dict[int, str]) -> None:
        """Find the volumes that are not of the box, type and voxel size of most."""
        size_of = _same_sizes(self._table.voxel_sizes[list(headers)])
        kinds = {
            row: (header.shape[-3:], bounds(header.dtype), size_of.get(float(self._table.voxel_sizes[row])))
            for row, header in headers.items()
        }
        if not kinds:
            return
        # Of two kinds that are as frequent, the one of the name that comes first, whatever the order of rows.
        first = {
            kinds[row]: row for row in sorted(kinds, key=lambda row: self._table.names[row], reverse=True)
        }
        counts = Counter(kinds.values())
        usual = min(counts, key=lambda kind: (-counts[kind], self._table.names[first[kind]]))
        for row, kind in kinds.items():
            if kind != usual:
                reasons[row] = (
                    f"{headers[row].path}: {_describe(kind)}, but most volumes are {_describe(usual)}; "
                    "bring all to one"
                )

    def _look_at_ctfs(
        self, headers: dict[int, MrcHeader], reasons: dict[int, str], missing: dict[int, str]
    ) -> None:
        names = self._table.columns[CTF_IMAGE]
        known: dict[tuple[str, tuple[int, ...]], DataError | None] = {}
        for row, header in headers.items():
            key = (str(names[row]), header.shape[-3:])
            if key not in known:
                try:
                    check_ctf_header(self.ctf_path(key[0]), key[1])
                    known[key] = None
                except DataError as error:
                    known[key] = error
            error = known[key]
            if error is not None and row not in reasons:
                reasons[row] = str(error)
                if isinstance(error, MissingFileError):
                    missing[row] = key[0]

    def _refuse_collisions(self) -> None:
        """Refuse a `datadir` below which the files of several folders would be one."""
        dropped = self._images.dropped
        if not dropped:
            return
        seen: dict[tuple[int | None, tuple[str, ...]], str] = {}
        for name in self._table.names.tolist():
            member, file = split_name(name)
            other = seen.setdefault((member, parts_of(file)[dropped:]), name)
            if other != name:
                raise DataError(
                    f"{self._images.datadir}: holds one file for '{other}' and '{name}'; "
                    "give --datadir a folder further up"
                )


class MissingFileError(DataError):
    """A file that a STAR file names is not there."""


def _refuse_problems(table: ParticleTable, rows: np.ndarray) -> None:
    for row in rows.tolist():
        if row in table.problems:
            raise DataError(f"{table.path}: row {row + 1} ('{table.names[row]}'): {table.problems[row]}")


def _refuse_mixed_sizes(table: ParticleTable, rows: np.ndarray) -> None:
    sizes = table.voxel_sizes[rows]
    if np.isnan(sizes).all() or not len(sizes):
        return
    if np.isnan(sizes).any() or sizes.max() > (1 + _SAME_SIZE) * sizes.min():
        shown = ", ".join(f"{size:g}" for size in np.unique(sizes)[:4])
        raise DataError(f"{table.path}: voxel sizes differ ({shown} Å); extract all at one pixel size")


def _same_sizes(sizes: np.ndarray) -> dict[float, float]:
    """Map every voxel size that is known to the most frequent one that counts as the same."""
    counts = Counter(sizes[~np.isnan(sizes)].tolist())
    found: dict[float, float] = {}
    for size in sorted(counts, key=lambda size: (-counts[size], size)):
        same = (other for other in found.values() if abs(size / other - 1) <= _SAME_SIZE)
        found[size] = next(same, size)
    return found


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _describe(kind: tuple[tuple[int, ...], tuple[float, float] | None, float | None]) -> str:
    shape, integer, size = kind
    at = "" if size is None else f" at {size:g} Å"
    return f"{_size(shape)}{at}{' of integers' if integer else ''}"
