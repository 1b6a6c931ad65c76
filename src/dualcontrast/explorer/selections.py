"""Particles that somebody has chosen: the current selection and named ones, kept in the run folder."""

import hashlib
import re
from pathlib import Path
from typing import Literal

import numpy as np

from dualcontrast.data.labels import positions_of
from dualcontrast.errors import SettingError, UserError
from dualcontrast.explorer.history import History
from dualcontrast.explorer.kept import read_kept
from dualcontrast.files import atomic_path, write_text

CURRENT, NAMED = "current.npz", "selections"
LONGEST_NAME = 60
Combination = Literal["replace", "and", "or", "not"]


class Selections:
    """Selections of a run's particles.

    A named selection is a text file of ids, one a line, `selections/NAME.txt`; the current one is written at
    every change, so that closing the browser or losing the connection loses nothing.

    Parameters
    ----------
    folder : Path
        `RUN/explorer`.
    ids : numpy.ndarray of str, shape (N,)
        All particles.
    history : History
        Takes in every change.
    """

    def __init__(self, folder: Path, ids: np.ndarray, history: History) -> None:
        self._folder, self._ids, self._history = folder, ids, history
        self._digest = hashlib.blake2b("\n".join(ids.tolist()).encode(), digest_size=16).hexdigest()
        self.current = self._read_current()

    @property
    def count(self) -> int:
        """Number of particles in the current selection."""
        return int(self.current.sum())

    def set(self, chosen: np.ndarray, what: str) -> None:
        """Make another selection the current one.

        Parameters
        ----------
        chosen : numpy.ndarray of bool, shape (N,)
            The particles.
        what : str
            In words, for undo.
        """
        before = self.current
        if np.array_equal(before, chosen):
            return
        self._keep(chosen)
        packed = np.packbits(before)
        self._history.add(what, lambda: self._keep(np.unpackbits(packed, count=len(before)).astype(bool)))

    def combine(self, how: Combination, other: np.ndarray, title: str) -> None:
        """Replace the current selection, or keep what is in both, in either, or not in the other.

        Parameters
        ----------
        how : {'replace', 'and', 'or', 'not'}
            `not` leaves out the particles of the other.
        other : numpy.ndarray of bool, shape (N,)
            The other.
        title : str
            What the other is called.
        """
        if how == "replace":
            chosen = other
        elif how == "and":
            chosen = self.current & other
        elif how == "or":
            chosen = self.current | other
        else:
            chosen = self.current & ~other
        words = {"replace": "selecting", "and": "keeping", "or": "adding", "not": "removing"}
        self.set(chosen, f"{words[how]} {title}")

    def names(self) -> list[str]:
        """Return the names of the named selections."""
        return sorted(path.stem for path in (self._folder / NAMED).glob("*.txt"))

    def load(self, name: str) -> np.ndarray:
        """Read a named selection; ids that the run does not have are passed over.

        Raises
        ------
        UserError
            When it is not there or cannot be read.
        """
        path = self._path(name)
        try:
            ids = np.array(path.read_text(encoding="utf-8").splitlines(), dtype=str)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{path}: cannot be read ({error}); restore it or save the selection again"
            ) from None
        rows = positions_of(ids, self._ids)
        chosen = np.zeros(len(self._ids), dtype=bool)
        chosen[rows[rows >= 0]] = True
        return chosen

    def save(self, name: str, *, overwrite: bool = False) -> None:
        """Name the current selection.

        Raises
        ------
        SettingError
            For an empty selection, or a name that cannot be used or is taken and `overwrite` is not set.
        UserError
            When it cannot be written.
        """
        path = self._path(name)
        if not self.current.any():
            raise SettingError("nothing is selected; choose particles in a map first")
        before = path.read_text(encoding="utf-8") if path.exists() else None
        if before is not None and not overwrite:
            raise SettingError(f"a selection '{name}' is there already; choose another name")
        write_text(path, "".join(f"{particle}\n" for particle in self._ids[self.current].tolist()))
        self._history.add(f"saving '{name}'", lambda: self._restore(path, before))

    def delete(self, name: str) -> None:
        """Delete a named selection; undo brings it back."""
        path = self._path(name)
        if not path.exists():
            return
        before = path.read_text(encoding="utf-8")
        path.unlink()
        self._history.add(f"deleting '{name}'", lambda: self._restore(path, before))

    def _restore(self, path: Path, text: str | None) -> None:
        if text is None:
            path.unlink(missing_ok=True)
        else:
            write_text(path, text)

    def _path(self, name: str) -> Path:
        return self._folder / NAMED / f"{check_name(name)}.txt"

    def _keep(self, chosen: np.ndarray) -> None:
        self.current = chosen
        with atomic_path(self._folder / CURRENT) as temporary, temporary.open("wb") as handle:
            np.savez(handle, ids=np.array(self._digest), bits=np.packbits(chosen))

    def _read_current(self) -> np.ndarray:
        # Where none was kept, or it is damaged, one click's worth is lost.
        kept = read_kept(self._folder / CURRENT)
        bits = kept.get("bits", np.zeros(0))
        if str(kept.get("ids")) != self._digest or bits.dtype != np.uint8 or bits.ndim != 1:
            return np.zeros(len(self._ids), dtype=bool)
        return np.unpackbits(bits, count=len(self._ids)).astype(bool)


def check_name(name: str) -> str:
    """Return a name that is safe as that of a file, or raise `SettingError`."""
    name = name.strip()
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_ -]*", name) or len(name) > LONGEST_NAME:
        raise SettingError(
            f"name '{name}': use letters, digits, spaces, '-' and '_', at most {LONGEST_NAME} of them"
        )
    return name
