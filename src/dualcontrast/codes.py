"""Content and transformation codes of a set of particles, and the file that holds them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np

from dualcontrast.code_files import read_arrays, write_arrays
from dualcontrast.data.labels import check_unique
from dualcontrast.data.limits import check_file
from dualcontrast.errors import DataError

CodeName = Literal["content", "transformation"]
BOTH_CODES: tuple[CodeName, ...] = ("content", "transformation")


@dataclass(frozen=True)
class Codes:
    """Posterior means (and log-variances) of the two codes, by particle id.

    Attributes
    ----------
    ids : numpy.ndarray of str, shape (N,)
        Particle ids.
    content : numpy.ndarray, float32, shape (N, content_dim)
        Posterior mean of c.
    transformation : numpy.ndarray, float32, shape (N, transformation_dim)
        Posterior mean of z.
    content_log_variance : numpy.ndarray or None, float32, shape (N, content_dim)
        Log-variance of c's posterior; None where the method has no posterior.
    transformation_log_variance : numpy.ndarray or None, float32, shape (N, transformation_dim)
        Log-variance of z's posterior; None where the method has no posterior.
    """

    ids: np.ndarray
    content: np.ndarray
    transformation: np.ndarray
    content_log_variance: np.ndarray | None = None
    transformation_log_variance: np.ndarray | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            if values is not None and len(values) != len(self.ids):
                raise DataError(
                    f"codes: '{field.name}' has {len(values)} rows for {len(self.ids)} ids; give one each"
                )

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, ids: np.ndarray) -> "Codes":
        """Return the codes of the given particles, in their order.

        Raises
        ------
        DataError
            When a particle has no codes.
        """
        row_of = {particle: row for row, particle in enumerate(self.ids.tolist())}
        missing = [particle for particle in ids.tolist() if particle not in row_of]
        if missing:
            raise DataError(f"codes: {len(missing)} particles have no codes, first '{missing[0]}'")
        rows = np.array([row_of[particle] for particle in ids.tolist()], dtype=np.int64)
        return Codes(**{name: values[rows] for name, values in self.arrays().items()})

    def sorted_by_id(self) -> "Codes":
        """Return the codes in the order of their ids, which does not depend on that of the images."""
        return self.select(np.sort(self.ids))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that there are, by name."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}

    @classmethod
    def joined(cls, parts: Sequence["Codes"]) -> "Codes":
        """Put the codes of several sets of particles, at least one, behind each other."""
        arrays = [part.arrays() for part in parts]
        return cls(**{name: np.concatenate([each[name] for each in arrays]) for name in arrays[0]})

    def save(self, path: str | Path) -> None:
        """Write the codes: as Parquet or Zarr where the name ends so, else as `.npz`; nothing is pickled."""
        write_arrays(Path(path), len(self), [self.arrays()])

    def _check(self) -> None:
        """Raise `DataError` for what no encoding gives: ids that are repeated, codes that are no numbers."""
        if self.ids.ndim != 1:
            raise DataError("codes: ids are no list; write it again with `encode`")
        check_unique(self.ids, "codes")
        for name, values in self.arrays().items():
            if name == "ids":
                continue
            mean = getattr(self, name.removesuffix("_log_variance"))
            if values.ndim != 2 or values.dtype.kind != "f" or values.shape != mean.shape:
                raise DataError(
                    f"codes: '{name}' is {values.dtype} of shape {values.shape}; write it again with `encode`"
                )
            if not np.isfinite(values).all():
                raise DataError(f"codes: '{name}' has NaN or infinite values; write it again with `encode`")

    @classmethod
    def load(cls, path: str | Path) -> "Codes":
        """Read codes written by `save` or by `dualcontrast encode`.

        Raises
        ------
        DataError
            When the file is missing, is none of codes, lacks one of the arrays, or has an id twice or
            codes that are no finite numbers.
        """
        try:
            check_file(path)
            names = {f.name for f in fields(cls)}
            found = {name: values for name, values in read_arrays(Path(path)).items() if name in names}
            codes = cls(**found)
            codes._check()
            return codes
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; write it with `dualcontrast encode`") from None
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        except Exception as error:
            raise DataError(f"{path}: not a file of codes ({error}); write it again with `encode`") from None
