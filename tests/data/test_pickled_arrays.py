"""Forms in which images lie in pickles."""

import pickle

import numpy as np
import pytest

from dualcontrast.data.open import open_source
from dualcontrast.errors import DataError

VOLUMES = np.random.default_rng(0).random((6, 16, 16, 16), dtype=np.float32)
NAMES = ["spike", "fas"] * 3


def open_value(folder, value, suffix=".pkl"):
    (folder / f"x{suffix}").write_bytes(pickle.dumps(value))
    return open_source(folder / f"x{suffix}")


FORMS = {
    "array": (VOLUMES, {}),
    "channels": (VOLUMES[:, None], {}),
    "dict": ({"images": VOLUMES, "labels": NAMES}, {"labels": NAMES}),
    "dict of volumes": (
        {"volumes": VOLUMES, "mask": VOLUMES[0], "y": np.arange(6)},
        {"y": [0, 1, 2, 3, 4, 5]},
    ),
    "dict of one": ({"x": VOLUMES, "title": "mine"}, {}),
    "pair": ((VOLUMES, NAMES), {"label": NAMES}),
    "pair with a column": ([VOLUMES, np.arange(6)[:, None]], {"label": [0, 1, 2, 3, 4, 5]}),
    "list": (list(VOLUMES), {}),
    "two images": (list(VOLUMES[:2]), {}),
    "list of pairs": ([(image, name) for image, name in zip(VOLUMES, NAMES, strict=True)], {"label": NAMES}),
    "list of pairs of arrays": (
        [[image, np.array([number])] for number, image in enumerate(VOLUMES)],
        {"label": [0, 1, 2, 3, 4, 5]},
    ),
}


@pytest.mark.parametrize(("value", "labels"), FORMS.values(), ids=FORMS.keys())
def test_forms(tmp_path, value, labels):
    source = open_value(tmp_path, value)
    assert source.image_shape == (1, 16, 16, 16)
    assert source.location == str(tmp_path / "x.pkl")
    np.testing.assert_array_equal(source.read(range(len(source)))[:, 0], VOLUMES[: len(source)])
    found = () if source.labels is None else source.labels.factors
    assert {factor.name: factor.values.tolist() for factor in found} == labels
    assert all(factor.role == "content" for factor in found)


def test_split_roles_and_ids(tmp_path):
    value = {
        "images": VOLUMES,
        "ids": list("abcdef"),
        "split": ["train", "test"] * 3,
        "transformation:angle": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5],
    }
    source = open_value(tmp_path, value, ".pickle")
    assert {part: ids.tolist() for part, ids in source.fixed_split.items()} == {
        "train": ["a", "c", "e"],
        "test": ["b", "d", "f"],
    }
    factor = source.labels.factors[0]
    assert (factor.name, factor.role, factor.is_continuous) == ("angle", "transformation", True)


def test_labels_from_a_table_beside_it(tmp_path):
    (tmp_path / "x.csv").write_text("id,content:protein\n" + "\n".join(f"{i},{NAMES[i]}" for i in range(6)))
    assert open_value(tmp_path, VOLUMES).labels.factors[0].values.tolist() == NAMES


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": VOLUMES, "b": VOLUMES}, r"has 2 arrays of images \(a, b\); give one the name `images`"),
        ({"labels": [1, 2]}, "has no arrays of images"),
        ({}, "has no arrays of images"),
        ((VOLUMES, NAMES[:4]), r"array 'label' has shape \(4,\) for 6 images"),
        ([VOLUMES[0], VOLUMES[0, :8]], "2 different shapes"),
        ((VOLUMES, VOLUMES, NAMES), "of no form that is understood"),
        ([], "of no form that is understood"),
        ("hello", "of no form that is understood"),
        ((VOLUMES, ["a", 1] * 3), "of no form that is understood"),
        ([[VOLUMES[0], []]] * 2, "of no form that is understood"),
        ([1.0, 2.0], "of no form that is understood"),
    ],
)
def test_other_forms_say_what_is_understood(tmp_path, value, message):
    with pytest.raises(DataError, match=message) as caught:
        open_value(tmp_path, value)
    assert str(tmp_path / "x.pkl") in str(caught.value)
