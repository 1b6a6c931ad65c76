"""Whether two shapes are the same one turned.

Motions of symmetric particles come in pairs that are: in a particle with a two-fold axis, a motion that
breaks the symmetry leads forwards and backwards to the same conformation, once turned by 180°. As particles
lie in random poses, those would be two names for one conformation.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

# Points are blurred by a Gaussian of this width (Å), on voxels of half of it: about what subtomograms show.
_WIDTH = 8.0
_SPACING = _WIDTH / 2

# Rotations of about 15° from each other, and the overlap at which one is said to map a shape onto itself.
# Most particles have few such rotations; a ball would have any number.
_AXES, _ANGLES = 400, 12
_GOOD = 0.85
_MOST_ROTATIONS = 64


class Shape:
    """Points blurred into a density, to be compared with other shapes of the same points.

    Parameters
    ----------
    points : numpy.ndarray, shape (n, 3)
        In Å.
    """

    def __init__(self, points: np.ndarray) -> None:
        self.points = points - points.mean(axis=0)
        reach = np.linalg.norm(self.points, axis=1).max() + 4 * _WIDTH
        self._half = int(np.ceil(reach / _SPACING))
        edges = (np.arange(2 * self._half + 2) - self._half - 0.5) * _SPACING
        counts, _ = np.histogramdd(self.points, bins=(edges,) * 3)
        self._density = gaussian_filter(counts, _WIDTH / _SPACING, mode="constant")
        self._own = self._at(self.points).sum()

    def _at(self, points: np.ndarray) -> np.ndarray:
        coordinates = points.reshape(-1, 3).T / _SPACING + self._half
        return map_coordinates(self._density, coordinates, order=1).reshape(points.shape[:-1])

    def overlap(self, other: "Shape", rotations: np.ndarray) -> np.ndarray:
        """Return how well the other shape covers this one after each rotation (r, 3, 3); 1 for the same."""
        turned = other.points @ rotations.transpose(0, 2, 1)
        return self._at(turned).sum(axis=1) / np.sqrt(self._own * other._own)

    def distance(self, other: "Shape", rotations: np.ndarray) -> float:
        """Return how much the shapes differ, turned as well as it goes near one of some rotations.

        0 for the same; it grows in proportion to how far the points have moved.
        """
        return float(np.sqrt(max(0.0, 1 - self.best_overlap(other, rotations)[0])))

    def best_overlap(self, other: "Shape", rotations: np.ndarray) -> tuple[float, np.ndarray]:
        """Start from the best of some rotations and improve it; return the overlap and the rotation."""
        start = rotations[self.overlap(other, rotations).argmax()]

        def loss(vector: np.ndarray) -> float:
            turned = Rotation.from_rotvec(vector).as_matrix() @ start
            return -float(self.overlap(other, turned[None])[0])

        simplex = np.vstack([np.zeros(3), 0.1 * np.eye(3)])
        found = minimize(
            loss, np.zeros(3), method="Nelder-Mead", options={"initial_simplex": simplex, "maxfev": 80}
        )
        return -float(found.fun), Rotation.from_rotvec(found.x).as_matrix() @ start

    def self_rotations(self) -> np.ndarray:
        """Return the rotations (r, 3, 3) that nearly map the shape onto itself, the identity first."""
        height = 1 - (np.arange(_AXES) + 0.5) / _AXES * 2
        around = np.arange(_AXES) * np.pi * (3 - np.sqrt(5))
        ring = np.sqrt(1 - height**2)
        axes = np.stack([ring * np.cos(around), ring * np.sin(around), height], axis=1)
        # Half the circle for each axis: its opposite turns the other way.
        angles = (np.arange(_ANGLES) + 1) * np.pi / _ANGLES
        tried = Rotation.from_rotvec((axes[:, None] * angles[:, None]).reshape(-1, 3)).as_matrix()
        overlaps = np.concatenate([self.overlap(self, part) for part in np.array_split(tried, 50)])
        starts = [np.eye(3)]
        for index in np.argsort(-overlaps):
            if overlaps[index] < _GOOD - 0.1 or len(starts) > _MOST_ROTATIONS:
                break
            if _nearest(tried[index], starts) > 25:
                starts.append(tried[index])
        kept = [np.eye(3)]
        for start in starts[1:]:
            value, rotation = self.best_overlap(self, start[None])
            if value >= _GOOD and _nearest(rotation, kept) > 15:
                kept.append(rotation)
        return np.array(kept)


def _nearest(rotation: np.ndarray, others: list[np.ndarray]) -> float:
    """Return the angle in degrees to the nearest of some rotation matrices."""
    largest = max(float(np.sum(rotation * other)) for other in others)
    return float(np.degrees(np.arccos(np.clip((largest - 1) / 2, -1, 1))))
