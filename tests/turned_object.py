"""Images of one asymmetrical object in known poses, drawn from a formula and not by interpolation."""

import numpy as np

# Position (x right, y down, from the centre) as fractions of the width, width likewise, brightness.
PARTS = ((0.0, 0.0, 0.09, 0.8), (0.2, 0.0, 0.07, 1.0), (0.08, -0.22, 0.06, 0.7), (-0.22, 0.1, 0.05, 0.9))


def turned_objects(
    angles: np.ndarray, shape: tuple[int, int], shifts: np.ndarray | None = None
) -> np.ndarray:
    """Draw the object turned by angles in degrees, counter-clockwise as displayed: (N, 1, H, W) in [0, 1].

    Shifts, shape (N, 2), are in pixels: x right, y down.
    """
    height, width = shape
    shifts = np.zeros((len(angles), 2)) if shifts is None else shifts
    y, x = np.meshgrid(
        np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij"
    )
    cos, sin = np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))
    images = np.zeros((len(angles), height, width))
    for px, py, size, brightness in PARTS:
        # Seen with y down, counter-clockwise takes a point at the right upwards, to smaller y.
        at_x = (px * cos + py * sin) * width + shifts[:, 0]
        at_y = (-px * sin + py * cos) * width + shifts[:, 1]
        square = (x - at_x[:, None, None]) ** 2 + (y - at_y[:, None, None]) ** 2
        images += brightness * np.exp(-square / (2 * (size * width) ** 2))
    return np.clip(images, 0, 1)[:, None].astype(np.float32)


def angle_errors(found: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Distance, in degrees, of found angles from known ones, up to one offset for all (its circular mean)."""
    difference = np.exp(1j * np.deg2rad(found - known))
    return np.abs(np.rad2deg(np.angle(difference / difference.mean())))
