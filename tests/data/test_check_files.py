"""`dualcontrast check` and what it finds."""

import numpy as np
import pytest

from dualcontrast.cli import main
from dualcontrast.data.check_files import check_files
from star_project import BOX, make_project, write_mrc


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path / "project")


def test_sound_star_files(project):
    seen = []
    report = check_files(project.star, progress=lambda *state: seen.append(state))
    assert not report.problems
    assert not report.warnings
    assert report.facts == {
        "particles": "5",
        "tomograms": "2, of 2 to 3 particles each",
        "optics groups": "optics 1 (5)",
        "box": "16×16×16",
        "MRC mode": "2",
        "stored as": "float32",
        "voxel size": "10 Å",
    }
    assert seen == [("reading headers", done, 5) for done in range(1, 6)]


def test_missing_files_and_the_datadir_that_finds_them(project, tmp_path):
    folder = project.star.parent / "Subtomograms"
    folder.rename(project.star.parent / "renamed")
    (problem,) = check_files(project.star).problems
    assert problem.startswith(f"5 files are not there: '{project.names[0]}', ")
    assert "and 2 more; the names begin with 'Extract/job001/Subtomograms', which is not there" in problem
    # What is suggested works.
    datadir = problem.rsplit("try --datadir ", 1)[1]
    assert datadir == str(project.star.parent / "renamed")
    assert not check_files(project.star, datadir=datadir).problems
    (project.star.parent / "renamed").rename(tmp_path / "elsewhere")
    (problem,) = check_files(project.star).problems
    assert "no file of the name 0_data.mrc lies below" in problem
    (problem,) = check_files(project.star, datadir=tmp_path).problems
    assert problem.endswith(f"try --datadir {tmp_path / 'elsewhere'}")


def test_one_missing_file_is_named(project):
    project.file(3).unlink()
    (problem,) = check_files(project.star).problems
    assert problem.startswith(f"1 files are not there: '{project.names[3]}'; no file of the name 3_data.mrc")


def test_mixed_boxes_and_truncated_files_are_counted(project):
    write_mrc(project.file(1), np.ones((18, 18, 18), np.float32))
    project.file(2).write_bytes(project.file(2).read_bytes()[:-8])
    report = check_files(project.star)
    assert report.facts["box"] == "16×16×16 (3), 18×18×18 (1)"
    (problem,) = report.problems
    assert problem.startswith(
        "2 of 5 particles cannot be used for what stands in the files; the first, row 2"
    )


def test_undefined_groups_and_empty_files(project):
    project.write(particles=project.particles.assign(rlnOpticsGroup=[1, 1, 1, 1, 7]))
    (problem,) = check_files(project.star).problems
    assert "1 of 5 particles cannot be used for what stands in the STAR file; the first, row 5" in problem
    assert "optics group 7 is not defined" in problem
    project.write(particles=project.particles[:0])
    (problem,) = check_files(project.star).problems
    assert "the table of particles is empty" in problem


def test_voxel_sizes_are_compared(project):
    write_mrc(project.file(0), project.volumes[0], 0)
    write_mrc(project.file(1), project.volumes[1], 5)
    report = check_files(project.star)
    assert not report.problems
    assert "1 MRC headers have no voxel size" in report.warnings[0]
    assert "has 5 Å, the STAR file 10 Å, which counts" in report.warnings[1]
    for row in range(5):
        write_mrc(project.file(row), project.volumes[row], 0)
    project.write(optics=None, particles=project.particles.drop(columns="rlnOpticsGroup"))
    report = check_files(project.star)
    assert report.facts["voxel size"] == "unknown"
    assert "no voxel size, neither in the STAR file nor in the headers of 5 files" in report.warnings[0]


def test_missing_ctf_volumes(project):
    write_mrc(project.root / "ctf.mrc", np.ones((BOX,) * 3, np.float32))
    images = ["ctf.mrc"] * 4 + ["gone.mrc"]
    project.write(particles=project.particles.assign(rlnCtfImage=images))
    report = check_files(project.star)
    assert report.facts["CTF volumes"] == "2 files for 5 particles"
    assert report.problems[0].startswith("1 files are not there: 'gone.mrc'")


@pytest.mark.parametrize(("sign", "word"), [(1, "lighter"), (-1, "darker")])
def test_deep_tells_the_contrast_and_finds_bad_values(tmp_path, sign, word):
    project = make_project(tmp_path, count=40)
    axis = np.arange(BOX) - BOX // 2
    ball = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 16
    for row, volume in enumerate(project.volumes):
        write_mrc(project.file(row), volume + sign * 2 * ball.astype(np.float32))
    report = check_files(project.star, deep=True)
    assert not report.problems
    assert report.facts["contrast"].startswith(f"particles are {word} than what surrounds them")
    write_mrc(project.file(7), np.ones((BOX,) * 3, np.float32))
    volume = project.volumes[9].copy()
    volume[0, 0, 0] = np.nan
    write_mrc(project.file(9), volume)
    assert not check_files(project.star).problems
    (problem,) = check_files(project.star, deep=True).problems
    assert problem.startswith(f"2 of 40 cannot be used for their values; the first, '{project.names[7]}'")


def test_folders_and_arrays(project, tmp_path):
    folder = project.star.parent / "Subtomograms"
    report = check_files(folder, deep=True)
    assert not report.problems
    assert (report.facts["files"], report.facts["voxel size"]) == ("5", "10 Å")
    write_mrc(folder / "x.mrc", np.ones((18, 18, 18), np.float32))
    (problem,) = check_files(folder).problems
    assert problem.startswith("1 of 6 files cannot be used with the others (5 are 16×16×16 grayscale float32")
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(4, 20, 16)))
    report = check_files(tmp_path / "a.npy", deep=True)
    assert report.facts["images"] == "4"
    assert report.facts["size"] == "20×16"
    assert not report.problems
    (problem,) = check_files(tmp_path / "b.npy").problems
    assert "did you mean" in problem
    np.save(tmp_path / "a.npy", np.zeros((4, 7, 7)))
    (problem,) = check_files(tmp_path / "a.npy").problems
    assert "smaller than the networks take" in problem


def test_command(project, capsys):
    main(["check", str(project.star), "--deep"])
    shown = capsys.readouterr().out
    assert "fit for training" in shown
    assert "16×16×16" in shown
    project.file(0).unlink()
    with pytest.raises(SystemExit) as stop:
        main(["check", str(project.star), "--no-progress"])
    assert stop.value.code == 2
    shown = capsys.readouterr().out
    assert f"problem: 1 files are not there: '{project.names[0]}'" in shown
    assert "not fit for training" in shown
