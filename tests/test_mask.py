"""The soft spherical mask, against its formula."""

import numpy as np
import pytest
import torch

from dualcontrast.mask import distance_from_centre, edge_width, spherical_mask


def test_values_along_an_axis():
    # Radius 10, edge 64 / 16 = 4 voxels: 1 up to 10, a cosine to 14, 0 beyond, about voxel 32.
    mask = spherical_mask((64, 64, 64), 20)
    line = mask[32, 32].numpy()
    distance = np.abs(np.arange(64) - 32)
    expected = 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - 10) / 4, 0, 1))
    np.testing.assert_allclose(line, expected, atol=1e-6)
    assert line[34 + 10] == pytest.approx(0.5)
    assert torch.equal(mask, mask.permute(2, 0, 1))


def test_volume_inside_is_that_of_a_ball():
    mask = spherical_mask((64, 64, 64), 40)
    assert (mask == 1).sum().item() == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.02)


def test_odd_boxes_discs_and_small_boxes():
    assert distance_from_centre((33,))[16] == 0 and distance_from_centre((32,))[16] == 0
    disc = spherical_mask((33, 32), 12)
    assert disc.shape == (33, 32) and disc[16, 16] == 1 and disc[0, 0] == 0
    assert edge_width((16, 16)) == 2 and edge_width((96, 96, 80)) == 5
