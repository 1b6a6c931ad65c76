"""Files of codes: `.npz`, Parquet and Zarr, written part by part so that they may be larger than memory."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast.data.arrays import check_archive
from dualcontrast.data.limits import check_count
from dualcontrast.data.pack import read_texts
from dualcontrast.data.zarr_store import check_stored
from dualcontrast.errors import SettingError
from dualcontrast.files import atomic_folder, atomic_path

SUFFIXES = (".npz", ".parquet", ".zarr")
MARK = "dualcontrast_codes"
ROWS_A_CHUNK = 65_536

Arrays = dict[str, np.ndarray]


def check_suffix(path: Path) -> None:
    """Raise `SettingError` for a name that says no format of codes."""
    if path.suffix not in SUFFIXES:
        raise SettingError(
            f"{path}: codes are written as .npz, .parquet or .zarr; give a name that ends in one"
        )


def write_arrays(path: Path, count: int, parts: Iterable[Arrays]) -> None:
    """Write the arrays of `Codes`; the file appears when it is complete, and replaces one that is there.

    Parameters
    ----------
    path : Path
        Its suffix says the format, `.npz` unless it is one of the others. `.npz` holds everything in memory
        once; the others one part at a time.
    count : int
        Rows of all parts.
    parts : iterable of dict
        Each with `ids`, shape (n,), and the codes, shape (n, d) each; the same names in every part. Other
        values of particles, shape (n,), may be there besides.
    """
    {".parquet": _write_parquet, ".zarr": _write_zarr}.get(path.suffix, _write_npz)(path, count, parts)


def read_arrays(path: Path) -> Arrays:
    """Read what `write_arrays` wrote; raises whatever the reading raises."""
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix == ".zarr":
        return _read_zarr(path)
    with np.load(path, allow_pickle=False) as archive:
        check_archive(path, archive)
        return {name: archive[name] for name in archive.files}


def _write_npz(path: Path, count: int, parts: Iterable[Arrays]) -> None:
    columns: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for name, values in part.items():
            columns.setdefault(name, []).append(values)
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        arrays: dict[str, Any] = {name: np.concatenate(values) for name, values in columns.items()}
        np.savez(handle, **arrays)


def _write_parquet(path: Path, count: int, parts: Iterable[Arrays]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    writer = None
    with atomic_path(path) as temporary:
        for part in parts:
            columns: dict[str, Any] = {"id": pa.array(part["ids"].tolist(), pa.string())}
            for name, values in part.items():
                if values.ndim == 1 and name != "ids":
                    columns[name] = pa.array(values.tolist() if values.dtype.kind == "U" else values)
                elif name != "ids":
                    columns |= {
                        f"{name}_{column}": pa.array(values[:, column]) for column in range(values.shape[1])
                    }
            table = pa.table(columns)
            if writer is None:
                writer = parquet.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()


def _read_parquet(path: Path) -> Arrays:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as opened:
        check_count(path, opened.metadata.num_rows, path.stat().st_size)
        table = opened.read()
    if any(column.null_count for column in table.columns):
        raise ValueError("has empty cells")
    found: Arrays = {"ids": np.array(table.column("id").to_pylist(), dtype=str)}
    columns: dict[str, list[str]] = {}
    for column in table.column_names:
        match = re.fullmatch(r"(\w+)_\d+", column)
        if match:
            columns.setdefault(match[1], []).append(column)
    for name, of_code in columns.items():
        of_code.sort(key=lambda column: int(column.rsplit("_", 1)[1]))
        if of_code != [f"{name}_{place}" for place in range(len(of_code))]:
            raise ValueError(f"has not all columns of '{name}'")
        found[name] = np.stack([table.column(column).to_numpy() for column in of_code], axis=1)
    return found


def _write_zarr(path: Path, count: int, parts: Iterable[Arrays]) -> None:
    import zarr

    with atomic_folder(path, MARK, overwrite=True) as temporary:
        group = zarr.open_group(str(temporary), mode="w", zarr_format=3)
        arrays: dict[str, Any] = {}
        for part, first in _whole_chunks(parts):
            for name, values in part.items():
                if name not in arrays:
                    arrays[name] = group.create_array(
                        name,
                        shape=(count, *values.shape[1:]),
                        chunks=(min(count, ROWS_A_CHUNK), *values.shape[1:]),
                        dtype="string" if values.dtype.kind == "U" else values.dtype,
                    )
                stored = values.astype(object) if values.dtype.kind == "U" else values
                arrays[name][first : first + len(values)] = stored
        group.attrs[MARK] = 1


def _whole_chunks(parts: Iterable[Arrays]) -> Iterator[tuple[Arrays, int]]:
    """Join parts until they fill a chunk, so that none is written twice; yield with the first row."""
    held: list[Arrays] = []
    first = 0

    def joined() -> Arrays:
        return {name: np.concatenate([part[name] for part in held]) for name in held[0]}

    for part in parts:
        held.append(part)
        while sum(len(one["ids"]) for one in held) >= ROWS_A_CHUNK:
            whole = joined()
            yield {name: values[:ROWS_A_CHUNK] for name, values in whole.items()}, first
            held = [{name: values[ROWS_A_CHUNK:] for name, values in whole.items()}]
            first += ROWS_A_CHUNK
    if held and len(held[-1]["ids"]):
        yield joined(), first


def _read_zarr(path: Path) -> Arrays:
    import zarr

    group: Any = zarr.open_group(str(path), mode="r")
    for _, array in group.arrays():
        check_stored(path, array)
    return {
        name: read_texts(array) if name == "ids" or _holds_texts(array) else np.asarray(array[:])
        for name, array in group.arrays()
    }


def _holds_texts(array: Any) -> bool:
    return np.dtype(array.dtype).kind in "TUO"
