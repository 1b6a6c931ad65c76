"""Folders in the BOP format."""

import json

import numpy as np
import pytest
from PIL import Image

from bop_pictures import rotation_of, write_pictures
from dualcontrast.data.bop import crop, open_bop, split_views
from dualcontrast.data.open import open_source
from dualcontrast.errors import DataError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALCONTRAST_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def factors(source):
    return {factor.name: factor for factor in source.labels.factors}


@pytest.mark.parametrize("place", [".", "train", "lm_train/train"])
def test_objects_are_cut_out_by_their_masks(tmp_path, place):
    expected = write_pictures(tmp_path / "lm" / place)
    source = open_source(tmp_path / "lm")
    assert source.location == str(tmp_path / "lm")
    assert source.ids.tolist() == list(expected)
    assert (source.image_shape, source.stored_type) == ((3, 64, 64), "uint8")
    # Boxes of 48 with a margin of 8 are 64 wide, so nothing is interpolated.
    for row, picture in enumerate(expected.values()):
        np.testing.assert_array_equal(source.read([row])[0], np.moveaxis(picture, -1, 0) / np.float32(255))


def test_labels(tmp_path):
    write_pictures(tmp_path / "lm")
    found = factors(open_bop(tmp_path / "lm"))
    assert (found["object"].role, found["object"].values.tolist()) == (
        "content",
        ["ape"] * 6 + ["benchvise"] * 6,
    )
    azimuth = np.tile(60.0 * np.arange(6) - 170, 2)
    elevation = np.tile(15.0 * np.arange(6), 2)
    for name, role, values in (
        ("azimuth_sin", "transformation", np.sin(np.radians(azimuth))),
        ("azimuth_cos", "transformation", np.cos(np.radians(azimuth))),
        ("elevation", "transformation", elevation),
        ("azimuth", "metadata", azimuth),
        ("in_plane", "metadata", np.zeros(12)),
        ("obj_id", "metadata", np.repeat([1, 2], 6)),
    ):
        assert found[name].role == role
        np.testing.assert_allclose(found[name].values, values, atol=1e-9)
    assert len(found) == 7


def test_pictures_that_are_turned_have_that_label_too(tmp_path):
    write_pictures(tmp_path / "lm", in_plane=50.0)
    found = factors(open_bop(tmp_path / "lm"))
    angle = np.radians(np.tile(50.0 * np.arange(6), 2))
    for name, values in (("in_plane_sin", np.sin(angle)), ("in_plane_cos", np.cos(angle))):
        assert found[name].role == "transformation"
        np.testing.assert_allclose(found[name].values, values, atol=1e-9)


def test_split_is_the_same_for_all_objects_and_shuffled(tmp_path):
    write_pictures(tmp_path / "lm", objects=3, views=13)
    split = open_bop(tmp_path / "lm").fixed_split
    views = {part: [name.split("/")[1] for name in ids.tolist()] for part, ids in split.items()}
    # Of 13, as many as 1,000 of 1,313: 9.9.
    assert (len(split["train"]), len(split["test"])) == (30, 9)
    for part in views.values():
        assert part == part[: len(part) // 3] * 3
    order, count = split_views(1313)
    assert (count, sorted(order.tolist())) == (1000, list(range(1313)))
    # Views are stored by elevation: the test is spread over all of it.
    np.testing.assert_allclose(np.histogram(order[count:], bins=4, range=(0, 1313))[0], 313 / 4, atol=25)


def test_cut_out_once(tmp_path, cache, capsys):
    write_pictures(tmp_path / "lm")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "lm").rglob("*")}
    open_bop(tmp_path / "lm")
    assert "cut out 12 images" in capsys.readouterr().err
    kept = list(cache.rglob("*.npz"))
    open_bop(tmp_path / "lm")
    assert capsys.readouterr().err == ""
    assert list(cache.rglob("*")) == [cache / "linemod", *kept]
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "lm").rglob("*")} == before
    # Other pictures are other images.
    Image.fromarray(np.full((96, 128, 3), 9, np.uint8)).save(
        tmp_path / "lm" / "000001" / "rgb" / "000000.png"
    )
    assert open_bop(tmp_path / "lm").read([0]).max() == np.float32(9 / 255)


def test_a_box_at_the_edge_is_filled_with_black():
    picture = RNG.integers(1, 256, (96, 128, 3), dtype=np.uint8)
    mask = np.zeros((96, 128), np.uint8)
    mask[:48, 80:] = 1
    cut = crop(picture, mask)
    np.testing.assert_array_equal(cut[8:, :56], picture[:56, 72:])
    assert not cut[:8].any()
    assert not cut[:, 56:].any()


def test_boxes_are_resized_whatever_their_aspect():
    picture = np.full((96, 128, 3), 200, np.uint8)
    picture[:, 64:] = 40
    mask = np.zeros((96, 128), np.uint8)
    mask[40:56, 40:88] = 1
    cut = crop(picture, mask)
    # 32 rows and 64 columns; the edge between the colours stays in the middle.
    assert (cut[:, :30] == 200).all()
    assert (cut[:, 34:] == 40).all()


def change_annotations(home, change):
    annotations = json.loads((home / "scene_gt.json").read_text())
    change(annotations)
    (home / "scene_gt.json").write_text(json.dumps(annotations))


def test_the_folders_object_among_others_in_the_picture(tmp_path):
    write_pictures(tmp_path / "lm", objects=1, views=4)
    home = tmp_path / "lm" / "000001"
    other = {"obj_id": 7, "cam_R_m2c": np.eye(3).ravel().tolist()}
    change_annotations(home, lambda all_pictures: all_pictures["2"].insert(0, other))
    (home / "mask" / "000002_000000.png").rename(home / "mask" / "000002_000001.png")
    (home / "mask").rename(home / "mask_visib")
    found = factors(open_bop(tmp_path / "lm"))
    assert found["obj_id"].values.tolist() == [1] * 4
    np.testing.assert_allclose(found["elevation"].values, [0, 15, 30, 45], atol=1e-9)


def spoil_rotation(home):
    wrong = rotation_of(1, 2).ravel()
    wrong[4] += 0.2
    change_annotations(home, lambda all_pictures: all_pictures["1"][0].update(cam_R_m2c=wrong.tolist()))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda home: (home / "mask" / "000003_000000.png").unlink(), r"mask/000003_000000\.png: missing"),
        (lambda home: (home / "rgb" / "000003.png").unlink(), r"rgb/000003\.png: missing"),
        (lambda home: (home / "rgb" / "000003.png").write_bytes(b"x"), r"rgb/000003\.png: cannot be read"),
        (
            lambda home: Image.new("L", (128, 96)).save(home / "mask" / "000003_000000.png"),
            r"mask/000003_000000\.png: the mask is empty",
        ),
        (
            lambda home: Image.new("L", (64, 96), 255).save(home / "mask" / "000003_000000.png"),
            "the mask is 64×96, not the picture's size",
        ),
        (spoil_rotation, "picture 1: cam_R_m2c is no rotation matrix"),
        (lambda home: (home / "scene_gt.json").write_text("{"), r"scene_gt\.json: cannot be read"),
        (lambda home: (home / "scene_gt.json").write_text('{"0": 5}'), "has no annotation of object 2"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, cache, spoil, message):
    write_pictures(tmp_path / "lm")
    spoil(tmp_path / "lm" / "000002")
    with pytest.raises(DataError, match=message) as caught:
        open_bop(tmp_path / "lm")
    assert str(tmp_path / "lm" / "000002") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(cache.rglob("*.npz"))


def test_another_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="not in the BOP format"):
        open_bop(tmp_path / "empty")
