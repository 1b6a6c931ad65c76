"""Arrays in memory and in `.npy` and `.npz` files."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from dualcontrast.data.arrays import ArraySource, open_npy, open_npz
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.errors import DataError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 20, 24), (1, 20, 24)),
        ((5, 1, 20, 24), (1, 20, 24)),
        ((5, 3, 20, 24), (3, 20, 24)),
        ((5, 20, 24, 3), (3, 20, 24)),
        ((5, 20, 24, 1), (1, 20, 24)),
        ((5, 18, 20, 24), (1, 18, 20, 24)),
        ((5, 1, 18, 20, 24), (1, 18, 20, 24)),
        ((5, 3, 18, 20, 24), (3, 18, 20, 24)),
        ((5, 18, 20, 24, 3), (3, 18, 20, 24)),
    ],
)
def test_layouts(shape, expected):
    images = RNG.integers(0, 256, shape, dtype=np.uint8)
    source = ArraySource(images)
    assert source.image_shape == expected
    read = source.read([4, 1])
    assert read.dtype == np.float32
    assert read.shape == (2, *expected)
    channels_last = len(shape) == len(expected) + 1 and shape[1] != expected[0]
    stored = np.moveaxis(images, -1, 1) if channels_last else images
    np.testing.assert_allclose(read, stored[[4, 1]].reshape(2, *expected) / 255, rtol=1e-6)


@given(st.data())
def test_every_pixel_comes_back_whatever_the_shape(data):
    spatial = data.draw(array_shapes(min_dims=2, max_dims=3, min_side=5, max_side=9))
    channels = data.draw(st.sampled_from([1, 3]))
    count = data.draw(st.integers(1, 6))
    images = np.random.default_rng(count).random((count, channels, *spatial)).astype(np.float32)
    last = data.draw(st.booleans())
    source = ArraySource(np.moveaxis(images, 1, -1) if last else images)
    assert source.image_shape == (channels, *spatial)
    rows = data.draw(st.lists(st.integers(0, count - 1), max_size=8))
    np.testing.assert_array_equal(source.read(rows), images[rows])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((20, 24), "is not images"),
        ((0, 20, 24), "holds no pixels"),
        ((20, 24, 3), "one colour image"),
        ((5, 4, 20, 24), "alpha"),
        ((5, 20, 24, 4), "alpha"),
        ((5, 2, 20, 24), "neither 1 nor 3"),
        ((5, 7, 18, 20, 24), "neither 1 nor 3"),
    ],
)
def test_shapes_that_are_refused(shape, message):
    with pytest.raises(DataError, match=message) as caught:
        ArraySource(np.zeros(shape, dtype=np.float32), location="mine")
    assert str(caught.value).startswith("mine: shape")


@pytest.mark.parametrize(
    ("dtype", "stored", "expected", "bounds"),
    [
        (np.uint8, 51, 0.2, (0, 1)),
        (np.uint16, 13107, 0.2, (0, 1)),
        (">u2", 13107, 0.2, (0, 1)),
        (bool, True, 1.0, (0, 1)),
        (np.int16, -300, -300.0, None),
        (np.uint32, 300, 300.0, None),
        (np.float16, 0.5, 0.5, None),
        (np.float64, 1e-3, 1e-3, None),
    ],
)
def test_types_and_their_scale(dtype, stored, expected, bounds):
    images = np.zeros((2, 16, 16), dtype=dtype)
    images[1] = stored
    source = ArraySource(images)
    read = source.read([1])
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    np.testing.assert_allclose(read, expected, rtol=1e-6)
    assert source.stored_range == bounds
    assert source.stored_type == np.dtype(dtype).name


def test_complex_and_text_are_refused():
    for array in (np.zeros((2, 16, 16), dtype=np.complex64), np.full((2, 16, 16), "a")):
        with pytest.raises(DataError, match="pixels of type"):
            ArraySource(array)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_tensors(dtype):
    tensor = (torch.rand(3, 16, 17) * 8).to(dtype)
    expected = tensor.float().numpy() / (255 if dtype == torch.uint8 else 1)
    np.testing.assert_allclose(ArraySource(tensor).read([2, 0])[:, 0], expected[[2, 0]], rtol=1e-6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
def test_pixels_that_are_not_finite_are_named(wrong):
    images = np.zeros((4, 16, 16))
    images[2, 3, 3] = wrong
    source = ArraySource(images, ids=["a", "b", "c", "d"], location="mine")
    source.read([0, 1, 3])
    with pytest.raises(DataError, match="mine: NaN or infinite pixels in image 'c'"):
        source.read([0, 2])


def test_ids():
    images = np.zeros((3, 16, 16), dtype=np.uint8)
    assert ArraySource(images).ids.tolist() == ["0", "1", "2"]
    assert ArraySource(images, ids=[7, 8, 9]).ids.tolist() == ["7", "8", "9"]
    with pytest.raises(DataError, match="2 ids for 3 images"):
        ArraySource(images, ids=["a", "b"])
    with pytest.raises(DataError, match="'a' is repeated"):
        ArraySource(images, ids=["a", "b", "a"])


def test_labels_given_with_an_array_stay():
    ids = np.array(["a", "b"])
    labels = LabelTable(ids, (Factor("k", "content", np.array([1, 2])),))
    assert ArraySource(np.zeros((2, 16, 16)), ids=ids, labels=labels).labels is labels


def test_npy_is_memory_mapped(tmp_path):
    images = RNG.integers(0, 256, (6, 20, 24), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    source = open_npy(tmp_path / "x.npy")
    np.testing.assert_allclose(source.read([5, 0])[:, 0], images[[5, 0]] / 255, rtol=1e-6)
    # What is changed in the file shows in the source: it holds no copy.
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r+")
    mapped[5] = 255
    mapped.flush()
    assert source.read([5]).min() == 1.0


@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_is_memory_mapped(tmp_path, order):
    images = np.asarray(RNG.random((6, 20, 24)), order=order)
    path = tmp_path / "x.npz"
    np.savez(path, first=np.arange(3), images=images, ids=[f"p{i}" for i in range(6)])
    source = open_npz(path)
    assert source.ids.tolist() == ["p0", "p1", "p2", "p3", "p4", "p5"]
    np.testing.assert_array_equal(source.read([5, 0])[:, 0], images[[5, 0]].astype(np.float32))
    content = path.read_bytes()
    value = images[3, 2, 1].tobytes()
    assert content.count(value) == 1
    at = content.index(value)
    with path.open("r+b") as handle:
        handle.seek(at)
        handle.write(np.float64(7).tobytes())
    assert source.read([3])[0, 0, 2, 1] == 7


def test_compressed_npz_reads_the_same(tmp_path):
    images = RNG.random((6, 3, 20, 24)).astype(np.float32)
    np.savez_compressed(tmp_path / "x.npz", images=images)
    np.testing.assert_array_equal(open_npz(tmp_path / "x.npz").read([4, 2]), images[[4, 2]])


def test_npz_of_one_unnamed_array(tmp_path):
    np.savez(tmp_path / "x.npz", np.ones((2, 16, 16)))
    assert len(open_npz(tmp_path / "x.npz")) == 2


def test_npz_labels(tmp_path):
    arrays = {
        "images": np.zeros((4, 16, 16), dtype=np.uint8),
        "ids": np.array(["a", "b", "c", "d"]),
        "y": np.array([1, 0, 1, 0], dtype=np.uint8),
        "content:size": np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32),
        "transformation:pose": np.arange(12.0).reshape(4, 3),
        "metadata:site": np.array(["p", "q", "p", "q"]),
        "defocus": np.array([1.0, np.nan, 3.0, 4.0]),
        "mean_image": np.zeros((16, 16)),
        "other": np.zeros(9),
    }
    np.savez(tmp_path / "x.npz", **arrays)
    labels = open_npz(tmp_path / "x.npz").labels
    assert labels.ids.tolist() == ["a", "b", "c", "d"]
    found = {f.name: (f.role, f.is_continuous) for f in labels.factors}
    assert found == {
        "y": ("content", False),
        "size": ("content", True),
        "pose_0": ("transformation", True),
        "pose_1": ("transformation", True),
        "pose_2": ("transformation", True),
        "site": ("metadata", False),
        "defocus": ("metadata", True),
    }
    pose = {f.name: f.values.tolist() for f in labels.factors}["pose_1"]
    assert pose == [1, 4, 7, 10]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros((2, 16, 16)), "y": np.zeros(2)}, r"no array `images` \(it has pictures, y\)"),
        ({"images": np.zeros((2, 16, 16)), "y": np.zeros(3)}, r"'y' has shape \(3,\) for 2 images"),
        ({"images": np.zeros((2, 16, 16)), "content:k": np.zeros(3)}, r"'content:k' has shape \(3,\)"),
        ({"images": np.zeros((2, 16, 16)), "ids": np.array(["a", "a"])}, "'a' is repeated"),
        ({"images": np.zeros((2, 16, 16)), "ids": np.array(["a"])}, "1 ids for 2 images"),
        ({"images": np.zeros((2, 16, 16)), "conent:k": np.zeros(2)}, "did you mean `content:k`"),
        ({"images": np.zeros((2, 16, 16)), "content:k": np.array([np.nan, 1])}, "no finite number"),
        ({"images": np.zeros((0, 16, 16))}, "holds no pixels"),
    ],
)
def test_bad_npz_names_file_and_fault(tmp_path, arrays, message):
    path = tmp_path / "x.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        open_npz(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_files(tmp_path, suffix, keep):
    path = tmp_path / f"x.{suffix}"
    images = RNG.random((4, 16, 16))
    np.save(path, images) if suffix == "npy" else np.savez(path, images=images)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="not a whole") as caught:
        (open_npy if suffix == "npy" else open_npz)(path)
    assert str(path) in str(caught.value)


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "x.npz", images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="not a whole"):
        open_npy(tmp_path / "x.npy")
    with pytest.raises(DataError, match="not a whole"):
        open_npz(tmp_path / "x.npz")


def test_npz_with_a_split(tmp_path):
    images = np.zeros((5, 16, 16), np.uint8)
    parts = np.array(["test", "train", "train", "test", "train"])
    np.savez(tmp_path / "x.npz", images=images, ids=np.array(list("abcde")), split=parts)
    source = open_npz(tmp_path / "x.npz")
    assert {part: ids.tolist() for part, ids in source.fixed_split.items()} == {
        "train": ["b", "c", "e"],
        "test": ["a", "d"],
    }
    assert source.labels is None


@pytest.mark.parametrize(
    "parts",
    [["train"] * 5, ["train", "test"], ["train", "test", "validation", "test", "train"], [0, 1, 0, 1, 0]],
)
def test_npz_with_a_split_that_is_none(tmp_path, parts):
    np.savez(tmp_path / "x.npz", images=np.zeros((5, 16, 16), np.uint8), split=np.array(parts))
    with pytest.raises(DataError, match=r"x\.npz: array `split` must say 'train' or 'test'"):
        open_npz(tmp_path / "x.npz")
