"""Files that no reader should take, made anew from a seed: what lies, what is cut, and what attacks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from malformed import (
    arrays,
    codes,
    models,
    pickles,
    pictures,
    settings,
    stores,
    structures,
    subtomograms,
    tables,
)
from malformed.cases import Case

FAMILIES: tuple[Callable[[Path, np.random.Generator], Iterator[Case]], ...] = (
    subtomograms.mrc_cases,
    subtomograms.star_cases,
    arrays.npy_cases,
    arrays.npz_cases,
    arrays.idx_cases,
    pictures.picture_cases,
    stores.zarr_cases,
    stores.hdf5_cases,
    pickles.pickle_cases,
    settings.yaml_cases,
    settings.record_cases,
    models.checkpoint_cases,
    models.weight_cases,
    codes.code_cases,
    tables.label_cases,
    structures.structure_cases,
    structures.archive_cases,
)


def all_cases(folder: Path, seed: int = 0) -> list[Case]:
    """Write the whole corpus below a folder.

    Parameters
    ----------
    folder : Path
        Empty; about 100 MB are written, most of it sparse.
    seed : int
        Of the places of the damage.

    Returns
    -------
    list of Case
        By reader.
    """
    found: list[Case] = []
    for family in FAMILIES:
        place = folder / family.__name__.removesuffix("_cases")
        place.mkdir(parents=True)
        found.extend(family(place, np.random.default_rng([seed, len(found)])))
    return found
