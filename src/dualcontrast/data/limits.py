"""What a file may ask of the machine: nothing but reading it, and no more memory than its size bears out."""

import stat
from pathlib import Path

from dualcontrast.errors import DataError

# Deflate packs zeros a thousandfold; pictures that show something are packed far less.
MOST_PACKED = 500
# Below this, a blank image may be packed as it likes.
LARGE = 64 << 20
# Of rows of a fill value, which take no space, so many do no harm.
MANY = 100_000


def check_file(path: str | Path) -> None:
    """Refuse pipes and devices, from which a reader would wait for ever or read without end.

    Raises
    ------
    DataError
        For what is there and is neither a file nor a folder.
    """
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        # The reader says it in its own words.
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError(f"{path}: is a pipe or a device, not a file; write what it gives into a file")


def check_unpacked(where: str | Path, unpacked: int, stored: int) -> None:
    """Refuse to unpack far more than a file can hold: its header lies, or it is a bomb.

    Parameters
    ----------
    where : str or Path
        File, for the message.
    unpacked : int
        Bytes that it says it unpacks to.
    stored : int
        Bytes that are there.

    Raises
    ------
    DataError
        When they are more than 64 MiB, and more than 500 times as many.
    """
    if unpacked > LARGE and unpacked > MOST_PACKED * stored:
        raise DataError(
            f"{where}: promises {_size(unpacked)} in {stored:,} bytes, which no images do; "
            "copy the file again, or store it unpacked if it is right"
        )


def check_count(where: str | Path, count: int, stored: int) -> None:
    """Refuse more rows than there are bytes, before anything is made for each of them.

    Raises
    ------
    DataError
        When there is less than a byte for each row, and more than 100,000 rows.
    """
    if count > max(stored, MANY):
        raise DataError(
            f"{where}: promises {count:.6g} rows, but holds {stored:,} bytes; copy or write it again"
            if count < 10**300
            else f"{where}: promises more rows than can be counted; copy or write it again"
        )


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 10**18 else "more bytes than any machine has"
