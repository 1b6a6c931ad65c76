"""A selection as files for other programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from dualcontrast.code_files import write_arrays
from dualcontrast.codes import Codes
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import SettingError
from dualcontrast.explorer.columns import Column
from dualcontrast.explorer.selections import check_name
from dualcontrast.export.star import write_star_subset
from dualcontrast.files import write_text

EXPORTS = "exports"
Kind = Literal["ids", "star", "codes"]
SUFFIXES: dict[str, str] = {"ids": ".txt", "star": ".star", "codes": ".npz"}


def export_selection(
    folder: Path,
    name: str,
    kind: Kind,
    chosen: np.ndarray,
    codes: Codes,
    source: ImageSource | None,
    columns: Mapping[str, Column] | None = None,
) -> Path:
    """Write the chosen particles into `RUN/explorer/exports`; files that are there stay.

    Parameters
    ----------
    folder : Path
        `RUN/explorer`.
    name : str
        Of the file; a number is added where it is taken.
    kind : {'ids', 'star', 'codes'}
        Ids, one a line; the STAR file of the run with the rows of these particles and all of its columns; or
        their codes, for `Codes.load`, with their classes and the confidence in these.
    chosen : numpy.ndarray of bool, shape (N,)
        The particles.
    codes : Codes
        Of all particles.
    source : ImageSource or None
        The images of the run.
    columns : mapping of str to Column, optional
        What is known of all particles, by title; see `columns_of`.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    SettingError
        When nothing is chosen, the name cannot be used, or there is no STAR file.
    DataError
        When the STAR file is no longer what it was.
    """
    if not chosen.any():
        raise SettingError("nothing is selected; choose particles in a map first")
    if kind == "star" and (source is None or source.star_file is None):
        raise SettingError("the images of this run are not from a STAR file; export ids or codes")
    path = _free(folder / EXPORTS, check_name(name), SUFFIXES[kind])
    ids = codes.ids[chosen]
    if kind == "ids":
        write_text(path, "".join(f"{particle}\n" for particle in ids.tolist()))
    elif kind == "codes":
        arrays = codes.arrays() | {
            title: column.values
            for title, column in (columns or {}).items()
            if title.startswith(("class (", "confidence ("))
        }
        write_arrays(path, len(ids), [{key: values[chosen] for key, values in arrays.items()}])
    else:
        assert source is not None and source.star_file is not None
        write_star_subset(source.star_file, ids.tolist(), path)
    return path


def _free(folder: Path, name: str, suffix: str) -> Path:
    path, count = folder / f"{name}{suffix}", 1
    while path.exists():
        count += 1
        path = folder / f"{name}-{count}{suffix}"
    return path
