"""Azimuth, elevation and in-plane angle of a camera."""

import numpy as np
import pytest

from bop_pictures import rotation_of
from dualcontrast.data.viewpoint import viewpoint_of


@pytest.mark.parametrize("in_plane", [0, 25, -140, 179])
def test_angles_that_scipy_put_in_come_out(in_plane):
    azimuth, elevation = (
        grid.ravel() for grid in np.meshgrid(np.arange(-175, 180, 35), np.arange(-80, 81, 20))
    )
    rotations = np.stack([rotation_of(*angles, in_plane) for angles in zip(azimuth, elevation, strict=True)])
    found = viewpoint_of(rotations)
    np.testing.assert_allclose(found.azimuth, azimuth, atol=1e-9)
    np.testing.assert_allclose(found.elevation, elevation, atol=1e-9)
    np.testing.assert_allclose(found.in_plane, in_plane, atol=1e-9)


def test_where_the_camera_stands_and_where_up_is_in_the_picture():
    azimuth, elevation, in_plane = 40.0, 25.0, 30.0
    rotation = rotation_of(azimuth, elevation, in_plane)
    a, e, g = np.radians([azimuth, elevation, in_plane])
    # The point of the object that is nearest to the camera lies on its axis, in front of the object's centre.
    nearest = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    np.testing.assert_allclose(rotation @ nearest, [0, 0, -1], atol=1e-12)
    # Up in the object is up in the picture (y down), turned counter-clockwise: towards the left.
    seen = (rotation @ [0, 0, 1])[:2]
    np.testing.assert_allclose(seen / np.linalg.norm(seen), [-np.sin(g), -np.cos(g)], atol=1e-12)
    found = viewpoint_of(rotation[None])
    np.testing.assert_allclose(np.ravel(found), [azimuth, elevation, in_plane], atol=1e-9)


@pytest.mark.parametrize("elevation", [90, -90])
def test_at_a_pole_the_azimuth_says_it_all(elevation):
    found = viewpoint_of(np.stack([rotation_of(70, elevation), rotation_of(70, elevation, 20)]))
    np.testing.assert_allclose(found.in_plane, 0, atol=1e-9)
    np.testing.assert_allclose(found.elevation, elevation, atol=1e-9)
    # Seen from above, turning the picture one way is walking around the object the other way.
    np.testing.assert_allclose(found.azimuth, [70, 70 - np.sign(elevation) * 20], atol=1e-6)
