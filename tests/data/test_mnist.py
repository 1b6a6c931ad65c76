"""MNIST: fetched from a server on this machine, and found where it was put by hand."""

import gzip
import hashlib
from contextlib import ExitStack

import numpy as np
import pytest

from dualcontrast.data import download as download_module
from dualcontrast.data import mnist
from dualcontrast.data.download import download, sha256_of
from dualcontrast.data.mnist import FILES, fetch_mnist, find_mnist, open_mnist
from dualcontrast.errors import DataError
from file_server import served
from mnist_files import mnist_files


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Content of the four files by name; the cache is empty, and no proxy stands in the way."""
    monkeypatch.setenv("DUALCONTRAST_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download_module, "TIMEOUT_SECONDS", 2)
    made = mnist_files()
    monkeypatch.setattr(mnist, "FILES", {name: hashlib.sha256(made[name]).hexdigest() for name in made})
    return made


@pytest.fixture
def serve(tmp_path):
    """Starts servers of folders; returns their address and the list of what is asked of them."""
    with ExitStack() as servers:

        def start(name, stored):
            folder = tmp_path / name
            folder.mkdir()
            for file, content in stored.items():
                (folder / file).write_bytes(content)
            return servers.enter_context(served(folder))

        yield start


def zipped(files):
    return {f"{name}.gz": gzip.compress(content) for name, content in files.items()}


def sums(files):
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def test_fetched_once_and_opened(files, serve, tmp_path):
    mirror, asked = serve("good", zipped(files))
    folder = fetch_mnist([mirror], sums(files))
    assert folder == tmp_path / "cache" / "mnist"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files
    assert sorted(asked) == sorted(f"/{name}.gz" for name in files)
    fetch_mnist([mirror], sums(files))
    assert len(asked) == 4

    source = open_mnist()
    assert source.location == "mnist"
    assert source.ids.tolist() == [f"train-{i:05d}" for i in range(9)] + [f"test-{i:05d}" for i in range(4)]
    assert [len(source.fixed_split[part]) for part in ("train", "test")] == [9, 4]
    assert (source.labels.factors[0].name, source.labels.factors[0].role) == ("digit", "content")
    pixels = np.frombuffer(files["t10k-images-idx3-ubyte"], np.uint8)[16:].reshape(4, 28, 28)
    np.testing.assert_allclose(source.read([11])[0, 0], pixels[2] / 255, rtol=1e-6)


def test_a_mirror_that_does_not_compress_or_compresses_otherwise(files, serve):
    stored = {f"{name}.gz": content for name, content in files.items()}
    stored["t10k-labels-idx1-ubyte.gz"] = gzip.compress(files["t10k-labels-idx1-ubyte"], 1, mtime=99)
    mirror, _ = serve("plain", stored)
    folder = fetch_mnist([mirror], sums(files))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files


@pytest.mark.parametrize("fault", ["missing", "wrong", "truncated", "no gzip"])
def test_the_next_mirror_is_tried(files, serve, fault):
    whole = zipped(files)
    bad = {
        "missing": {},
        "wrong": zipped({name: content[::-1] for name, content in files.items()}),
        "truncated": {name: content[:-20] for name, content in whole.items()},
        "no gzip": dict.fromkeys(whole, b"<html>Please sign in</html>"),
    }[fault]
    first, asked_first = serve("bad", bad)
    second, asked_second = serve("good", whole)
    folder = fetch_mnist([first, second], sums(files))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files
    assert len(asked_first) == len(asked_second) == 4


def test_wrong_everywhere_leaves_nothing_behind(files, serve, tmp_path):
    mirror, _ = serve("bad", zipped({name: content + b"!" for name, content in files.items()}))
    with pytest.raises(DataError, match="its SHA-256 differs") as caught:
        fetch_mnist([mirror, f"{mirror}none/"], sums(files))
    assert "HTTP status 404" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache" / "mnist").iterdir()) == []


def test_without_a_network_it_says_where_to_put_the_files(files, tmp_path):
    # Port 9 of this machine: nobody listens there.
    with pytest.raises(DataError, match="no connection") as caught:
        fetch_mnist(["http://127.0.0.1:9/"], sums(files))
    assert str(tmp_path / "cache" / "mnist") in str(caught.value)
    assert "train-images-idx3-ubyte" in str(caught.value)
    assert "DUALCONTRAST_DATA" in str(caught.value)


def test_a_folder_that_cannot_be_made_is_no_fault_of_the_mirrors(files, serve, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("DUALCONTRAST_DATA", str(tmp_path / "file"))
    mirror, _ = serve("good", zipped(files))
    with pytest.raises(DataError, match="could not be written"):
        fetch_mnist([mirror], sums(files))


@pytest.mark.parametrize("place", ["mnist", "."])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_files_put_there_by_hand(files, tmp_path, place, end):
    folder = tmp_path / "cache" / place
    folder.mkdir(parents=True)
    assert find_mnist(files) is None
    stored = zipped(files) if end else files
    for name, content in stored.items():
        (folder / name).write_bytes(content)
    assert find_mnist(files) == folder
    assert len(open_mnist()) == 13
    # All are right, so no server is needed.
    assert fetch_mnist([], sums(files)) == folder


def test_damaged_files_are_named_and_fetched_again(files, serve, tmp_path):
    mirror, asked = serve("good", zipped(files))
    folder = fetch_mnist([mirror], sums(files))
    damaged = folder / "t10k-images-idx3-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: not the published file"):
        open_mnist()
    asked.clear()
    fetch_mnist([mirror], sums(files))
    assert asked == ["/t10k-images-idx3-ubyte.gz"]
    assert len(open_mnist()) == 13


def test_cut_gzip_is_named(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"hello" * 99)[:-9])
    with pytest.raises(DataError, match=r"x\.gz: cannot be read"):
        sha256_of(tmp_path / "x.gz")


def test_a_file_downloaded_before_is_left_alone(files, tmp_path):
    name, content = next(iter(files.items()))
    (tmp_path / name).write_bytes(content)
    download(["http://127.0.0.1:9/"], sums(files)[name], tmp_path / name)
    with pytest.raises(DataError, match="no connection"):
        download(["http://127.0.0.1:9/"], "0" * 64, tmp_path / name)
    assert (tmp_path / name).read_bytes() == content


def test_the_published_sums():
    # The SHA-256 of the training images, as it is published; the other three are of the same form.
    assert FILES["train-images-idx3-ubyte"].startswith("ba891046e6505d7a")
    assert [len(value) for value in FILES.values()] == [64] * 4
