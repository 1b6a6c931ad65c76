"""Averages of the classes of a run on particles whose poses are known."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest
import starfile
import torch
from scipy.spatial.transform import Rotation

from dualcontrast import Codes, RunFolder
from dualcontrast.averaging import class_averages
from dualcontrast.averaging import particles as reading
from dualcontrast.averaging.class_averages import Pose, _star_values, average_classes
from dualcontrast.class_finding import cluster_run
from dualcontrast.errors import DataError, RunError, SettingError
from dualcontrast.export.star import StarText, write_star_subset
from dualcontrast.prepare import Preparation
from dualcontrast.run_folder import CODES
from posed_blobs import BLOBS, BOX, posed_blobs
from posed_run import EACH, IDENTITY, OTHER, ROTATIONS, SHIFTS, VOXEL, posed_run


def particles(star: Path) -> pd.DataFrame:
    """The table of particles of a STAR file."""
    blocks: Any = starfile.read(star, always_dict=True)
    return blocks["particles"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run whose content codes tell two particles apart, with classes and averages."""
    path = posed_run(tmp_path_factory.mktemp("posed"), IDENTITY)
    cluster_run(path, "content", 2, device="cpu")
    average_classes(path, progress=False)
    return path


def errors_and_map(table: pd.DataFrame, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Errors in degrees of orientations in a STAR file, and the formula's volume as its poses say it lies."""
    angles = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy()
    # RELION's matrix takes the particle back to the map, so A = Rᵀ; the map may be turned by any one G.
    back = Rotation.from_euler("ZYZ", angles, degrees=True)
    frames = back * Rotation.from_matrix(ROTATIONS[rows])
    frame = frames[int(np.argmin([np.median((f.inv() * frames).magnitude()) for f in frames]))]
    # The origin moves the particle to where the map lies: -(t + A d) for a map that lies off by d.
    origins = table[["rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"]].to_numpy() / VOXEL
    off = np.median(back.apply(-origins - SHIFTS[rows]), axis=0)
    places = (BLOBS, OTHER)[IDENTITY[rows[0]]]
    expected = posed_blobs(frame.as_matrix()[None], -off[None], places, 0.0, 0)[0, 0].numpy()
    return np.degrees((frame.inv() * frames).magnitude()), expected


@pytest.mark.parametrize("identity", [0, 1])
def test_orientations_origins_and_map_agree_with_the_formula(run, identity):
    """The map is the formula's volume, turned and moved as the poses in the STAR file say."""
    folder = run / "clusters" / "content" / "averages"
    for name in ("1", "2"):
        table = particles(folder / f"class-{name}.star")
        rows = [int(image[:3]) for image in table["rlnImageName"]]
        if IDENTITY[rows[0]] == identity:
            break
    else:
        pytest.fail("no class of this identity")
    assert sorted(rows) == np.flatnonzero(identity == IDENTITY).tolist()
    errors, expected = errors_and_map(table, rows)
    assert np.median(errors) < 5
    with mrcfile.open(folder / f"class-{name}.mrc") as file:
        assert float(file.voxel_size.x) == pytest.approx(VOXEL)
        assert np.corrcoef(np.asarray(file.data).ravel(), expected.ravel())[0, 1] > 0.9


def test_other_columns_and_the_table_of_poses(run):
    """Rows keep what else they held, and `poses.csv` says the same as the STAR files."""
    folder = run / "clusters" / "content" / "averages"
    table = particles(folder / "class-1.star")
    assert [f"keep{int(image[:3])}" for image in table["rlnImageName"]] == table["rlnNote"].tolist()
    with (folder / "poses.csv").open(newline="") as handle:
        poses = {row["id"]: row for row in csv.DictReader(handle)}
    assert len(poses) == 2 * EACH
    for image, tilt, origin in table[["rlnImageName", "rlnAngleTilt", "rlnOriginZAngst"]].to_numpy():
        assert float(poses[image]["tilt_deg"]) == tilt
        assert float(poses[image]["origin_z_angstrom"]) == origin


def test_codes_of_particles_laid_alike(run):
    """Have the content codes of the run, and ten numbers for what is left of each particle."""
    codes = Codes.load(run / "clusters" / "content" / "averages" / CODES)
    of_run = RunFolder.open(run).codes
    assert sorted(codes.ids) == sorted(of_run.ids)
    assert np.array_equal(codes.content, of_run.select(codes.ids).content)
    assert codes.transformation.shape == (2 * EACH, 10)
    assert (codes.transformation.std(axis=0) > 0).all()


def test_states_and_most(run, tmp_path, caplog):
    """Two states of each class, from its nearest members only; that they hardly differ is said."""
    maps = average_classes(run, states=2, most=20, others=False, output=tmp_path / "states", progress=False)
    assert sorted(maps.files) == [f"class-{c}_state-{s}" for c in (1, 2) for s in (1, 2)]
    table = particles(tmp_path / "states" / "class-1.star")
    assert len(table) == 20
    assert set(table["rlnClassNumber"]) == {1, 2}
    assert Codes.load(tmp_path / "states" / CODES).transformation.shape == (40, 1)
    record = json.loads((tmp_path / "states" / "averages.json").read_text())
    alike = [name for name, apart in record["separation"].items() if apart < class_averages.HARDLY_APART]
    assert alike and caplog.text.count("ask for fewer") == len(alike)


def test_particles_beyond_most_are_laid_on_the_averages(run, tmp_path, monkeypatch):
    """In parts, each as near to how it lies as those that the averages were found from; the map holds all."""
    monkeypatch.setattr(reading, "VOXELS_AT_ONCE", 5 * BOX**3)
    monkeypatch.setattr(class_averages, "LAID_AT_ONCE", 7)
    average_classes(run, most=18, output=tmp_path, progress=False)
    record = json.loads((tmp_path / "averages.json").read_text())
    assert record["particles"] == {"1": [EACH], "2": [EACH]}
    assert len(Codes.load(tmp_path / CODES).ids) == 2 * EACH
    for name in ("1", "2"):
        table = particles(tmp_path / f"class-{name}.star")
        rows = [int(image[:3]) for image in table["rlnImageName"]]
        assert len(set(rows)) == EACH
        errors, expected = errors_and_map(table, rows)
        assert np.median(errors[18:]) < 6
        with mrcfile.open(tmp_path / f"class-{name}.mrc") as file:
            assert np.corrcoef(np.asarray(file.data).ravel(), expected.ravel())[0, 1] > 0.9


def test_particles_read_in_parts_are_those_read_at_once(monkeypatch):
    """Whatever each measured: in parts that are not as large as each other."""
    volumes = posed_blobs(ROTATIONS[:10], SHIFTS[:10], BLOBS, 0.3, 0)
    wedges = torch.rand((10, BOX, BOX, BOX // 2 + 1), generator=torch.Generator().manual_seed(0))
    preparation = Preparation("standardize", 0.0, 1.0, (1, BOX, BOX, BOX))
    waves = reading.waves_for(preparation.image_shape)
    monkeypatch.setattr(reading, "VOXELS_AT_ONCE", 4 * BOX**3)
    monkeypatch.setattr(reading, "read_particles", lambda *asked: (volumes[asked[2]], wedges[asked[2]]))
    spectra, seen = reading.read_spectra(None, preparation, np.arange(10), waves)  # type: ignore[arg-type]
    assert torch.allclose(spectra, reading.spectra_of(waves, volumes), atol=1e-5)
    assert seen is not None
    assert torch.allclose(seen, reading.mean_seen(waves, wedges, BOX), atol=1e-6)


@pytest.fixture
def unsure(run, tmp_path) -> tuple[Path, set[str]]:
    """A copy of the run, and the names of the particles of which its classes were made unsure."""
    path = tmp_path / "unsure"
    shutil.copytree(run, path, ignore=shutil.ignore_patterns("averages"))
    file = path / "clusters" / "content" / "classes.csv"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table.loc[::4, "confidence"] = "0.4"
    file.write_text(table.to_csv(index=False))
    return path, set(table["id"][::4])


def test_unsure_particles_are_in_no_average_if_asked_or_if_they_are_in_no_class_file(unsure, caplog):
    path, names = unsure

    def averaged(**options) -> set[str]:
        with caplog.at_level("INFO"):
            folder = average_classes(path, most=4, progress=False, overwrite=True, **options).folder
        stars = [set(particles(star)["rlnImageName"]) for star in folder.glob("class-?.star")]
        return set.union(*stars)

    everything = {f"{i:03d}.mrc" for i in range(2 * EACH)}
    assert averaged(min_confidence=0.5) == everything - names
    assert "9 particles below a confidence of 0.5 are left out" in caplog.text
    # As for the class STAR files, unless another confidence is asked for.
    record = path / "clusters" / "content" / "clusters.json"
    written = json.loads(record.read_text())
    written["settings"]["min_confidence"] = 0.5
    record.write_text(json.dumps(written))
    assert averaged() == everything - names
    assert averaged(min_confidence=0.3) == everything


def test_confidence_that_cannot_be_asked_for(unsure):
    path, _ = unsure
    with pytest.raises(SettingError, match=r"--min-confidence 1\.5: give a number from 0 to 1"):
        average_classes(path, min_confidence=1.5)
    file = path / "clusters" / "content" / "classes.csv"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    file.write_text(table.assign(confidence="0.4").to_csv(index=False))
    with pytest.raises(DataError, match=r"0 particles of class 1 .* below a confidence of 0\.9 do not count"):
        average_classes(path, min_confidence=0.9)
    file.write_text(table.iloc[:, :7].to_csv(index=False))
    with pytest.raises(RunError, match="without confidence; leave --min-confidence out"):
        average_classes(path, min_confidence=0.5)


def test_numbers_that_cannot_be(run):
    """Are refused before anything is read."""
    with pytest.raises(SettingError, match="--states 0"):
        average_classes(run, states=0, output="nowhere")


def test_classes_too_small_for_their_states_are_named(run, tmp_path):
    with pytest.raises(
        DataError, match=r"36 particles of class 1 are too few for 19 averages.*fewer classes$"
    ):
        average_classes(run, states=19, output=tmp_path / "none")


def test_fewer_states_leave_no_former_ones(run, tmp_path):
    """And nothing else is deleted."""
    folder = tmp_path / "again"
    average_classes(run, states=2, most=8, others=False, output=folder, progress=False)
    (folder / "class-1_notes.txt").write_text("mine")
    average_classes(run, most=8, others=False, output=folder, overwrite=True, progress=False)
    assert sorted(path.name for path in folder.glob("class-*")) == [
        "class-1.mrc",
        "class-1.star",
        "class-1_notes.txt",
        "class-2.mrc",
        "class-2.star",
    ]


def test_a_damaged_record_is_replaced(run, tmp_path):
    """Instead of failing once everything is aligned."""
    (tmp_path / "averages.json").write_text("{")
    average_classes(run, most=8, others=False, output=tmp_path, overwrite=True, progress=False)
    assert json.loads((tmp_path / "averages.json").read_text())["particles"] == {"1": [8], "2": [8]}


def test_a_star_file_that_lost_a_particle_ends_it_before_anything_is_aligned(run, tmp_path, monkeypatch):
    """With a message that counts them."""
    monkeypatch.setattr(class_averages, "align", lambda *_, **__: pytest.fail("aligned"))
    star = run.parent / "particles.star"
    whole = star.read_text()
    try:
        star.write_text(whole.replace("005.mrc 1 99.0 keep5\n", ""))
        with pytest.raises(DataError, match="71 images, formerly 72"):
            average_classes(run, output=tmp_path, progress=False)
    finally:
        star.write_text(whole)
    assert not list(tmp_path.iterdir())


def test_priors_of_another_frame_become_the_poses(tmp_path):
    """As RELION 5 has them of particles on spheres; origins are in Å where a column or a group says so."""
    columns = ("ImageName", "AngleTiltPrior", "AnglePsiPrior", "OriginXAngst", "OriginXPriorAngst")
    head = "".join(f"_rln{column} #{number}\n" for number, column in enumerate(columns, 1))
    (tmp_path / "particles.star").write_text(f"data_particles\n\nloop_\n{head}a.mrc 90.0 0.0 1.0 2.0\n")
    star = StarText(tmp_path / "particles.star")
    angles, origins = np.array([[10.0, 20.0, 30.0]]), np.array([[1.0, 2.0, 3.0]])
    pose = Pose(star.image_names, np.array([1]), angles, origins)
    write_star_subset(star, ["a.mrc"], tmp_path / "class.star", _star_values(pose, star, 5.0, 0.5, 1))
    blocks: Any = starfile.read(tmp_path / "class.star", always_dict=True)
    (row,) = blocks["particles"].to_dict("records")
    assert (row["rlnAngleTilt"], row["rlnAngleTiltPrior"], row["rlnAnglePsiPrior"]) == (20, 20, 30)
    assert (row["rlnOriginXAngst"], row["rlnOriginXPriorAngst"], row["rlnOriginZAngst"]) == (5, 5, 15)
    assert "rlnAngleRotPrior" not in row and "rlnOriginX" not in row
