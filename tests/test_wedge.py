import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dualcontrast.errors import SettingError
from dualcontrast.wedge import apply_wedge, move_wedges, tilt_wedge


def _directions(box: int) -> tuple[np.ndarray, np.ndarray]:
    """Angles (degrees) of (kz, kx) and lengths of k, on the full grid of fftn."""
    k = np.fft.fftfreq(box)
    kz, ky, kx = np.meshgrid(k, k, k, indexing="ij")
    return np.rad2deg(np.arctan2(kz, kx)), np.sqrt(kz**2 + ky**2 + kx**2)


def _full(wedge: torch.Tensor, box: int) -> np.ndarray:
    """The wedge on the full grid, by NumPy's transform of its real kernel."""
    return np.fft.fftn(np.fft.irfftn(wedge.numpy(), s=(box,) * 3, axes=(0, 1, 2))).real


@pytest.mark.parametrize(("first", "last"), [(-60, 60), (-40, 40), (-50, 65), (-90, 90)])
def test_energy_of_white_noise_follows_the_geometry(first, last):
    box = 48
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 1, box, box, box)))
    _, radius = _directions(box)
    ball = radius <= 0.5
    before = np.abs(np.fft.fftn(noise.numpy(), axes=(-3, -2, -1))) ** 2
    kept = apply_wedge(noise, tilt_wedge((box, box, box), first, last)[None]).numpy()
    after = np.abs(np.fft.fftn(kept, axes=(-3, -2, -1))) ** 2
    # Inside the ball of all measurable frequencies the wedge takes a share of the solid angle.
    assert after[..., ball].sum() / before[..., ball].sum() == pytest.approx((last - first) / 180, abs=0.015)


@pytest.mark.parametrize(
    ("kz", "ky", "kx", "stays"),
    [
        (5, 0, 0, False),
        (0, 5, 0, True),
        (0, 0, 5, True),
        (5, 3, 2, False),
        (3, 1, 3, True),
        (-5, 2, 2, False),
    ],
)
def test_a_plane_wave_vanishes_in_the_wedge_only(kz, ky, kx, stays):
    box = 24
    z, y, x = np.meshgrid(*[np.arange(box)] * 3, indexing="ij")
    wave = np.cos(2 * np.pi * (kz * z + ky * y + kx * x) / box + 0.3)
    kept = apply_wedge(torch.from_numpy(wave)[None, None], tilt_wedge((box, box, box), -60, 60)[None])[
        0, 0
    ].numpy()
    np.testing.assert_allclose(kept, wave if stays else 0 * wave, atol=1e-12)


@pytest.mark.parametrize("tilt", [np.rad2deg(np.arctan2(3, 4)), -np.rad2deg(np.arctan2(3, 4))])
def test_a_tilt_measures_what_the_turned_sample_shows_across_the_beam(tilt):
    # Only waves that run across the beam (no z) are seen in a projection of the turned sample.
    wavevector = np.array([4.0, 0.0, 3.0])  # x, y, z
    turned = Rotation.from_euler("y", tilt, degrees=True).apply(wavevector)
    seen = abs(turned[2]) < 1e-9
    wedge = tilt_wedge((16, 16, 16), tilt - 1, tilt + 1)
    assert bool(wedge[3, 0, 4] == 1) == seen == (tilt > 0)


@pytest.mark.parametrize("shape", [(16, 16, 16), (15, 17, 13), (12, 16, 20)])
def test_the_spectrum_keeps_its_symmetry(shape):
    wedge = tilt_wedge(shape, -40, 65)
    volume = torch.from_numpy(np.random.default_rng(1).normal(size=shape))[None, None]
    kept = apply_wedge(volume, wedge[None])[0, 0].numpy()
    # If the weights of k and -k differed, the real output would not have the weighted spectrum.
    expected = np.fft.rfftn(volume[0, 0].numpy()) * wedge.numpy()
    np.testing.assert_allclose(np.fft.rfftn(kept), expected, atol=1e-9)


def test_every_volume_has_its_own_wedge_and_zero_frequency_stays():
    volumes = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 1, 16, 16, 16))).float()
    wedges = torch.stack([tilt_wedge((16, 16, 16), -60, 60), tilt_wedge((16, 16, 16), -90, 90)])
    kept = apply_wedge(volumes, wedges)
    torch.testing.assert_close(kept[1], volumes[1], atol=1e-5, rtol=0)
    assert float((kept[0] - volumes[0]).std()) > 0.3
    torch.testing.assert_close(kept.mean((1, 2, 3, 4)), volumes.mean((1, 2, 3, 4)), atol=1e-5, rtol=0)


def test_half_precision_comes_back_as_it_came():
    volumes = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert apply_wedge(volumes, tilt_wedge((8, 8, 8), -60, 60)[None]).dtype == torch.bfloat16


@pytest.mark.parametrize("bounds", [(60, -60), (-91, 60), (10, 10)])
def test_an_impossible_range_is_named(bounds):
    with pytest.raises(SettingError, match="tilt range"):
        tilt_wedge((8, 8, 8), *bounds)


def test_a_turned_wedge_is_the_wedge_of_the_turned_geometry():
    """A quarter turn about y swaps x and z, so the range ±60° leaves its gap along x instead of z."""
    box = 16
    wedge = tilt_wedge((box,) * 3, -60, 60)
    quarter = torch.from_numpy(Rotation.from_euler("y", 90, degrees=True).as_matrix())[None]
    turned = move_wedges(wedge[None], quarter, box)[0]
    # Away from the border and from Nyquist, whose partner lies outside the box.
    kz, ky, kx = np.meshgrid(np.fft.fftfreq(box), np.fft.fftfreq(box), np.fft.rfftfreq(box), indexing="ij")
    inside = np.maximum(np.maximum(abs(kz), abs(ky)), abs(kx)) < 0.45
    angle = np.degrees(np.arctan2(abs(kz), abs(kx)))
    np.testing.assert_allclose(turned[inside & (angle > 35)], 1, atol=1e-5)
    np.testing.assert_allclose(turned[inside & (angle < 15) & (kx > 0.2)], 0, atol=1e-5)


def test_turning_weights_follows_the_spectrum_of_the_turned_volume():
    """The power spectrum of a turned Gaussian is the turned power spectrum."""
    box, matrix = 32, Rotation.from_euler("zyx", [25, -40, 70], degrees=True).as_matrix()
    covariance = np.diag([1.6, 1.2, 0.9]) ** 2
    frequency = np.stack(
        np.meshgrid(np.fft.fftfreq(box), np.fft.fftfreq(box), np.fft.rfftfreq(box), indexing="ij")[::-1], -1
    )

    def power(covariance):
        return np.exp(-4 * np.pi**2 * np.einsum("...i,ij,...j", frequency, covariance, frequency))

    turned = move_wedges(torch.from_numpy(power(covariance))[None], torch.from_numpy(matrix)[None], box)[0]
    np.testing.assert_allclose(turned, power(matrix @ covariance @ matrix.T), atol=0.04)


def test_wedges_of_boxes_with_odd_sides_keep_under_the_identity():
    for shape in ((16, 16, 16), (15, 18, 17)):
        wedge = tilt_wedge(shape, -50, 60)[None]
        same = move_wedges(wedge, torch.eye(3)[None], shape[2])
        np.testing.assert_allclose(same, wedge, atol=1e-4)
