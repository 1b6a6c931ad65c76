"""One door to every format, and to the data sets with a name."""

import gzip
import struct

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dualcontrast.data.digits import open_digits
from dualcontrast.data.open import open_source
from dualcontrast.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 20, 24), dtype=np.uint8)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALCONTRAST_DATA", str(tmp_path / "cache"))


def idx_content():
    return b"\0\0\x08\x03" + struct.pack(">3I", *IMAGES.shape) + IMAGES.tobytes()


def write_npy(folder):
    np.save(folder / "x.npy", IMAGES)
    return folder / "x.npy"


def write_npz(folder):
    np.savez(folder / "x.npz", images=IMAGES)
    return folder / "x.npz"


def write_folder(folder):
    (folder / "pictures").mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(folder / "pictures" / f"{number}.png")
    return folder / "pictures"


def write_idx(folder):
    (folder / "x-images-idx3-ubyte").write_bytes(idx_content())
    return folder / "x-images-idx3-ubyte"


def write_idx_folder(folder):
    (folder / "idx").mkdir()
    (folder / "idx" / "x-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_content()))
    return folder / "idx"


def write_idx_of_any_name(folder):
    (folder / "mine.bin").write_bytes(gzip.compress(idx_content()))
    return folder / "mine.bin"


WRITERS = [write_npy, write_npz, write_folder, write_idx, write_idx_folder, write_idx_of_any_name]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "path"])
def test_formats_are_recognised_and_hold_the_same(tmp_path, write, kind):
    path = write(tmp_path)
    source = open_source(kind(path))
    assert source.location == str(path)
    assert source.image_shape == (1, 20, 24)
    np.testing.assert_allclose(source.read(range(5))[:, 0], IMAGES / 255, rtol=1e-6)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("beside", [True, False])
def test_labels_follow_ids_whatever_the_order_of_the_rows(tmp_path, write, beside):
    path = write(tmp_path)
    ids = open_source(path).ids.tolist()
    rows = [f"{ids[i]},{i * i},{i + 0.5}" for i in (3, 0, 4, 1, 2)]
    default = path / "labels.csv" if path.is_dir() else path.with_suffix(".csv")
    file = default if beside else tmp_path / "elsewhere.csv"
    file.write_text("\n".join(["id,content:square,transformation:shift", *rows]))
    labels = open_source(path, labels=None if beside else file).labels
    assert labels.ids.tolist() == ids
    assert {f.name: (f.role, f.values.tolist()) for f in labels.factors} == {
        "square": ("content", [0, 1, 4, 9, 16]),
        "shift": ("transformation", [0.5, 1.5, 2.5, 3.5, 4.5]),
    }


def test_labels_of_another_length_name_the_file(tmp_path):
    path = write_folder(tmp_path)
    (path / "labels.csv").write_text("filename,label\n0.png,1\n1.png,0\n")
    with pytest.raises(DataError, match=r"labels\.csv: 2 rows of labels for 5 images; 3 images have no row"):
        open_source(path)


def test_given_labels_replace_those_of_the_images(tmp_path):
    np.savez(tmp_path / "x.npz", images=IMAGES, y=np.arange(5), content=np.zeros(5))
    (tmp_path / "mine.csv").write_text("id,content:y\n" + "\n".join(f"{i},{9 - i}" for i in range(5)))
    labels = open_source(tmp_path / "x.npz", labels=tmp_path / "mine.csv").labels
    assert {f.name: f.values.tolist() for f in labels.factors} == {"content": [0] * 5, "y": [9, 8, 7, 6, 5]}


def test_folder_labels(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        Image.fromarray(IMAGES[0]).save(tmp_path / "pets" / name / "1.png")
    source = open_source(tmp_path / "pets", folder_labels=True)
    assert source.labels.factors[0].values.tolist() == ["cat", "dog"]
    with pytest.raises(DataError, match="only in a folder of images"):
        open_source(write_npy(tmp_path), folder_labels=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnits", "did you mean 'mnist'"),
        ("Starman", "did you mean 'starmen'"),
        ("zebra", "give a path, or one of mnist, rotated-mnist, linemod, starmen, subtomograms, digits"),
        ("some/where.npy", "no such file"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(DataError, match=message):
        open_source(name)


def test_misspelt_path_names_the_sibling(tmp_path):
    write_npy(tmp_path)
    with pytest.raises(DataError, match=r"did you mean '.*x\.npy'"):
        open_source(tmp_path / "x.npyy")


def test_unknown_and_single_files(tmp_path):
    (tmp_path / "x.doc").write_text("hello")
    with pytest.raises(DataError, match=r"x\.doc: of unknown format; give a folder"):
        open_source(tmp_path / "x.doc")
    Image.fromarray(IMAGES[0]).save(tmp_path / "x.png")
    with pytest.raises(DataError, match="single image; give the folder"):
        open_source(tmp_path / "x.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images in this folder"):
        open_source(tmp_path / "empty")


def test_a_name_comes_before_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    np.save(tmp_path / "digits" / "a.npy", IMAGES[0])
    assert len(open_source("digits")) == 1797
    assert len(open_source("./digits")) == 1


def test_mnist_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match="data fetch mnist") as caught:
        open_source("mnist")
    assert str(tmp_path / "cache" / "mnist") in str(caught.value)


def test_digits_are_those_of_scikit_learn():
    source = open_digits()
    counts, digit = load_digits(return_X_y=True)
    assert (len(source), source.image_shape) == (1797, (1, 32, 32))
    np.testing.assert_array_equal(source.labels.factors[0].values, digit)
    assert source.labels.factors[0].name == "digit"
    images = source.read(range(1797))[:, 0]
    assert images.min() >= 0
    assert images.max() <= 1
    # Bilinear enlargement by 4, computed another way: hat functions centred on the old pixels.
    position = (np.arange(32) + 0.5) / 4 - 0.5
    hat = np.clip(1 - np.abs(position[:, None] - np.arange(8)), 0, None)
    hat /= hat.sum(axis=1, keepdims=True)
    expected = hat @ (counts.reshape(-1, 8, 8) / 16) @ hat.T
    np.testing.assert_allclose(images, expected, atol=1e-5)
