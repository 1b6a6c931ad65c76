import gzip
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest

from dualcontrast.errors import DataError
from dualcontrast.simulate import rcsb
from dualcontrast.simulate.rcsb import fetch_structure, is_pdb_id
from dualcontrast.simulate.structures import read_atoms
from tiny_structures import ball, protein, write_mmcif, write_pdb


class _Quiet(SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        _Quiet.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALCONTRAST_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "structures"


@pytest.fixture
def server(tmp_path, cache, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    _Quiet.asked = []
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(served)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setattr(rcsb, "ADDRESS", f"http://127.0.0.1:{http.server_port}/")
    yield served
    http.shutdown()
    http.server_close()


def zipped_mmcif(tmp_path) -> bytes:
    return gzip.compress(write_mmcif(protein(ball(15)), tmp_path / "made.cif").read_bytes())


def test_a_structure_is_downloaded_once(tmp_path, server, cache):
    (server / "1abc.cif.gz").write_bytes(zipped_mmcif(tmp_path))
    path = fetch_structure("1ABC")
    assert path == cache / "1abc.cif.gz"
    np.testing.assert_allclose(read_atoms(path).positions[1::4], ball(15), atol=1e-3)
    assert fetch_structure("1abc") == path
    assert _Quiet.asked == ["/1abc.cif.gz"]
    assert [file.name for file in cache.iterdir()] == ["1abc.cif.gz"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no such id"),
        (b"<html>Please sign in</html>", "no structure"),
        (gzip.compress(b"data_x\n"), "no structure"),
        ("cut", "no structure"),
    ],
    ids=["absent", "page", "empty", "cut"],
)
def test_what_is_no_structure_is_not_kept(tmp_path, server, cache, content, reason):
    if content is not None:
        whole = zipped_mmcif(tmp_path)
        (server / "1abc.cif.gz").write_bytes(whole[:-30] if content == "cut" else content)
    with pytest.raises(DataError, match=reason) as caught:
        fetch_structure("1abc")
    assert str(cache / "1abc.cif.gz") in str(caught.value)
    assert not list(cache.iterdir())


def test_without_a_connection_the_message_says_where_to_put_the_file(cache, monkeypatch):
    monkeypatch.setattr(rcsb, "ADDRESS", "http://127.0.0.1:9/")
    with pytest.raises(
        DataError, match=r"^1abc: could not be downloaded .*no connection.* by hand: "
    ) as caught:
        fetch_structure("1abc")
    assert str(caught.value).endswith(str(cache / "1abc.cif.gz"))


def test_a_file_put_there_by_hand_is_taken(cache, monkeypatch):
    monkeypatch.setattr(rcsb, "ADDRESS", "http://127.0.0.1:9/")
    path = write_pdb(protein(ball(15)), cache / "1abc.pdb")
    assert fetch_structure("1abc") == path


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1kx5", True), ("6VXX", True), ("8prv", True), ("kx51", False), ("1kx", False), ("1kx5.pdb", False)],
)
def test_what_an_id_looks_like(text, expected):
    assert is_pdb_id(text) is expected
