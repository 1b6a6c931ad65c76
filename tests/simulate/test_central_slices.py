import numpy as np
import pytest
import torch
import torch_fourier_slice
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from dualcontrast.simulate.central_slices import CentralSlices

BOX = 32


def _volumes() -> torch.Tensor:
    """Two smooth random volumes, empty in the outer quarter."""
    inner = gaussian_filter(np.random.default_rng(0).normal(size=(2, 16, 16, 16)), (0, 1, 1, 1))
    return torch.from_numpy(np.pad(inner, ((0, 0), *[(8, 8)] * 3))).float()


def _matrices(kind: str) -> np.ndarray:
    if kind == "tilts":
        turns = Rotation.from_euler("y", np.arange(-60.0, 61.0, 12.0)[:, None], degrees=True)
    else:
        turns = Rotation.from_quat(np.random.default_rng(1).normal(size=(9, 4)))
    return turns.inv().as_matrix()


def _within(dimension: int) -> torch.Tensor:
    """Frequencies of the rfftn layout whose interpolation needs no frequency at or beyond Nyquist.

    There, torch-fourier-slice takes other values from beyond the edge of the grid.
    """
    axes = [np.fft.fftfreq(BOX)] * (dimension - 1) + [np.fft.rfftfreq(BOX)]
    length = np.sqrt(sum(k**2 for k in np.meshgrid(*axes, indexing="ij")))
    return torch.from_numpy(length < 14.9 / BOX)


def _correction() -> torch.Tensor:
    """What trilinear interpolation of the Fourier transform does to a volume: a squared sinc on each axis."""
    line = np.sinc((np.arange(BOX) - BOX // 2) / BOX) ** 2
    return torch.from_numpy(line[:, None, None] * line[:, None] * line).float()


@pytest.mark.parametrize("kind", ["tilts", "any"])
def test_projections_are_those_of_torch_fourier_slice(kind):
    matrices = _matrices(kind)
    images = CentralSlices(BOX, matrices).project(_volumes())
    inside = _within(2)
    for volume, mine in zip(_volumes(), images, strict=True):
        theirs = torch_fourier_slice.project_3d_to_2d(
            volume, torch.from_numpy(matrices).float(), pad_factor=1.0
        )
        theirs = torch.fft.rfft2(torch.fft.ifftshift(theirs, dim=(-2, -1)))
        torch.testing.assert_close(mine * inside, theirs * inside, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["tilts", "any"])
def test_reconstructions_are_those_of_torch_fourier_slice(kind):
    matrices = _matrices(kind)
    slices = CentralSlices(BOX, matrices)
    images = slices.project(_volumes()) * _within(2)
    real = torch.fft.fftshift(torch.fft.irfft2(images, s=(BOX, BOX)), dim=(-2, -1))
    for mine, shown in zip(slices.back_project(images), real, strict=True):
        theirs = torch_fourier_slice.backproject_2d_to_3d(
            shown, torch.from_numpy(matrices).float(), pad_factor=1.0
        )
        spectra = [torch.fft.rfftn(volume * _correction()) * _within(3) for volume in (mine, theirs)]
        difference = (spectra[0] - spectra[1]).abs()
        assert float(difference.norm() / spectra[1].norm()) < 1e-4
        assert float(difference.max() / spectra[1].abs().max()) < 1e-3


def test_the_projection_at_zero_tilt_is_the_sum_along_the_beam():
    volumes = _volumes()
    image = CentralSlices(BOX, np.eye(3)[None]).project(volumes)[:, 0]
    shown = torch.fft.fftshift(torch.fft.irfft2(image, s=(BOX, BOX)), dim=(-2, -1))
    # Interpolation does not matter where the slice runs through grid points.
    corrected = volumes / _correction()
    k = np.hypot(np.fft.fftfreq(BOX)[:, None], np.fft.fftfreq(BOX))
    summed = np.fft.fft2(corrected.sum(1).numpy()) * (k < 0.5)
    np.testing.assert_allclose(shown.numpy(), np.fft.ifft2(summed).real, atol=1e-4)


def test_many_directions_bring_the_volume_back():
    volumes = _volumes()
    matrices = Rotation.from_quat(np.random.default_rng(2).normal(size=(800, 4))).as_matrix()
    slices = CentralSlices(BOX, matrices)
    back = slices.back_project(slices.project(volumes))
    inner = slice(8, 24)
    difference = (back - volumes)[:, inner, inner, inner]
    assert float(difference.std() / volumes[:, inner, inner, inner].std()) < 0.1
