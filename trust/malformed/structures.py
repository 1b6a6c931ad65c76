"""Malformed structures, and archives that point out of their folder."""

import gzip
import io
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from malformed.bombs import gzip_bomb
from malformed.cases import HTML, Case

ATOM = "ATOM      1  CA  ALA A   1      11.104   6.134  -6.504  1.00  0.00           C  \n"
CIF = (
    "data_x\nloop_\n"
    + "".join(
        f"_atom_site.{name}\n"
        for name in (
            *(
                "group_PDB",
                "id",
                "type_symbol",
                "label_atom_id",
                "label_alt_id",
                "label_comp_id",
                "label_asym_id",
            ),
            *("label_seq_id", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv", "auth_seq_id"),
            *("auth_asym_id", "pdbx_PDB_model_num"),
        )
    )
    + "ATOM 1 C CA . ALA A 1 1.0 2.0 3.0 1.0 0.0 1 A 1\n"
)


def structure_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """PDB and mmCIF files, as `simulate` reads them."""
    packed = gzip.compress(CIF.encode())
    contents = {
        "empty.pdb": b"",
        "empty.cif": b"",
        "noise.pdb": rng.bytes(2000),
        "noise.cif": rng.bytes(2000),
        "zeros.cif": bytes(2000),
        "page.cif": HTML,
        "page.pdb": HTML,
        "no_numbers.pdb": ATOM.replace("11.104", "eleven").encode(),
        "no_text.pdb": ATOM.encode().replace(b" CA ", b" \x80A "),
        "nan.pdb": ATOM.replace("11.104", "   nan").encode(),
        "infinite.cif": CIF.replace("1.0 2.0 3.0", "inf 2.0 3.0").encode(),
        "beyond.cif": CIF.replace("1.0 2.0 3.0", "1e300 2.0 3.0").encode(),
        "water_alone.pdb": ATOM.replace(" CA  ALA", " O   HOH").replace("  C  ", "  O  ").encode(),
        "cut.cif": CIF[:-20].encode(),
        "cut_row.cif": (CIF + "ATOM 2 C").encode(),
        "no_atoms.cif": b"data_x\n_cell.length_a 10\n",
        "quote.cif": CIF.replace("ALA", "'ALA").encode(),
        "cut.cif.gz": packed[:-30],
        "noise.cif.gz": packed[:20] + rng.bytes(200),
        "bomb.cif.gz": gzip_bomb(CIF.encode()),
        "bomb.pdb.gz": gzip_bomb(ATOM.encode()),
        "structure.txt": ATOM.encode(),
        "long_line.pdb": b"ATOM  " + b"9" * (1 << 20),
    }
    for name, content in contents.items():
        path = folder / name
        path.write_bytes(content)
        yield _structure_case(name, path)
    yield _structure_case("nothing there", folder / "nothing.pdb")
    os.mkfifo(folder / "pipe.pdb")
    yield _structure_case("a pipe that nobody writes to", folder / "pipe.pdb")
    (folder / "zero.cif").symlink_to("/dev/zero")
    yield _structure_case("an endless device", folder / "zero.cif")


def _structure_case(name: str, path: Path) -> Case:
    def run() -> object:
        from dualcontrast.simulate.structures import read_atoms

        return read_atoms(path)

    return Case("structures", name, path, run)


def zip_with(members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    """Return a zip archive with members as they are, in order and as often as given."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def link_to(target: str, name: str = "images/link.npy") -> tuple[zipfile.ZipInfo, bytes]:
    """Return a member that is a symbolic link."""
    member = zipfile.ZipInfo(name)
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member, target.encode()


def arrays_alone(member: PurePosixPath) -> PurePosixPath | None:
    """Choose which files of an archive are unpacked, and where."""
    return PurePosixPath(member.name) if member.suffix == ".npy" else None


def archive_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Archives that are unpacked into a folder beside them."""
    good = ("images/a.npy", b"a" * 100)
    whole = zip_with([good])
    lying = bytearray(zip_with([("images/a.npy", rng.bytes(1000))]))
    lying[lying.index(b"PK\x01\x02") + 16] ^= 0xFF
    huge = bytearray(whole)
    huge[huge.index(b"PK\x01\x02") + 24 : huge.index(b"PK\x01\x02") + 28] = b"\xff\xff\xff\x7f"
    contents = {
        "empty": b"",
        "cut": whole[:-30],
        "noise": rng.bytes(500),
        "an error page": HTML,
        "a path upwards": zip_with([good, ("../../out.npy", b"out")]),
        "an absolute path": zip_with([good, ("/tmp/out.npy", b"out")]),
        "a path of Windows": zip_with([good, ("..\\..\\out.npy", b"out")]),
        "a drive of Windows": zip_with([good, ("C:\\out.npy", b"out")]),
        "a link": zip_with([good, link_to("/etc/passwd")]),
        "a link and a file through it": zip_with([link_to("..", "images/up"), ("images/up/out.npy", b"out")]),
        "nothing that is wanted": zip_with([("other/a.txt", b"a")]),
        "a checksum that is wrong": bytes(lying),
        "a size that lies": bytes(huge),
        "one file twice": zip_with([good, ("other/../images/a.npy", b"b")]),
    }
    for number, (name, content) in enumerate(contents.items()):
        path = folder / f"archive_{number:02d}.zip"
        path.write_bytes(content)

        def run(path: Path = path) -> object:
            from dualcontrast.data.unzip import unzip

            return unzip(path, path.with_suffix(".unpacked"), arrays_alone)

        yield Case("archives", name, path, run)
