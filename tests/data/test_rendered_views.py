"""`benchmarks/rendered_views.py`: rendered views as a file that is opened like any other."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from dualcontrast.data.open import open_source
from dualcontrast.errors import DataError

convert = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "rendered_views.py"))["convert"]
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 26, 16, 16, 3), dtype=np.uint8)
AZIMUTH = RNG.uniform(0, 2 * np.pi, 26)
ELEVATION = np.sort(RNG.uniform(0, np.pi / 2, 26))
NAMES = ["cow", "drill", "ogre"]


@pytest.fixture
def views(tmp_path):
    np.savez(tmp_path / "views.npz", images=IMAGES, azimuth=AZIMUTH, elevation=ELEVATION, names=NAMES)
    return tmp_path / "views.npz"


@pytest.mark.parametrize(("kept", "train"), [(None, 20), (13, 10)])
def test_every_view_has_its_own_image_and_labels(views, tmp_path, kept, train):
    convert(views, tmp_path / "out.npz", kept)
    source = open_source(tmp_path / "out.npz")
    count = kept or 26
    assert (len(source), source.image_shape) == (3 * count, (3, 16, 16))
    found = {factor.name: factor for factor in source.labels.factors}
    roles = {name: factor.role for name, factor in found.items()}
    assert roles == {
        "object": "content",
        "azimuth_sin": "transformation",
        "azimuth_cos": "transformation",
        "elevation": "transformation",
        "azimuth": "metadata",
    }
    images = source.read(range(len(source)))
    for row, particle in enumerate(source.ids.tolist()):
        name, view = particle.split("-")
        np.testing.assert_allclose(
            images[row], np.moveaxis(IMAGES[NAMES.index(name), int(view)], -1, 0) / 255, rtol=1e-6
        )
        assert found["object"].values[row] == name
        assert found["azimuth_sin"].values[row] == pytest.approx(np.sin(AZIMUTH[int(view)]))
        assert found["azimuth_cos"].values[row] == pytest.approx(np.cos(AZIMUTH[int(view)]))
        assert found["elevation"].values[row] == pytest.approx(np.degrees(ELEVATION[int(view)]))
    # The share of 1,000 in 1,313, the same views of every object, and those of seed 0 first.
    order = np.random.default_rng(0).permutation(26)
    for part, chosen in (("train", order[:train]), ("test", order[train:count])):
        expected = {f"{name}-{view:04d}" for name in NAMES for view in chosen}
        assert set(source.fixed_split[part].tolist()) == expected


def test_what_is_wrong_is_named(views, tmp_path):
    with pytest.raises(DataError, match=r"views\.npz: 27 views per object of 26"):
        convert(views, tmp_path / "out.npz", 27)
    np.savez(tmp_path / "other.npz", images=IMAGES)
    with pytest.raises(DataError, match=r"other\.npz: holds no rendered views"):
        convert(tmp_path / "other.npz", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()
