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


BOX = 24


class Volumes(ArraySource):
    """Particles that are light or dark, with a voxel size."""

    def __init__(self, sign=1.0, voxel_size: float | None = 5.0, box=BOX, count=30):
        rng = np.random.default_rng(0)
        axis = np.arange(box) - box // 2
        radius = np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")))
        shape = np.exp(-np.square(radius) / 18)
        volumes = sign * shape + rng.normal(size=(count, box, box, box))
        super().__init__(volumes.astype(np.float32), location="mine.star")
        self.voxel_size = voxel_size
        self.density = sign * shape


@pytest.mark.parametrize(("sign", "found"), [(1, "light"), (-1, "dark")])
def test_volumes_are_brought_to_light_contrast_and_it_is_said(sign, found, caplog):
    source = Volumes(sign)
    with caplog.at_level("INFO", logger="dualcontrast"):
        chosen = choose_preparation(source)
    assert chosen.contrast == found and chosen.contrast_evidence is not None
    assert np.sign(chosen.contrast_evidence.t) == sign
    assert f"particles are {found}" in caplog.text and "30 volumes" in caplog.text
    prepared = chosen.apply(torch.from_numpy(source.read(range(30)))).numpy()
    assert np.mean(prepared[:, 0] * np.abs(source.density)) > 0
    np.testing.assert_allclose(prepared.mean(axis=(1, 2, 3, 4)), 0, atol=1e-5)
    np.testing.assert_allclose(prepared.std(axis=(1, 2, 3, 4)), 1, atol=1e-4)


def test_contrast_that_cannot_be_told_is_left_and_warned_of(caplog):
    chosen = choose_preparation(Volumes(0))
    assert chosen.contrast == "as-is" and chosen.contrast_evidence is not None
    assert "cannot be told" in caplog.text and "--contrast" in caplog.text


def test_contrast_that_is_given_is_not_measured():
    for contrast in ("light", "dark", "as-is"):
        chosen = choose_preparation(Volumes(-1), contrast=contrast)
        assert (chosen.contrast, chosen.contrast_evidence) == (contrast, None)
    assert choose_preparation(source_of(0, 1)).contrast == "as-is"
    dark = choose_preparation(source_of(0, 1), contrast="dark")
    images = torch.rand((2, *SHAPE))
    torch.testing.assert_close(dark.apply(images), 1 - images)


def test_a_cropped_volume_is_the_same_function_of_space():
    source = Volumes(voxel_size=5.0)
    chosen = choose_preparation(source, "standardize", box=16, contrast="light")
    assert (chosen.image_shape, chosen.source_shape) == ((1, 16, 16, 16), (1, BOX, BOX, BOX))
    assert (chosen.source_voxel_size, chosen.voxel_size) == (5.0, 7.5)
    # A wave of 3 cycles a box about the centre; of deviation 1, so that standardising leaves it.
    x, coarse = (torch.arange(n, dtype=torch.float64) - n // 2 for n in (BOX, 16))
    wave = np.sqrt(2) * torch.cos(2 * torch.pi * 3 * x / BOX + 0.5).expand(1, 1, BOX, BOX, BOX)
    expected = np.sqrt(2) * torch.cos(2 * torch.pi * 3 * coarse / 16 + 0.5).expand(1, 1, 16, 16, 16)
    torch.testing.assert_close(chosen.apply(wave + 4), expected.float(), atol=1e-5, rtol=0)


def test_the_low_pass_is_at_the_resolution_asked_for():
    # 24 voxels of 5 Å: 120 Å / 20 Å = 6 cycles a box keep half their amplitude.
    chosen = choose_preparation(Volumes(), "standardize", lowpass=20, contrast="light")
    x = torch.arange(BOX, dtype=torch.float32)
    slow, fast = (torch.cos(2 * torch.pi * k * x / BOX).expand(1, 1, BOX, BOX, BOX) for k in (2, 6))
    expected = slow + 0.5 * fast
    expected = expected / expected.std(correction=0)
    torch.testing.assert_close(chosen.apply(slow + fast), expected, atol=1e-5, rtol=0)


def test_a_mask_leaves_nothing_outside_and_is_given_in_angstrom_or_as_a_share():
    source = Volumes(voxel_size=5.0)
    chosen = choose_preparation(source, mask_diameter=60)
    assert chosen.mask_diameter == 0.5 == choose_preparation(source, mask_diameter=0.5).mask_diameter
    prepared = chosen.apply(torch.from_numpy(source.read(range(30)))).numpy()[:, 0]
    axis = np.arange(BOX) - BOX // 2
    radius = np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")))
    # Radius 6 voxels, edge 2 voxels.
    assert np.all(prepared[:, radius >= 8] == 0) and np.all(prepared[:, radius < 8] != 0)
    weights = 0.5 + 0.5 * np.cos(np.pi * np.clip((radius - 6) / 2, 0, 1))
    volumes = source.read(range(30))[:, 0].astype(np.float64)
    mean = (weights * volumes).sum(axis=(1, 2, 3)) / weights.sum()
    centred = volumes - mean[:, None, None, None]
    deviation = np.sqrt((weights * centred**2).sum(axis=(1, 2, 3)) / weights.sum())
    np.testing.assert_allclose(prepared, weights * centred / deviation[:, None, None, None], atol=1e-4)


def test_a_mask_on_scaled_pixels():
    preparation = Preparation("unit", 0.0, 2.0, (1, 20, 20), contrast="dark", mask_diameter=0.4)
    prepared = preparation.apply(torch.full((1, 1, 20, 20), 0.5))[0, 0]
    assert prepared[10, 10] == 0.75 and prepared[10, 0] == 0 and prepared[0, 0] == 0


def test_weights_are_cropped_with_the_volumes():
    whole = Preparation("standardize", 0.0, 1.0, (1, 12, 12, 12))
    wedges = torch.rand((2, 12, 12, 7))
    assert whole.apply_to_wedges(wedges) is wedges
    cropped = Preparation("standardize", 0.0, 1.0, (1, 8, 8, 8), source_shape=(1, 12, 12, 12))
    kept = cropped.apply_to_wedges(wedges)
    assert kept.shape == (2, 8, 8, 5)
    # Frequency (-3, 2, 1).
    torch.testing.assert_close(kept[:, 5, 2, 1], wedges[:, 9, 2, 1])
    with pytest.raises(DataError, match=r"Fourier weights of shape \(8, 8, 5\).*\(12, 12, 7\)"):
        cropped.apply_to_wedges(kept)


@pytest.mark.parametrize(
    ("choices", "voxel_size", "message"),
    [
        ({"contrast": "bright"}, 5.0, "contrast is 'bright'; choose auto, light, dark or as-is"),
        ({"box": 0}, 5.0, "box is 0"),
        ({"box": 25}, 5.0, "box 25: mine.star has boxes of 24×24×24; give a number of voxels from 1 to 24"),
        ({"lowpass": -3.0}, 5.0, "lowpass is -3.0"),
        ({"lowpass": float("nan")}, 5.0, "lowpass is nan"),
        ({"lowpass": 20.0}, None, "lowpass 20: is in Å, but mine.star does not say how large a voxel is"),
        ({"lowpass": 10.0}, 5.0, "resolutions from 10 to 60 Å"),
        ({"lowpass": 14.0, "box": 16}, 5.0, "resolutions from 15 to 60 Å"),
        ({"lowpass": 61.0}, 5.0, "resolutions from 10 to 60 Å"),
        ({"mask_diameter": 90.0}, None, "mask_diameter 90: is in Å.*or a share of the box"),
        ({"mask_diameter": 121.0}, 5.0, "mask_diameter 121: is more than the box of 120 Å"),
        ({"mask_diameter": 0.0}, 5.0, "mask_diameter is 0"),
    ],
)
def test_preparations_that_are_refused(choices, voxel_size, message):
    with pytest.raises(SettingError, match=message):
        choose_preparation(Volumes(voxel_size=voxel_size), **choices)


def test_a_mask_as_a_share_needs_no_voxel_size_and_boxes_must_be_cubes_to_be_cropped():
    assert choose_preparation(Volumes(voxel_size=None), mask_diameter=0.9).mask_diameter == 0.9
    long = ArraySource(np.random.default_rng(0).random((3, 20, 20, 24)))
    with pytest.raises(SettingError, match="boxes of 20×20×24, whose sides differ"):
        choose_preparation(long, box=16)


def test_sources_of_another_voxel_size_or_box_are_refused():
    chosen = choose_preparation(Volumes(voxel_size=5.0), box=16)
    chosen.check_source(Volumes(voxel_size=5.04))
    chosen.check_source(Volumes(voxel_size=None))
    choose_preparation(Volumes(voxel_size=None)).check_source(Volumes(voxel_size=8.0))
    with pytest.raises(DataError, match=r"mine\.star: voxels of 5\.1 Å, but the model was trained on 5 Å"):
        chosen.check_source(Volumes(voxel_size=5.1))
    # The box of the prepared volumes is not that of the source.
    with pytest.raises(DataError, match=r"\(1, 16, 16, 16\), but the model takes \(1, 24, 24, 24\)"):
        chosen.check_source(Volumes(box=16))


def test_every_choice_is_recorded():
    chosen = choose_preparation(Volumes(), box=20, lowpass=30, mask_diameter=100)
    assert chosen.lowpass == 30 and chosen.mask_diameter == pytest.approx(100 / 120)
    assert Preparation.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen
    with pytest.raises(SettingError, match="preparation"):
        Preparation.from_dict(chosen.to_dict() | {"contrast": "auto"})


def test_records_of_earlier_versions():
    old = {"normalisation": "unit", "low": 0.0, "high": 2.0, "image_shape": [1, 16, 16]}
    assert Preparation.from_dict(old) == Preparation("unit", 0.0, 2.0, SHAPE)
    assert Preparation.from_dict(old).source_shape == SHAPE


def test_choices_that_contradict_a_record():
    chosen = choose_preparation(Volumes(-1), box=20, lowpass=30, mask_diameter=60)
    assert chosen.contradiction() is None
    assert chosen.contradiction("auto", 20, 30, 60) is None
    assert chosen.contradiction(mask_diameter=0.5) is None
    assert chosen.contradiction("light") == "contrast 'dark'"
    assert chosen.contradiction(box=24) == "box 20"
    assert chosen.contradiction(lowpass=20) == "lowpass 30"
    assert chosen.contradiction(mask_diameter=0.6) == "mask_diameter 0.5 (a share of the box)"
