"""One malformed input, how it is opened, and damage that any binary format can suffer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HTML = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n"


@dataclass(frozen=True)
class Case:
    """One input that must be refused.

    Attributes
    ----------
    reader : str
        What reads it.
    name : str
        What is wrong with it.
    path : Path
        The file; the message must hold its name.
    open : callable
        Opens and reads it as the package does; must raise `UserError`.
    command : tuple of str, or None
        Arguments of the command line that does the same.
    """

    reader: str
    name: str
    path: Path
    open: Callable[[], object]
    command: tuple[str, ...] | None = None


def damaged(content: bytes, rng: np.random.Generator, head: int = 64) -> Iterator[tuple[str, bytes]]:
    """Yield a file of a binary format, cut and overwritten in ways that no reader can mend.

    Parameters
    ----------
    content : bytes
        The whole file.
    rng : numpy.random.Generator
        Chooses where.
    head : int
        Bytes of the head, within which a cut is surely felt.
    """
    yield "empty", b""
    yield "one byte", content[:1]
    yield "cut in the head", content[: int(rng.integers(2, min(head, len(content))))]
    yield "cut in the middle", content[: int(rng.integers(len(content) // 3, 2 * len(content) // 3))]
    yield "zeros", bytes(len(content))
    yield "noise", rng.bytes(len(content))
    yield "an error page", HTML


def info(path: Path) -> tuple[str, ...]:
    """Return the command that looks at images."""
    return ("data", "info", str(path))


def look(path: Path) -> Callable[[], object]:
    """Return a function that opens images and reads them all, as a training does first."""

    def run() -> object:
        from dualcontrast.data.check import check_images
        from dualcontrast.data.open import open_source

        source = open_source(path)
        check_images(source)
        return source.read_wedges(np.arange(min(4, len(source))))

    return run


def image_case(
    reader: str, name: str, path: Path, content: bytes | None = None, within: Path | None = None
) -> Case:
    """Make a case of images: `content` goes to `path`; `within` is the folder opened instead."""
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    opened = within or path
    return Case(reader, name, path, look(opened), info(opened))
