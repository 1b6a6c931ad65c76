"""Writing files so that none is ever half-written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dualcontrast.errors import RunError, UserError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` when the block ends well.

    Raises
    ------
    UserError
        When the folder cannot be written or the disk is full; the old file stays as it was.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes private files; give the file the permissions any other new file would have.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"{path}: could not be written ({error.strerror or error}); "
            "check the free disk space and the permissions of the folder"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic_folder(path: str | Path, mark: str, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `path`, and rename it to `path` when the block ends well.

    Parameters
    ----------
    path : str or Path
        The folder to be; what a former attempt left of it is removed.
    mark : str
        Stands in the `zarr.json` of folders that may be replaced.
    overwrite : bool
        Replace the folder where it exists and holds the mark.

    Raises
    ------
    RunError
        When the folder exists and may not be replaced.
    UserError
        When it cannot be written or the disk is full; the old folder stays as it was.
    """
    path = Path(path)
    temporary, old = (path.with_name(f".{path.name}.{suffix}") for suffix in ("partial", "old"))
    if old.exists() and not path.exists():
        # A former call was killed between the last two steps.
        old.rename(path)
    described = path / "zarr.json"
    if path.exists():
        if not described.is_file() or mark not in described.read_text(encoding="utf-8"):
            raise RunError(f"{path}: exists and was not written by this command; choose another name")
        if not overwrite:
            raise RunError(f"{path}: exists already; add --overwrite or choose another name")
    try:
        for left in (temporary, old):
            if left.exists():
                shutil.rmtree(left)
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{path}: could not be written ({error.strerror or error}); "
            "check the free disk space and the permissions of the folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
