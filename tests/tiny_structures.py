"""Small made-up proteins, written as PDB or mmCIF files."""

from pathlib import Path

import gemmi
import numpy as np

# A residue's atoms around its C-alpha, in Å.
RESIDUE = {"N": (-1.0, 0.9, 0.3), "CA": (0.0, 0.0, 0.0), "C": (1.1, 0.8, -0.5), "O": (1.3, 1.9, 0.1)}


def ball(count: int, spacing: float = 6.0) -> np.ndarray:
    """Return the `count` points of a cubic lattice nearest to its centre, (count, 3) in Å."""
    steps = np.arange(-8, 9) * spacing
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    # A little off the lattice point, so that no two are equally near.
    return points[np.argsort(np.linalg.norm(points - (0.3, 0.5, 0.8), axis=1), kind="stable")[:count]]


def dumbbell() -> np.ndarray:
    """Return balls of 100 and of 60 points that touch: an elastic network with a soft neck."""
    return np.concatenate([ball(100), ball(60) * (1, -1, 1) + (33.0, 0, 0)])


def protein(alphas: np.ndarray) -> gemmi.Structure:
    """Make a chain of alanines without side chains, C-alphas at the given places."""
    chain = gemmi.Chain("A")
    for number, centre in enumerate(alphas, start=1):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number, " ")
        for name, offset in RESIDUE.items():
            residue.add_atom(_atom(name, name[0], centre + np.array(offset)))
        chain.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(chain)
    structure = gemmi.Structure()
    structure.add_model(model)
    structure.setup_entities()
    return structure


def add_residue(
    structure: gemmi.Structure, name: str, atoms: dict[str, tuple[str, tuple]], chain: str
) -> None:
    """Add a chain of one residue; atoms by name, each an element and a place."""
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag = name, gemmi.SeqId(1, " "), "H"
    for atom_name, (element, place) in atoms.items():
        residue.add_atom(_atom(atom_name, element, place))
    added = gemmi.Chain(chain)
    added.add_residue(residue)
    structure[0].add_chain(added)
    structure.setup_entities()


def write_pdb(structure: gemmi.Structure, path: Path) -> Path:
    """Write a PDB file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(structure.make_pdb_string())
    return path


def write_mmcif(structure: gemmi.Structure, path: Path) -> Path:
    """Write an mmCIF file."""
    path.write_text(structure.make_mmcif_document().as_string())
    return path


def _atom(name: str, element: str, place: np.ndarray | tuple) -> gemmi.Atom:
    atom = gemmi.Atom()
    atom.name, atom.element, atom.pos, atom.b_iso = name, gemmi.Element(element), gemmi.Position(*place), 40.0
    return atom
