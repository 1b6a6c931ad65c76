"""Downloading one file from the first of several mirrors that gives the right one."""

import functools
import gzip
import hashlib
import io
import json
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import IO, Any
from urllib.parse import urlsplit

from dualcontrast.errors import DataError
from dualcontrast.files import clear_leftovers, temporary_prefix

TIMEOUT_SECONDS = 30
_GZIP_MAGIC = b"\x1f\x8b"


def download(
    urls: Sequence[str], checksum: str | None, path: Path, check: Callable[[Path], None] | None = None
) -> None:
    """Download a file, gunzip it if it is gzipped, check it, and only then give it its name.

    Parameters
    ----------
    urls : sequence of str
        The same file on several mirrors, tried in order.
    checksum : str or None
        SHA-256, or another algorithm's as `md5:…`, of the uncompressed content, so that it does not matter
        how a mirror compresses. None where none is published.
    path : Path
        Where the uncompressed file goes; left alone if it is there and right, or there and no checksum known.
    check : callable, optional
        Looks at the uncompressed file, and raises `ValueError` where it is not the right one.

    Raises
    ------
    DataError
        When no mirror gave the right file, with the reason for each, or the file cannot be written.
    """
    import pooch
    from pooch.hashes import hash_matches

    pooch.get_logger().setLevel("WARNING")
    clear_leftovers(path.parent, path.name)
    reasons = []
    for url in urls:
        received = None
        try:
            if path.exists() and (checksum is None or hash_matches(path, checksum)):
                return
            # pooch writes files of any name where it is told to write: into a folder of its own, so that what
            # a killed process leaves is known for what it is.
            path.parent.mkdir(parents=True, exist_ok=True)
            received = Path(mkdtemp(dir=path.parent, prefix=temporary_prefix(path), suffix=".tmp"))
            pooch.retrieve(
                url,
                known_hash=checksum,
                path=received,
                fname=path.name,
                downloader=functools.partial(_download, check=check),
            )
            # pooch makes private files; a cache may be shared.
            (received / path.name).chmod(0o644)
            (received / path.name).replace(path)
            return
        except (OSError, ValueError, EOFError, zlib.error) as error:
            # Failures of the network carry no errno of this machine, a full disk does.
            if isinstance(error, PermissionError) or getattr(error, "errno", None):
                reason = getattr(error, "strerror", None) or "no permission"
                raise DataError(
                    f"{path}: could not be written ({reason}); check the free disk space and the permissions"
                ) from None
            reasons.append(f"{urlsplit(url).netloc}: {_reason(error)}")
        finally:
            if received is not None:
                shutil.rmtree(received, ignore_errors=True)
    raise DataError(f"{path.name} could not be downloaded ({'; '.join(reasons)})")


def read_json(url: str) -> Any:
    """Read a JSON document from an address; `DataError` when it cannot be had."""
    from pooch import HTTPDownloader

    received = io.BytesIO()
    try:
        HTTPDownloader(timeout=TIMEOUT_SECONDS)(url, received, None)
        return json.loads(received.getvalue())
    except json.JSONDecodeError:
        raise DataError(f"{url}: not JSON") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{url} could not be read ({_reason(error)})") from None


def _download(
    fname: str,
    action: Any,
    pooch: Any,
    *,
    check: Callable[[Path], None] | None = None,
    check_only: bool | None = None,
) -> None:
    """Write the uncompressed content of the address `fname` to the file `action`; the names are pooch's."""
    from pooch import HTTPDownloader

    # Beside the file, as the folder of temporary files may be too small for a whole data set.
    with TemporaryFile(dir=Path(action).parent) as received:
        HTTPDownloader(timeout=TIMEOUT_SECONDS)(fname, received, pooch)
        with open_plain(received) as plain, Path(action).open("wb") as output:
            shutil.copyfileobj(plain, output)
    if check is not None:
        check(Path(action))


def open_plain(stored: IO[bytes]) -> IO[bytes]:
    """Read an open file from its beginning, through gzip where it is gzipped."""
    stored.seek(0)
    zipped = stored.read(2) == _GZIP_MAGIC
    stored.seek(0)
    return gzip.open(stored) if zipped else stored  # pyright: ignore[reportReturnType]


def sha256_of(path: Path) -> str:
    """Hash the uncompressed content of a file, gzipped or not.

    Raises
    ------
    DataError
        When it cannot be read, or its compressed data are cut short.
    """
    try:
        with path.open("rb") as stored, open_plain(stored) as plain:
            digest = hashlib.sha256()
            while block := plain.read(1 << 20):
                digest.update(block)
            return digest.hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it and fetch it again") from None


def _reason(error: Exception) -> str:
    """Say in a few words why a mirror failed."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    if "hash" in str(error).lower():
        kind = "MD5" if str(error).startswith("MD5") else "SHA-256"
        return f"not the published file, its {kind} differs"
    if isinstance(error, EOFError | zlib.error):
        return "the download ended early"
    if type(error) is ValueError:
        return str(error)
    return "timed out" if "timeout" in type(error).__name__.lower() else "no connection"
