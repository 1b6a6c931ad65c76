"""Results that a record lists, and how they are taken away without touching what others keep beside them."""

import json
from collections.abc import Iterable
from pathlib import Path

from dualcontrast.nested import leaves


def delete_recorded(record: Path, *others: str) -> None:
    """Delete a record (JSON), the files beside it that it names, and `others`, and no other file.

    Parameters
    ----------
    record : Path
        Where there is none, or none that can be read, it names nothing.
    *others : str
        Names of further files beside it; they are deleted where there is a record.
    """
    try:
        values = [value for _, value in leaves(json.loads(record.read_text(encoding="utf-8")))]
    except FileNotFoundError:
        return
    except ValueError:
        values = []
    record.unlink()
    delete_named(record.parent, (*(value for value in values if isinstance(value, str)), *others))


def delete_named(folder: Path, names: Iterable[str]) -> None:
    """Delete files by their names in a folder; a name that was changed must not reach beyond it."""
    for name in names:
        if name and Path(name).name == name and (folder / name).is_file():
            (folder / name).unlink()
