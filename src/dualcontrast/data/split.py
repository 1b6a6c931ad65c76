"""Which particles train and which test, by id."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualcontrast.data.labels import check_unique
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError, SettingError


@dataclass(frozen=True)
class Split:
    """Ids of the training and of the test images.

    Attributes
    ----------
    train : numpy.ndarray of str, shape (n,)
        Particles that the networks are trained on.
    test : numpy.ndarray of str, shape (m,)
        Particles held out.

    Raises
    ------
    DataError
        When a particle is in both, or twice in one.
    """

    train: np.ndarray
    test: np.ndarray

    def __post_init__(self) -> None:
        for part in (self.train, self.test):
            check_unique(part, "split")
        both = set(self.train.tolist()) & set(self.test.tolist())
        if both:
            raise DataError(f"split: '{min(both)}' is in both train and test; keep it in one of them")

    def to_dict(self) -> dict[str, list[str]]:
        """Return plain lists, for JSON."""
        return {"train": self.train.tolist(), "test": self.test.tolist()}

    @classmethod
    def from_dict(cls, recorded: Mapping[str, Any]) -> "Split":
        """Build from what `to_dict` returned.

        Raises
        ------
        DataError
            When `train` or `test` is missing or is not a list of ids.
        """
        if not isinstance(recorded, Mapping):
            raise DataError("split: is no record of ids; restore the file or train again")
        parts = {}
        for part in ("train", "test"):
            ids = recorded.get(part)
            if not isinstance(ids, list) or not all(isinstance(particle, str) for particle in ids):
                raise DataError(f"split: `{part}` is not a list of ids; restore the file or train again")
            parts[part] = np.array(ids, dtype=str)
        return cls(**parts)


def make_split(source: ImageSource, test_fraction: float = 0.2, seed: int = 0) -> Split:
    """Take the published split where there is one, else hold out a random fraction.

    Which particles are held out depends on their ids and the seed alone, not on the order of the source.

    Parameters
    ----------
    source : ImageSource
        Images with ids.
    test_fraction : float
        In [0, 1); not used where the split is published. At least one image is held out unless it is 0.
    seed : int
        Of the choice.

    Raises
    ------
    SettingError
        When `test_fraction` is outside its range.
    DataError
        When no image would be left to train on.
    """
    if not 0 <= test_fraction < 1:
        raise SettingError(
            f"test_fraction is {test_fraction}; choose a number from 0 up to, not including, 1"
        )
    if source.fixed_split is not None:
        return Split(source.fixed_split["train"], source.fixed_split["test"])
    count = max(1, round(len(source) * test_fraction)) if test_fraction else 0
    if count >= len(source):
        raise DataError(
            f"{source.location}: {len(source)} images cannot be split into train and test; add more images"
        )
    ranks = np.array([_rank(seed, particle) for particle in source.ids.tolist()], dtype=np.uint64)
    test = np.zeros(len(source), dtype=bool)
    test[np.lexsort((source.ids, ranks))[:count]] = True
    return Split(source.ids[~test], source.ids[test])


def _rank(seed: int, particle: str) -> int:
    digest = hashlib.blake2b(f"split\x1f{seed}\x1f{particle}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
