"""Tilt ranges given by the user reach the volumes of any source."""

import numpy as np
import pytest

from dualcontrast.data.open import open_source
from dualcontrast.data.subset import SubsetSource
from dualcontrast.errors import DataError, SettingError


@pytest.fixture
def volumes(tmp_path):
    np.save(tmp_path / "volumes.npy", np.random.default_rng(0).random((5, 16, 16, 16), dtype=np.float32))
    return tmp_path / "volumes.npy"


def test_a_tilt_range_gives_every_volume_its_wedge(volumes):
    source = open_source(volumes, tilt_range=(-60.0, 60.0))
    wedges = source.read_wedges([3, 1])
    assert wedges is not None and wedges.shape == (2, 16, 16, 9)
    # kz = 3, kx = 1 lies at 71.6 degrees; kz = 1, kx = 3 at 18.4.
    assert wedges[0, 3, 0, 1] == 0 and wedges[0, 1, 0, 3] == 1
    part = SubsetSource(source, source.ids[:2]).read_wedges([0])
    assert part is not None and np.array_equal(part[0], wedges[0])


def test_without_a_tilt_range_nothing_is_known(volumes):
    assert open_source(volumes).read_wedges([0]) is None


def test_a_range_that_makes_no_sense_is_refused(volumes, tmp_path):
    with pytest.raises(SettingError, match="tilt range 60 to -60"):
        open_source(volumes, tilt_range=(60.0, -60.0))
    np.save(tmp_path / "flat.npy", np.zeros((5, 20, 24), dtype=np.uint8))
    with pytest.raises(DataError, match="no missing wedge"):
        open_source(tmp_path / "flat.npy", tilt_range=(-60.0, 60.0))
