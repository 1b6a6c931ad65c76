from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest
import starfile
import torch
import yaml
from scipy.spatial.transform import Rotation

from dualcontrast.cli.simulate import app
from dualcontrast.data.open import open_source
from dualcontrast.errors import DataError, SettingError
from dualcontrast.settings import from_plain
from dualcontrast.simulate.conformation import Conformation
from dualcontrast.simulate.imaging import make_microscope
from dualcontrast.simulate.noise import particle_mask
from dualcontrast.simulate.subtomogram_spec import SubtomogramSpec, preset_spec, read_spec
from dualcontrast.simulate.subtomograms import simulate

BOX, VOXEL = 16, 12.0
SMALL = {"box": BOX, "voxel_size": VOXEL, "copies": 3, "tomograms": 2}
SITES = {
    ("alpha", "open"): [(30.0, 0.0, 0.0), (0.0, 36.0, 10.0)],
    ("alpha", "closed"): [(15.0, 0.0, 0.0), (0.0, 18.0, 20.0)],
    ("beta", "only"): [(0.0, -24.0, 24.0), (24.0, 24.0, 0.0), (-30.0, 0.0, -10.0)],
}


def density(sites: list[tuple[float, float, float]], sigma: float = 20.0) -> np.ndarray:
    """Gaussian blobs at (x, y, z) in Å."""
    axis = (np.arange(BOX) - BOX // 2) * VOXEL
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    blobs = [np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * sigma**2)) for a, b, c in sites]
    return np.sum(blobs, axis=0).astype(np.float32)


def phase_shift(squared_frequency: np.ndarray, defocus: float) -> np.ndarray:
    """Closed formula at 300 kV, Cs 1.7 mm and 10 % amplitude contrast; defocus in Å."""
    wave = 0.0196875
    defocused = np.pi * wave * defocus * squared_frequency
    return defocused - np.pi / 2 * 1.7e7 * wave**3 * squared_frequency**2 + np.arcsin(0.1)


@pytest.fixture
def conformations() -> list[Conformation]:
    return [Conformation(*key, density(sites), VOXEL) for key, sites in SITES.items()]


def spec(**changes: object) -> SubtomogramSpec:
    return from_plain(SubtomogramSpec, SMALL | changes)


def read(star: Path) -> tuple[Any, Any, np.ndarray]:
    """Blocks, particle table and volumes of a simulation."""
    blocks: Any = starfile.read(star, always_dict=True, parse_as_string=["rlnTomoName"])
    particles = blocks["particles"]
    volumes = np.stack([mrcfile.read(star.parent / name) for name in particles["rlnImageName"]])
    return blocks, particles, volumes


def test_files_are_what_relion_5_writes(tmp_path, conformations):
    star = simulate(
        spec(tilt_range=[-60, 60], ctf={"defocus_spread": 0.5}), tmp_path / "set", conformations=conformations
    )
    blocks, particles, volumes = read(star)
    assert blocks["general"]["rlnTomoSubTomosAre2DStacks"] == 0
    optics = blocks["optics"].iloc[0]
    assert (optics["rlnImagePixelSize"], optics["rlnImageSize"], optics["rlnImageDimensionality"]) == (
        12,
        16,
        3,
    )
    assert (optics["rlnVoltage"], optics["rlnSphericalAberration"], optics["rlnAmplitudeContrast"]) == (
        300,
        1.7,
        0.1,
    )
    assert len(particles) == 9
    assert volumes.shape == (9, BOX, BOX, BOX)
    assert set(particles["rlnTomoName"]) <= {"TS_01", "TS_02"}
    for name in [particles["rlnImageName"][0], "references/beta/only.mrc"]:
        with mrcfile.open(star.parent / name) as mrc:
            assert mrc.voxel_size.x == mrc.voxel_size.z == pytest.approx(VOXEL)
        assert mrcfile.validate(star.parent / name)
    # Å in the file, µm in the settings; one value a tomogram.
    assert particles["rlnDefocusU"].between(45_000, 55_000).all()
    assert (particles.groupby("rlnTomoName")["rlnDefocusU"].nunique() == 1).all()
    assert not list(tmp_path.glob(".*"))


def test_truth_names_the_density_that_a_volume_shows(tmp_path, conformations):
    star = simulate(
        spec(ctf=None, snr=None, max_shift=15), tmp_path / "set", conformations=conformations, seed=5
    )
    _, particles, volumes = read(star)
    truth: Any = pd.read_csv(star.with_suffix(".csv"))
    assert list(truth["id"]) == list(particles["rlnImageName"])
    assert truth.groupby(
        ["content:identity", "transformation:conformation"]
    ).size().to_dict() == dict.fromkeys(SITES, 3)
    for row, particle in particles.iterrows():
        key = (truth["content:identity"][row], truth["transformation:conformation"][row])
        angles = particle[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(float)
        shift = -particle[["rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"]].to_numpy(float)
        assert np.abs(shift).max() <= 15
        moved = Rotation.from_euler("ZYZ", angles, degrees=True).inv().apply(SITES[key]) + shift
        expected = density([tuple(site) for site in moved])
        # Blobs that reach over the edge of their reference box are cut off there.
        assert np.abs(volumes[row] - expected).max() < 0.05


@pytest.mark.parametrize(
    "changes",
    [{}, {"tilt_range": (-60, 60)}, {"mode": "tilt_series", "tilt_series": {"step": 6}}],
    ids=["simple", "wedge", "tilts"],
)
def test_written_volumes_have_the_snr_that_was_asked_for(tmp_path, conformations, changes):
    _, _, clean = read(simulate(spec(snr=None, **changes), tmp_path / "clean", conformations=conformations))
    star = simulate(spec(snr=0.2, **changes), tmp_path / "noisy", conformations=conformations)
    _, _, noisy = read(star)
    _, _, posed = read(simulate(spec(snr=None, ctf=None), tmp_path / "posed", conformations=conformations))
    masks = particle_mask(torch.from_numpy(posed)).numpy()
    for signal, volume, mask in zip(clean, noisy, masks, strict=True):
        assert signal[mask].var() / (volume - signal).var() == pytest.approx(0.2, rel=0.01)


def test_ctf_is_that_of_the_defocus_in_the_star_file(tmp_path, conformations):
    changes = {"snr": None, "tomograms": 3}
    _, particles, imaged = read(
        simulate(
            spec(**changes, ctf={"defocus": 3.0, "defocus_spread": 1}),
            tmp_path / "a",
            conformations=conformations,
        )
    )
    _, _, plain = read(simulate(spec(**changes, ctf=None), tmp_path / "b", conformations=conformations))
    k, half = np.fft.fftfreq(BOX, VOXEL), np.fft.rfftfreq(BOX, VOXEL)
    squared = k[:, None, None] ** 2 + k[:, None] ** 2 + half**2
    for defocus, volume, before in zip(particles["rlnDefocusU"], imaged, plain, strict=True):
        transfer = np.sin(phase_shift(squared, defocus))
        expected = np.fft.irfftn(np.fft.rfftn(before) * transfer, s=before.shape, axes=(0, 1, 2))
        np.testing.assert_allclose(volume, expected, atol=2e-3)


def test_wedge_holds_neither_signal_nor_noise_and_can_be_read_back(tmp_path, conformations):
    star = simulate(spec(tilt_range=(-60, 60)), tmp_path / "set", conformations=conformations)
    _, _, volumes = read(star)
    k, half = np.fft.fftfreq(BOX), np.fft.rfftfreq(BOX)
    missing = np.abs(k)[:, None, None] > np.tan(np.deg2rad(60)) * half + 0 * k[:, None] + 1e-9
    power = np.abs(np.fft.rfftn(volumes, axes=(1, 2, 3))) ** 2
    assert power[:, missing].max() < 1e-8 * power.max()
    wedges = open_source(str(star)).read_wedges([0, 4])
    assert wedges is not None
    np.testing.assert_array_equal(wedges[1] == 0, missing)


def test_the_source_opens_it_with_labels(tmp_path, conformations):
    star = simulate(spec(), tmp_path / "set", conformations=conformations)
    _, _, volumes = read(star)
    source = open_source(str(star))
    assert source.image_shape == (1, BOX, BOX, BOX)
    assert source.voxel_size == pytest.approx(VOXEL)
    np.testing.assert_array_equal(source.read([7])[0, 0], volumes[7])
    assert source.read_wedges([0]) is None
    assert source.labels is not None
    roles = {factor.name: factor.role for factor in source.labels.factors}
    assert (roles["identity"], roles["conformation"]) == ("content", "transformation")
    assert roles["rlnAngleRot"] == "metadata"


@pytest.mark.parametrize("mode", ["simple", "tilt_series"])
def test_more_copies_only_add_particles(tmp_path, conformations, mode):
    few = read(simulate(spec(copies=2, mode=mode), tmp_path / "few", conformations=conformations, seed=1))
    many = read(simulate(spec(copies=4, mode=mode), tmp_path / "many", conformations=conformations, seed=1))
    other = read(simulate(spec(copies=2, mode=mode), tmp_path / "other", conformations=conformations, seed=2))
    pd.testing.assert_frame_equal(many[1][: len(few[1])], few[1])
    np.testing.assert_allclose(many[2][: len(few[2])], few[2], atol=1e-4 * few[2].std())
    assert not np.allclose(other[2], few[2], atol=0.1 * few[2].std())


def test_weights_of_a_tilt_series_are_written_for_each_tomogram(tmp_path, conformations):
    settings = spec(
        mode="tilt_series", ctf={"defocus": 4, "defocus_spread": 2}, tilt_series={"total_dose": 0}
    )
    star = simulate(settings, tmp_path / "set", conformations=conformations)
    _, particles, _ = read(star)
    assert (particles["rlnCtfImage"] == "Subtomograms/" + particles["rlnTomoName"] + "/ctf.mrc").all()
    for _, particle in particles.iterrows():
        weights = mrcfile.read(star.parent / particle["rlnCtfImage"])
        assert weights.shape == (BOX, BOX, BOX // 2 + 1)
        # The tilt axis, y, is measured by every tilt.
        expected = np.sin(phase_shift(np.fft.fftfreq(BOX, VOXEL) ** 2, particle["rlnDefocusU"]))
        assert np.corrcoef(weights[0, 1:7, 0], expected[1:7])[0, 1] > 0.95
    wedge = open_source(str(star)).read_wedges([0])
    assert wedge is not None
    assert wedge.min() >= 0 and wedge.max() == 1


def test_nothing_is_left_behind_by_a_failure(tmp_path, conformations):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(spec(), tmp_path / "set", conformations=conformations, on_progress=stop)
    assert not list(tmp_path.iterdir())


def test_older_results_are_replaced_only_when_asked(tmp_path, conformations):
    star = simulate(spec(), tmp_path / "set", conformations=conformations)
    before = star.read_bytes()
    with pytest.raises(DataError, match="--overwrite"):
        simulate(spec(), tmp_path / "set", conformations=conformations)
    assert star.read_bytes() == before
    simulate(spec(copies=1), tmp_path / "set", conformations=conformations, overwrite=True)
    assert len(read(star)[1]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    (tmp_path / "thesis").mkdir()
    with pytest.raises(DataError, match="not a simulation"):
        simulate(spec(), tmp_path / "thesis", conformations=conformations, overwrite=True)


def test_densities_of_another_grid_are_refused(tmp_path, conformations):
    with pytest.raises(DataError, match=r"16×16×16 voxels of 12 Å.*24"):
        simulate(spec(box=24), tmp_path / "set", conformations=conformations)


def test_written_settings_make_the_same_set_again(tmp_path, conformations):
    settings = spec(tilt_range=(-50, 60), snr=0.4)
    star = simulate(settings, tmp_path / "set", conformations=conformations)
    assert read_spec(star.parent / "simulation.yaml") == settings


def test_paper_is_section_4_4_of_the_paper():
    paper = preset_spec("paper")
    assert {name: len(ids) for name, ids in paper.identities.items()} == {
        "nucleosome": 6,
        "spike": 6,
        "fas": 6,
    }
    assert (paper.copies, paper.box, paper.voxel_size, paper.resolution, paper.snr) == (1000, 32, 10, 10, 0.1)
    assert paper.ctf is not None
    assert (paper.ctf.defocus, paper.ctf.cs, paper.ctf.voltage) == (5, 1.7, 300)
    assert make_microscope(paper, np.array([5.0])).weights(0) is None
    assert preset_spec("paper", {"copies": 2}).copies == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("copeis: 3", "did you mean 'copies'"),
        ("ctf: {defokus: 3}", "did you mean 'ctf.defocus'"),
        ("ctf: {defocus: -5}", "ctf.defocus"),
        ("ctf: {defocus: 2, defocus_spread: 5}", "defocus_spread 5 µm"),
        ("box: 31", "box"),
        ("tilt_range: [60, -60]", "tilt_range.*smaller first"),
        ("snr: 0", "snr"),
        ("mode: fast", "mode"),
        ("[1, 2]", "keys and values"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path, text, said):
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(SettingError, match=f"spec.yaml.*{said}"):
        read_spec(path)


def run(*arguments: object) -> None:
    app(["subtomograms", *map(str, arguments)], exit_on_error=False, result_action="return_value")


def test_command_takes_maps_named_in_a_file_and_options_that_override_it(tmp_path, capsys):
    (tmp_path / "maps").mkdir()
    for (identity, name), sites in SITES.items():
        with mrcfile.new(tmp_path / "maps" / f"{identity}_{name}.mrc", density(sites)) as mrc:
            mrc.voxel_size = VOXEL
    identities = {"alpha": ["maps/alpha_open.mrc", "maps/alpha_closed.mrc"], "beta": ["maps/beta_only.mrc"]}
    (tmp_path / "spec.yaml").write_text(
        yaml.safe_dump(SMALL | {"resolution": 40.0, "identities": identities})
    )
    run(
        *(tmp_path / "spec.yaml", "--output", tmp_path / "set", "--copies", 2, "--snr", 0.5),
        *("--tilt-range", -50, 50, "--no-progress"),
    )
    star = tmp_path / "set" / "particles.star"
    assert str(star) in capsys.readouterr().out.replace("\n", "")
    _, particles, _ = read(star)
    assert len(particles) == 6
    resolved = read_spec(star.parent / "simulation.yaml")
    assert (resolved.copies, resolved.snr, resolved.tilt_range) == (2, 0.5, (-50, 50))
    assert resolved.identities["beta"] == [str(tmp_path / "maps" / "beta_only.mrc")]
    assert sorted(path.stem for path in (star.parent / "references" / "alpha").iterdir()) == [
        "alpha_closed",
        "alpha_open",
    ]


def test_command_simulates_beads_without_a_file(tmp_path):
    run("--beads", "--output", tmp_path / "set", "--copies", 1, "--no-progress")
    truth: Any = pd.read_csv(tmp_path / "set" / "particles.csv")
    assert truth["content:identity"].nunique() == 3
    assert truth["transformation:conformation"].nunique() >= 2


@pytest.mark.parametrize("arguments", [(), ("--beads", "--preset", "paper")])
def test_command_wants_one_thing_to_simulate(tmp_path, arguments):
    with pytest.raises(SettingError, match="only one of them"):
        run("--output", tmp_path / "set", *arguments)
