"""STAR files of subtomograms: every dialect, paths, and what is wrong with them."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile

from dualcontrast.data import mrc, star
from dualcontrast.data.open import open_source
from dualcontrast.data.star import StarSource
from dualcontrast.errors import DataError
from star_project import BOX, VOXEL, make_project, write_mrc

RNG = np.random.default_rng(0)


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path / "project")


def by_name(source):
    return {f.name: f.values for f in source.labels.factors}


def test_relion_4(project):
    source = open_source(project.star)
    assert source.location == str(project.star)
    assert source.ids.tolist() == project.names
    assert (source.image_shape, source.voxel_size) == ((1, BOX, BOX, BOX), VOXEL)
    np.testing.assert_array_equal(source.read([3, 0])[:, 0], project.volumes[[3, 0]])
    assert source.read_wedges([0]) is None
    columns = by_name(source)
    assert columns["rlnTomoName"].tolist() == ["01", "02", "01", "02", "01"]
    assert columns["rlnAngleRot"].tolist() == [0, 10.5, 21, 31.5, 42]
    assert {f.role for f in source.labels.factors} == {"metadata"}
    assert "rlnImageName" not in columns


def test_relion_5_as_it_writes_it(project):
    rows = "\n".join(f"7 {row}.5 '{name}'\t\t1" for row, name in enumerate(project.names))
    project.star.write_text(
        "\n# version 50001\n\ndata_general\n\n_rlnTomoSubTomosAre2DStacks                       0\n \n\n"
        "# version 50001\n\ndata_optics\n\nloop_ \n_rlnOpticsGroup #1 \n_rlnOpticsGroupName #2 \n"
        '_rlnImagePixelSize #3 \n1 "optics group one" 10.0 \n \n\n'
        "# version 50001\n\ndata_particles\n\nloop_ \n_rlnTomoName #1 \n_rlnAngleRot #2 \n_rlnImageName #3 \n"
        f"_rlnOpticsGroup #4 \n{rows}\n \n"
    )
    source = open_source(project.star)
    assert source.ids.tolist() == project.names
    assert source.voxel_size == 10
    # A name that looks like a number stays a name.
    assert by_name(source)["rlnTomoName"].tolist() == ["7"] * 5
    np.testing.assert_array_equal(source.read([4])[0, 0], project.volumes[4])


@pytest.mark.parametrize("block", ["", "images"])
def test_relion_3_and_warp(project, block):
    # Warp: detector pixel of 13.5 µm at a magnification of 13,500 is 10 Å.
    particles = pd.DataFrame(
        {
            "rlnMicrographName": ["TS_1.tomostar"] * 5,
            "rlnMagnification": [13500.0] * 5,
            "rlnDetectorPixelSize": [13.5] * 5,
            "rlnImageName": project.names,
        }
    )
    source = open_source(project.write(optics=None, particles=None, **{block: particles}))
    assert source.voxel_size == pytest.approx(10)
    assert by_name(source)["rlnMicrographName"].tolist() == ["TS_1.tomostar"] * 5
    particles["rlnPixelSize"] = 12.5
    assert open_source(project.write(optics=None, particles=None, **{block: particles})).voxel_size == 12.5


def test_voxel_size_of_the_header_where_the_star_file_has_none(project):
    particles = project.particles.drop(columns="rlnOpticsGroup")
    assert open_source(project.write(optics=None, particles=particles)).voxel_size == VOXEL
    for row in range(5):
        write_mrc(project.file(row), project.volumes[row], 0)
    assert open_source(project.star).voxel_size is None


@pytest.mark.parametrize("where", ["beside", "project", "absolute", "datadir", "renamed", "moved"])
def test_files_are_found(project, where, tmp_path):
    prefix = "Extract/job001/Subtomograms/"
    names, datadir = project.names, None
    if where == "beside":
        names = [name.removeprefix("Extract/job001/") for name in names]
    elif where == "absolute":
        names = [str(project.root / name) for name in names]
    elif where == "datadir":
        names = [name.removeprefix(prefix) for name in names]
        datadir = project.root / prefix
    elif where == "renamed":
        # The folders of the names are gone; what is below them is in datadir.
        (project.root / prefix).rename(tmp_path / "scratch")
        datadir = tmp_path / "scratch"
    elif where == "moved":
        names = [f"/another/machine/{name}" for name in names]
        datadir = project.root
    star_file = project.write(particles=project.particles.assign(rlnImageName=names))
    source = open_source(star_file, datadir=datadir)
    assert source.ids.tolist() == names
    np.testing.assert_array_equal(source.read(range(5))[:, 0], project.volumes)


def test_a_datadir_that_would_merge_folders_is_refused(project, tmp_path):
    names = ["a/TS_01/0_data.mrc", "a/TS_02/0_data.mrc"]
    particles = project.particles[:2].assign(rlnImageName=names)
    folder = project.root / "Extract/job001/Subtomograms/TS_01"
    with pytest.raises(DataError, match=f"TS_01: holds one file for '{names[0]}' and '{names[1]}'"):
        open_source(project.write(particles=particles), datadir=folder)
    with pytest.raises(DataError, match="no such folder; give --datadir"):
        open_source(project.star, datadir=tmp_path / "nowhere")
    np.save(tmp_path / "a.npy", np.zeros((2, 16, 16)))
    with pytest.raises(DataError, match="only with a STAR file"):
        open_source(tmp_path / "a.npy", datadir=folder)


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_rows_change_no_particle(project, seed):
    before = open_source(project.star)
    shuffled = project.particles.sample(frac=1, random_state=seed)
    after = open_source(project.write(particles=shuffled))
    assert after.ids.tolist() != before.ids.tolist()
    for row, name in enumerate(after.ids.tolist()):
        old = before.ids.tolist().index(name)
        np.testing.assert_array_equal(after.read([row]), before.read([old]))
        for column, values in by_name(before).items():
            assert by_name(after)[column][row] == values[old]


def test_members_of_a_stack_of_volumes(project):
    write_mrc(project.star.parent / "stack.mrc", project.volumes)
    names = [f"{row + 1:06d}@stack.mrc" for row in (4, 1, 2)]
    source = open_source(project.write(particles=project.particles[:3].assign(rlnImageName=names)))
    np.testing.assert_array_equal(source.read([0, 1, 2])[:, 0], project.volumes[[4, 1, 2]])
    project.write(particles=project.particles[:1].assign(rlnImageName="000006@stack.mrc"))
    with pytest.raises(DataError, match=r"stack\.mrc: has 5 volumes, not 6; correct row 1"):
        open_source(project.star)
    project.write(particles=project.particles[:1].assign(rlnImageName="stack.mrc"))
    with pytest.raises(DataError, match=r"is a stack of volumes; name them 000001@stack.mrc"):
        open_source(project.star)


def test_truth_in_a_csv_beside_the_star_file(project):
    rows = [f"{name},{'ab'[row % 2]}" for row, name in enumerate(project.names)]
    project.star.with_suffix(".csv").write_text("\n".join(["id,content:identity", *rows[::-1]]))
    source = open_source(project.star)
    assert by_name(source)["identity"].tolist() == list("ababa")
    assert "rlnAngleRot" in by_name(source)


def test_a_hundred_thousand_rows(project, monkeypatch):
    count = 100_000
    particles = pd.DataFrame(
        {
            "rlnTomoName": [f"TS_{row % 100:03d}" for row in range(count)],
            **{name: RNG.normal(size=count) for name in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")},
            "rlnImageName": [project.names[0].replace("0_data", f"{row:06d}_data") for row in range(count)],
            "rlnOpticsGroup": 1,
        }
    )
    project.file(0).rename(project.root / particles["rlnImageName"][0])
    project.write(particles=particles)
    looked_at, opened, is_file, open_mrc = set(), [], Path.is_file, mrc._open
    monkeypatch.setattr(Path, "is_file", lambda path: looked_at.add(str(path)) or is_file(path))
    monkeypatch.setattr(mrc, "_open", lambda path: opened.append(str(path)) or open_mrc(path))
    monkeypatch.setattr(star, "read_pixels_of", lambda *_: pytest.fail("pixels were read"))
    begin = time.perf_counter()
    source = open_source(project.star)
    assert time.perf_counter() - begin < 20
    assert len(source) == count
    names = {path for path in looked_at if path.endswith("_data.mrc")}
    assert {Path(path).name for path in names} == {"000000_data.mrc"}
    assert opened == [str(project.root / particles["rlnImageName"][0])]


# What is wrong with a STAR file itself.


def particles_with(project, **columns):
    return project.particles.assign(**columns)


BAD_STARS = {
    "empty": (lambda p: {"particles": p.particles[:0]}, "the table of particles is empty"),
    "undefined group": (
        lambda p: {"particles": particles_with(p, rlnOpticsGroup=[1, 1, 3, 1, 1])},
        r"row 3 \('.*2_data\.mrc'\): optics group 3 is not defined in data_optics",
    ),
    "no groups": (lambda p: {"optics": None}, "has _rlnOpticsGroup but no block data_optics"),
    "zero": (
        lambda p: {"optics": p.optics.assign(rlnImagePixelSize=0.0)},
        r"a voxel size of 0 Å; correct",
    ),
    "negative": (lambda p: {"optics": p.optics.assign(rlnImagePixelSize=-2.0)}, r"a voxel size of -2 Å"),
    "mixed": (
        lambda p: {
            "optics": pd.DataFrame({"rlnOpticsGroup": [1, 2], "rlnImagePixelSize": [10.0, 5.0]}),
            "particles": particles_with(p, rlnOpticsGroup=[1, 1, 2, 1, 1]),
        },
        r"voxel sizes differ \(5, 10 Å\)",
    ),
    "group twice": (lambda p: {"optics": pd.concat([p.optics] * 2)}, "defines a group twice"),
    "twice": (
        lambda p: {"particles": pd.concat([p.particles, p.particles[1:2]])},
        r"rows 2 and 6 both name '.*1_data\.mrc'; remove one",
    ),
    "2-D": (lambda p: {"optics": p.optics.assign(rlnImageDimensionality=2)}, "lists 2-D images .* to No"),
    "2-D stacks": (
        lambda p: {"general": pd.DataFrame({"rlnTomoSubTomosAre2DStacks": [1]})},
        r"lists stacks of 2-D images .*'Write output as 2D stacks\?' to No",
    ),
    "coordinates": (
        lambda p: {"particles": pd.DataFrame({"rlnTomoName": ["a"], "rlnCoordinateX": [1.0]})},
        "has coordinates but no _rlnImageName; extract the subtomograms first",
    ),
    "optimisation set": (
        lambda p: {"optics": None, "particles": None, "": pd.DataFrame({"rlnTomoParticlesFile": ["p.star"]})},
        r"is an optimisation set; give its file of particles, p\.star",
    ),
    "no images": (lambda p: {"particles": pd.DataFrame({"rlnAngleRot": [1.0]})}, "has no _rlnImageName"),
}


@pytest.mark.parametrize("case", BAD_STARS)
def test_bad_star_files(project, case):
    change, message = BAD_STARS[case]
    project.write(**change(project))
    with pytest.raises(DataError, match=message) as caught:
        open_source(project.star)
    assert str(caught.value).startswith(f"{project.star}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no data block"),
        ("hello\n", "holds no data block"),
        ("data_\n", "not a whole STAR file"),
        (
            "data_\nloop_\n_rlnImageName #1\n_rlnAngleRot #2\na.mrc 1\nb.mrc\n",
            "line 6 has 1 values",
        ),
        ("data_\nloop_\n_rlnImageName #1\n_rlnAngleRot #2\na.mrc 1\nb.mrc 1 2\n", "not a whole STAR file"),
        ("data_\nloop_\n_rlnImageName #1\n_rlnAngleRot #2\n'a.mrc 1\nb.mrc 2\n", "not a whole STAR file"),
        ("data_\nloop_\n_rlnImageName #1\n_rlnImageName #2\na.mrc 1\n", "column _rlnImageName twice"),
        ("data_x\n\ndata_\nloop_\n_rlnImageName #1\na.mrc\n", "a block without content"),
        ("data_\nloop_\n_rlnImageName #1\n_rlnAngleRot #2\n", "the table of particles is empty"),
    ],
)
def test_broken_text(tmp_path, text, message):
    path = tmp_path / "a.star"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        open_source(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_broken_star_file_can_be_mended(project):
    good = project.star.read_text()
    project.star.write_text(good + "one value too many for this table of four columns\n")
    with pytest.raises(DataError, match="not a whole STAR file"):
        open_source(project.star)
    project.star.write_text(good)
    assert len(open_source(project.star)) == 5


def test_binary_files_are_no_star_files(tmp_path):
    (tmp_path / "a.star").write_bytes(b"\xff\xfe\x00data_\n")
    with pytest.raises(DataError, match=r"a\.star: cannot be read as a STAR file"):
        open_source(tmp_path / "a.star")


# What is wrong with the files that it names. The second particle is hit; the first is what opening looks at.


def image_stack(project):
    write_mrc(project.file(1), np.ones((7, BOX, BOX), np.float32), ispg=0, mz=1)


def truncated(project):
    project.file(1).write_bytes(project.file(1).read_bytes()[:-50])


def lying(project):
    content = bytearray(project.file(1).read_bytes())
    content[8:12] = (10**9).to_bytes(4, "little")
    project.file(1).write_bytes(bytes(content))


def not_finite(project):
    volume = project.volumes[1].copy()
    volume[3, 4, 5] = np.nan
    write_mrc(project.file(1), volume)


BAD_FILES = {
    "missing": (lambda p: p.file(1).unlink(), r"row 2 names '.*1_data\.mrc', which is not there; looked in"),
    "truncated": (truncated, r"1_data\.mrc: truncated, or its header is wrong"),
    "lying": (lying, r"1_data\.mrc: truncated, or its header is wrong: it promises 1,024,000,001,024 bytes"),
    "NaN": (not_finite, r"1_data\.mrc: NaN or infinite pixels"),
    "box": (
        lambda p: write_mrc(p.file(1), np.ones((18, 18, 18), np.float32)),
        r"1_data\.mrc: (a volume of )?18×18×18.*16×16×16",
    ),
    "2-D stack": (image_stack, r"1_data\.mrc: holds 2-D images, .*'Write output as 2D stacks\?' to No"),
    "2-D": (lambda p: write_mrc(p.file(1), np.ones((BOX, BOX), np.float32)), "holds 2-D images"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_named_or_skipped(project, case):
    damage, message = BAD_FILES[case]
    damage(project)
    source = open_source(project.star)
    with pytest.raises(DataError, match=message) as caught:
        source.read([0, 1])
    assert "\n" not in str(caught.value)
    good = open_source(project.star, skip_bad=True)
    assert good.ids.tolist() == [name for row, name in enumerate(project.names) if row != 1]
    assert list(good.skipped) == [project.names[1]]
    np.testing.assert_array_equal(good.read(range(4))[:, 0], project.volumes[[0, 2, 3, 4]])
    assert by_name(good)["rlnAngleRot"].tolist() == [0, 21, 31.5, 42]
    with pytest.raises(DataError, match=message):
        raise DataError(good.skipped[project.names[1]])


@pytest.mark.parametrize("case", ["undefined group", "mixed"])
def test_bad_rows_are_skipped(project, case):
    project.write(**BAD_STARS[case][0](project))
    source = open_source(project.star, skip_bad=True)
    assert source.ids.tolist() == [name for row, name in enumerate(project.names) if row != 2]
    assert list(source.skipped) == [project.names[2]]
    assert source.voxel_size == VOXEL


def test_what_was_bad_before_is_left_out_unseen(project, monkeypatch):
    project.file(1).unlink()
    monkeypatch.setattr(star.SubtomogramFiles, "survey", lambda *_: pytest.fail("looked at all files"))
    source = open_source(project.star, skip_bad=True, known_bad={project.names[1]: "gone"})
    assert source.ids.tolist() == [name for row, name in enumerate(project.names) if row != 1]
    assert source.skipped == {project.names[1]: "gone"}


def test_nothing_left(project):
    for row in range(5):
        project.file(row).unlink()
    with pytest.raises(DataError, match=r"no particle can be used, the first because .* not there"):
        open_source(project.star, skip_bad=True)
    with pytest.raises(DataError, match=r"row 1 names .* which is not there"):
        open_source(project.star)


@pytest.mark.parametrize(("other", "bad"), [(1.3551, False), (1.3549 * 1.0011, True)])
def test_voxel_sizes_are_the_same_within_the_same_tolerance_as_where_nothing_is_left_out(project, other, bad):
    optics = pd.DataFrame({"rlnOpticsGroup": [1, 2], "rlnImagePixelSize": [1.3549, other]})
    particles = particles_with(project, rlnOpticsGroup=[1, 1, 2, 1, 2])
    star = project.write(optics=optics, particles=particles)
    source = open_source(star, skip_bad=True)
    assert list(source.skipped) == [project.names[row] for row in (2, 4) if bad]
    if bad:
        with pytest.raises(DataError, match="voxel sizes differ"):
            open_source(star)
    else:
        assert len(open_source(star)) == len(source) == 5


def test_two_dimensional_stacks_of_relion(project):
    write_mrc(project.star.parent / "x.mrcs", np.ones((7, BOX, BOX), np.float32))
    project.write(optics=None, particles=pd.DataFrame({"rlnImageName": ["000001@x.mrcs", "000002@x.mrcs"]}))
    with pytest.raises(DataError, match=r"x\.mrcs: holds 2-D images, not one volume; extract 3-D"):
        open_source(project.star)


# Wedges.


def symmetric_weights(shape):
    """|FFT| of a real volume, in [0, 1], all frequencies, zero first."""
    weights = np.abs(np.fft.fftn(RNG.normal(size=shape)))
    return (weights / weights.max()).astype(np.float32)


@pytest.mark.parametrize("layout", ["full", "half"])
def test_ctf_volumes(project, layout):
    full = [symmetric_weights((BOX,) * 3) for _ in range(2)]
    halves = [weights[..., : BOX // 2 + 1] for weights in full]
    names = [f"Extract/job001/ctf_{tomogram}.mrc" for tomogram in range(2)]
    for name, weights, half in zip(names, full, halves, strict=True):
        stored = {"full": np.fft.fftshift(weights), "half": half}[layout]
        # A CTF has signs, and any scale.
        write_mrc(project.root / name, -3 * stored)
    images = [names[row % 2] for row in range(5)]
    source = open_source(project.write(particles=particles_with(project, rlnCtfImage=images)))
    wedges = source.read_wedges([3, 0, 2])
    assert wedges.shape == (3, BOX, BOX, BOX // 2 + 1)
    expected = np.stack([halves[row % 2] / halves[row % 2].max() for row in (3, 0, 2)])
    np.testing.assert_allclose(wedges, expected, rtol=1e-5, atol=1e-7)
    assert source.read_wedges([]).shape == (0, BOX, BOX, BOX // 2 + 1)


def test_sums_over_tilts_are_brought_to_means(project):
    """As RELION 4 writes them: sums over tilts, which all meet on the tilt axis, and how many were added."""
    half = (BOX, BOX, BOX // 2 + 1)
    tilts = np.abs(np.fft.fftfreq(BOX, 1 / BOX))[:, None, None] <= 2 * np.arange(BOX // 2 + 1)
    multiplicity = np.where(tilts, 1 + 40 / (1 + np.arange(BOX // 2 + 1)), 0.0) * np.ones(half)
    ctf_squared = symmetric_weights((BOX,) * 3)[..., : BOX // 2 + 1]
    means, names = [], []
    for row in range(5):
        # The mean of what the tilts measured, which is nothing in the wedge.
        spectrum = np.fft.rfftn(RNG.normal(size=(BOX,) * 3)) * (multiplicity > 0)
        means.append(np.fft.irfftn(spectrum, s=(BOX,) * 3, axes=(0, 1, 2)))
        sums = np.fft.irfftn(np.fft.rfftn(means[-1]) * multiplicity, s=(BOX,) * 3, axes=(0, 1, 2))
        write_mrc(project.file(row), sums.astype(np.float32))
        names.append(f"Extract/job001/weights_{row}.mrc")
        stored = np.concatenate([ctf_squared * multiplicity, multiplicity]).astype(np.float32)
        write_mrc(project.root / names[-1], stored)
    star = project.write(particles=particles_with(project, rlnCtfImage=names))
    source = open_source(star)
    np.testing.assert_allclose(source.read([4, 1])[:, 0], np.stack([means[4], means[1]]), atol=1e-5)
    expected = np.where(multiplicity > 0, ctf_squared, 0)
    np.testing.assert_allclose(source.read_wedges([2])[0], expected / expected.max(), atol=1e-6)
    # The volumes are sums whatever is said of the wedge.
    tilted = open_source(star, tilt_range=(-60, 60))
    np.testing.assert_array_equal(tilted.read([4]), source.read([4]))
    # Another program's beside them.
    write_mrc(project.root / names[3], ctf_squared)
    with pytest.raises(DataError, match=r"weights_3\.mrc: has no multiplicity"):
        source.read([3])


def test_ctf_volumes_of_odd_boxes(tmp_path):
    weights = symmetric_weights((17, 17, 17))
    write_mrc(tmp_path / "a.mrc", np.ones((17, 17, 17), np.float32))
    write_mrc(tmp_path / "c.mrc", np.fft.fftshift(weights))
    starfile.write(
        {"": pd.DataFrame({"rlnImageName": ["a.mrc"], "rlnCtfImage": ["c.mrc"]})}, tmp_path / "p.star"
    )
    wedge = StarSource(tmp_path / "p.star").read_wedges([0])[0]
    np.testing.assert_allclose(wedge, weights[..., :9] / weights[..., :9].max(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.ones((18, 18, 18)), "a CTF volume of 18×18×18 does not fit volumes of 16×16×16"),
        (np.zeros((BOX,) * 3), "a CTF volume of zeros"),
        (np.full((BOX,) * 3, np.nan), "a CTF volume with NaN"),
        (None, r"names the CTF volume 'Extract/ctf\.mrc', which is not there"),
    ],
)
def test_bad_ctf_volumes(project, stored, message):
    if stored is not None:
        write_mrc(project.root / "Extract/ctf.mrc", stored.astype(np.float32))
    source = open_source(project.write(particles=particles_with(project, rlnCtfImage="Extract/ctf.mrc")))
    with pytest.raises(DataError, match=message):
        source.read_wedges([0])
