"""MNIST turned by known angles."""

import hashlib

import numpy as np
import pytest
from scipy import ndimage, stats

from dualcontrast.data import mnist
from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.open import open_source
from dualcontrast.data.rotated_mnist import RotatedSource, random_angles
from dualcontrast.data.subset import SubsetSource
from dualcontrast.errors import DataError
from mnist_files import mnist_files


def smooth_images(count, size=28):
    """Blurred spots away from the edge."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    images = np.zeros((count, size, size), dtype=np.float32)
    for image in images:
        for px, py in rng.uniform(-6, 6, (3, 2)):
            image += 0.3 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8)
    return images


def test_images_are_turned_as_scipy_turns_them():
    images, angles = smooth_images(6), np.array([0.0, 30, -30, 90, -75.5, 12.25])
    turned = RotatedSource(ArraySource(images), angles).read(range(6))[:, 0]
    for image, angle, found in zip(images, angles, turned, strict=True):
        # SciPy turns counter-clockwise as displayed, too.
        expected = ndimage.rotate(image, angle, reshape=False, order=1)
        np.testing.assert_allclose(found, expected, atol=2e-3)
        assert angle == 0 or np.abs(ndimage.rotate(image, -angle, reshape=False, order=1) - found).max() > 0.1


def test_a_quarter_turn_is_exact():
    image = np.random.default_rng(0).random((1, 28, 28), dtype=np.float32)
    turned = RotatedSource(ArraySource(image), np.array([90.0])).read([0])[0, 0]
    np.testing.assert_allclose(turned, np.rot90(image[0]), atol=1e-4)


def test_angles_are_uniform_and_belong_to_the_id():
    ids = np.array([f"train-{number:05d}" for number in range(20_000)])
    angles = random_angles(ids)
    assert stats.kstest(angles, stats.uniform(-90, 180).cdf).pvalue > 0.01
    assert np.abs(np.corrcoef(angles[:-1], angles[1:])[0, 1]) < 0.03
    chosen = np.random.default_rng(0).permutation(20_000)[:50]
    np.testing.assert_array_equal(random_angles(ids[chosen]), angles[chosen])
    assert np.abs(random_angles(ids[:50], seed=1) - angles[:50]).max() > 1


def test_by_name(tmp_path, monkeypatch):
    files = mnist_files()
    monkeypatch.setenv("DUALCONTRAST_DATA", str(tmp_path))
    monkeypatch.setattr(mnist, "FILES", {name: hashlib.sha256(files[name]).hexdigest() for name in files})
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    source, plain = open_source("rotated-mnist"), open_source("mnist")
    assert source.location == "rotated-mnist"
    assert source.ids.tolist() == plain.ids.tolist()
    assert {part: len(ids) for part, ids in source.fixed_split.items()} == {"train": 9, "test": 4}
    found = {factor.name: factor for factor in source.labels.factors}
    assert found["digit"].role == "content"
    assert found["rotation"].role == "transformation"
    assert found["rotation"].is_continuous
    angles = found["rotation"].values
    images = source.read([4, 11])
    assert (images.min() >= 0) and (images.max() <= 1)
    for image, row in zip(images, (4, 11), strict=True):
        expected = ndimage.rotate(plain.read([row])[0, 0], angles[row], reshape=False, order=1)
        # Noise has sharp edges where the image ends, which SciPy treats in another way.
        np.testing.assert_allclose(image[0, 8:20, 8:20], expected[8:20, 8:20], atol=1e-3)
    # The same images in another order, or fewer of them, are turned in the same way.
    some = SubsetSource(source, source.ids[[11, 4]])
    np.testing.assert_array_equal(some.read([1, 0]), images)
    np.testing.assert_array_equal(source.read([11, 4]), images[::-1])


def test_without_mnist_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALCONTRAST_DATA", str(tmp_path))
    with pytest.raises(DataError, match="data fetch mnist"):
        open_source("rotated-mnist")
