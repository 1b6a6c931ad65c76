"""The template: a star-shaped man whose build is given by four numbers.

Coordinates: the image is the square [-1, 1] x [-1, 1], x to the right, y up, the middle of the body at the
origin. The man is a torso (an ellipse) and five limbs (arms, legs, and head with neck), all around the
origin. A limb is a round cone: the convex hull of a disc at the origin and a disc at the limb's end. Each
part is star-shaped about the origin, so the outline has a closed form: in every direction it lies as far out
as the part that reaches furthest.
"""

import numpy as np

# Lowest and highest value of each factor of the build, in half image widths: half the thickness of legs and
# arms, half the width of the torso, radius of the head.
BUILD_RANGES = {
    "leg_thickness": (0.07, 0.17),
    "arm_thickness": (0.06, 0.14),
    "torso_width": (0.17, 0.32),
    "head_size": (0.13, 0.22),
}

# Where each limb ends: hands, feet and the centre of the head. Left and right are those of the image.
LIMB_ENDS = {
    "left_arm": (-0.62, 0.14),
    "right_arm": (0.62, 0.14),
    "left_leg": (-0.33, -0.65),
    "right_leg": (0.33, -0.65),
    "head": (0.0, 0.56),
}

# The torso reaches further down than up from the point where the limbs meet, so that the arms sit high.
_TORSO_CENTRE = -0.10
_TORSO_HEIGHT = 0.36
_NECK = 0.05
# Exponent of the smooth maximum that joins the parts. It rounds armpits and crotch.
_ROUNDING = 16
_RAYS = 1024


def outlines(build: np.ndarray, corners: int = 192) -> np.ndarray:
    """Outline of the undeformed man, as a polygon.

    Parameters
    ----------
    build : numpy.ndarray, shape (n, 4)
        Factors of n men, in the order of `BUILD_RANGES`.
    corners : int
        Corners of each polygon, equally spaced along the outline.

    Returns
    -------
    numpy.ndarray, shape (n, corners, 2)
        Corners (x, y), anticlockwise from the right-hand side.
    """
    angles = np.linspace(0.0, 2 * np.pi, _RAYS + 1)
    leg, arm, torso, head = (column[:, None] for column in build.T)
    thickness_of = {
        "left_arm": (arm, arm),
        "right_arm": (arm, arm),
        "left_leg": (leg, leg),
        "right_leg": (leg, leg),
        "head": (np.full_like(head, _NECK), head),
    }
    radii = [_torso_radius(angles, torso)]
    radii += [
        _round_cone_radius(angles, np.array(LIMB_ENDS[limb]), *thickness)
        for limb, thickness in thickness_of.items()
    ]
    radius = sum(part**_ROUNDING for part in radii) ** (1 / _ROUNDING)
    curve = radius[..., None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return _equally_spaced(curve, corners)


def _torso_radius(angles: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Distance (n, rays) at which rays from the origin leave the torso: the root of a quadratic equation."""
    across, along = np.cos(angles) / width, np.sin(angles) / _TORSO_HEIGHT
    centre = _TORSO_CENTRE / _TORSO_HEIGHT
    square, linear, constant = across**2 + along**2, along * centre, centre**2 - 1.0
    return (linear + np.sqrt(linear**2 - square * constant)) / square


def _round_cone_radius(angles: np.ndarray, end: np.ndarray, near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Distance (n, rays) at which rays from the origin leave the hull of two discs.

    The discs have radius `near` (n, 1) around the origin and `far` (n, 1) around `end`. Seen from the limb's
    axis, a ray first leaves through the far disc, further aside through the straight flank, and behind the
    flank's tangent point through the near disc.
    """
    length = np.hypot(*end)
    aside = np.abs((angles - np.arctan2(end[1], end[0]) + np.pi) % (2 * np.pi) - np.pi)
    # The flank touches both discs in the direction of its normal.
    normal = np.arccos((near - far) / length)
    flank_ends = np.arctan2(far * np.sin(normal), length + far * np.cos(normal))
    under_the_root = far**2 - (length * np.sin(aside)) ** 2
    through_far = length * np.cos(aside) + np.sqrt(np.maximum(under_the_root, 0.0))
    through_flank = near / np.maximum(np.cos(normal - aside), 1e-9)
    return np.where(aside <= flank_ends, through_far, np.where(aside < normal, through_flank, near))


def _equally_spaced(curves: np.ndarray, corners: int) -> np.ndarray:
    """Replace closed curves (n, R, 2), whose last point is the first, by polygons with even spacing."""
    lengths = np.hypot(*np.moveaxis(np.diff(curves, axis=1), -1, 0))
    travelled = np.concatenate([np.zeros((len(curves), 1)), np.cumsum(lengths, axis=1)], axis=1)
    polygons = np.empty((len(curves), corners, 2))
    for polygon, curve, distance in zip(polygons, curves, travelled, strict=True):
        stops = np.arange(corners) * (distance[-1] / corners)
        for axis in range(2):
            polygon[:, axis] = np.interp(stops, distance, curve[:, axis])
    return polygons
