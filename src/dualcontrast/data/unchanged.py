"""Noticing that a file is no longer the one that was opened."""

from pathlib import Path

import numpy as np

from dualcontrast.errors import DataError


class WatchedFile:
    """A memory-mapped file, looked at before each read.

    The system ends a process at once, without a word, that reads a map beyond the end of its file.

    Parameters
    ----------
    path : str or Path
        The file as it is now.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._then = self._now()

    def check(self) -> None:
        """Raise `DataError` when the file is gone, is another one, or has another size."""
        now = self._now()
        if now == self._then:
            return
        what = "is gone" if now is None else "has changed"
        raise DataError(
            f"{self._path}: {what} since it was opened; put it back as it was, then go on (--resume)"
        )

    def _now(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size


def watch(array: np.ndarray) -> WatchedFile | None:
    """Watch the file behind an array; None where it is in memory."""
    name = getattr(array, "filename", None) if isinstance(array, np.memmap) else None
    return None if name is None else WatchedFile(name)
