"""IDX files, written here by the definition of the format."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualcontrast.data.idx import has_idx_magic, open_idx, read_idx
from dualcontrast.errors import DataError

RNG = np.random.default_rng(0)
CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx_bytes(array, dtype="u1"):
    """Magic number, big-endian lengths, big-endian values."""
    head = bytes([0, 0, CODES[dtype], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(dtype).tobytes()


def write(path, array, zipped, dtype="u1"):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = idx_bytes(array, dtype)
    path.write_bytes(gzip.compress(content) if zipped else content)


def write_set(folder, zipped=True, train=7, test=4, side=20):
    """The four files of a set made after MNIST's pattern; returns images and labels by part."""
    end = ".gz" if zipped else ""
    parts = {}
    for part, name, count in (("train", "train", train), ("test", "t10k", test)):
        images = RNG.integers(0, 256, (count, side, side), dtype=np.uint8)
        labels = RNG.integers(0, 10, count, dtype=np.uint8)
        write(folder / f"{name}-images-idx3-ubyte{end}", images, zipped)
        write(folder / f"{name}-labels-idx1-ubyte{end}", labels, zipped)
        parts[part] = images, labels
    return parts


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", CODES)
def test_every_type_reads_back(tmp_path, dtype, zipped):
    values = (RNG.normal(size=(3, 4, 5)) * 30).clip(0, 100).astype(dtype)
    write(tmp_path / "x", values, zipped, dtype)
    read = read_idx(tmp_path / "x")
    np.testing.assert_array_equal(read, values)
    assert isinstance(read, np.memmap) == (not zipped)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.booleans())
def test_every_shape_reads_back(tmp_path_factory, shape, zipped):
    path = tmp_path_factory.mktemp("idx") / "x"
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    write(path, values, zipped)
    np.testing.assert_array_equal(read_idx(path), values)


@pytest.mark.parametrize("zipped", [True, False])
def test_folder_of_four_files(tmp_path, zipped):
    parts = write_set(tmp_path, zipped)
    source = open_idx(tmp_path, label_name="digit")
    assert source.image_shape == (1, 20, 20)
    assert source.ids[[0, 6, 7, 10]].tolist() == ["train-00000", "train-00006", "test-00000", "test-00003"]
    everything = np.concatenate([parts["train"][0], parts["test"][0]])
    np.testing.assert_allclose(source.read([8, 0])[:, 0], everything[[8, 0]] / 255, rtol=1e-6)
    (digit,) = source.labels.factors
    assert (digit.name, digit.role, digit.is_continuous) == ("digit", "content", False)
    np.testing.assert_array_equal(digit.values, np.concatenate([parts["train"][1], parts["test"][1]]))
    assert source.fixed_split["train"].tolist() == source.ids[:7].tolist()
    assert source.fixed_split["test"].tolist() == source.ids[7:].tolist()


def test_one_file_with_and_without_labels(tmp_path):
    parts = write_set(tmp_path)
    source = open_idx(tmp_path / "t10k-images-idx3-ubyte.gz")
    assert source.ids.tolist() == [f"test-0000{i}" for i in range(4)]
    np.testing.assert_array_equal(source.labels.factors[0].values, parts["test"][1])
    assert source.fixed_split is None
    write(tmp_path / "alone" / "mine-images.idx3-ubyte", parts["test"][0], zipped=False)
    source = open_idx(tmp_path / "alone")
    assert source.labels is None
    assert source.ids[0] == "00000"


def test_the_file_that_is_not_gzipped_comes_first(tmp_path):
    write_set(tmp_path, zipped=True)
    plain = write_set(tmp_path, zipped=False)
    np.testing.assert_allclose(open_idx(tmp_path).read([0])[0, 0], plain["train"][0][0] / 255, rtol=1e-6)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-1], "promises 1,200 bytes, but it has only 1,199"),
        (lambda b: b + b"\0", "promises 1,200 bytes, but it has more"),
        (lambda b: b[:10], "ends inside its header"),
        (lambda b: b[:3], "not an IDX file"),
        (lambda b: b"", "not an IDX file"),
        (lambda b: b"\0\0\x07" + b[3:], "not an IDX file"),
        (lambda b: b"\0\x01" + b[2:], "not an IDX file"),
    ],
)
def test_damaged_files(tmp_path, change, message, zipped):
    content = change(idx_bytes(np.ones((3, 20, 20))))
    path = tmp_path / "x-images-idx3-ubyte"
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DataError, match=message) as caught:
        open_idx(path)
    assert str(path) in str(caught.value)


def test_damaged_gzip(tmp_path):
    path = tmp_path / "x-images-idx3-ubyte.gz"
    whole = gzip.compress(idx_bytes(RNG.integers(0, 256, (3, 20, 20))))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            open_idx(path)


def test_labels_of_another_length(tmp_path):
    write_set(tmp_path)
    write(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(6), zipped=True)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz: 6 labels for the 7 images"):
        open_idx(tmp_path)


def test_labels_of_one_part_only(tmp_path):
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: has no file of labels"):
        open_idx(tmp_path)


def test_parts_of_another_size(tmp_path):
    write_set(tmp_path)
    write(tmp_path / "t10k-images-idx3-ubyte.gz", np.zeros((4, 20, 21)), zipped=True)
    with pytest.raises(DataError, match=r"t10k.*\(20, 21\).*train.*\(20, 20\)"):
        open_idx(tmp_path)


def test_several_sets_in_one_folder(tmp_path):
    write_set(tmp_path)
    write(tmp_path / "letters-train-images-idx3-ubyte.gz", np.zeros((4, 20, 20)), zipped=True)
    with pytest.raises(DataError, match="holds both"):
        open_idx(tmp_path)


def test_magic(tmp_path):
    for zipped in (True, False):
        write(tmp_path / "x", np.zeros((2, 3)), zipped)
        assert has_idx_magic(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"PK\x03\x04")
    assert not has_idx_magic(tmp_path / "x")
