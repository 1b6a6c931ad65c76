"""Codes of particles together with their classes and how sure these are, as one file for other programs."""

from pathlib import Path

import numpy as np

from dualcontrast.clusters import Clusters
from dualcontrast.code_files import check_suffix, write_arrays
from dualcontrast.codes import Codes
from dualcontrast.errors import RunError


def check_class_codes(path: str | Path, overwrite: bool = False) -> None:
    """See that codes with classes can be written there, before any work is done.

    Raises
    ------
    SettingError
        For a name that says no format of codes.
    RunError
        When the file exists and `overwrite` is not set.
    """
    check_suffix(Path(path))
    if Path(path).exists() and not overwrite:
        raise RunError(f"{path}: exists already; add --overwrite or choose another --codes")


def write_class_codes(path: str | Path, clusters: Clusters, codes: Codes) -> Path:
    """Write the codes of all particles of a clustering, each with its class and confidence.

    Beside the arrays of `Codes`, which `Codes.load` reads from it, the file has `class` and, where they were
    found, `conformation` (strings), `probability`, `expected_probability`, `agreement` (NaN where no other
    run has the particle) and `confidence`, of shape (N,), as in `classes.csv`.

    Parameters
    ----------
    path : str or Path
        Ends in .npz, .parquet or .zarr; replaced where it exists.
    clusters : Clusters
        The classes.
    codes : Codes
        Of the run, in any order.

    Raises
    ------
    SettingError
        For a name that says no format of codes.
    DataError
        When a particle of the clustering has no codes.
    UserError
        When the file cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    columns: dict[str, np.ndarray] = {
        "class": clusters.classes.names,
        "probability": clusters.classes.probability,
    }
    if clusters.conformations is not None:
        columns["conformation"] = clusters.conformations.names
    if clusters.confidence is not None:
        columns |= {
            "expected_probability": clusters.confidence.expected,
            "agreement": clusters.confidence.agreement,
            "confidence": clusters.confidence.confidence,
        }
    write_arrays(path, len(clusters.ids), [codes.select(clusters.ids).arrays() | columns])
    return path
