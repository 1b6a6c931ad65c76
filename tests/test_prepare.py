"""The scaling of pixels: how it is chosen, what it computes, and its record."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualcontrast.data.arrays import ArraySource
from dualcontrast.errors import DataError, SettingError
from dualcontrast.prepare import Preparation, choose_preparation

SHAPE = (1, 16, 16)


def source_of(low, high, count=20, dtype=np.float32):
    values = np.random.default_rng(0).random((count, 16, 16))
    values = (values - values.min()) / (values.max() - values.min())
    return ArraySource((low + values * (high - low)).astype(dtype), location="mine")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (source_of(0, 255, dtype=np.uint8), ("unit", 0, 1)),
        (source_of(0, 65535, dtype=np.uint16), ("unit", 0, 1)),
        (source_of(0, 1), ("unit", 0, 1)),
        (source_of(0.1, 0.9), ("unit", 0, 1)),
        (source_of(-1, 1), ("standardize", 0, 1)),
        (source_of(0, 1.01), ("standardize", 0, 1)),
        (source_of(0, 255, dtype=np.float64), ("standardize", 0, 1)),
        (source_of(-300, 300, dtype=np.int16), ("standardize", 0, 1)),
    ],
)
def test_auto(source, expected):
    chosen = choose_preparation(source)
    assert (chosen.normalisation, chosen.low, chosen.high) == expected
    assert chosen.bounded == (expected[0] == "unit")
    assert chosen.image_shape == SHAPE


def test_twelve_bits_in_sixteen_fill_the_range():
    chosen = choose_preparation(source_of(100, 4095, dtype=np.uint16))
    assert chosen.normalisation == "unit"
    np.testing.assert_allclose([chosen.low, chosen.high], [100 / 65535, 4095 / 65535], rtol=1e-6)


def test_unit_on_floats_outside_measures_every_image():
    # One pixel of the last of many images, which the sample is unlikely to hold.
    images = np.random.default_rng(0).random((2000, 16, 16)).astype(np.float32) * 10
    images[1999, 5, 5], images[7, 1, 1] = 40, -2
    source = ArraySource(images)
    chosen = choose_preparation(source, "unit")
    assert (chosen.low, chosen.high) == (-2, 40)
    prepared = chosen.apply(torch.from_numpy(source.read(range(2000))))
    np.testing.assert_allclose(prepared[:, 0], (images + 2) / 42, atol=1e-6)
    assert (prepared.min(), prepared.max()) == (0, 1)


def test_auto_sees_a_single_pixel_outside_the_unit_range():
    images = np.random.default_rng(0).random((2000, 16, 16)).astype(np.float32)
    images[1999, 5, 5] = 1.5
    assert choose_preparation(ArraySource(images)).normalisation == "standardize"


def test_choices_that_are_refused():
    with pytest.raises(SettingError, match="normalisation is 'min-max'; choose auto, unit or standardize"):
        choose_preparation(source_of(0, 1), "min-max")
    for value in (0.0, 0.7, 5.0):
        source = ArraySource(np.full((3, 16, 16), value), location="mine")
        with pytest.raises(DataError, match="mine: every pixel of every image is"):
            choose_preparation(source, "unit")


def test_the_choice_is_the_same_again():
    source = source_of(-5, 7, count=3000)
    assert choose_preparation(source, "unit", seed=1) == choose_preparation(source, "unit", seed=2)


@given(
    st.sampled_from([(1, 16, 16), (3, 17, 20), (1, 5, 6, 7)]),
    st.integers(1, 5),
    st.floats(-1e3, 1e3),
    st.floats(1e-2, 1e3),
)
def test_standardize_is_numpys(shape, count, shift, scale):
    images = (np.random.default_rng(count).normal(size=(count, *shape)) * scale + shift).astype(np.float32)
    prepared = Preparation("standardize", 0, 1, shape).apply(torch.from_numpy(images))
    wide = images.astype(np.float64)
    axes = tuple(range(1, wide.ndim))
    expected = (wide - wide.mean(axes, keepdims=True)) / wide.std(axes, keepdims=True)
    # float32 pixels of 1,000 ± 0.01 hold the contrast to two digits.
    np.testing.assert_allclose(prepared, expected, atol=1e-4 + 1e-6 * abs(shift) / scale)


def test_standardize_brings_constant_images_to_zero():
    # Of so many equal pixels the mean is off by rounding, and dividing by that would give ±1.
    constants = torch.rand(41, 1, 1, 1, generator=torch.Generator().manual_seed(0)) * 1e3
    images = constants.repeat(1, 1, 64, 64)
    assert (images.mean(dim=(1, 2, 3)) - constants.flatten()).abs().max() > 0
    preparation = Preparation("standardize", 0, 1, (1, 64, 64))
    assert preparation.apply(images).abs().max() < 1e-3
    # Nor does what differs in the last bit of float32 become contrast.
    images[..., ::2] = torch.nextafter(images[..., ::2], torch.tensor(torch.inf))
    assert preparation.apply(images).abs().max() < 0.2


def test_apply_gives_a_new_tensor_of_float32():
    for normalisation in ("unit", "standardize"):
        images = torch.rand((2, *SHAPE), dtype=torch.float64)
        before = images.clone()
        prepared = Preparation(normalisation, 0.0, 1.0, SHAPE).apply(images)
        assert prepared.dtype == torch.float32
        images32 = before.float()
        prepared = Preparation(normalisation, 0.0, 1.0, SHAPE).apply(images32)
        prepared.zero_()
        assert torch.equal(images32, before.float())


def test_unit_clips_a_little_and_refuses_other_units():
    preparation = Preparation("unit", 2.0, 4.0, SHAPE)
    images = torch.full((1, *SHAPE), 3.0)
    images[0, 0, 0, :2] = torch.tensor([1.5, 5.0])
    prepared = preparation.apply(images)
    assert prepared[0, 0, 0, :3].tolist() == [0, 1, 0.5]
    with pytest.raises(DataError, match="trained on 2 to 4; scale them"):
        preparation.apply(images * 100)
    assert preparation.apply(images[:0]).shape == (0, *SHAPE)


def test_images_of_another_shape_are_refused():
    preparation = Preparation("unit", 0, 1, SHAPE)
    with pytest.raises(DataError, match=r"images of shape \(1, 16, 17\), but the model takes \(1, 16, 16\)"):
        preparation.apply(torch.zeros(2, 1, 16, 17))
    with pytest.raises(DataError, match=r"mine: images of shape \(3, 16, 16\)"):
        preparation.check_shape((3, 16, 16), "mine")


def test_record():
    preparation = choose_preparation(source_of(-3, 5), "unit")
    assert Preparation.from_dict(json.loads(json.dumps(preparation.to_dict()))) == preparation


@pytest.mark.parametrize(
    "change",
    [{"normalisation": "auto"}, {"high": -1}, {"low": "x"}, {"image_shape": 3}, {"low": float("nan")}],
)
def test_bad_records(change):
    record = Preparation("unit", 0.0, 1.0, SHAPE).to_dict()
    with pytest.raises(SettingError, match="preparation"):
        Preparation.from_dict(record | change)
    with pytest.raises(SettingError, match="preparation"):
        Preparation.from_dict({})
