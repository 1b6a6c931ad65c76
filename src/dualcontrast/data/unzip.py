"""Unpacking an archive from elsewhere: nothing outside its folder, and all of it or nothing."""

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from dualcontrast.errors import DataError
from dualcontrast.files import clear_leftovers, temporary_prefix


def check_zip(path: Path) -> None:
    """Raise `ValueError` unless a file is a whole zip archive, as far as its table of contents tells."""
    try:
        with zipfile.ZipFile(path):
            pass
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError("not a whole zip archive") from error


def unzip(archive: Path, folder: Path, place: Callable[[PurePosixPath], PurePosixPath | None]) -> None:
    """Unpack some files of a zip archive into a new folder.

    The folder appears when all files are in it and their checksums are right. Archives that name a place
    outside of their own folder, or hold links, are refused as a whole.

    Parameters
    ----------
    archive : Path
        The zip archive.
    folder : Path
        Where the files go; it must not exist yet.
    place : callable
        Takes the name of a file in the archive and returns its name in `folder`, or None to leave it out.

    Raises
    ------
    DataError
        When the archive is damaged, names a place outside, holds nothing that is wanted, needs more space
        than there is, or the folder cannot be written.
    """
    made = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive) as opened:
            wanted = _choose(opened, archive, place)
            needed = sum(info.file_size for info, _ in wanted)
            free = shutil.disk_usage(folder.parent).free
            if needed > free:
                raise DataError(
                    f"{archive}: needs {needed / 1e9:.1f} GB unpacked, but {folder.parent} has "
                    f"{free / 1e9:.1f} GB free; make space or set another folder"
                )
            clear_leftovers(folder.parent, folder.name)
            made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=temporary_prefix(folder), suffix=".tmp"))
            for info, name in wanted:
                target = made / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(info) as source, target.open("wb") as output:
                    shutil.copyfileobj(source, output, 1 << 20)
                if target.stat().st_size != info.file_size:
                    raise zipfile.BadZipFile(f"{name} is not as long as the archive says")
        # mkdtemp makes private folders; a cache may be shared.
        made.chmod(0o755)
        made.replace(folder)
    # An encrypted member is a RuntimeError, an unknown compression a NotImplementedError.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{archive}: damaged ({error}); delete it and fetch it again") from None
    except OSError as error:
        raise DataError(
            f"{folder}: could not be unpacked ({error.strerror or error}); check the free disk space and the "
            "permissions of the folder"
        ) from None
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


def _choose(
    opened: zipfile.ZipFile, archive: Path, place: Callable[[PurePosixPath], PurePosixPath | None]
) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Find the files to unpack, after a look at the names of all."""
    wanted: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in opened.infolist():
        # zipfile turns the backslashes of Windows into slashes on Windows only.
        name = PurePosixPath(info.filename.replace("\\", "/"))
        drive = name.parts and name.parts[0].endswith(":")
        if name.is_absolute() or ".." in name.parts or drive or stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(
                f"{archive}: its member '{info.filename}' points out of the folder; not the published "
                "archive, delete it"
            )
        target = None if info.is_dir() else place(name)
        if target is not None:
            if target in wanted:
                raise DataError(f"{archive}: has '{target}' twice; not the published archive, delete it")
            wanted[target] = info
    if not wanted:
        raise DataError(f"{archive}: holds none of the files that are needed; not the published archive")
    return [(info, target) for target, info in wanted.items()]
