"""Finding the files that a STAR file names, wherever the project has moved to."""

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

from dualcontrast.errors import DataError

# Names that are tried to find out what a `datadir` stands for; the first may happen to be missing.
TRIED = 100
# Of a position in a stack; RELION writes six, and some programs more.
_MOST_DIGITS = 18


class FileFinder:
    """Turns the names of one column of a STAR file into paths.

    A name is looked for, in this order, in `datadir` where that is given; as it stands where it is absolute;
    beside the STAR file; and in every folder above that, of which one is the project folder that RELION
    writes its names from. The place of a file depends on its own name only, not on the order of the rows.

    Parameters
    ----------
    star : Path
        The STAR file.
    datadir : Path, optional
        Folder to look in first. `set_reference` finds how many leading folders of the names it replaces.

    Raises
    ------
    DataError
        When `datadir` is no folder.
    """

    def __init__(self, star: Path, datadir: Path | None = None) -> None:
        if datadir is not None and not datadir.is_dir():
            raise DataError(f"{datadir}: no such folder; give --datadir the folder that holds the files")
        # Not resolved: a folder of a project that is a link elsewhere still belongs to the project.
        folder = star.absolute().parent
        self.folders = (folder, *folder.parents)
        self.datadir = datadir
        self.dropped = 0

    def set_reference(self, names: Iterable[str]) -> None:
        """Choose how many leading folders are dropped below `datadir`: the fewest that find a file.

        The names that come first are tried, in the order of the alphabet, until one is found.
        """
        if self.datadir is None:
            return
        for name in heapq.nsmallest(TRIED, names):
            parts = parts_of(name)
            for dropped in range(len(parts)):
                if _is_file(self.datadir.joinpath(*parts[dropped:])):
                    self.dropped = dropped
                    return

    def candidates(self, name: str) -> Iterator[Path]:
        """Places where a file may be, first the one that counts."""
        parts = parts_of(name)
        if self.datadir is not None and len(parts) > self.dropped:
            yield self.datadir.joinpath(*parts[self.dropped :])
        # An absolute name stays as it is when joined, so it needs to be tried only once.
        folders = self.folders[:1] if Path(name).is_absolute() else self.folders
        for folder in folders:
            yield folder / name.replace("\\", "/")

    def find(self, name: str) -> Path | None:
        """Find a file; None where there is none."""
        return next((path for path in self.candidates(name) if _is_file(path)), None)

    def explain(self, name: str) -> str:
        """Say where a missing file was looked for, and what to do."""
        if self.datadir is not None:
            return f"not in --datadir {self.datadir} nor from {self.folders[0]} upwards; correct --datadir"
        if Path(name).is_absolute():
            return "give --datadir, the folder to which the files have moved"
        return f"looked in {self.folders[0]} and the folders above; give --datadir, the folder they are in"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # A name that is too long for any file, for example.
        return False


def parts_of(name: str) -> tuple[str, ...]:
    """Folders and file of a name, without the root of an absolute one and without `.`."""
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def split_name(name: str) -> tuple[int | None, str]:
    """Split RELION's `000012@stack.mrcs` into the position in the stack, from 0, and the file."""
    number, at, file = name.partition("@")
    counts = at and number.isdecimal() and len(number) <= _MOST_DIGITS
    return (int(number) - 1, file) if counts else (None, name)
