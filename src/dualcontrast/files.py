"""Writing files so that none is ever half-written."""

import hashlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from dualcontrast.errors import RunError, UserError

# .NAME.PLACE-PROCESS.RANDOM.tmp
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<place>[0-9a-f]{8})-(?P<process>\d+)\.\w+\.tmp")


def temporary_prefix(path: Path) -> str:
    """Begin the name of a temporary file or folder beside `path`; it says whose it is, and ends in `.tmp`."""
    return f".{path.name}.{_place()}-{os.getpid()}."


def clear_leftovers(folder: Path, name: str | None = None) -> None:
    """Delete what killed processes of this machine left of unfinished files and folders.

    Parameters
    ----------
    folder : Path
        Looked into, but not into its sub-folders. It need not exist.
    name : str, optional
        Only what was to become the file or folder of this name.
    """
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        found = _TEMPORARY.fullmatch(entry.name)
        if found is None or found["place"] != _place() or name not in (None, found["name"]):
            continue
        if _is_running(int(found["process"])):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.unlink()


@cache
def _place() -> str:
    """Tell this machine, or this container, from others that write into the same folder."""
    processes = Path("/proc/self/ns/pid")
    # Processes are numbered anew in every container.
    space = processes.stat().st_ino if processes.exists() else 0
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _is_running(process: int) -> bool:
    if os.name != "posix":
        # Elsewhere signal 0 is no question but Ctrl-C.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Somebody else's.
        return True
    return True


def not_written(path: Path, error: OSError) -> UserError:
    """Say why a file could not be written, and what to look at."""
    return UserError(
        f"{path}: could not be written ({error.strerror or error}); "
        "check the free disk space and the permissions of the folder"
    )


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
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(path), suffix=".tmp")
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
        raise not_written(path, error) from error
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
    recover_folder(path)
    described = path / "zarr.json"
    if path.exists():
        if not described.is_file() or mark not in described.read_text(encoding="utf-8"):
            raise RunError(f"{path}: exists and was not written by this command; choose another name")
        if not overwrite:
            raise RunError(f"{path}: exists already; add --overwrite or choose another name")
    with replaced_folder(path) as temporary:
        yield temporary


def recover_folder(path: Path) -> None:
    """Give a folder its name again whose replacement was killed between its last two steps."""
    old = _old(path)
    if old.exists() and not path.exists():
        old.rename(path)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it becomes `path` when the block ends well.

    Raises
    ------
    UserError
        When it cannot be written or the disk is full; the old folder stays as it was.
    """
    temporary, old = path.with_name(f".{path.name}.partial"), _old(path)
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
        raise not_written(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")
