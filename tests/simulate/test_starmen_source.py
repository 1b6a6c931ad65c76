"""The data set `starmen`: published where it has been downloaded, else generated once."""

import csv

import numpy as np
import pytest

from dualcontrast.data import starmen as module
from dualcontrast.data.starmen import open_starmen, split_starmen
from dualcontrast.errors import DataError
from dualcontrast.simulate import starmen as simulate
from dualcontrast.simulate.starmen import generate_starmen, write_starmen

NAME = "SimulatedData__Reconstruction__starman__subject_s{}__tp_{}"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and few images to generate into it."""
    monkeypatch.setenv("DUALCONTRAST_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "GENERATED_COUNT", 40)
    return tmp_path / "cache"


def test_who_generates_at_the_same_time_leaves_the_others_file(cache, monkeypatch):
    path = cache / "starmen" / module._GENERATED
    others = []

    def generate_beside_another(*arguments):
        monkeypatch.setattr(simulate, "generate_starmen", generate_starmen)
        # The other one has opened its file, and notices when it is another.
        others.append(open_starmen())
        return generate_starmen(*arguments)

    monkeypatch.setattr(simulate, "generate_starmen", generate_beside_another)
    mine = open_starmen()
    np.testing.assert_array_equal(mine.read([3]), others[0].read([3]))
    assert [each.name for each in path.parent.iterdir()] == [module._GENERATED]


def publish(folder, subjects=4, visits=3, table=True):
    """Write files as they lie in the published archive."""
    images = folder / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for subject in range(subjects):
        for visit in range(visits):
            name = NAME.format(subject, visit) + ".npy"
            np.save(images / name, rng.random((64, 64)))
            age = 70 + visit + subject / 10
            rows.append([subject, 69.5 + subject, 1.25, age, f"./some/where/images/{name}"])
    if table:
        with (folder / "df.csv").open("w", newline="") as handle:
            csv.writer(handle).writerows([["id", "tau", "alpha", "t", "path"], *rows])
    return images


def test_generated_once_into_the_cache(cache, capsys):
    source = open_starmen()
    assert "generated 40 images" in capsys.readouterr().err.replace("\n", " ")
    written = next(cache.rglob("*.npz"))
    before = written.stat().st_mtime_ns
    again = open_starmen()
    assert written.stat().st_mtime_ns == before
    assert capsys.readouterr().err == ""
    expected = generate_starmen(40)
    np.testing.assert_array_equal(source.ids, expected.ids)
    np.testing.assert_allclose(again.read([5, 0]), expected.images[[5, 0]] / 255, atol=1e-6)
    assert source.location == "starmen"
    assert source.image_shape == (1, 64, 64)
    roles = {factor.name: (factor.role, factor.is_continuous) for factor in source.labels.factors}
    assert roles["leg_thickness"] == ("content", True)
    assert roles["head_x"] == ("transformation", True)
    assert len(roles) == 14


def test_split_is_sixty_to_forty_fixed_and_by_id(cache):
    split = open_starmen().fixed_split
    assert (len(split["train"]), len(split["test"])) == (24, 16)
    ids = np.array([f"starman-{i:05d}" for i in range(10_000)])
    whole, shuffled = split_starmen(ids), split_starmen(ids[::-1])
    assert (len(whole["train"]), len(whole["test"])) == (6_000, 4_000)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(whole.values()))), ids)
    for part in ("train", "test"):
        np.testing.assert_array_equal(whole[part], shuffled[part])
    # A random choice mixes: about 60 % of the first thousand train.
    assert 0.5 < np.isin(ids[:1000], whole["train"]).mean() < 0.7


@pytest.mark.parametrize("place", [".", "output_random", "starmen/output_random"])
def test_published_download_in_the_cache_comes_first(cache, place, capsys):
    images = publish(cache / "starmen" / place)
    source = open_starmen()
    assert capsys.readouterr().err == ""
    assert not list(cache.rglob("*.npz"))
    assert (len(source), source.image_shape, source.location) == (12, (1, 64, 64), "starmen")
    row = source.ids.tolist().index(NAME.format(2, 1))
    np.testing.assert_allclose(
        source.read([row])[0, 0], np.load(images / f"{NAME.format(2, 1)}.npy"), rtol=1e-6
    )
    values = {factor.name: factor.values[row] for factor in source.labels.factors}
    assert (values["subject"], values["visit"]) == (2, 1)
    assert values["progression"] == pytest.approx(1.25 * (71.2 - 71.5))
    assert [f.name for f in source.labels.factors if f.role != "metadata"] == ["progression"]
    assert len(source.fixed_split["train"]) == 7


@pytest.mark.parametrize("depth", ["", "images"])
def test_published_download_at_a_path(tmp_path, depth):
    publish(tmp_path / "download")
    source = open_starmen(tmp_path / "download" / depth)
    assert "progression" in {factor.name for factor in source.labels.factors}
    assert str(tmp_path) in source.location


def test_published_images_without_table_have_subject_and_visit(tmp_path):
    publish(tmp_path, table=False)
    assert [factor.name for factor in open_starmen(tmp_path).labels.factors] == ["subject", "visit"]


def test_generated_file_at_a_path(tmp_path):
    path = write_starmen(tmp_path / "mine.npz", 30, seed=1)
    source = open_starmen(path)
    assert len(source.fixed_split["train"]) == 18
    assert source.location == str(path)


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_anything_else_is_refused_with_the_remedy(tmp_path, kind):
    path = tmp_path / "here"
    if kind == "empty":
        path.mkdir()
    elif kind == "file":
        path.write_text("hello")
    with pytest.raises(DataError, match=r"here: .*zenodo\.org.*simulate starmen"):
        open_starmen(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,t,tau,path\n", "no column 'alpha'"),
        ("id,tau,alpha,t,path\n0,1,1,1,a.npy\n", "no row for image"),
        ("id,tau,alpha,t,path\n0,1,x,1,a.npy\n", "not the table"),
        ("id,tau,alpha,t,path\n0,1\n", "not the table"),
        ("", "no column"),
    ],
)
def test_a_broken_table_is_named(tmp_path, text, message):
    publish(tmp_path)
    (tmp_path / "df.csv").write_text(text)
    with pytest.raises(DataError, match=rf"df\.csv: .*{message}") as error:
        open_starmen(tmp_path)
    assert "\n" not in str(error.value)


def test_a_strange_image_among_the_published_is_named(tmp_path):
    images = publish(tmp_path)
    np.save(images / "mask.npy", np.zeros((64, 64)))
    with pytest.raises(DataError, match="mask"):
        open_starmen(tmp_path)


def test_a_damaged_file_in_the_cache_says_what_to_do(cache):
    open_starmen()
    written = next(cache.rglob("*.npz"))
    written.write_bytes(written.read_bytes()[:5000])
    with pytest.raises(DataError, match=f"{written.name}.*delete the file"):
        open_starmen()
