import gzip

import gemmi
import numpy as np
import pytest

from dualcontrast.errors import DataError
from dualcontrast.simulate.structures import read_atoms
from tiny_structures import RESIDUE, add_residue, ball, protein, write_mmcif, write_pdb


@pytest.mark.parametrize("kind", ["pdb", "cif", "pdb.gz", "ENT", "mmcif"])
def test_all_atoms_of_pdb_and_mmcif_files_also_gzipped(tmp_path, kind):
    alphas = ball(12)
    write = write_pdb if "pdb" in kind or kind == "ENT" else write_mmcif
    path = write(protein(alphas), tmp_path / f"plain.{kind.removesuffix('.gz')}")
    if kind.endswith(".gz"):
        path = tmp_path / f"zipped.{kind}"
        path.write_bytes(gzip.compress((tmp_path / "plain.pdb").read_bytes()))

    atoms = read_atoms(path)
    expected = (alphas[:, None] + np.array(list(RESIDUE.values()))).reshape(-1, 3)
    np.testing.assert_allclose(atoms.positions, expected, atol=1e-3)
    assert atoms.elements.tolist() == ["N", "C", "C", "O"] * 12
    assert atoms.nodes.tolist() == list(range(1, 48, 4))


def test_hydrogens_and_waters_are_dropped_and_ions_kept_but_are_no_nodes(tmp_path):
    structure = protein(ball(4))
    add_residue(structure, "HOH", {"O": ("O", (50, 0, 0))}, "W")
    add_residue(structure, "CA", {"CA": ("Ca", (0, 50, 0))}, "I")
    structure[0]["A"][0].add_atom(_hydrogen())
    atoms = read_atoms(write_pdb(structure, tmp_path / "a.pdb"))
    assert sorted(set(atoms.elements)) == ["C", "Ca", "N", "O"]
    assert len(atoms) == 4 * 4 + 1
    assert len(atoms.nodes) == 4


def _hydrogen() -> gemmi.Atom:
    atom = gemmi.Atom()
    atom.name, atom.element, atom.pos = "H", gemmi.Element("H"), gemmi.Position(1, 2, 3)
    return atom


def test_nucleotides_have_three_nodes_and_alternative_positions_one(tmp_path):
    structure = gemmi.Structure()
    chain = gemmi.Chain("A")
    for number in range(1, 5):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "DA", gemmi.SeqId(number, " ")
        for name, element in (("P", "P"), ("O5'", "O"), ("C4'", "C"), ("C2", "C"), ("N1", "N")):
            for alternative in "AB" if name == "P" else " ":
                atom = gemmi.Atom()
                atom.name, atom.element = name, gemmi.Element(element)
                atom.pos = gemmi.Position(number, len(residue), 0)
                if alternative != " ":
                    atom.altloc, atom.occ = alternative, 0.5
                residue.add_atom(atom)
        chain.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(chain)
    structure.add_model(model)
    atoms = read_atoms(write_pdb(structure, tmp_path / "dna.pdb"))
    assert len(atoms) == 24
    assert atoms.occupancies[:3].tolist() == [0.5, 0.5, 1.0]
    assert atoms.nodes.tolist() == [first + node for first in range(0, 24, 6) for node in (0, 3, 4)]


def test_only_the_first_model_is_read(tmp_path):
    structure = protein(ball(3))
    second = structure[0].clone()
    second.num = 2
    structure.add_model(second)
    assert len(read_atoms(write_pdb(structure, tmp_path / "two.pdb"))) == 12


def _damaged(tmp_path) -> dict[str, tuple[str, bytes]]:
    whole = write_pdb(protein(ball(60)), tmp_path / "whole.pdb").read_bytes()
    first = whole.index(b"ATOM ")
    mmcif = write_mmcif(protein(ball(20)), tmp_path / "whole.cif").read_bytes()
    return {
        "cut gzip": ("a.pdb.gz", gzip.compress(whole)[:-20]),
        "no gzip": ("a.pdb.gz", b"something else"),
        "cut mmcif": ("a.cif", mmcif[: mmcif.rindex(b"\n", 0, -200) - 20]),
        "text": ("a.pdb", b"hello\nworld\n"),
        "page": ("a.cif", b"<html>404</html>"),
        "empty": ("a.pdb", b""),
        "other cif": ("a.cif", b"data_x\n_cell.length_a 3\n"),
        "nan": ("a.pdb", whole[: first + 30] + b"     nan" + whole[first + 38 :]),
        "suffix": ("a.xyz", whole),
    }


@pytest.mark.parametrize(
    "which", ["cut gzip", "no gzip", "cut mmcif", "text", "page", "empty", "other cif", "nan", "suffix"]
)
def test_what_is_no_whole_structure_is_refused_by_name(tmp_path, which):
    name, content = _damaged(tmp_path)[which]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_atoms(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_structure_of_water_has_no_atoms_to_draw(tmp_path):
    structure = protein(ball(0))
    add_residue(structure, "HOH", {"O": ("O", (50, 0, 0))}, "W")
    with pytest.raises(DataError, match="no atoms besides hydrogens and waters"):
        read_atoms(write_pdb(structure, tmp_path / "water.pdb"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.pdb: cannot be read \(No such file"):
        read_atoms(tmp_path / "gone.pdb")
