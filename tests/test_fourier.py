"""Fourier cropping and low-pass filters, against formulas, SciPy and plane waves."""

import numpy as np
import pytest
import scipy.signal
import torch

from dualcontrast.fourier import (
    crop_matrix,
    crop_wedges,
    fourier_crop,
    fourier_pad,
    low_pass,
    low_pass_weights,
)

# Waves that a box of 9 voxels holds: cycles a box along z, y, x, amplitude, phase.
WAVES = ((0, 0, 0, 0.7, 0.0), (1, 2, -3, 1.0, 0.4), (4, -1, 2, 0.5, 1.1), (-2, 4, 4, 0.3, -2.0))
SIZES = [(32, 16), (33, 16), (32, 15), (33, 17), (18, 12), (17, 9), (20, 20)]


def waves(box: int) -> torch.Tensor:
    """Sum of waves about the box's centre, voxel box // 2, so that it is one function on every grid."""
    axis = (np.arange(box) - box // 2) / box
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    total = sum(a * np.cos(2 * np.pi * (kz * z + ky * y + kx * x) + phase) for kz, ky, kx, a, phase in WAVES)
    return torch.from_numpy(np.asarray(total))[None, None]


@pytest.mark.parametrize(("box", "smaller"), SIZES)
def test_a_band_limited_volume_is_the_same_function_on_the_coarse_grid(box, smaller):
    cropped = fourier_crop(waves(box), smaller)
    assert cropped.shape == (1, 1, smaller, smaller, smaller)
    torch.testing.assert_close(cropped, waves(smaller), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("box", "smaller"), SIZES)
def test_a_volume_is_the_same_function_on_a_finer_grid(box, smaller):
    padded = fourier_pad(waves(smaller), box)
    assert padded.shape == (1, 1, box, box, box)
    torch.testing.assert_close(padded, waves(box), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("length", "shorter"), SIZES)
def test_one_axis_is_scipys_resample_about_the_centre(length, shorter):
    signal = np.random.default_rng(0).normal(size=length)
    from_centre = scipy.signal.resample(np.roll(signal, -(length // 2)), shorter)
    expected = np.roll(from_centre, shorter // 2)
    np.testing.assert_allclose(crop_matrix(length, shorter).numpy() @ signal, expected, atol=1e-12)


def test_images_are_cropped_too_and_keep_their_mean_and_type():
    images = torch.rand((3, 2, 24, 24), generator=torch.Generator().manual_seed(0))
    cropped = fourier_crop(images, 16)
    assert cropped.shape == (3, 2, 16, 16) and cropped.dtype == torch.float32
    torch.testing.assert_close(cropped.mean(dim=(2, 3)), images.mean(dim=(2, 3)))


def index_of(frequency: tuple[int, int, int], box: int) -> tuple[int, int, int]:
    """Place of a frequency in the layout of rfftn, of itself or of its mirror image."""
    kz, ky, kx = frequency if frequency[2] >= 0 else tuple(-k for k in frequency)
    return kz % box, ky % box, kx


@pytest.mark.parametrize(("box", "smaller"), SIZES)
def test_cropped_weights_belong_to_the_same_waves(box, smaller):
    # A weight of its own for each wave; filtering and cropping commute for waves that both boxes hold.
    weights = torch.zeros((1, box, box, box // 2 + 1), dtype=torch.float64)
    for number, (*frequency, _, _) in enumerate(WAVES):
        weights[0][index_of(tuple(frequency), box)] = 0.2 + 0.1 * number
    cropped = crop_wedges(weights, box, smaller)
    assert cropped.shape == (1, smaller, smaller, smaller // 2 + 1)
    for number, (*frequency, _, _) in enumerate(WAVES):
        assert cropped[0][index_of(tuple(frequency), smaller)] == 0.2 + 0.1 * number

    def filtered(volume, weight):
        shape, axes = volume.shape[2:], (2, 3, 4)
        return torch.fft.irfftn(torch.fft.rfftn(volume, dim=axes) * weight[:, None], s=shape, dim=axes)

    # Waves on the plane kx = 0 have their mirror image in the layout; only the constant lies there.
    expected = fourier_crop(filtered(waves(box), weights), smaller)
    torch.testing.assert_close(filtered(waves(smaller), cropped), expected, atol=1e-12, rtol=0)


def test_the_highest_frequency_takes_the_smaller_weight_of_its_two_signs():
    box, smaller = 8, 4
    rng = np.random.default_rng(0)
    # Weights of a whole spectrum, the same at k and -k as those of real volumes are.
    whole = rng.uniform(size=(box, box, box))
    mirrored = whole[np.ix_(*[-np.arange(box) % box] * 3)]
    whole = (whole + mirrored) / 2
    cropped = crop_wedges(torch.from_numpy(whole[None, ..., : box // 2 + 1]), box, smaller)[0].numpy()
    signs = {0: (0,), 1: (1,), 2: (2, -2), 3: (-1,)}
    for iz in range(4):
        for iy in range(4):
            for ix in range(3):
                candidates = [
                    whole[z % box, y % box, x % box] for z in signs[iz] for y in signs[iy] for x in signs[ix]
                ]
                assert cropped[iz, iy, ix] == min(candidates)


@pytest.mark.parametrize(
    ("cycles", "expected"),
    # Half the amplitude at the cutoff, 6.5 cycles a box; a raised cosine from 5.5 to 7.5.
    [(3, 1.0), (5, 1.0), (6, 0.5 + 0.5 * np.cos(np.pi / 4)), (7, 0.5 - 0.5 * np.cos(np.pi / 4)), (8, 0.0)],
)
def test_a_low_pass_weakens_a_wave_by_the_stated_factor(cycles, expected):
    box = 24
    x = torch.arange(box, dtype=torch.float64)
    wave = torch.cos(2 * torch.pi * cycles * x / box + 0.3).expand(1, 1, box, box, box)
    torch.testing.assert_close(low_pass(wave, 6.5 / box), expected * wave, atol=2e-6, rtol=0)
    # Of two axes, and along another one.
    wave = wave[:, :, 0].movedim(-1, -2)
    torch.testing.assert_close(low_pass(wave, 6.5 / box), expected * wave, atol=2e-6, rtol=0)


def test_a_low_pass_keeps_the_mean_and_looks_the_same_from_every_side():
    weights = low_pass_weights((16, 16, 16), 0.2)
    assert weights[0, 0, 0] == 1
    assert weights[3, 0, 0] == weights[0, 3, 0] == weights[0, 0, 3] == weights[-3, 0, 0]
    # (2, 2, 1) and (3, 0, 0) are equally long.
    assert weights[2, 2, 1] == pytest.approx(weights[3, 0, 0].item())
    assert low_pass_weights((16, 16), 0.2).shape == (16, 9)
