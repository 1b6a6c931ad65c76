"""Atoms of a molecular structure, read with gemmi."""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np

from dualcontrast.data.download import open_plain
from dualcontrast.data.limits import LARGE, check_file
from dualcontrast.errors import DataError

STRUCTURE_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")

# mmCIF packs about tenfold.
_MOST_PACKED = 50
# In Å; the largest structures measure some thousand.
_FARTHEST = 1e6
# Atoms that stand for their residue in an elastic network: C-alpha of an amino acid; backbone, sugar and base
# of a nucleotide, which is about three times as heavy (Yang et al. 2006, Nucleic Acids Research 34:W24).
_NODE_ATOMS = (("CA", "C"), ("P", "P"), ("C4'", "C"), ("C2", "C"))


@dataclass(frozen=True)
class Atoms:
    """The atoms of a structure that scatter: no hydrogens and no waters.

    Attributes
    ----------
    positions : numpy.ndarray, float64, shape (n, 3)
        (x, y, z) in Å.
    elements : numpy.ndarray of str, shape (n,)
        Symbols as gemmi writes them, for example `C` and `Mn`.
    occupancies : numpy.ndarray, float64, shape (n,)
        Alternative positions of an atom share an occupancy of 1.
    nodes : numpy.ndarray, int64, shape (m,)
        Which atoms stand for their residue in an elastic network: C-alpha of each amino acid; P, C4' and C2
        of each nucleotide. In the order of the chains.
    """

    positions: np.ndarray
    elements: np.ndarray
    occupancies: np.ndarray
    nodes: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def moved(self, displacements: np.ndarray) -> "Atoms":
        """Return the same atoms elsewhere.

        Parameters
        ----------
        displacements : numpy.ndarray, shape (n, 3) or (3,)
            (x, y, z) in Å.
        """
        return replace(self, positions=self.positions + displacements)


def read_atoms(path: str | Path) -> Atoms:
    """Read the first model of a PDB or mmCIF file, as it stands in the file: no assembly is built.

    B factors are ignored: at the resolution of subtomograms they change nothing.

    Parameters
    ----------
    path : str or Path
        PDB or mmCIF, also gzipped.

    Raises
    ------
    DataError
        When the file is missing, cut short, no structure, or has no atoms that scatter.
    """
    path = Path(path)
    try:
        content = _unpacked(path)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read ({reason}); is the file complete?") from None
    try:
        # Read from memory, since gemmi itself takes a gzipped file that is cut short for a whole one.
        kind = _format(path)
        if kind == gemmi.CoorFormat.Pdb:
            _check_coordinates(content)
        atoms = _scattering(gemmi.read_structure_string(content, format=kind))
    except DataError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: not a whole PDB or mmCIF file ({reason[:200]}); fetch or copy it again"
        ) from None
    if not len(atoms):
        raise DataError(
            f"{path}: no atoms besides hydrogens and waters; give a PDB or mmCIF file of a structure"
        )
    # NaN compares as false.
    near = (np.abs(atoms.positions) < _FARTHEST).all()
    if not (near and np.isfinite(atoms.occupancies).all()):
        raise DataError(
            f"{path}: some atoms have coordinates or occupancies that are not numbers or far out; remove them"
        )
    return atoms


def _scattering(structure: gemmi.Structure) -> Atoms:
    """Take the atoms that scatter out of the first model; gemmi decodes their names only when asked."""
    structure.setup_entities()
    positions, elements, occupancies, nodes = [], [], [], []
    for chain in structure[0] if len(structure) else ():
        for residue in chain:
            if residue.is_water():
                continue
            is_polymer = residue.entity_type == gemmi.EntityType.Polymer
            seen = set()
            for atom in residue:
                # Symbols that are no element, and those beyond californium, have no scattering factor.
                if atom.is_hydrogen() or atom.occ <= 0 or atom.element.c4322 is None:
                    continue
                # One node for all alternative positions of an atom.
                if is_polymer and atom.name not in seen and (atom.name, atom.element.name) in _NODE_ATOMS:
                    seen.add(atom.name)
                    nodes.append(len(positions))
                positions.append(atom.pos.tolist())
                elements.append(atom.element.name)
                occupancies.append(atom.occ)
    return Atoms(
        np.array(positions), np.array(elements), np.array(occupancies), np.array(nodes, dtype=np.int64)
    )


def _unpacked(path: Path) -> bytes:
    """Read a file, unpacked where it is gzipped, and no further than a structure can be packed."""
    check_file(path)
    most, parts = max(LARGE, _MOST_PACKED * path.stat().st_size), []
    with path.open("rb") as stored, open_plain(stored) as plain:
        while part := plain.read(1 << 20):
            parts.append(part)
            most -= len(part)
            if most < 0:
                raise DataError(f"{path}: unpacks to more than any structure holds; fetch or copy it again")
    return b"".join(parts)


def _check_coordinates(content: bytes) -> None:
    """Raise `ValueError` for coordinates in a PDB file that are no numbers, which gemmi takes for 0."""
    for line in content.splitlines():
        if line.startswith((b"ATOM  ", b"HETATM")):
            for column in (30, 38, 46):
                float(line[column : column + 8].decode("ascii", "replace") or "nothing")
        elif line.startswith(b"ENDMDL"):
            # Further models are not looked at.
            return


def structure_suffix(path: Path) -> str:
    """Return the suffix that says the kind of a file, without `.gz`, in lower case."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _format(path: Path) -> gemmi.CoorFormat:
    if structure_suffix(path) in (".pdb", ".ent"):
        return gemmi.CoorFormat.Pdb
    if structure_suffix(path) in (".cif", ".mmcif"):
        return gemmi.CoorFormat.Mmcif
    raise DataError(f"{path}: not the name of a structure; it should end in {', '.join(STRUCTURE_SUFFIXES)}")
