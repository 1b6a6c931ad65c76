"""From the rotation of an object in front of a camera to azimuth, elevation and in-plane angle."""

from typing import NamedTuple

import numpy as np

# Closer to the poles than this (as a cosine), the azimuth is lost in the rounding of the stored numbers.
_POLE = 1e-6


class Viewpoint(NamedTuple):
    """Where a camera stands that looks at an object, in degrees.

    Attributes
    ----------
    azimuth : numpy.ndarray, shape (N,)
        Of the camera about the object's z axis, from x towards y, in (-180, 180].
    elevation : numpy.ndarray, shape (N,)
        Of the camera above the object's xy plane, from -90 to 90.
    in_plane : numpy.ndarray, shape (N,)
        How far the picture is turned, counter-clockwise as displayed, from one in which the object's z axis
        points upwards; in (-180, 180].
    """

    azimuth: np.ndarray
    elevation: np.ndarray
    in_plane: np.ndarray


def viewpoint_of(rotations: np.ndarray) -> Viewpoint:
    """Split rotations into azimuth, elevation and in-plane angle.

    The conventions are BOP's: the object's z axis points upwards; the camera's x axis points right, y down
    and z away from it, into the picture. The camera stands in the direction -Rᵀ e_z from the object. With
    right = look × up, an upright picture has the rows (right, look × right, look); a picture turned by γ has
    R = Rz(-γ) times that, as y points down.

    Exactly from above or below, azimuth and in-plane angle are one and the same turn. There the in-plane
    angle is set to 0 and the azimuth says it all.

    Parameters
    ----------
    rotations : numpy.ndarray, shape (N, 3, 3)
        From coordinates of the object to those of the camera (`cam_R_m2c`).

    Returns
    -------
    Viewpoint
        Angles in degrees.
    """
    rotations = np.asarray(rotations, dtype=np.float64)
    right, look = rotations[:, 0], rotations[:, 2]
    level = np.hypot(look[:, 0], look[:, 1])
    pole = level < _POLE
    elevation = np.arctan2(-look[:, 2], level)
    azimuth = np.where(pole, np.arctan2(-right[:, 0], right[:, 1]), np.arctan2(-look[:, 1], -look[:, 0]))
    sine, cosine = np.sin(azimuth), np.cos(azimuth)
    upright = np.stack((-sine, cosine, np.zeros_like(sine)), axis=1)
    downwards = np.cross(look, upright)
    in_plane = np.arctan2((right * downwards).sum(axis=1), (right * upright).sum(axis=1))
    return Viewpoint(*(np.degrees(angle) for angle in (azimuth, elevation, np.where(pole, 0.0, in_plane))))
