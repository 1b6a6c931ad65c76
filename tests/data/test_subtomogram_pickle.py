"""The published subtomograms: fetched from a server on this machine, or put there by hand."""

import hashlib
import json
import pickle

import numpy as np
import pytest

from dualcontrast.data import download as download_module
from dualcontrast.data.open import open_source
from dualcontrast.data.subtomogram_pickle import (
    NAME,
    fetch_subtomograms,
    find_subtomograms,
    open_subtomograms,
)
from dualcontrast.errors import DataError
from file_server import served

VOLUMES = np.random.default_rng(0).standard_normal((5, 32, 32, 32)).astype(np.float32)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALCONTRAST_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download_module, "TIMEOUT_SECONDS", 2)
    return tmp_path / "cache"


@pytest.fixture
def zenodo(tmp_path):
    """A server with a record like Zenodo's; gives the record's address and what is asked for."""
    folder = tmp_path / "zenodo"
    folder.mkdir()
    content = pickle.dumps(VOLUMES, protocol=4)
    (folder / "content").write_bytes(content)
    with served(folder) as (address, asked):
        files = [
            {"key": "readme.txt", "links": {"self": f"{address}readme"}, "checksum": "md5:0"},
            {
                "key": NAME,
                "links": {"self": f"{address}content"},
                "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
            },
        ]
        (folder / "record").write_text(json.dumps({"id": 11244440, "files": files}))
        yield f"{address}record", asked, folder


def test_fetched_once_and_opened(cache, zenodo):
    record, asked, _ = zenodo
    with pytest.raises(DataError, match="data fetch subtomograms"):
        open_source("subtomograms")
    path = fetch_subtomograms(record, 5)
    assert path == cache / "subtomograms" / NAME
    assert fetch_subtomograms(record, 5) == path
    assert asked == ["/record", "/content"]
    source = open_subtomograms(5)
    assert (source.location, source.image_shape, source.voxel_size) == ("subtomograms", (1, 32, 32, 32), 10.0)
    np.testing.assert_array_equal(source.read([3, 1])[:, 0], VOLUMES[[3, 1]])
    assert source.labels is None


def test_a_download_with_another_checksum_is_not_kept(cache, zenodo):
    record, _, folder = zenodo
    (folder / "content").write_bytes(pickle.dumps(VOLUMES + 1, protocol=4))
    with pytest.raises(DataError, match="its MD5 differs") as caught:
        fetch_subtomograms(record, 5)
    assert str(cache / "subtomograms") in str(caught.value)
    assert find_subtomograms() is None


@pytest.mark.parametrize(
    ("content", "message"),
    [("<html>", "not JSON"), ('{"files": []}', f"does not name {NAME}"), ("[]", f"does not name {NAME}")],
)
def test_records_of_another_kind(cache, zenodo, content, message):
    record, _, folder = zenodo
    (folder / "record").write_text(content)
    with pytest.raises(DataError, match=message):
        fetch_subtomograms(record, 5)


def test_without_a_network_it_says_where_to_put_the_file(cache):
    # Port 9 of this machine: nobody listens there.
    with pytest.raises(DataError, match="no connection") as caught:
        fetch_subtomograms("http://127.0.0.1:9/record")
    assert str(cache / "subtomograms") in str(caught.value)
    assert NAME in str(caught.value)


@pytest.mark.parametrize("place", ["subtomograms", "."])
@pytest.mark.parametrize("shape", [(5, 32, 32, 32), (5, 1, 32, 32, 32)])
def test_put_there_by_hand(cache, place, shape):
    (cache / place).mkdir(parents=True)
    (cache / place / NAME).write_bytes(pickle.dumps(VOLUMES.reshape(shape)))
    assert fetch_subtomograms("http://127.0.0.1:9/record", 5) == cache / place / NAME
    # It is not the published one.
    with pytest.raises(DataError, match="holds 5 of 32×32×32, not the 18,000 of 32×32×32 published"):
        open_source("subtomograms")


def test_labels_that_the_file_brings_are_kept(cache):
    (cache / "subtomograms").mkdir(parents=True)
    (cache / "subtomograms" / NAME).write_bytes(pickle.dumps((VOLUMES, [0, 0, 1, 1, 2])))
    assert open_subtomograms(5).labels.factors[0].values.tolist() == [0, 0, 1, 1, 2]
