"""Malformed PNG, JPEG and TIFF pictures."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from malformed.bombs import deflated
from malformed.cases import Case, damaged, image_case


def picture(pixels: np.ndarray, kind: str) -> bytes:
    """Return a picture in one of Pillow's formats."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG file with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, data: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """Return a PNG file that says it has a size."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = png_chunk(b"IHDR", head), png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff_of(tags: dict[int, tuple[int, int, int]], data: bytes, next_page: int = 0) -> bytes:
    """Return a TIFF file with tags as given: number of the tag to type, count and value."""
    body = struct.pack("<H", len(tags))
    for tag in sorted(tags):
        body += struct.pack("<HHII", tag, *tags[tag])
    return b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", next_page) + data


def tiff_tags(width: int, height: int, offset: int, count: int) -> dict[int, tuple[int, int, int]]:
    """Return the tags of a grayscale picture of one strip."""
    long, short = 4, 3
    return {
        256: (long, 1, width),
        257: (long, 1, height),
        258: (short, 1, 8),
        259: (short, 1, 1),
        262: (short, 1, 1),
        273: (long, 1, offset),
        277: (short, 1, 1),
        278: (long, 1, height),
        279: (long, 1, count),
    }


def _zlib_bomb() -> bytes:
    content, _, _ = deflated(b"", 1 << 30)
    # The checksum of zeros alone (RFC 1950): one, and how often it was added up.
    return b"\x78\xda" + content + struct.pack(">HH", (1 << 30) % 65_521, 1)


def picture_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """One picture in a folder of its own, as a set of one."""
    pixels = rng.integers(0, 256, (32, 32), dtype=np.uint8)
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels)
    tif = stream.getvalue()
    png, jpg = picture(pixels, "PNG"), picture(pixels, "JPEG")
    wide = 13_000
    # Rows of zeros with the byte that says how each is filtered.
    zeros = zlib.compress(bytes(wide * (wide + 1)), 9)
    deep = tiff_tags(32, 32, 134, 1024)
    lying = tiff_tags(100_000, 100_000, 134, 1024)
    contents: list[tuple[str, str, bytes]] = [
        *(("png", name, content) for name, content in damaged(png, rng, head=33)),
        *(("jpg", name, content) for name, content in damaged(jpg, rng, head=20)),
        *(("tif", name, content) for name, content in damaged(tif, rng, head=8)),
        ("png", "2³¹ pixels a side", png_of(2**31 - 1, 2**31 - 1, zlib.compress(b"0"))),
        ("png", "169 million pixels of one byte each", png_of(wide, wide, zlib.compress(b"0"))),
        ("png", "a bomb of 169 MB", png_of(wide, wide, zeros)),
        (
            "png",
            "a bomb of 64 MB in 10 kB",
            png_of(wide, wide, zlib.compress(bytes(wide * 1626), 9), depth=1),
        ),
        ("png", "a size of 0", png_of(0, 0, zlib.compress(b""))),
        ("png", "a depth that there is not", png_of(32, 32, zlib.compress(bytes(32 * 33)), depth=7)),
        ("png", "pixels that are cut short", png_of(32, 32, zlib.compress(bytes(100)))),
        ("png", "a text of 1 GB", png[:33] + png_chunk(b"zTXt", b"a\0\0" + _zlib_bomb()) + png[33:]),
        ("png", "a checksum that is wrong", png[:-20] + bytes([png[-20] ^ 255]) + png[-19:]),
        ("jpg", "65,500 pixels a side", jpg.replace(b"\0\x20\0\x20", b"\xff\xdc\xff\xdc", 1)),
        ("jpg", "a PNG file by another name", png_of(wide, wide, zeros)),
        ("tif", "10¹⁰ pixels in 1 kB", tiff_of(lying, bytes(1024))),
        ("tif", "a strip beyond the end", tiff_of(tiff_tags(32, 32, 2**31, 1024), bytes(1024))),
        ("tif", "a strip that is cut short", tiff_of(deep, bytes(100))),
        ("tif", "a page that is its own next", tiff_of(deep, pixels.tobytes(), next_page=8)),
        ("tif", "a size of 0", tiff_of(tiff_tags(0, 0, 134, 0), b"")),
        ("tif", "a tag of 2³² values", tiff_of({**deep, 273: (4, 2**32 - 1, 134)}, pixels.tobytes())),
        ("tif", "40 bits a pixel", tiff_of({**deep, 258: (3, 1, 40)}, bytes(6000))),
        ("tif", "100 samples a pixel", tiff_of({**deep, 277: (3, 1, 100)}, bytes(1024))),
        ("tif", "a compression that there is not", tiff_of({**deep, 259: (3, 1, 999)}, pixels.tobytes())),
        ("tif", "no tags", tiff_of({}, b"")),
    ]
    for number, (suffix, name, content) in enumerate(contents):
        place = folder / f"{number:02d}"
        yield image_case(
            "pictures", f"{name} (.{suffix})", place / f"picture.{suffix}", content, within=place
        )
    place = folder / "mixed"
    place.mkdir()
    (place / "first.png").write_bytes(png)
    colours = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    yield image_case("pictures", "one in colour", place / "second.png", picture(colours, "PNG"), within=place)
    place = folder / "loop"
    place.mkdir()
    (place / "down").symlink_to(place)
    made = image_case("pictures", "a folder that holds itself", place / "none.png", within=place)
    yield Case(made.reader, made.name, place, made.open, made.command)
    place = folder / "names"
    place.mkdir()
    name = "a\n\x1b]0;owned\x07\u202egnp.png"
    yield Case(
        "pictures",
        "a name with a line break and an escape",
        place / "gnp.png",
        image_case("pictures", "", place / name, b"no picture", within=place).open,
        ("data", "info", str(place)),
    )
