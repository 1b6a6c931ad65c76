"""`dualcontrast data`."""

import subprocess
import sys

import numpy as np
import pytest

from bop_pictures import write_pictures
from dualcontrast.cli.data import fetch, info, list_sets
from dualcontrast.errors import DataError


@pytest.fixture(autouse=True)
def wide_and_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALCONTRAST_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


def test_list_names_every_set(capsys, tmp_path):
    list_sets()
    shown = capsys.readouterr().out
    for text in ("CC BY-SA 3.0", "built in", "dualcontrast data fetch mnist", str(tmp_path / "cache")):
        assert text in shown
    for name in ("mnist", "rotated-mnist", "linemod", "starmen", "subtomograms", "digits"):
        assert f"│ {name} " in shown
    for fact in ("size", "content", "transformation", "licence", "source", "cached"):
        assert shown.count(f"│ {fact}: ") == 6


def test_list_says_where_a_set_is(capsys, tmp_path):
    write_pictures(tmp_path / "cache" / "linemod" / "train")
    list_sets()
    assert f"cached: {tmp_path}/cache/linemod/train" in capsys.readouterr().out


def test_fetch(capsys):
    fetch("digits")
    assert capsys.readouterr().out == "digits: built in, nothing to fetch\n"
    with pytest.raises(DataError, match="did you mean 'mnist'"):
        fetch("minst")


def test_info(tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (6, 20, 24, 3), dtype=np.uint8)
    images[0, 0, 0, 0], images[1, 0, 0, 0] = 0, 255
    images[4] = 9
    np.savez(tmp_path / "x.npz", images=images)
    rows = [f"{i},{'ab'[i % 2]},{i / 2}" for i in range(6)]
    (tmp_path / "mine.csv").write_text("\n".join(["id,content:sha[p]e,transformation:tilt", *rows]))
    info(str(tmp_path / "x.npz"), labels=tmp_path / "mine.csv")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for text in (
        f"{tmp_path}/x.npz",
        "images 6",
        "size 20×24",
        "channels 3 (RGB)",
        "stored as uint8",
        "values as read 0 to 1",
        "ids 0 … 5",
        "published split none",
        "sha[p]e content discrete 2 distinct: a, b",
        "tilt transformation continuous 0 to 2.5",
        "all pixels are equal in image '4'",
    ):
        assert text in shown


def test_info_of_a_set_with_a_split(capsys, tmp_path):
    info("digits")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "images 1,797" in shown
    assert "digit content discrete 10 distinct: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in shown


def test_importing_the_command_imports_nothing_heavy():
    code = (
        "import sys, dualcontrast.cli.data\n"
        "heavy = {'torch', 'sklearn', 'matplotlib', 'numpy', 'PIL', 'pooch'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
