"""Malformed MRC and STAR files."""

import gzip
import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np

from malformed.bombs import gzip_bomb
from malformed.cases import Case, damaged, image_case

BOX = 16


def volume_bytes(folder: Path, rng: np.random.Generator) -> bytes:
    """Return a sound MRC file of one volume."""
    path = folder / "sound.mrc"
    with mrcfile.new(path, rng.normal(size=(BOX, BOX, BOX)).astype(np.float32)) as mrc:
        mrc.voxel_size = 10.0
    content = path.read_bytes()
    path.unlink()
    return content


def patched(content: bytes, offset: int, layout: str, *values: float) -> bytes:
    """Overwrite some numbers of a header."""
    changed = bytearray(content)
    struct.pack_into(layout, changed, offset, *values)
    return bytes(changed)


def mrc_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Volumes in a folder, plain and packed, and stacks of volumes."""
    sound = volume_bytes(folder, rng)
    huge = 2**31 - 1
    cubes = patched(sound, 0, "<3i", 1290, 1290, 1290)
    plain = {
        **dict(damaged(sound, rng)),
        "2³¹ sections": patched(sound, 8, "<i", huge),
        "2⁹³ voxels": patched(sound, 0, "<3i", huge, huge, huge),
        "8 GB declared": cubes,
        "an extended header of 2 GB": patched(sound, 92, "<i", huge),
        "an extended header of negative length": patched(sound, 92, "<i", -1024),
        "sizes of negative length": patched(sound, 0, "<3i", -BOX, -BOX, BOX),
        "sizes of 0": patched(sound, 0, "<3i", 0, 0, 0),
        "an unknown mode": patched(sound, 12, "<i", int(rng.integers(200, 60_000))),
        "complex values": patched(sound, 12, "<i", 4),
        "the header of the other byte order": sound[:224][::-1] + sound[224:],
        "a byte order that lies": patched(sound, 212, "<4B", 0x11, 0x11, 0, 0),
        "axes that are none": patched(sound, 64, "<3i", 1, 1, 3),
        "a byte too many": sound + b"\0",
        "voxels that are no cubes": patched(sound, 40, "<3f", 160.0, 160.0, 1600.0),
        "NaN": patched(sound, 1024 + 4 * int(rng.integers(BOX**3)), "<f", float("nan")),
    }
    for name, content in plain.items():
        place = folder / f"{len(list(folder.iterdir())):02d}"
        yield image_case("MRC", name, place / "volume.mrc", content, within=place)
    for name, content in {
        "cut while packed": gzip.compress(sound)[:-40],
        "no gzip": sound,
        "8 GB declared": gzip.compress(cubes),
        "a bomb of 1 GB": gzip_bomb(patched(sound, 0, "<3i", 1024, 1024, 256)[:1024]),
        "2⁹³ voxels": gzip.compress(patched(sound, 0, "<3i", huge, huge, huge)),
    }.items():
        place = folder / f"{len(list(folder.iterdir())):02d}"
        yield image_case("MRC", f"{name} (.mrc.gz)", place / "volume.mrc.gz", content, within=place)
    stack = patched(sound, 88, "<i", 401)
    yield image_case("MRC", "a stack of half a volume", folder / "half.mrc", patched(stack, 36, "<i", 11))
    yield image_case("MRC", "a stack of 2²⁷ volumes", folder / "many.mrc", patched(stack, 8, "<i", huge - 15))
    yield image_case("MRC", "a single volume for a set", folder / "single.mrc", sound)
    pipe = folder / "pipe.mrc"
    os.mkfifo(pipe)
    yield image_case("MRC", "a pipe that nobody writes to", pipe)
    loop = folder / "loop.mrc"
    loop.symlink_to(loop)
    yield image_case("MRC", "a link to itself", loop)
    endless = folder / "endless.mrc"
    endless.symlink_to("/dev/zero")
    yield image_case("MRC", "an endless device", endless)


def star_of(*names: str, extra: str = "", optics: str | None = None) -> str:
    """Return a STAR file of particles with their names as they stand."""
    if optics is None:
        optics = "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n1 10.0\n"
    rows = "\n".join(f"{name} 1{extra}" for name in names)
    return f"{optics}\ndata_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n{rows}\n"


def star_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """STAR files beside two sound volumes."""
    sound = volume_bytes(folder, rng)
    for name in ("a.mrc", "b.mrc"):
        (folder / name).write_bytes(sound)
    (folder / "secret.txt").write_text("root:x:0:0:root:/root:/bin/sh\n" * 100)
    (folder / "loop.mrc").symlink_to(folder / "loop.mrc")
    (folder / "zero.mrc").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.mrc")
    good = star_of("a.mrc", "b.mrc")
    optics = "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n"
    texts = {
        "empty": "",
        "no table of particles": "data_optics\n\nloop_\n_rlnOpticsGroup #1\n1\n",
        "a table without rows": star_of(),
        "cut in a row": good.rstrip()[:-2],
        "a row with a value too many": good.replace("b.mrc 1", "b.mrc 1 2"),
        "two blocks of one name": good + "\n" + good,
        "a column twice": good.replace("_rlnOpticsGroup #2", "_rlnImageName #2"),
        "a particle twice": star_of("a.mrc", "a.mrc"),
        "a particle without a name": star_of("a.mrc", '""'),
        "a path out of the project": star_of("a.mrc", "../" * 20 + "etc/passwd"),
        "a path to a text file": star_of("a.mrc", "../star/secret.txt"),
        "an absolute path": star_of("/etc/passwd", "a.mrc"),
        "a device": star_of("a.mrc", "/dev/zero"),
        "a link to a device": star_of("a.mrc", "zero.mrc"),
        "a link to itself": star_of("a.mrc", "loop.mrc"),
        "a pipe": star_of("a.mrc", "pipe.mrc"),
        "a folder": star_of("a.mrc", "../star"),
        "a name of 5,000 letters": star_of("a.mrc", "x" * 5000 + ".mrc"),
        "a bell, an escape and a zero byte in a name": star_of("a.mrc", "b\x07\x1b[2J\x00.mrc"),
        "a line separator in a name": star_of("a.mrc", "b\u2028\u0085error:.mrc"),
        "member 10³⁰ of a stack": star_of("a.mrc", f"{10**30}@b.mrc"),
        "member 0 of a stack": star_of("a.mrc", "000000@b.mrc"),
        "a number of 5,000 digits before the @": star_of("a.mrc", "9" * 5000 + "@b.mrc"),
        "an optics group that is not there": good.replace("b.mrc 1", "b.mrc 7"),
        "an optics group twice": star_of("a.mrc", "b.mrc", optics=optics + "1 10.0\n1 20.0\n"),
        "voxel sizes that differ": star_of("a.mrc", optics=optics + "1 10.0\n2 20.0\n").rstrip()
        + "\nb.mrc 2\n",
        "a voxel size of 0": star_of("a.mrc", "b.mrc", optics=optics + "1 0.0\n"),
        "a voxel size of minus infinity": star_of("a.mrc", "b.mrc", optics=optics + "1 -inf\n"),
        "a voxel size that is text": star_of("a.mrc", "b.mrc", optics=optics + "1 ten\n2 5.0\n"),
        "stacks of 2-D images": "data_general\n\n_rlnTomoSubTomosAre2DStacks 1\n\n" + good,
        "coordinates alone": "data_particles\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n1 2\n3 4\n",
        "a quote that does not end": star_of("a.mrc", "'b.mrc"),
        "100,000 columns": "data_particles\n\nloop_\n_rlnImageName #1\n"
        + "".join(f"_c{i} #{i + 2}\n" for i in range(100_000))
        + "a.mrc\n",
    }
    for number, (name, text) in enumerate(texts.items()):
        path = folder / f"particles_{number:02d}.star"
        made = image_case("STAR", name, path, text.encode())
        # A file that is there and no volume is named by its own name.
        other = next((file for file in ("passwd", "secret.txt", "@b.mrc") if file in text), None)
        yield made if other is None else replace(made, path=folder / other.removeprefix("@"))
    yield image_case("STAR", "no text", folder / "binary.star", b"data_particles\n\xff\xfe" + rng.bytes(500))
    yield image_case("STAR", "zeros", folder / "zeros.star", bytes(1 << 20))
    ctf = star_of("a.mrc", "b.mrc", extra=" ../star/secret.txt").replace(
        "Group #2\na", "Group #2\n_rlnCtfImage #3\na"
    )
    made = image_case("STAR", "a CTF volume that is text", folder / "ctf.star", ctf.encode())
    yield replace(made, path=folder / "secret.txt")
    for name in ("sub.star", "link.star"):
        path = folder / name
        if name == "sub.star":
            path.mkdir()
        else:
            path.symlink_to(path)
        yield image_case("STAR", "a folder" if name == "sub.star" else "a link to itself", path)
