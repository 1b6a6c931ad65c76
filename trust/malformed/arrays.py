"""Malformed NPY, NPZ and IDX files."""

import gzip
import io
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from malformed.bombs import gzip_bomb, zip_bomb
from malformed.cases import Case, damaged, image_case
from malformed.hostile import Calls


def npy_bytes(array: np.ndarray, **how: bool) -> bytes:
    """Return an array as a `.npy` file."""
    stream = io.BytesIO()
    np.save(stream, array, **how)
    return stream.getvalue()


def npy_header(text: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """Return a `.npy` file with a header as it stands."""
    body = text.encode("latin1")
    body += b" " * (-(len(body) + 11) % 64) + b"\n"
    layout = "<H" if version == (1, 0) else "<I"
    return b"\x93NUMPY" + bytes(version) + struct.pack(layout, len(body)) + body + data


def npy_of(shape: str, descr: str = "'<f4'", data: bytes = bytes(4096)) -> bytes:
    """Return a `.npy` file that says it has a shape and a type."""
    return npy_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}", data)


def hostile_objects() -> bytes:
    """Return an array of objects that would run a command on loading."""
    objects = np.empty(2, dtype=object)
    objects[:] = [Calls(os.system, "touch hostile_npy_ran"), 1]
    return npy_bytes(objects, allow_pickle=True)


def wrong_headers() -> dict[str, bytes]:
    """Return `.npy` files whose headers lie, by what they say."""
    return {
        "10¹² images": npy_of("(1000000000000, 16, 16)"),
        "2²⁰⁰ images": npy_of(f"({2**200}, 16, 16)"),
        "a negative length": npy_of("(-4, 16, 16)"),
        "lengths whose product wraps to 4,096 bytes": npy_of(f"({2**62 + 4}, 16, 16)"),
        "a length that is text": npy_of("('4', 16, 16)"),
        "100 axes": npy_of(f"({'1,' * 100})"),
        "a length of True": npy_of("(True, True, 16, 16)", data=bytes(1024)),
        "a type of objects": npy_of("(4, 16, 16)", "'|O'"),
        "a type with fields": npy_of("(4, 16, 16)", "[('a', '<f4')]"),
        "a type of 2³¹ bytes": npy_of("(4, 16, 16)", "'|S2147483647'"),
        "complex values": npy_of("(4, 8, 16)", "'<c8'"),
        "dates": npy_of("(4, 8, 16)", "'<M8[s]'"),
        "texts": npy_of("(4, 8, 8)", "'<U4'"),
        "no shape": npy_header("{'descr': '<f4', 'fortran_order': False}", bytes(4096)),
        "an expression": npy_header("__import__('os').system('touch hostile_header_ran')", bytes(4096)),
        "a header of 4 GB": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{}" + bytes(1000),
        "nested brackets": npy_header("(" * 9000 + ")" * 9000, version=(2, 0)),
        "version 9": npy_of("(4, 16, 16)").replace(b"NUMPY\x01", b"NUMPY\x09"),
        "no images": npy_of("(0, 16, 16)", data=b""),
        "one picture for a set": npy_of("(32, 32)"),
        "two channels": npy_of("(2, 2, 16, 16)"),
        "NaN": npy_bytes(np.full((4, 16, 16), np.nan, np.float32)),
        "infinity": npy_bytes(np.full((4, 16, 16), np.inf)),
        "more than float32 holds": npy_bytes(np.full((4, 16, 16), 1e300) * [1.0] * 16),
        "values after the end": npy_bytes(np.arange(1024.0).reshape(4, 16, 16)) + bytes(2048),
        "objects that would run a command": hostile_objects(),
    }


def npy_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Arrays of images by themselves."""
    sound = npy_bytes(rng.random((4, 16, 16), dtype=np.float32))
    for number, (name, content) in enumerate({**dict(damaged(sound, rng)), **wrong_headers()}.items()):
        yield image_case("NPY", name, folder / f"images_{number:02d}.npy", content)
    place = folder / "single"
    yield image_case(
        "NPY", "a lying picture in a folder", place / "a.npy", npy_of("(100000, 100000)"), within=place
    )


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def npz_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Archives of arrays."""
    images = npy_bytes(rng.random((4, 16, 16), dtype=np.float32))
    deflated = zipfile.ZIP_DEFLATED
    gigabyte = npy_of("(1048576, 16, 4)", "'<f8'", data=b"")
    sound = zipped({"images.npy": images, "label.npy": npy_bytes(np.arange(4))})
    wrong_crc = bytearray(zipped({"images.npy": images}, deflated))
    wrong_crc[wrong_crc.index(b"PK\x01\x02") + 16] ^= 0xFF
    encrypted = bytearray(zipped({"images.npy": images}, deflated))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(mark) + place] |= 1
    unknown = bytearray(zipped({"images.npy": images}, deflated))
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        unknown[unknown.index(mark) + place] = 97
    contents = {
        **dict(damaged(sound, rng)),
        "a bomb of 1 GB": zip_bomb({"images.npy": (gigabyte, 1 << 30)}),
        "a bomb beside the images": zip_bomb({"images.npy": (images, 0), "others.npy": (gigabyte, 1 << 30)}),
        "a member that says it has more than it has": zipped(
            {"images.npy": npy_of("(4000, 16, 16)")}, deflated
        ),
        "a stored member that reaches into the next": zipped(
            {"images.npy": npy_of("(8, 16, 16)"), "zebra.npy": npy_bytes(np.ones(2000))}
        ),
        "a member of 10¹² images": zipped({"images.npy": npy_of("(1000000000000, 16, 16)")}, deflated),
        "a member that is no array": zipped({"images.npy": b"hello" * 300}),
        "no images": zipped({"pictures.npy": images, "other.npy": images}),
        "nothing": zipped({}),
        "a checksum that is wrong": bytes(wrong_crc),
        "encrypted": bytes(encrypted),
        "an unknown compression": bytes(unknown),
        "objects that would run a command": zipped({"images.npy": hostile_objects()}),
        "labels of objects": zipped({"images.npy": images, "label.npy": hostile_objects()}),
        "labels of another length": zipped({"images.npy": images, "label.npy": npy_bytes(np.arange(9))}),
        "ids of another length": zipped({"images.npy": images, "ids.npy": npy_bytes(np.arange(9))}),
        "an id twice": zipped({"images.npy": images, "ids.npy": npy_bytes(np.array(["a", "a", "b", "c"]))}),
        "ids in two dimensions": zipped(
            {"images.npy": images, "ids.npy": npy_bytes(np.arange(4).reshape(2, 2))}
        ),
        "a split that is none": zipped(
            {"images.npy": images, "split.npy": npy_bytes(np.array(["train"] * 4))}
        ),
        "a label that is not finite": zipped({"images.npy": images, "y.npy": npy_bytes(np.full(4, np.nan))}),
        "only a path out of the folder": zipped({"../../images.npy": images, "/etc/x.npy": images}),
    }
    for number, (name, content) in enumerate(contents.items()):
        yield image_case("NPZ", name, folder / f"images_{number:02d}.npz", content)


def idx_bytes(lengths: tuple[int, ...], data: bytes, kind: int = 8) -> bytes:
    """Return an IDX file with a header as given."""
    return bytes((0, 0, kind, len(lengths))) + struct.pack(f">{len(lengths)}I", *lengths) + data


def idx_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Files of MNIST's format, gzipped and not."""
    sound = idx_bytes((8, 28, 28), rng.bytes(8 * 28 * 28))
    most = 2**32 - 1
    contents = {
        **dict(damaged(sound, rng, head=16)),
        "2⁹⁶ pixels": idx_bytes((most, most, most), rng.bytes(999)),
        "255 axes": idx_bytes((1,) * 255, b"\1"),
        "70 axes": idx_bytes((1,) * 70, b"\1"),
        "lengths of 0": idx_bytes((0, 28, 28), b""),
        "no images of 2⁶⁴ pixels": idx_bytes((0, most, most), b""),
        "one axis": idx_bytes((4,), b"\1\2\3\4"),
        "a byte too many": sound + b"\0",
        "an unknown type": idx_bytes((8, 28, 28), rng.bytes(8 * 28 * 28), kind=7),
        "NaN": idx_bytes((1, 2, 2), struct.pack(">4f", 0, 1, 2, float("nan")), kind=13),
    }
    for number, (name, content) in enumerate(contents.items()):
        yield image_case("IDX", name, folder / f"images_{number:02d}-images-idx3-ubyte", content)
    for number, (name, content) in enumerate(
        {
            "2⁹⁶ pixels": gzip.compress(contents["2⁹⁶ pixels"]),
            "8 GB declared": gzip.compress(idx_bytes((10_000_000, 28, 28), bytes(1000))),
            "a bomb of 1 GB": gzip_bomb(idx_bytes((1 << 20, 32, 32), b"")),
            "cut while packed": gzip.compress(sound)[:-100],
            "something else after the end": gzip.compress(sound) + b"more",
        }.items()
    ):
        path = folder / f"packed_{number:02d}-images-idx3-ubyte.gz"
        yield image_case("IDX", f"{name} (.gz)", path, content)
    path = folder / "labelled-images-idx3-ubyte"
    (folder / "labelled-labels-idx1-ubyte").write_bytes(idx_bytes((9,), bytes(9)))
    made = image_case("IDX", "labels of another length", path, sound)
    yield Case(made.reader, made.name, folder / "labelled-labels-idx1-ubyte", made.open, made.command)
