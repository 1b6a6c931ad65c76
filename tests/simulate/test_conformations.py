import gzip

import mrcfile
import numpy as np
import pytest

from dualcontrast.errors import DataError, SettingError
from dualcontrast.simulate.conformations import load_conformations
from dualcontrast.simulate.normal_modes import collective_motions
from dualcontrast.simulate.structures import read_atoms
from tiny_structures import ball, dumbbell, protein, write_mmcif, write_pdb

GRID = {"box": 24, "voxel_size": 5.0, "resolution": 12.0}


@pytest.fixture
def folder(tmp_path):
    write_pdb(protein(dumbbell()), tmp_path / "bell.pdb")
    write_mmcif(protein(ball(80)), tmp_path / "ball.cif")
    (tmp_path / "sub").mkdir()
    write_pdb(protein(ball(90)), tmp_path / "sub" / "bell.pdb")
    (tmp_path / "zipped.pdb.gz").write_bytes(gzip.compress((tmp_path / "bell.pdb").read_bytes()))
    grid = (np.arange(40) - 17.0) * 3.0
    profile = np.exp(-(grid**2) / (2 * 12.0**2))
    with mrcfile.new(tmp_path / "blob.mrc") as file:
        file.set_data((5.0 * np.einsum("z,y,x->zyx", profile, profile, profile)).astype(np.float32))
        file.voxel_size = 3.0
    return tmp_path


def names(conformations) -> list[str]:
    return [f"{conformation.identity}/{conformation.name}" for conformation in conformations]


def test_structures_and_maps_as_they_are_given(folder):
    made = load_conformations(
        {"b": ["bell.pdb", "zipped.pdb.gz", "sub/bell.pdb"], "a": ["blob.mrc", str(folder / "ball.cif")]},
        count=None,
        folder=folder,
        **GRID,
    )
    assert names(made) == ["b/bell", "b/zipped", "b/bell-2", "a/blob", "a/ball"]
    for conformation in made:
        density = conformation.density
        assert density.shape == (24, 24, 24)
        assert density.dtype == np.float32
        assert density.min() > -0.2
        assert density.max() == pytest.approx(1)
        assert conformation.voxel_size == 5.0
        for axis in range(3):
            profile = density.sum(axis=tuple({0, 1, 2} - {axis}), dtype=float)
            assert profile @ np.arange(24) / profile.sum() == pytest.approx(12, abs=0.1)
    np.testing.assert_array_equal(made[0].density, made[1].density)


def test_the_dumbbell_lies_along_x_the_last_axis(folder):
    density = load_conformations({"b": ["bell.pdb"]}, count=None, folder=folder, **GRID)[0].density
    index = np.arange(24) - 12
    spread = [
        density.sum(axis=tuple({0, 1, 2} - {axis}), dtype=float) @ index**2 / density.sum(dtype=float)
        for axis in range(3)
    ]
    # Variances add up: that of the C-alphas along z, y and x, and R² / (2 π²) of the low-pass filter.
    wanted = (dumbbell().var(axis=0)[::-1] + 12.0**2 / (2 * np.pi**2)) / 5.0**2
    np.testing.assert_allclose(spread, wanted, rtol=0.05)


def test_missing_conformations_are_made_by_normal_modes(folder):
    made = load_conformations({"b": ["bell.pdb"]}, count=4, folder=folder, rmsd=[4.0], **GRID)
    assert names(made)[:2] == ["b/bell", "b/bell+mode1+4.0A"]
    assert len(set(names(made))) == 4
    assert all(name.endswith("4.0A") for name in names(made)[1:])
    flat = np.array([conformation.density.ravel() for conformation in made])
    likeness = np.corrcoef(flat)
    assert likeness[np.triu_indices(4, 1)].max() < 0.985
    assert likeness.min() > 0.2


def test_several_rmsds_follow_one_mode_before_the_next(folder):
    made = load_conformations({"b": ["bell.pdb"]}, count=3, folder=folder, rmsd=[2.0, 4.0], **GRID)
    first, second = names(made)[1:]
    assert first == "b/bell+mode1+2.0A"
    assert second in ("b/bell+mode1-2.0A", "b/bell+mode1+4.0A")


def test_several_structures_share_the_missing_conformations(folder):
    sources = ["bell.pdb", "ball.cif", "blob.mrc"]
    made = load_conformations({"b": sources}, count=6, folder=folder, rmsd=[3.0], **GRID)
    assert names(made)[:3] == ["b/bell", "b/ball", "b/blob"]
    assert [name.split("+")[0] for name in names(made)[3:]] == ["b/bell", "b/bell", "b/ball"]


def test_a_motion_that_leads_to_the_same_conformation_turned_is_left_out(tmp_path):
    # Two balls, each the other one turned by 180° about z.
    half = ball(80) * (1, 0.9, 1.1) + np.array([15.0, 4.0, 0])
    path = write_pdb(protein(np.concatenate([half, half * (-1, -1, 1)])), tmp_path / "pair.pdb")
    made = load_conformations({"pair": ["pair.pdb"]}, count=7, folder=tmp_path, rmsd=[4.0], **GRID)
    present = [name.removeprefix("pair/pair") for name in names(made)]

    breaking = []
    for motion in collective_motions(read_atoms(path), 6):
        moved = motion.displacements[1::4]
        turned = np.roll(moved, 80, axis=0) * (-1, -1, 1)
        # 1 where a motion keeps the two-fold axis, -1 where it breaks it: then it leads forwards to what it
        # leads to backwards, turned.
        parity = np.sum(moved * turned) / np.sum(moved**2)
        if parity < -0.9:
            breaking.append(motion.mode)
    assert breaking
    used = [[f"+mode{mode}{sign}4.0A" in present for sign in "+-"] for mode in breaking]
    assert not any(all(signs) for signs in used)
    assert any(any(signs) for signs in used)
    # Motions that keep it lead to two conformations.
    assert {"+mode1+4.0A", "+mode1-4.0A"} <= set(present)


def test_the_same_seed_gives_the_same_conformations_and_progress_counts_them(folder):
    steps: list[int] = []
    runs = [
        load_conformations(
            {"b": ["bell.pdb"]}, count=3, folder=folder, rmsd=[4.0], seed=7, on_progress=steps.append, **GRID
        )
        for _ in range(2)
    ]
    assert sum(steps) == 6
    for one, other in zip(*runs, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.density, other.density)


def test_a_file_comes_before_an_id(folder):
    write_mmcif(protein(ball(70)), folder / "plain.cif").rename(folder / "1abc")
    with pytest.raises(DataError, match="not the name of a structure"):
        load_conformations({"b": ["1abc"]}, count=None, folder=folder, **GRID)


def test_an_id_is_fetched_from_the_cache(folder, monkeypatch):
    monkeypatch.setenv("DUALCONTRAST_DATA", str(folder / "cache"))
    write_pdb(protein(ball(60)), folder / "cache" / "structures" / "1abc.pdb")
    made = load_conformations({"b": ["1ABC"]}, count=None, folder=folder, **GRID)
    assert names(made) == ["b/1abc"]


@pytest.mark.parametrize(
    ("identities", "count", "change", "error", "message"),
    [
        ({}, None, {}, SettingError, "identities: name at least one"),
        ({"b": []}, None, {}, SettingError, "b: name at least one structure"),
        ({"b": ["bell.pdb", "ball.cif"]}, 1, {}, SettingError, "has 2 structures, more than the 1"),
        ({"b": ["blob.mrc"]}, 2, {}, SettingError, "all maps"),
        ({"b": ["gone.pdb"]}, None, {}, DataError, r"gone\.pdb: no such file"),
        ({"b": ["bell.pdb"]}, None, {"voxel_size": 0.0}, SettingError, "above 0 Å"),
        ({"b": ["bell.pdb"]}, None, {"resolution": -1.0}, SettingError, "above 0 Å"),
        ({"b": ["bell.pdb"]}, None, {"box": 4}, SettingError, "at least 8 voxels"),
        ({"b": ["bell.pdb"]}, 2, {"rmsd": [-3.0]}, SettingError, "RMSDs"),
        ({"b": ["bell.pdb"]}, 2, {"rmsd": [3.0, 3.0]}, SettingError, "RMSDs"),
        ({"b": ["bell.pdb"]}, None, {"box": 8}, DataError, r"bell\.pdb: reaches .* use a box of at least"),
        ({"b": ["bell.pdb"]}, 2, {"rmsd": [60.0]}, DataError, r"b, bell\+mode1\+60\.0A: reaches"),
    ],
)
def test_settings_and_sources_that_cannot_be_used(folder, identities, count, change, error, message):
    with pytest.raises(error, match=message):
        load_conformations(identities, count=count, folder=folder, **{**GRID, **change})
