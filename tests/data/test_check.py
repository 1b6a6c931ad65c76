"""Looking at every image before training."""

import numpy as np
import pytest

from dualcontrast.data import check
from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.check import check_images, read_blocks, survey_images
from dualcontrast.errors import DataError


def images_of(count=10):
    return np.random.default_rng(0).random((count, 16, 16)).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    """Three images a block."""
    monkeypatch.setattr(check, "_BLOCK_BYTES", 3 * 16 * 16 * 4)


def test_range_and_progress(small_blocks):
    images = images_of()
    images[7, 2, 2], images[1, 1, 1] = 12.5, -3
    seen = []
    survey = check_images(ArraySource(images), seen.append)
    assert (survey.low, survey.high, survey.constant.tolist()) == (-3, 12.5, [])
    assert seen == [3, 6, 9, 10]


def test_blocks_cover_every_image_once(small_blocks):
    images = images_of()
    rows, blocks = zip(*read_blocks(ArraySource(images)), strict=True)
    assert np.concatenate(rows).tolist() == list(range(10))
    np.testing.assert_array_equal(np.concatenate(blocks)[:, 0], images)


def test_images_larger_than_a_block_are_read_one_by_one(monkeypatch):
    monkeypatch.setattr(check, "_BLOCK_BYTES", 1)
    assert [rows.tolist() for rows, _ in read_blocks(ArraySource(images_of(2)))] == [[0], [1]]


def test_constant_images_are_named(small_blocks):
    images = images_of()
    images[[2, 8]] = np.array([0.0, 0.7], dtype=np.float32)[:, None, None]
    source = ArraySource(images, location="mine")
    assert survey_images(source).constant.tolist() == ["2", "8"]
    with pytest.raises(DataError, match="mine: all pixels are equal in images '2', '8';"):
        check_images(source)
    images[:] = 0.5
    with pytest.raises(DataError, match=r"in images '0', '1', '2' and 7 more; .*leave it out"):
        check_images(source)


def test_not_finite_pixels_in_a_late_block_are_named(small_blocks):
    images = images_of()
    images[9, 0, 0] = np.nan
    with pytest.raises(DataError, match="NaN or infinite pixels in image '9'; replace"):
        check_images(ArraySource(images))
