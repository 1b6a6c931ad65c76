"""Generated starmen: plausible figures, whose factors do what they are called."""

import time

import numpy as np
import pytest

from dualcontrast.data.starmen import _GENERATED
from dualcontrast.errors import DataError, SettingError
from dualcontrast.simulate.geodesic import shoot
from dualcontrast.simulate.starman_shape import BUILD_RANGES, LIMB_ENDS, outlines
from dualcontrast.simulate.starmen import (
    KERNEL_WIDTH,
    POSE_RANGES,
    draw_factors,
    draw_starmen,
    generate_starmen,
    pose_outlines,
    write_starmen,
)

MIDDLE = np.array([np.mean(limits) for limits in BUILD_RANGES.values()])
TOWARDS = np.linspace(-1, 1, 65)[:-1] + 1 / 64
RECORDED = [47.77, 46.86, 55.48, 54.25]
X, Y = np.meshgrid(TOWARDS, -TOWARDS)


def vary(name: str, steps: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Factors of the man of middle build at rest, of which one runs through its range."""
    identity, pose = np.tile(MIDDLE, (steps, 1)), np.zeros((steps, len(POSE_RANGES)))
    table, ranges = (identity, BUILD_RANGES) if name in BUILD_RANGES else (pose, POSE_RANGES)
    table[:, list(ranges).index(name)] = np.linspace(*ranges[name], steps)
    return identity, pose


def extreme_poses(count: int) -> np.ndarray:
    low, high = np.array(list(POSE_RANGES.values())).T
    return np.where(np.random.default_rng(0).random((count, len(low))) < 0.5, low, high)


def shoelace(polygons: np.ndarray) -> np.ndarray:
    x, y = np.moveaxis(polygons, -1, 0)
    return 0.5 * (x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1)


def test_same_seed_same_images_and_a_larger_count_only_adds_some():
    few, many = generate_starmen(70, seed=3), generate_starmen(300, seed=3)
    np.testing.assert_array_equal(few.images, many.images[:70])
    np.testing.assert_array_equal(few.ids, many.ids[:70])
    for name, values in {**few.identity, **few.pose}.items():
        np.testing.assert_array_equal(values, {**many.identity, **many.pose}[name][:70])
    assert not np.array_equal(few.images, generate_starmen(70, seed=4).images)
    assert len(few) == 70


def test_images_are_those_of_the_version_that_the_cache_file_is_named_after():
    # Recorded from version 1. When these change on purpose, raise the number in `data/starmen.py`, so that
    # images that were generated earlier are not taken for the new ones.
    starmen = generate_starmen(4)
    np.testing.assert_allclose(starmen.images.mean(axis=(1, 2, 3)), RECORDED, atol=0.01)
    assert _GENERATED == "generated-1.npz"


def test_images_and_tables_have_the_documented_form():
    starmen = generate_starmen(20, size=48)
    assert (starmen.images.shape, starmen.images.dtype) == ((20, 1, 48, 48), np.uint8)
    assert set(starmen.identity) == set(BUILD_RANGES)
    assert list(starmen.pose) == [f"{limb}_{axis}" for limb in LIMB_ENDS for axis in "xy"]
    for name, values in {**starmen.identity, **starmen.pose}.items():
        low, high = {**BUILD_RANGES, **POSE_RANGES}[name]
        assert values.dtype == np.float32
        assert low - 1e-6 <= values.min() < values.max() <= high + 1e-6
    assert starmen.images[:, 0, 24, 24].min() == 255, "the middle of the body is white"
    assert starmen.images[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].max() == 0, "the corners are black"


def test_factors_are_independent_of_each_other():
    correlation = np.corrcoef(np.hstack(draw_factors(10_000, 0)).T)
    assert np.abs(correlation - np.eye(14)).max() < 0.05


def test_drawn_area_is_that_of_the_outline_so_that_no_limb_crosses_another():
    # Loops of a polygon that crosses itself would count negatively in the one and positively in the other.
    identity = draw_factors(400, 1)[0]
    for pose in (draw_factors(400, 1)[1], extreme_poses(400)):
        drawn = draw_starmen(identity, pose, 64).sum(axis=(1, 2)) / 32**2
        np.testing.assert_allclose(drawn, shoelace(pose_outlines(identity, pose)), atol=1e-9)


def test_figures_stay_in_the_circle_in_which_they_can_be_rotated():
    reach = np.linalg.norm(pose_outlines(*draw_factors(2_000, 2)), axis=-1).max(axis=1)
    assert reach.max() < 1.05
    assert np.mean(reach > 1) < 0.01
    assert np.median(reach) > 0.75, "the figures fill the image"


def test_the_deformation_never_folds():
    poses = extreme_poses(200).reshape(200, 5, 2)
    control_points = np.tile(np.array(list(LIMB_ENDS.values())), (200, 1, 1))
    centres = np.random.default_rng(0).uniform(-1, 1, (200, 100, 1, 2))
    step = 1e-5
    crosses = centres + step * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    moved = shoot(control_points, poses, crosses.reshape(200, -1, 2), width=KERNEL_WIDTH)[2]
    moved = moved.reshape(200, 100, 4, 2)
    by_x, by_y = (
        (moved[:, :, 0] - moved[:, :, 1]) / (2 * step),
        (moved[:, :, 2] - moved[:, :, 3]) / (2 * step),
    )
    jacobian = by_x[..., 0] * by_y[..., 1] - by_x[..., 1] * by_y[..., 0]
    assert jacobian.min() > 0.1
    assert jacobian.max() < 6


@pytest.mark.parametrize("limb", ["left_arm", "right_arm", "left_leg", "right_leg"])
def test_limbs_at_rest_are_as_thick_as_the_table_says(limb):
    factor = f"{limb.split('_')[1]}_thickness"
    identity, _ = vary(factor)
    thickness = identity[:, list(BUILD_RANGES).index(factor)]
    axis = np.array(LIMB_ENDS[limb])
    length = np.linalg.norm(axis)
    along = outlines(identity) @ (axis / length)
    aside = np.abs(outlines(identity) @ (np.array([-axis[1], axis[0]]) / length))
    for row, expected in enumerate(thickness):
        flank = (along[row] > 0.85 * length) & (along[row] < length)
        assert flank.sum() >= 4
        np.testing.assert_allclose(aside[row, flank], expected, atol=2e-3)


def test_the_head_is_as_large_as_the_table_says():
    identity, _ = vary("head_size")
    points = outlines(identity, corners=800)
    distance = np.linalg.norm(points - LIMB_ENDS["head"], axis=-1)
    for row, radius in enumerate(identity[:, list(BUILD_RANGES).index("head_size")]):
        np.testing.assert_allclose(distance[row, points[row, :, 1] > LIMB_ENDS["head"][1]], radius, atol=2e-3)


def test_the_torso_at_rest_is_as_wide_as_the_table_says():
    identity, pose = vary("torso_width")
    # Just above the legs and below the arms nothing but the torso shows, as far as it is wider than the legs.
    row = np.abs(Y[:, 0] - -0.10).argmin()
    half_width = draw_starmen(identity, pose, 64)[:, row].sum(axis=1) / 64
    wide = identity[:, 2] > 0.24
    assert wide.sum() >= 4
    np.testing.assert_allclose(half_width[wide], identity[wide, 2], atol=0.02)


@pytest.mark.parametrize(
    ("factor", "where"),
    [("leg_thickness", Y < -0.4), ("arm_thickness", np.abs(X) > 0.4), ("head_size", Y > 0.4)],
)
def test_thicker_limbs_add_area_there_and_hardly_elsewhere(factor, where):
    images = draw_starmen(*vary(factor), 64)
    area = images[:, where].sum(axis=1)
    assert (np.diff(area) > 0).all()
    change = np.abs(images[-1] - images[0])
    assert change[where].sum() > 0.5 * change.sum()


@pytest.mark.parametrize(
    ("factor", "where"),
    [
        ("left_arm_y", X < -0.35),
        ("right_arm_y", X > 0.35),
        ("left_leg_x", (Y < -0.4) & (X < 0)),
        ("right_leg_x", (Y < -0.4) & (X > 0)),
        ("head_x", Y > 0.45),
    ],
)
def test_momenta_move_their_limb_the_way_they_point(factor, where):
    images = draw_starmen(*vary(factor), 64) * where
    position = X if factor.endswith("_x") else Y
    centre = (images * position).sum(axis=(1, 2)) / images.sum(axis=(1, 2))
    assert (np.diff(centre) > 0).all()
    assert centre[-1] - centre[0] > 0.1
    change = np.abs(np.diff(draw_starmen(*vary(factor, 3), 64), axis=0)).sum(axis=0)
    assert change[where].sum() > 0.5 * change.sum()


def test_ten_thousand_take_less_than_a_minute():
    generate_starmen(10)
    begin = time.perf_counter()
    generate_starmen(500)
    assert 20 * (time.perf_counter() - begin) < 60


@pytest.mark.parametrize(
    ("arguments", "name"), [((0,), "count"), ((5, -1), "seed"), ((5, 0, 15), "size"), ((-3,), "count")]
)
def test_bad_arguments_name_the_option_and_the_range(arguments, name):
    with pytest.raises(SettingError, match=rf"{name}: .* at least"):
        generate_starmen(*arguments)


def test_file_holds_images_ids_and_factors_without_pickles(tmp_path):
    made = []
    path = write_starmen(tmp_path / "new" / "men.npz", 140, seed=5, on_progress=made.append)
    assert sum(made) == 140
    starmen = generate_starmen(140, seed=5)
    with np.load(path, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["images"], starmen.images[:, 0])
        np.testing.assert_array_equal(archive["ids"], starmen.ids)
        for role, table in (("content", starmen.identity), ("transformation", starmen.pose)):
            for name, values in table.items():
                np.testing.assert_array_equal(archive[f"{role}:{name}"], values)
        assert len(archive.files) == 16


def test_an_existing_file_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "men.npz"
    path.write_bytes(b"precious")
    with pytest.raises(DataError, match="--overwrite"):
        write_starmen(path, 3)
    assert path.read_bytes() == b"precious"
    write_starmen(path, 3, overwrite=True)
    assert len(np.load(path)["images"]) == 3


def test_a_failed_write_leaves_the_old_file_and_nothing_half_written(tmp_path):
    path = tmp_path / "men.npz"
    path.write_bytes(b"precious")
    with pytest.raises(SettingError):
        write_starmen(path, 0, overwrite=True)
    with pytest.raises(SettingError, match=r"\.npz"):
        write_starmen(tmp_path / "men.npy", 3)
    assert [file.name for file in tmp_path.iterdir()] == ["men.npz"]
    assert path.read_bytes() == b"precious"
