import numpy as np
import pytest
import torch
from scipy.constants import c, e, h, m_e
from scipy.optimize import brentq

from dualcontrast.errors import SettingError
from dualcontrast.settings import from_plain
from dualcontrast.simulate.ctf import Ctf, ctf_image, ctf_values, ctf_volume

PAPER = Ctf()


def _wavelength(kilovolts: float) -> float:
    """De Broglie wavelength of a relativistic electron, in Å."""
    energy = e * kilovolts * 1e3
    return 1e10 * h / np.sqrt(2 * m_e * energy * (1 + energy / (2 * m_e * c**2)))


def _closed_form(k: np.ndarray, defocus_um: float, ctf: Ctf) -> np.ndarray:
    wave = _wavelength(ctf.voltage)
    chi = np.pi * wave * defocus_um * 1e4 * k**2 - np.pi / 2 * ctf.cs * 1e7 * wave**3 * k**4
    return np.sin(chi + np.arcsin(ctf.amplitude_contrast))


def test_wavelength_of_300_kv():
    assert _wavelength(300) == pytest.approx(0.0197, abs=1e-4)  # the tabulated value


@pytest.mark.parametrize("ctf", [PAPER, Ctf(cs=2.7, voltage=200, amplitude_contrast=0.07)])
@pytest.mark.parametrize("defocus", [1.5, 5.0])
def test_zeros_lie_where_the_formula_has_them(ctf, defocus):
    wave = _wavelength(ctf.voltage)
    for order in (1, 2, 3, 5):
        # chi + arcsin(A) = order pi, a quadratic equation in k^2.
        a, b = -np.pi / 2 * ctf.cs * 1e7 * wave**3, np.pi * wave * defocus * 1e4
        const = np.arcsin(ctf.amplitude_contrast) - order * np.pi
        k_squared = (-b + np.sqrt(b * b - 4 * a * const)) / (2 * a)
        expected = np.sqrt(k_squared)
        found = brentq(
            lambda k: float(ctf_values(torch.tensor(k, dtype=torch.float64), ctf, defocus)),
            expected * 0.99,
            expected * 1.01,
        )
        assert found == pytest.approx(expected, rel=1e-5)


def test_the_first_zero_of_the_paper_lies_between_30_and_32_angstrom():
    # 1 / sqrt(lambda dz) = 31.4 Å without amplitude contrast, which moves the zero a little further in.
    curve = ctf_values(torch.linspace(0, 0.05, 5001), PAPER, 5.0)
    first = int(torch.nonzero(curve < 0)[0])
    assert 1 / 32.5 < first * 1e-5 < 1 / 31.0


def test_five_nanometres_of_defocus_would_do_nothing():
    k = torch.linspace(0, 0.05, 50)
    np.testing.assert_allclose(_closed_form(k.numpy(), 0.005, PAPER), PAPER.amplitude_contrast, atol=0.01)


def test_volume_and_image_follow_the_length_of_the_frequency():
    box, voxel = 24, 8.0
    k = np.fft.fftfreq(box, voxel)
    half = np.fft.rfftfreq(box, voxel)
    length = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + half**2)
    np.testing.assert_allclose(
        ctf_volume(box, voxel, PAPER, 3.0).numpy(), _closed_form(length, 3.0, PAPER), atol=2e-4
    )
    np.testing.assert_allclose(
        ctf_image(box, voxel, PAPER, 3.0).numpy(), _closed_form(length[0], 3.0, PAPER), atol=2e-4
    )


def test_it_begins_with_the_amplitude_contrast_and_rises_for_underfocus():
    curve = ctf_values(torch.tensor([0.0, 0.005, 0.01]), PAPER, 5.0)
    assert float(curve[0]) == pytest.approx(0.1, abs=1e-6)
    assert float(curve[0]) < float(curve[1]) < float(curve[2])


@pytest.mark.parametrize("value", [-5, 50_000, 0.005])
def test_a_defocus_in_another_unit_is_refused(value):
    with pytest.raises(SettingError, match="defocus"):
        from_plain(Ctf, {"defocus": value})
