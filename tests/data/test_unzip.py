"""Unpacking archives that may be hostile."""

import stat
import zipfile

import pytest

from dualcontrast.data import unzip as module
from dualcontrast.data.unzip import unzip
from dualcontrast.errors import DataError


def write_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:\\evil.txt"]
)
def test_names_that_point_outside(tmp_path, name):
    write_zip(tmp_path / "x.zip", {"good.txt": "hello", name: "evil"})
    with pytest.raises(DataError, match="points out of the folder"):
        unzip(tmp_path / "x.zip", tmp_path / "deep" / "er" / "out", lambda path: path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "er", "x.zip"]


def test_links(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    write_zip(tmp_path / "x.zip", {link: "/etc"})
    with pytest.raises(DataError, match="'link' points out of the folder"):
        unzip(tmp_path / "x.zip", tmp_path / "out", lambda path: path)


def test_what_is_wanted_goes_where_it_is_wanted(tmp_path):
    write_zip(tmp_path / "x.zip", {"a/b.txt": "1", "a/c.txt": "2", "d/": ""})
    unzip(
        tmp_path / "x.zip", tmp_path / "out", lambda path: path.relative_to("a") if path.stem == "b" else None
    )
    assert [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()] == [("b.txt", "1")]
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755


def test_two_files_of_one_name_and_nothing_wanted(tmp_path):
    write_zip(tmp_path / "x.zip", {"a/b.txt": "1", "c/b.txt": "2"})
    with pytest.raises(DataError, match=r"has 'b\.txt' twice"):
        unzip(tmp_path / "x.zip", tmp_path / "out", lambda path: path.relative_to(path.parts[0]))
    with pytest.raises(DataError, match="none of the files that are needed"):
        unzip(tmp_path / "x.zip", tmp_path / "out", lambda path: None)
    assert not (tmp_path / "out").exists()


def test_more_than_the_disk_holds(tmp_path, monkeypatch):
    write_zip(tmp_path / "x.zip", {"a.txt": "x" * 1000})
    usage = module.shutil.disk_usage(tmp_path)._replace(free=999)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match="GB free"):
        unzip(tmp_path / "x.zip", tmp_path / "out", lambda path: path)


def test_no_archive(tmp_path):
    (tmp_path / "x.zip").write_text("hello")
    with pytest.raises(DataError, match=r"x\.zip: damaged"):
        unzip(tmp_path / "x.zip", tmp_path / "out", lambda path: path)
