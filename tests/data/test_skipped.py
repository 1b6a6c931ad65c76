"""Leaving out what cannot be used."""

import numpy as np
import pytest

from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.open import open_source
from dualcontrast.data.skipped import find_bad, read_skipped, without_bad, write_skipped
from dualcontrast.errors import DataError

IMAGES = np.random.default_rng(0).normal(size=(5, 16, 16)).astype(np.float32)


def damaged():
    images = IMAGES.copy()
    images[1] = 3
    images[3, 2, 2] = np.inf
    return images


def test_constant_and_infinite_images_are_found():
    source = ArraySource(damaged(), ids=list("abcde"))
    seen = []
    bad = find_bad(source, seen.append)
    assert list(bad) == ["b", "d"]
    assert bad["b"] == "all pixels are equal"
    assert "NaN or infinite" in bad["d"]
    assert seen == [1, 2, 3, 4, 5]
    good = without_bad(source)
    assert good.ids.tolist() == list("ace")
    np.testing.assert_array_equal(good.read([0, 1, 2])[:, 0], IMAGES[[0, 2, 4]])


def test_nothing_bad_and_nothing_good():
    source = ArraySource(IMAGES)
    assert without_bad(source) is source
    with pytest.raises(DataError, match="no image can be used, the first because all pixels are equal"):
        without_bad(ArraySource(np.ones((2, 16, 16))))


def test_labels_may_hold_what_was_skipped(tmp_path):
    np.save(tmp_path / "x.npy", damaged())
    (tmp_path / "x.csv").write_text("id,label\n0,a\n1,b\n2,c\n3,d\n4,e\n")
    source = open_source(tmp_path / "x.npy", skip_bad=True)
    assert source.labels.ids.tolist() == ["0", "2", "4"]
    assert source.labels.factors[0].values.tolist() == ["a", "c", "e"]
    again = open_source(tmp_path / "x.npy", skip_bad=True, known_bad=source.skipped)
    assert again.ids.tolist() == ["0", "2", "4"]
    assert again.skipped == source.skipped
    (tmp_path / "x.csv").write_text("id,label\n0,a\n2,c\n")
    with pytest.raises(DataError, match="1 images have no row, first '4'"):
        open_source(tmp_path / "x.npy", skip_bad=True)


def test_folders_keep_the_size_of_most(tmp_path):
    for name, image in zip("abcde", IMAGES, strict=True):
        np.save(tmp_path / f"{name}.npy", image[:, :15] if name == "a" else image)
    (tmp_path / "f.npy").write_bytes(b"no array")
    source = open_source(tmp_path, skip_bad=True)
    assert source.ids.tolist() == list("bcde")
    assert sorted(source.skipped) == ["a", "f"]
    np.testing.assert_array_equal(source.read([3])[0, 0], IMAGES[4])
    again = open_source(tmp_path, skip_bad=True, known_bad=source.skipped)
    assert again.ids.tolist() == list("bcde")


@pytest.mark.parametrize("skipped", [{}, {"a,1": 'x "y", z', "b": "two\nlines"}])
def test_lists_come_back(tmp_path, skipped):
    write_skipped(tmp_path / "s.csv", skipped)
    assert read_skipped(tmp_path / "s.csv") == {
        name: " ".join(text.split()) for name, text in skipped.items()
    }


def test_lists_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"s\.csv: cannot be read"):
        read_skipped(tmp_path / "s.csv")
    (tmp_path / "s.csv").write_text("id,label\n1,2\n")
    with pytest.raises(DataError, match=r"s\.csv: is no list of skipped particles"):
        read_skipped(tmp_path / "s.csv")
