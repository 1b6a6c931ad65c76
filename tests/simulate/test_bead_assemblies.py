import itertools

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from dualcontrast.errors import SettingError
from dualcontrast.simulate.bead_assemblies import (
    BEAD_WIDTH,
    BEADS,
    IDENTITIES,
    SPACING,
    bead_assemblies,
    bead_positions,
)
from dualcontrast.simulate.likeness import Shape

OPENINGS = np.linspace(0, 150, 6)


@pytest.mark.parametrize("domains", IDENTITIES, ids="-".join)
def test_beads_of_all_openings_keep_their_distance_and_a_particles_size(domains):
    for opening in OPENINGS:
        beads = bead_positions(domains, opening)
        assert beads.shape == (BEADS, 3)
        np.testing.assert_allclose(beads.mean(axis=0), 0, atol=1e-9)
        assert pdist(beads).min() > 0.65 * SPACING
        assert 95 < pdist(beads).max() + 2 * BEAD_WIDTH < 255


@pytest.mark.parametrize("domains", IDENTITIES, ids="-".join)
def test_domains_stay_rigid_and_the_angle_between_them_is_the_opening(domains):
    closed = bead_positions(domains, 0.0)
    size = BEADS // len(domains)
    for opening in OPENINGS:
        opened = bead_positions(domains, opening)
        for part in range(len(domains)):
            inside = slice(part * size, (part + 1) * size)
            np.testing.assert_allclose(pdist(opened[inside]), pdist(closed[inside]), atol=1e-9)
        turns = []
        for part in (0, 1):
            inside = slice(part * size, (part + 1) * size)
            before, after = (beads[inside] - beads[inside].mean(axis=0) for beads in (closed, opened))
            turns.append(Rotation.align_vectors(after, before)[0])
        angle = np.degrees((turns[1] * turns[0].inv()).magnitude())
        assert angle == pytest.approx(opening, abs=1e-6)


@pytest.mark.parametrize("domains", IDENTITIES, ids="-".join)
def test_openings_differ_even_when_turned_as_well_as_possible(domains):
    shapes = [Shape(bead_positions(domains, opening)) for opening in OPENINGS]
    rotations = Rotation.random(500, rng=np.random.default_rng(0)).as_matrix()
    for one, other in itertools.pairwise(shapes):
        assert one.best_overlap(other, rotations)[0] < 0.97


def test_the_first_identities_differ_from_each_other_in_every_opening():
    rotations = Rotation.random(300, rng=np.random.default_rng(0)).as_matrix()
    shapes = {
        domains: [Shape(bead_positions(domains, opening)) for opening in (0.0, 75.0, 150.0)]
        for domains in IDENTITIES[:3]
    }
    for first, second in itertools.combinations(shapes, 2):
        for one, other in itertools.product(shapes[first], shapes[second]):
            assert one.best_overlap(other, rotations)[0] < 0.93


def test_sizes_and_openings_are_as_asked():
    made = bead_assemblies(2, 3, beads=(40, 90), largest_opening=60, box=24, voxel_size=14.0)
    assert [particle.name for particle in made] == ["open000", "open030", "open060"] * 2
    for domains, count in zip(IDENTITIES, (40, 90), strict=False):
        assert bead_positions(domains, 30.0, count=count).shape == (count, 3)
    # Volume at half the brightest voxel grows with the beads.
    small, large = ((particle.density > 0.5).sum() for particle in (made[0], made[3]))
    assert large > 1.5 * small


@pytest.mark.parametrize("wrong", [{"beads": (40,)}, {"beads": (4, 40)}, {"largest_opening": 170.0}])
def test_wrong_sizes_and_openings_are_refused(wrong):
    with pytest.raises(SettingError, match="should be"):
        bead_assemblies(2, 3, **wrong)


def test_the_density_is_the_sum_of_gaussians_in_z_y_x_order():
    made = bead_assemblies(1, 2, box=30, voxel_size=9.0, seed=4)[1]
    beads = bead_positions(IDENTITIES[0], 150.0, seed=4)

    def at(index: tuple[int, int, int]) -> float:
        place = (np.array(index[::-1]) - 15) * 9.0
        return float(np.exp(-((beads - place) ** 2).sum(axis=1) / (2 * BEAD_WIDTH**2)).sum())

    brightest = np.unravel_index(made.density.argmax(), made.density.shape)
    for index in [(15, 15, 15), (13, 11, 18), (16, 20, 12), (14, 8, 14)]:
        assert made.density[index] == pytest.approx(at(index) / at(brightest), abs=1e-5)


def test_names_sizes_and_scale():
    made = bead_assemblies()
    assert len(made) == 18
    assert [conformation.name for conformation in made[:6]] == [
        "open000", "open030", "open060", "open090", "open120", "open150",
    ]  # fmt: skip
    assert len({conformation.identity for conformation in made}) == 3
    mass = [conformation.density.sum(dtype=float) for conformation in made]
    assert max(mass) < 1.15 * min(mass)
    for conformation in made:
        assert conformation.density.shape == (32, 32, 32)
        assert conformation.density.dtype == np.float32
        assert conformation.density.min() >= 0
        assert conformation.density.max() == 1
        assert conformation.voxel_size == 10.0
        centre = [
            conformation.density.sum(axis=tuple({0, 1, 2} - {axis}), dtype=float)
            @ np.arange(32)
            / conformation.density.sum(dtype=float)
            for axis in range(3)
        ]
        np.testing.assert_allclose(centre, 16, atol=0.01)


def test_seeds_place_the_beads_and_more_identities_only_add():
    few, many = bead_assemblies(2, 2, seed=1), bead_assemblies(3, 2, seed=1)
    for one, other in zip(few, many[:4], strict=True):
        np.testing.assert_array_equal(one.density, other.density)
    assert np.abs(few[0].density - bead_assemblies(1, 2, seed=2)[0].density).max() > 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"identities": 0}, "identities: should be from 1 to 8"),
        ({"identities": 9}, "identities: should be from 1 to 8"),
        ({"conformations": 0}, "conformations: should be from 1"),
        ({"voxel_size": 0.0}, "voxel size: should be above 0"),
        ({"box": 20}, "use a box of at least"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        bead_assemblies(**settings)


def test_the_box_that_is_asked_for_suffices():
    with pytest.raises(SettingError) as caught:
        bead_assemblies(1, 6, box=16)
    needed = int(str(caught.value).split("at least ")[1].split()[0])
    assert len(bead_assemblies(1, 1, box=needed)) == 1
