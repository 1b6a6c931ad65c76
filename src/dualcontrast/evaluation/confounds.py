"""What the codes know of how a particle was imaged: its pose, defocus and tomogram, where these are known.

A code that is told by the pose or by the tomogram may look as if it told structures apart. The columns are
those of a RELION STAR file, which ride along as metadata.
"""

from typing import Any

import numpy as np

from dualcontrast.codes import BOTH_CODES, Codes
from dualcontrast.data.labels import LabelTable
from dualcontrast.evaluation.d_score import cross_fitted_accuracy
from dualcontrast.evaluation.regression import cross_fitted_r_squared
from dualcontrast.random_streams import numpy_stream

MOST_PARTICLES = 2_000
FEWEST_PARTICLES = 20
# A tomogram with fewer particles than this is not learnt from those that are not held out.
FEWEST_A_GROUP = 5
# What is looked for, and the columns that hold it; the first set of columns that is there is taken.
NUISANCES: dict[str, tuple[tuple[str, ...], ...]] = {
    "pose": (("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"),),
    "shift": (
        ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"),
        ("rlnOriginX", "rlnOriginY", "rlnOriginZ"),
    ),
    "defocus": (("rlnDefocusU",),),
    "tomogram": (("rlnTomoName",), ("rlnMicrographName",)),
}


def rotation_entries(angles: np.ndarray) -> np.ndarray:
    """Turn Euler angles into the nine entries of the rotation matrix.

    Entries have no jump at ±180° and no place where two angles do the same, so a regression can predict them.

    Parameters
    ----------
    angles : numpy.ndarray, shape (N, 3)
        `rlnAngleRot`, `rlnAngleTilt`, `rlnAnglePsi` in degrees (RELION: ZYZ about moving axes).

    Returns
    -------
    numpy.ndarray, shape (N, 9)
        RELION's matrices, row by row: they turn the particle onto its reference.
    """
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix().reshape(-1, 9)


def confounds(codes: Codes, labels: LabelTable, seed: int = 0) -> dict[str, Any]:
    """Predict what is known of the imaging from each code.

    No label takes part in training, so training and held-out particles count alike: five-fold, each particle
    is predicted by a regression fitted to others. At most 2,000 particles are taken, chosen at random by id.

    Parameters
    ----------
    codes : Codes
        Codes of all particles.
    labels : LabelTable
        Metadata of particles of the run.
    seed : int
        Of the choice and the folds.

    Returns
    -------
    dict
        `factors`, one entry for each of pose (the entries of the rotation matrix), shift, defocus and
        tomogram that is known: `name`, `columns`, `measure` ('r2' or 'accuracy'), `from_content` and
        `from_transformation` (R² of a ridge regression, or accuracy of a logistic regression), `nonlinear`
        (the two R² of a Gaussian-kernel ridge regression; None for tomograms), `chance`, `particles`, and
        `reason` (why there are no numbers, or None). And `reason`, where nothing is known.
    """
    entries = []
    metadata = {factor.name: factor.values for factor in labels.factors}
    for name, alternatives in NUISANCES.items():
        columns = next((names for names in alternatives if all(n in metadata for n in names)), None)
        if columns is not None:
            entries.append(_score(name, columns, codes, labels.ids, metadata, seed))
    known = ", ".join(f"{' '.join(alternatives[0])} ({name})" for name, alternatives in NUISANCES.items())
    return {"factors": entries, "reason": None if entries else f"the particles have none of {known}"}


def _score(
    name: str,
    columns: tuple[str, ...],
    codes: Codes,
    ids: np.ndarray,
    metadata: dict[str, np.ndarray],
    seed: int,
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": name,
        "columns": list(columns),
        "measure": "accuracy" if name == "tomogram" else "r2",
        "from_content": None,
        "from_transformation": None,
        "nonlinear": None,
        "chance": None,
        "particles": 0,
        "reason": None,
    }
    if name == "tomogram":
        values = metadata[columns[0]]
        known = np.ones(values.shape, dtype=bool)
    else:
        try:
            values = np.stack([metadata[column].astype(np.float64) for column in columns], axis=1)
        except ValueError:
            return entry | {"reason": f"{columns[0]} holds something that is no number"}
        known = np.all(np.isfinite(values), axis=1)
    # In the order of the ids, so that nothing depends on the order of a file.
    rows = np.argsort(ids, kind="stable")
    rows = rows[np.isin(rows, np.flatnonzero(known))]
    rows = numpy_stream(seed, "confounds", "particles").permutation(rows)[:MOST_PARTICLES]
    values = values[rows]
    entry["particles"] = len(rows)
    entry["reason"] = _why_not(name, values)
    if entry["reason"]:
        return entry
    chosen = codes.select(ids[rows])

    def folds() -> np.random.Generator:
        return numpy_stream(seed, "confounds", "folds", name)

    if name == "tomogram":
        found = {
            code: cross_fitted_accuracy(getattr(chosen, code), values.astype(str), folds())
            for code in BOTH_CODES
        }
        return entry | {
            "from_content": found["content"].score,
            "from_transformation": found["transformation"].score,
            "chance": found["content"].chance,
        }
    targets = rotation_entries(values) if name == "pose" else values
    linear, nonlinear = (
        {
            f"from_{code}": cross_fitted_r_squared(getattr(chosen, code), targets, folds(), nonlinear=kernel)
            for code in BOTH_CODES
        }
        for kernel in (False, True)
    )
    return entry | linear | {"nonlinear": nonlinear, "chance": 0.0}


def _why_not(name: str, values: np.ndarray) -> str | None:
    """Say why a nuisance cannot be predicted, or None when it can."""
    if len(values) < FEWEST_PARTICLES:
        return f"known of {len(values)} particles only"
    distinct = len(np.unique(values, axis=0))
    if distinct == 1:
        return "every particle has the same value"
    if name == "tomogram" and len(values) < FEWEST_A_GROUP * distinct:
        return f"{distinct:,} tomograms of {len(values):,} particles hold too few each"
    return None
