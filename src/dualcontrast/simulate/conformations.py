"""The conformations of each identity: from files, from the Protein Data Bank, and by normal modes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count as count_from
from pathlib import Path

import numpy as np

from dualcontrast.errors import DataError, SettingError
from dualcontrast.simulate.conformation import Conformation
from dualcontrast.simulate.density import MAP_SUFFIXES, centred, map_density, structure_density
from dualcontrast.simulate.likeness import Shape
from dualcontrast.simulate.normal_modes import collective_motions
from dualcontrast.simulate.rcsb import fetch_structure, is_pdb_id
from dualcontrast.simulate.structures import Atoms, read_atoms, structure_suffix

DEFAULT_RMSD = (8.0,)

# How many motions of a structure are looked at for each conformation that is wanted: some lead to the same.
_SPARE_MOTIONS = 3
_COMPARED_POINTS = 600

# Two conformations are the same when they are nearer to each other than this part of what the distances moved
# would let expect.
_SAME = 0.8


def load_conformations(
    identities: Mapping[str, Sequence[str]],
    *,
    count: int | None,
    box: int,
    voxel_size: float,
    resolution: float,
    folder: Path,
    rmsd: Sequence[float] | None = None,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> list[Conformation]:
    """Make the densities of all conformations of all identities.

    An identity with fewer structures than `count` gets further ones from its own, by elastic-network normal
    modes (see `dualcontrast.simulate.normal_modes`), each structure in turn: the softest collective mode
    forwards and backwards at each RMSD, then the next mode. Motions that lead to a conformation which is
    there already, turned, are left out: symmetric particles have many. The name says what was done:
    `1kx5+mode1-8.0A` is 1kx5 moved backwards along its softest mode to an RMSD of 8 Å over all atoms. Which
    way is forwards has no meaning.

    Each density is centred by itself. Those made from one structure are aligned to it, those of several files
    lie as in the files.

    Parameters
    ----------
    identities : mapping of str to sequence of str
        For each name, files or ids of its conformations: PDB or mmCIF files and MRC maps, also gzipped, and
        ids of the Protein Data Bank such as 1kx5. A file of that name comes before the id.
    count : int or None
        Conformations of each identity; None for just those that are given.
    box : int
        Voxels along each axis.
    voxel_size, resolution : float
        In Å; see `dualcontrast.simulate.density` for what resolution means.
    folder : Path
        Where relative paths start.
    rmsd : sequence of float, optional
        How far to move along the modes, in Å; 8 by default.
    seed : int
        Chooses the mixture where several modes of a symmetric structure are equally soft.
    on_progress : callable, optional
        Called with the number of conformations made since the last call.

    Returns
    -------
    list of Conformation
        In the order of `identities`; the given ones first, then those by normal modes.

    Raises
    ------
    DataError
        When a structure or map cannot be found, read or fitted into the box.
    SettingError
        When a setting is out of range, an identity has none or too many structures, or only maps although
        more conformations are asked for.
    """
    rmsd = DEFAULT_RMSD if rmsd is None else tuple(rmsd)
    _check(identities, count, box, voxel_size, resolution, rmsd)
    conformations = []
    for identity, sources in identities.items():
        paths = [_locate(source, folder) for source in sources]
        structures: dict[str, Atoms] = {}
        made: dict[str, np.ndarray] = {}
        for path in paths:
            name = _unused(_stem(path), made)
            if structure_suffix(path) in MAP_SUFFIXES:
                density = map_density(path, box=box, voxel_size=voxel_size, resolution=resolution)
            else:
                structures[name] = centred(read_atoms(path))
                density = structure_density(
                    structures[name], box=box, voxel_size=voxel_size, resolution=resolution, name=str(path)
                )
            made[name] = density
            if on_progress is not None:
                on_progress(1)

        missing = (count or 0) - len(made)
        if missing > 0 and not structures:
            raise SettingError(
                f"{identity}: {count} conformations are asked for, but it has {len(made)}, all maps; give "
                "more maps, or a PDB or mmCIF file, from which others can be made"
            )
        for name, atoms in _moved(structures, missing, rmsd, seed):
            made[name] = structure_density(
                centred(atoms),
                box=box,
                voxel_size=voxel_size,
                resolution=resolution,
                name=f"{identity}, {name}",
            )
            if on_progress is not None:
                on_progress(1)
        conformations += [
            Conformation(identity, name, density / density.max(), voxel_size)
            for name, density in made.items()
        ]
    return conformations


def _moved(
    structures: Mapping[str, Atoms], wanted: int, rmsd: Sequence[float], seed: int
) -> Iterator[tuple[str, Atoms]]:
    """Yield as many further conformations as are wanted, from each structure in turn."""
    share, more = divmod(max(wanted, 0), max(len(structures), 1))
    for nth, (name, atoms) in enumerate(structures.items()):
        wanted_here = share + (nth < more)
        if wanted_here:
            yield from _distinct_motions(name, atoms, wanted_here, rmsd, seed)


def _distinct_motions(
    name: str, atoms: Atoms, wanted: int, rmsd: Sequence[float], seed: int
) -> Iterator[tuple[str, Atoms]]:
    """Yield conformations along the softest modes, none of which is an earlier one turned."""
    try:
        motions = collective_motions(atoms, _SPARE_MOTIONS * wanted, seed)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    compared = atoms.nodes[:: max(1, len(atoms.nodes) // _COMPARED_POINTS)]
    start = Shape(atoms.positions[compared])
    rotations = start.self_rotations()
    accepted: list[tuple[float, Shape]] = []
    for motion in motions:
        for distance in rmsd:
            for sign in (1, -1):
                moved = atoms.moved(sign * distance * motion.displacements)
                shape = Shape(moved.positions[compared])
                gone = shape.distance(start, np.eye(3)[None])
                if all(
                    shape.distance(other, rotations)
                    > _SAME * gone * (abs(distance - before) or distance) / distance
                    for before, other in accepted
                ):
                    accepted.append((distance, shape))
                    yield f"{name}+mode{motion.mode}{'+-'[sign < 0]}{distance:.1f}A", moved
                    if len(accepted) == wanted:
                        return
    raise SettingError(
        f"{name}: only {len(accepted)} of {wanted} further conformations could be made that are not each "
        "other turned; ask for fewer, or give several RMSDs"
    )


def _locate(source: str, folder: Path) -> Path:
    """Find the file that is meant by a path or an id."""
    path = Path(folder) / Path(source).expanduser()
    if path.is_file():
        return path
    if is_pdb_id(source):
        return fetch_structure(source)
    raise DataError(f"{path}: no such file, and no four-letter id of the Protein Data Bank either")


def _stem(path: Path) -> str:
    """Return the name of a file without its suffixes."""
    return path.name[: path.name.lower().rindex(structure_suffix(path))]


def _unused(name: str, used: Mapping[str, object]) -> str:
    """Return the name, numbered where it is taken."""
    if name not in used:
        return name
    return next(new for number in count_from(2) if (new := f"{name}-{number}") not in used)


def _check(
    identities: Mapping[str, Sequence[str]],
    count: int | None,
    box: int,
    voxel_size: float,
    resolution: float,
    rmsd: Sequence[float],
) -> None:
    if not identities:
        raise SettingError("identities: name at least one")
    for identity, sources in identities.items():
        if not sources:
            raise SettingError(f"{identity}: name at least one structure, map or id")
        if count is not None and len(sources) > count:
            raise SettingError(
                f"{identity}: has {len(sources)} structures, more than the {count} conformations asked for"
            )
    if box < 8:
        raise SettingError(f"box: should be at least 8 voxels, not {box}")
    if not (voxel_size > 0 and resolution > 0):
        raise SettingError(
            f"voxel size and resolution should be above 0 Å, not {voxel_size:g} and {resolution:g}"
        )
    if not rmsd or min(rmsd) <= 0 or len(set(rmsd)) < len(rmsd):
        raise SettingError("RMSDs of conformations should be different numbers of Å above 0")
