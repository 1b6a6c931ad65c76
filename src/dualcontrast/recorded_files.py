"""Results that a record lists, and how they are taken away without touching what others keep beside them."""

import json
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
    for name in (*(value for value in values if isinstance(value, str)), *others):
        # Only names: a record that was changed must not reach beyond its folder.
        if name and Path(name).name == name and (record.parent / name).is_file():
            (record.parent / name).unlink()
