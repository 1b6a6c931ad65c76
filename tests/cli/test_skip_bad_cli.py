"""`--datadir` and `--skip-bad` from training to encoding."""

import numpy as np
import pytest
import yaml

from dualcontrast.cli import main
from dualcontrast.codes import Codes
from dualcontrast.data.skipped import read_skipped
from dualcontrast.run_folder import RunFolder
from star_project import make_project, write_mrc

QUIET = ["--device", "cpu", "--no-progress"]
SMALL = [*QUIET, "--epochs", "1", "--batch-size", "6", "--no-evaluate"]


@pytest.fixture
def moved(tmp_path):
    """A project of ten particles whose files have moved; one is gone, one holds NaN."""
    project = make_project(tmp_path / "project", 10)
    volume = project.volumes[4].copy()
    volume[0, 0, 0] = np.nan
    write_mrc(project.file(4), volume)
    project.file(7).unlink()
    (project.star.parent / "Subtomograms").rename(tmp_path / "scratch")
    return project


def test_skipped_particles_are_listed_and_counted(moved, tmp_path, capsys, monkeypatch):
    star, run = str(moved.star), tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    main(["train", star, "--output", "run", "--datadir", "scratch", "--skip-bad", *SMALL])
    assert "skipped: 2 images that cannot be used" in capsys.readouterr().out
    skipped = read_skipped(run / "skipped.csv")
    assert list(skipped) == [moved.names[7], moved.names[4]]
    assert "which is not there" in skipped[moved.names[7]]
    assert "NaN or infinite" in skipped[moved.names[4]]
    recorded = yaml.safe_load((run / "config.yaml").read_text())["data"]
    assert (recorded["datadir"], recorded["skip_bad"]) == (str(tmp_path / "scratch"), True)

    # What was left out once stays out, even where the file is whole again, and no file is looked at for it.
    good = [name for row, name in enumerate(moved.names) if row not in (4, 7)]
    write_mrc(tmp_path / "scratch/TS_01/4_data.mrc", moved.volumes[4])
    assert RunFolder.open(run).open_source().ids.tolist() == good
    main(["train", star, "--output", "run", "--resume", *QUIET, "--no-evaluate"])

    main(["encode", "run", star, "--output", "new.npz", "--datadir", "scratch", "--skip-bad", *QUIET])
    assert "skipped: 1 images that cannot be used" in capsys.readouterr().out
    assert list(read_skipped(tmp_path / "new.skipped.csv")) == [moved.names[7]]
    assert len(Codes.load(tmp_path / "new.npz")) == 9


def test_without_skip_bad_the_first_bad_particle_stops_the_job(moved, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", str(moved.star), "--output", str(tmp_path / "run"), *SMALL])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {moved.star}: row 1 names '{moved.names[0]}', which is not there; ")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_runs_that_know_neither_option_still_open(tmp_path):
    project = make_project(tmp_path / "project", 10)
    run = tmp_path / "run"
    main(["train", str(project.star), "--output", str(run), *SMALL])
    assert not (run / "skipped.csv").exists()
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["data"]["datadir"], config["data"]["skip_bad"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert RunFolder.open(run).open_source().ids.tolist() == project.names


def test_a_star_file_in_another_order_gives_every_particle_the_same_code(tmp_path):
    project = make_project(tmp_path / "project", 10)
    run = tmp_path / "run"
    main(["train", str(project.star), "--output", str(run), *SMALL])
    codes = []
    for seed in (None, 1):
        rows = project.particles if seed is None else project.particles.sample(frac=1, random_state=seed)
        project.write(particles=rows)
        main(["encode", str(run), str(project.star), "--output", str(tmp_path / f"{seed}.npz"), *QUIET])
        codes.append(Codes.load(tmp_path / f"{seed}.npz"))
    assert codes[0].ids.tolist() != codes[1].ids.tolist()
    np.testing.assert_allclose(codes[1].select(codes[0].ids).content, codes[0].content, atol=1e-5)
