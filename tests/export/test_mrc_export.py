from typing import Any

import mrcfile
import numpy as np
import pytest

from dualcontrast.errors import DataError
from dualcontrast.export.mrc import write_map


def test_a_map_has_its_voxel_size_and_its_axes(tmp_path, rng):
    volume = rng.normal(size=(6, 8, 10))
    path = write_map(tmp_path / "maps" / "class-1.mrc", volume, 13.48)
    file: Any
    with mrcfile.open(path) as file:
        np.testing.assert_array_equal(file.data, volume.astype(np.float32))
        assert file.data.dtype == np.float32 and file.is_volume()
        header = file.header
        assert (int(header.nx), int(header.ny), int(header.nz)) == (10, 8, 6)
        # The cell, in Å, is what programs read the voxel size from.
        assert tuple(header.cella.tolist()) == pytest.approx((134.8, 107.84, 80.88), rel=1e-5)
    assert mrcfile.validate(path)


def test_the_same_map_gives_the_same_bytes(tmp_path, rng):
    volume = rng.normal(size=(4, 4, 4))
    first = write_map(tmp_path / "a.mrc", volume, 2.0).read_bytes()
    assert first == write_map(tmp_path / "b.mrc", volume, 2.0).read_bytes()
    # Fixed parts of an MRC header: the word MAP at byte 208, 1,024 bytes before the data.
    assert first[208:211] == b"MAP" and len(first) == 1024 + 64 * 4


def test_an_unknown_voxel_size_is_said_by_a_cell_of_zero(tmp_path):
    path = write_map(tmp_path / "a.mrc", np.ones((4, 4, 4)), None)
    with mrcfile.open(path) as file:
        assert file.header is not None
        assert file.header.cella.tolist() == (0, 0, 0)


@pytest.mark.parametrize(
    ("volume", "voxel_size", "message"),
    [
        (np.ones((4, 4)), 1.0, "no volume"),
        (np.full((4, 4, 4), np.nan), 1.0, "NaN"),
        (np.ones((4, 4, 4)), 0.0, "voxel size of 0"),
        (np.ones((4, 4, 4)), float("nan"), "voxel size of nan"),
    ],
)
def test_what_is_no_map_is_not_written(tmp_path, volume, voxel_size, message):
    with pytest.raises(DataError, match=message):
        write_map(tmp_path / "a.mrc", volume, voxel_size)
    assert not list(tmp_path.iterdir())
