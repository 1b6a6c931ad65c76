import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dualcontrast.errors import DataError
from dualcontrast.simulate.normal_modes import collective_motions, elastic_network_modes
from dualcontrast.simulate.structures import Atoms, read_atoms
from tiny_structures import ball, dumbbell, protein, write_pdb


def read(alphas: np.ndarray, tmp_path) -> Atoms:
    return read_atoms(write_pdb(protein(alphas), tmp_path / "made.pdb"))


def lattice(*sides: int) -> np.ndarray:
    return np.stack(np.meshgrid(*(6.0 * np.arange(n) for n in sides), indexing="ij"), axis=-1).reshape(-1, 3)


def test_a_tetrahedron_of_equal_springs_has_the_frequencies_of_p4():
    # Squared frequencies of a tetrahedral molecule with bond springs k and unit masses: k twice (E), 2 k
    # three times (T2), 4 k once (A1, breathing). Wilson, Decius & Cross, Molecular Vibrations (1955).
    corners = 3.0 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    values, vectors = elastic_network_modes(corners, 6)
    np.testing.assert_allclose(values, [1, 1, 2, 2, 2, 4], atol=1e-12)
    outwards = corners / np.linalg.norm(corners)
    assert abs(np.sum(vectors[5] * outwards)) == pytest.approx(1)


def test_eigenvalues_agree_with_prody():
    # ProDy 2.6.1: ANM().buildHessian(points, cutoff=15.0, gamma=1.0); calcModes(); getEigvals().
    turn = np.arange(40)
    angle = np.radians(100 * turn)
    helix = np.stack([2.3 * np.cos(angle), 2.3 * np.sin(angle), 1.5 * turn], axis=1)
    values, _ = elastic_network_modes(helix, 8)
    prody = [0.01963537, 0.01978483, 0.04430426, 0.12152813, 0.12352102, 0.16688683, 0.321793, 0.34520159]
    np.testing.assert_allclose(values, prody, rtol=1e-5)

    # Large enough for the sparse solver.
    values, vectors = elastic_network_modes(lattice(4, 5, 9), 6)
    prody = [0.53143909, 0.68993675, 0.89171498, 1.77951229, 2.20767163, 2.22088358]
    np.testing.assert_allclose(values, prody, rtol=1e-5)
    np.testing.assert_allclose(np.einsum("inx,jnx->ij", vectors, vectors), np.eye(6), atol=1e-8)


def test_a_chain_of_distant_nodes_is_not_held_together():
    points = np.array([[10.0 * step, 0, 0] for step in range(12)])
    with pytest.raises(DataError, match="do not hold this structure together"):
        elastic_network_modes(points, 3)


def test_motions_leave_centre_and_orientation_alone(tmp_path):
    atoms = read(dumbbell(), tmp_path)
    centred = atoms.positions - atoms.positions.mean(axis=0)
    for motion in collective_motions(atoms, 5):
        assert np.sqrt((motion.displacements**2).sum(axis=1).mean()) == pytest.approx(1)
        np.testing.assert_allclose(motion.displacements.mean(axis=0), 0, atol=1e-10)
        np.testing.assert_allclose(np.cross(centred, motion.displacements).mean(axis=0), 0, atol=1e-8)


def test_the_asked_rmsd_is_left_after_superposition(tmp_path):
    atoms = read(dumbbell(), tmp_path)
    for motion in collective_motions(atoms, 3):
        moved = atoms.moved(2.0 * motion.displacements).positions
        _, distance = Rotation.align_vectors(
            moved - moved.mean(axis=0), atoms.positions - atoms.positions.mean(axis=0)
        )
        assert distance / np.sqrt(len(atoms)) == pytest.approx(2.0, rel=0.02)


def test_bonds_within_residues_hardly_change(tmp_path):
    atoms = read(dumbbell(), tmp_path)
    residues = np.arange(len(atoms)).reshape(-1, 4)

    def bonds(positions: np.ndarray) -> np.ndarray:
        placed = positions[residues]
        return np.linalg.norm(placed[:, [0, 2]] - placed[:, [1]], axis=-1)

    for motion in collective_motions(atoms, 3):
        change = bonds(atoms.moved(2.5 * motion.displacements).positions) - bonds(atoms.positions)
        # Though the atoms have moved by 2.5 Å, in a structure 50 Å long.
        assert np.abs(change).mean() < 0.15
        assert np.abs(change).max() < 1.0


def test_the_softest_motion_of_a_dumbbell_is_its_neck(tmp_path):
    atoms = read(dumbbell(), tmp_path)
    motion = collective_motions(atoms, 1)[0]
    lobe = np.repeat(np.arange(160) < 100, 4)
    for inside in (lobe, ~lobe):
        # A step so small that displacements add up; what a rigid motion of the ball cannot explain is left.
        step = 0.01 * motion.displacements[inside]
        before = atoms.positions[inside] - atoms.positions[inside].mean(axis=0)
        after = before + step - step.mean(axis=0)
        _, within = Rotation.align_vectors(after, before)
        assert within**2 < 0.1 * (step**2).sum()


def test_a_loose_tail_does_not_take_the_soft_modes(tmp_path):
    tail = np.array([[22.0 + 3.6 * step, 0, 0] for step in range(15)])
    atoms = read(np.concatenate([ball(120), tail]), tmp_path)
    in_tail = np.arange(len(atoms)) >= 4 * 120
    for motion in collective_motions(atoms, 3):
        squared = (motion.displacements**2).sum(axis=1)
        assert squared[in_tail].sum() < 0.5 * squared.sum()
        assert np.isfinite(motion.displacements).all()


def test_the_seed_changes_nothing_where_no_modes_are_equally_soft():
    _, first = elastic_network_modes(lattice(4, 5, 9), 4, seed=0)
    _, second = elastic_network_modes(lattice(4, 5, 9), 4, seed=1)
    # The lattice is symmetric, so that the largest component of a mode, and with it the sign, is not unique.
    overlap = np.abs(np.einsum("inx,inx->i", first, second))
    np.testing.assert_allclose(overlap, 1, atol=1e-6)


def test_large_structures_are_thinned_and_move_alike(tmp_path):
    atoms = read(lattice(6, 9, 29), tmp_path)
    assert len(atoms.nodes) == 1566
    motions = collective_motions(atoms, 2)
    # The softest mode of a long bar is its bending along the thin side: x against z is a parabola.
    sideways = motions[0].displacements
    assert (sideways[:, 0] ** 2).mean() > 0.8
    parabola = (atoms.positions[:, 2] - atoms.positions[:, 2].mean()) ** 2
    assert abs(np.corrcoef(parabola, sideways[:, 0])[0, 1]) > 0.95


def test_springs_reach_further_where_two_domains_hardly_touch(tmp_path):
    apart = np.concatenate([ball(40), ball(40) + np.array([32.0, 0, 0])])
    nodes = read(apart, tmp_path).positions[1::4]
    with pytest.raises(DataError):
        elastic_network_modes(nodes, 3)
    assert len(collective_motions(read(apart, tmp_path), 3)) == 3


def test_too_small_a_structure_is_refused(tmp_path):
    with pytest.raises(DataError, match="at least 10 residues"):
        collective_motions(read(ball(6), tmp_path), 2)
