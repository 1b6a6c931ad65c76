"""Motions of a structure along the normal modes of an elastic network.

The anisotropic network model (Atilgan et al. 2001, Biophysical Journal 80:505): a node for each residue,
equal springs between all nodes closer than 15 Å. Its softest modes are the large motions that the shape of a
molecule allows: hinges, twists, breathing.

Written out here since ProDy, which has the same model, comes as source code only, so that every user would
need a compiler, and demands an old pyparsing.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import bsr_array, coo_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh
from scipy.spatial import KDTree

from dualcontrast.errors import DataError
from dualcontrast.random_streams import numpy_stream
from dualcontrast.simulate.structures import Atoms

CUTOFF = 15.0

# Larger structures are thinned to every second, third, ... node, with a cut-off that keeps the number of
# springs on a node; their soft modes hardly change (Doruker et al. 2002, Journal of Computational Chemistry
# 23:119).
_MOST_NODES = 1500

# Nodes with fewer neighbours are left out, with all that hangs on them: an extended chain alone has about 8
# within 15 Å, a node inside of a domain 50. Else the softest modes are the flapping of loose tails.
_FEWEST_NEIGHBOURS = 16

# Modes that move a smaller share of the nodes are left out: they would not be seen at low resolution.
_LEAST_COLLECTIVITY = 0.2
_MODES_A_SEARCH = 20

# An atom follows the nodes around it, with Gaussian weights of this width (Å) beyond the nearest.
_FOLLOW_WIDTH = 6.0
_FOLLOWED = 12


@dataclass(frozen=True)
class Motion:
    """A normal mode as it moves every atom.

    Attributes
    ----------
    mode : int
        Its place among the modes of the network by stiffness, 1 for the softest.
    displacements : numpy.ndarray, float64, shape (n, 3)
        Of each atom along (x, y, z), with a root mean square of 1 Å over all atoms. Neither the centre nor
        the orientation of the whole structure moves.
    """

    mode: int
    displacements: np.ndarray


def collective_motions(atoms: Atoms, count: int, seed: int = 0) -> list[Motion]:
    """Find the softest modes that move a good part of a structure.

    The network holds the nodes of `atoms` that have neighbours all around; thinned where there are very many.
    Modes of which the collectivity (Brüschweiler 1995, Journal of Chemical Physics 102:3396) is below 0.2 are
    left out. All atoms, loose ends too, follow the nodes nearest to them.

    Parameters
    ----------
    atoms : Atoms
        A structure of at least 10 residues.
    count : int
        How many motions to return at most; small structures have fewer.
    seed : int
        Matters only for symmetric structures: where several modes are equally soft, any mixture of them is a
        mode, and the seed says which.

    Raises
    ------
    DataError
        When the structure has no compact part of at least 10 residues.
    """
    step = max(1, -(-len(atoms.nodes) // _MOST_NODES))
    cutoff = CUTOFF * step ** (1 / 3)
    every = atoms.positions[atoms.nodes[::step]]
    searched = max(_MODES_A_SEARCH, count)
    while True:
        nodes = every[_well_held(every, cutoff)]
        if len(nodes) < 10:
            raise DataError(
                "normal modes need a compact structure of at least 10 residues with C-alpha or phosphorus "
                f"atoms; this one has {len(nodes)}"
            )
        available = 3 * len(nodes) - 6
        searched = min(searched, available)
        try:
            _, vectors = elastic_network_modes(nodes, searched, cutoff, seed)
        except DataError:
            # Domains that few springs join turn freely about a line between them: let springs reach further.
            if cutoff > 2 * CUTOFF * step ** (1 / 3):
                raise
            cutoff *= 1.2
            continue
        chosen = np.flatnonzero(_collectivity(vectors) >= _LEAST_COLLECTIVITY)[:count]
        if len(chosen) == count or searched == available:
            break
        searched = 2 * searched
    follow = _followers(atoms.positions, nodes)
    return [Motion(int(index) + 1, _without_rigid_motion(atoms, follow @ vectors[index])) for index in chosen]


def elastic_network_modes(
    nodes: np.ndarray, count: int, cutoff: float = CUTOFF, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Solve for the softest modes of an anisotropic network.

    Parameters
    ----------
    nodes : numpy.ndarray, shape (m, 3)
        Positions in Å.
    count : int
        How many modes, at most 3 m - 6.
    cutoff : float
        Springs join all nodes closer than this, in Å.
    seed : int
        Where the iteration starts, for large networks.

    Returns
    -------
    eigenvalues : numpy.ndarray, float64, shape (count,)
        Ascending, in units of the spring constant; without the six motions of the rigid body.
    vectors : numpy.ndarray, float64, shape (count, m, 3)
        Each of norm 1, its component of largest size positive.

    Raises
    ------
    DataError
        When the springs do not hold the nodes together.
    """
    stiffness = _stiffness(nodes, cutoff)
    size = 3 * len(nodes)
    wanted = 6 + count
    if size <= max(3 * wanted, 300):
        values, vectors = eigh(stiffness.toarray(), subset_by_index=(0, wanted - 1))
    else:
        # Shifted by a little, so that the matrix to be inverted is positive definite.
        start = numpy_stream(seed, "elastic network").normal(size=size)
        values, vectors = eigsh(stiffness.tocsc(), k=wanted, sigma=-1e-3, v0=start)
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
    if values[6] < 1e-6:
        raise DataError(f"springs of up to {cutoff:g} Å do not hold this structure together")
    vectors = vectors[:, 6:].T
    largest = np.abs(vectors).argmax(axis=1)
    vectors = vectors * np.sign(vectors[np.arange(count), largest])[:, None]
    return values[6:], vectors.reshape(count, -1, 3)


def _stiffness(nodes: np.ndarray, cutoff: float) -> bsr_array:
    """Return the Hessian: a block -d dᵀ/|d|² for each pair, minus the sum of its row on the diagonal."""
    pairs = KDTree(nodes).query_pairs(cutoff, output_type="ndarray")
    direction = nodes[pairs[:, 1]] - nodes[pairs[:, 0]]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    blocks = direction[:, :, None] * direction[:, None, :]
    diagonal = np.zeros((len(nodes), 3, 3))
    np.add.at(diagonal, pairs[:, 0], blocks)
    np.add.at(diagonal, pairs[:, 1], blocks)
    every = np.arange(len(nodes))
    rows = np.concatenate([pairs[:, 0], pairs[:, 1], every])
    columns = np.concatenate([pairs[:, 1], pairs[:, 0], every])
    order = np.lexsort((columns, rows))
    data = np.concatenate([-blocks, -blocks, diagonal])[order]
    starts = np.searchsorted(rows[order], np.arange(len(nodes) + 1))
    return bsr_array((data, columns[order], starts), shape=(3 * len(nodes), 3 * len(nodes)))


def _well_held(nodes: np.ndarray, cutoff: float) -> np.ndarray:
    """Return the indices of the largest connected part in which every node has enough neighbours."""
    kept = np.arange(len(nodes))
    while len(kept):
        pairs = KDTree(nodes[kept]).query_pairs(cutoff, output_type="ndarray")
        neighbours = np.bincount(pairs.ravel(), minlength=len(kept))
        # A small molecule has too few neighbours everywhere; half of its most is enough there.
        enough = neighbours >= min(_FEWEST_NEIGHBOURS, neighbours.max() / 2)
        if enough.all():
            graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(kept),) * 2)
            _, part = connected_components(graph, directed=False)
            return kept[part == np.bincount(part).argmax()]
        kept = kept[enough]
    return kept


def _collectivity(vectors: np.ndarray) -> np.ndarray:
    """Return the share of the nodes that each mode moves: exp(entropy of the squared displacements) / m."""
    shares = (vectors**2).sum(axis=2)
    entropy = -np.sum(shares * np.log(np.maximum(shares, 1e-300)), axis=1)
    return np.exp(entropy) / vectors.shape[1]


def _followers(positions: np.ndarray, nodes: np.ndarray) -> coo_array:
    """Return the weights (n, m) with which the atoms follow the nodes."""
    distances, indices = KDTree(nodes).query(positions, k=min(_FOLLOWED, len(nodes)))
    weights = np.exp(-(distances**2 - distances[:, :1] ** 2) / (2 * _FOLLOW_WIDTH**2))
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(positions)), min(_FOLLOWED, len(nodes)))
    return coo_array((weights.ravel(), (rows, indices.ravel())), shape=(len(positions), len(nodes)))


def _without_rigid_motion(atoms: Atoms, displacements: np.ndarray) -> np.ndarray:
    """Take out translation and rotation by least squares, and scale to a root mean square of 1 Å."""
    centred = atoms.positions - atoms.positions.mean(axis=0)
    translations = np.tile(np.eye(3), (len(centred), 1, 1))
    rotations = np.cross(np.eye(3)[None], centred[:, None])
    rigid = np.concatenate([translations, rotations], axis=1).transpose(0, 2, 1).reshape(-1, 6)
    flat = displacements.reshape(-1)
    flat = flat - rigid @ np.linalg.lstsq(rigid, flat, rcond=None)[0]
    moved = flat.reshape(-1, 3)
    return moved / np.sqrt((moved**2).sum(axis=1).mean())
