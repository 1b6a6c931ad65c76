"""LineMod: fetched from a server on this machine, and found where it was put by hand."""

import zipfile

import numpy as np
import pytest

from bop_pictures import write_pictures, zip_pictures
from dualcontrast.data import download as download_module
from dualcontrast.data.linemod import fetch_linemod, find_linemod
from dualcontrast.data.open import open_source
from dualcontrast.errors import DataError
from file_server import served


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALCONTRAST_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download_module, "TIMEOUT_SECONDS", 2)
    return tmp_path / "cache"


@pytest.fixture
def archive(tmp_path):
    """A small archive like BOP's, in a folder of its own; and what its images look like."""
    expected = write_pictures(tmp_path / "pictures")
    (tmp_path / "mirror").mkdir()
    zip_pictures(tmp_path / "pictures", tmp_path / "mirror" / "lm_train.zip")
    return tmp_path / "mirror" / "lm_train.zip", expected


def test_fetched_once_and_opened(cache, archive):
    file, expected = archive
    with pytest.raises(DataError, match="data fetch linemod"):
        open_source("linemod")
    with served(file.parent) as (mirror, asked):
        folder = fetch_linemod([mirror], 12)
        assert folder == cache / "linemod" / "train"
        assert fetch_linemod([mirror], 12) == folder
    assert asked == ["/lm_train.zip"]
    # The archive and the depth images are not kept.
    assert sorted(path.name for path in (cache / "linemod").iterdir()) == ["train"]
    assert sorted(path.name for path in (folder / "000001").iterdir()) == ["mask", "rgb", "scene_gt.json"]
    source = open_source("linemod")
    assert (source.location, source.ids.tolist()) == ("linemod", list(expected))
    for row, picture in enumerate(expected.values()):
        np.testing.assert_allclose(source.read([row])[0], np.moveaxis(picture, -1, 0) / 255, rtol=1e-6)


def test_the_next_mirror_is_tried(cache, archive, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "lm_train.zip").write_text("<html>Please sign in</html>")
    with served(tmp_path / "bad") as (bad, _), served(archive[0].parent) as (good, asked):
        with pytest.raises(DataError, match=r"not a whole zip archive.*HTTP status 404") as caught:
            fetch_linemod([bad, f"{bad}none/"], 12)
        assert str(cache / "linemod") in str(caught.value)
        assert list((cache / "linemod").iterdir()) == []
        fetch_linemod([bad, good], 12)
    assert asked == ["/lm_train.zip"]


def test_cut_short_while_it_is_downloaded(cache, archive, tmp_path):
    archive[0].write_bytes(archive[0].read_bytes()[:-200])
    with served(archive[0].parent) as (mirror, _), pytest.raises(DataError, match="not a whole zip archive"):
        fetch_linemod([mirror], 12)


def test_an_archive_put_there_by_hand(cache, archive):
    (cache / "linemod").mkdir(parents=True)
    archive[0].rename(cache / "linemod" / "lm_train.zip")
    assert find_linemod() is None
    assert fetch_linemod([], 12) == cache / "linemod" / "train"


@pytest.mark.parametrize("place", ["linemod", "linemod/lm_train/train", "lm_train"])
def test_pictures_put_there_by_hand(cache, place):
    write_pictures(cache / place)
    assert find_linemod() == cache / place
    assert len(open_source("linemod")) == 12
    assert fetch_linemod([], 12) == cache / place


def test_another_number_of_views_is_not_the_published_set(cache, archive):
    with served(archive[0].parent) as (mirror, _), pytest.raises(DataError, match="12 views, not the 19,695"):
        fetch_linemod([mirror])


def test_damaged_inside_leaves_nothing_behind(cache, archive):
    content = bytearray(archive[0].read_bytes())
    with zipfile.ZipFile(archive[0]) as opened:
        middle = opened.getinfo("train/000002/rgb/000003.png").header_offset + 400
    content[middle] ^= 255
    archive[0].write_bytes(content)
    with served(archive[0].parent) as (mirror, _), pytest.raises(DataError, match=r"damaged.*CRC"):
        fetch_linemod([mirror], 12)
    assert find_linemod() is None
    assert [path.name for path in (cache / "linemod").iterdir()] == ["lm_train.zip"]
