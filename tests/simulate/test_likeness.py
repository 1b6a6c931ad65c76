import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dualcontrast.simulate.likeness import Shape


def pole(*arms: tuple[float, float, float]) -> np.ndarray:
    """Return points along lines from the centre to the given ends."""
    return np.concatenate([np.linspace(0.1, 1, 25)[:, None] * np.array(arm) for arm in arms])


def angles(rotations: np.ndarray) -> list[float]:
    return sorted(np.degrees(Rotation.from_matrix(rotations).magnitude()))


def test_a_shape_of_threefold_symmetry_is_mapped_onto_itself_by_three_rotations():
    # A tripod: three legs at 120°, lifted, so that there are no two-fold axes.
    legs = [(50 * np.cos(a), 50 * np.sin(a), 40) for a in np.radians([10, 130, 250])]
    found = Shape(pole(*legs)).self_rotations()
    assert angles(found) == pytest.approx([0, 120, 120], abs=2)


def test_a_shape_without_symmetry_is_mapped_onto_itself_by_the_identity_alone():
    found = Shape(pole((90, 0, 0), (0, 60, 0), (0, 0, 35))).self_rotations()
    np.testing.assert_allclose(found, np.eye(3)[None])


def test_bending_either_arm_of_a_symmetric_shape_gives_the_same_shape_turned():
    straight = Shape(pole((80, 0, 0), (-80, 0, 0), (0, 40, 0)))
    one = Shape(pole((80, 0, 0), (-60, 53, 0), (0, 40, 0)))
    other = Shape(pole((60, 53, 0), (-80, 0, 0), (0, 40, 0)))
    both = Shape(pole((60, 53, 0), (-60, 53, 0), (0, 40, 0)))
    rotations = straight.self_rotations()
    here = np.eye(3)[None]
    assert one.distance(other, rotations) < 0.2 * one.distance(other, here)
    assert one.distance(both, rotations) > 0.8 * one.distance(both, here)


def test_the_distance_grows_with_the_points_own_movement_and_is_0_for_the_same():
    random = np.random.default_rng(0)
    points = random.uniform(-40, 40, (800, 3)) * (1.5, 1, 0.6)
    stretch = points * (0.1, -0.1, 0.05)
    here = np.eye(3)[None]
    start = Shape(points)
    assert start.distance(start, here) == pytest.approx(0, abs=0.02)
    turned = Shape(points @ Rotation.from_euler("z", 8, degrees=True).as_matrix().T)
    single, double = (start.distance(Shape(points + k * stretch), here) for k in (1, 2))
    assert start.distance(turned, here) < 0.3 * single
    assert double / single == pytest.approx(2, rel=0.25)
