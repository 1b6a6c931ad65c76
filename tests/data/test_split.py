"""Splits by id, subsets, and the record of a set of images."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.fingerprint import describe_change, fingerprint
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.data.split import Split, make_split
from dualcontrast.data.subset import SubsetSource
from dualcontrast.errors import DataError, SettingError


def make_source(count=100, **options):
    images = np.random.default_rng(0).random((count, 16, 16)).astype(np.float32)
    ids = np.array([f"p{i:03d}" for i in range(count)])
    labels = LabelTable(ids, (Factor("k", "content", np.arange(count)),))
    return ArraySource(images, ids=ids, labels=labels, location="mine", **options)


@given(st.integers(2, 60), st.floats(0.01, 0.95), st.integers(0, 5))
def test_a_split_is_a_partition(count, fraction, seed):
    source = make_source(count)
    expected = max(1, round(count * fraction))
    if expected >= count:
        with pytest.raises(DataError, match="cannot be split"):
            make_split(source, fraction, seed)
        return
    split = make_split(source, fraction, seed)
    assert len(split.test) == expected
    assert sorted([*split.train, *split.test]) == source.ids.tolist()


def test_a_split_depends_on_ids_and_seed_alone():
    source = make_source()
    backwards = SubsetSource(source, source.ids[::-1])
    first, second = make_split(source, seed=3), make_split(backwards, seed=3)
    assert sorted(first.test) == sorted(second.test)
    assert sorted(first.test) != sorted(make_split(source, seed=4).test)
    # Not the head or the tail of the ids: a random choice has its mean rank near the middle.
    assert 30 < np.mean([int(name[1:]) for name in first.test]) < 70


def test_a_published_split_is_taken():
    ids = np.array([f"p{i:03d}" for i in range(100)])
    split = make_split(make_source(fixed_split={"train": ids[90:], "test": ids[:90]}), 0.2)
    assert split.train.tolist() == ids[90:].tolist()
    assert split.test.tolist() == ids[:90].tolist()


def test_no_test_images_when_the_fraction_is_zero():
    split = make_split(make_source(5), 0)
    assert (len(split.train), len(split.test)) == (5, 0)


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, float("nan")])
def test_fractions_outside_the_range(fraction):
    with pytest.raises(SettingError, match="test_fraction"):
        make_split(make_source(), fraction)


def test_split_record_survives_json():
    split = make_split(make_source())
    again = Split.from_dict(json.loads(json.dumps(split.to_dict())))
    np.testing.assert_array_equal(again.train, split.train)
    np.testing.assert_array_equal(again.test, split.test)


@pytest.mark.parametrize(
    "record", [{}, {"train": ["a"]}, {"train": ["a"], "test": "b"}, {"train": [1], "test": []}]
)
def test_bad_split_record(record):
    with pytest.raises(DataError, match="is not a list of ids"):
        Split.from_dict(record)


def test_split_with_a_particle_on_both_sides():
    with pytest.raises(DataError, match="'b' is in both"):
        Split.from_dict({"train": ["a", "b"], "test": ["b"]})


def test_subset_keeps_images_labels_and_split():
    ids = np.array([f"p{i:03d}" for i in range(100)])
    source = make_source(fixed_split={"train": ids[:60], "test": ids[60:]})
    subset = SubsetSource(source, ["p070", "p003", "p002"])
    assert len(subset) == 3
    assert (subset.location, subset.image_shape) == ("mine", (1, 16, 16))
    np.testing.assert_array_equal(subset.read([2, 0]), source.read([2, 70]))
    assert subset.labels.factors[0].values.tolist() == [70, 3, 2]
    assert {part: sorted(ids) for part, ids in subset.fixed_split.items()} == {
        "train": ["p002", "p003"],
        "test": ["p070"],
    }
    assert SubsetSource(source, ["p001"]).fixed_split is None


@pytest.mark.parametrize(
    ("ids", "message"), [(["x"], "lacks 1"), ([], "without images"), (["p001"] * 2, "repeated")]
)
def test_bad_subsets(ids, message):
    with pytest.raises(DataError, match=message):
        SubsetSource(make_source(), ids)


def test_fingerprint_ignores_order_and_sees_changes():
    source = make_source(200)
    record = json.loads(json.dumps(fingerprint(source)))
    assert (record["count"], record["image_shape"]) == (200, [1, 16, 16])
    assert describe_change(record, source) is None
    assert describe_change(record, SubsetSource(source, source.ids[::-1])) is None
    assert "199 images, formerly 200" in describe_change(record, SubsetSource(source, source.ids[1:]))
    renamed = ArraySource(source.read(range(200)), location="mine")
    assert "their ids have changed" in describe_change(record, renamed)
    brighter = ArraySource(source.read(range(200)) * 1.001, ids=source.ids, location="mine")
    assert "the pixels have changed" in describe_change(record, brighter)
    wider = ArraySource(np.zeros((200, 16, 17)), ids=source.ids, location="mine")
    assert "images of shape [1, 16, 17], formerly [1, 16, 16]" in describe_change(record, wider)
