import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dualcontrast.errors import SettingError
from dualcontrast.simulate.ctf import Ctf, ctf_volume
from dualcontrast.simulate.tilt_series import TiltScheme, TiltSeries, dose_filter, dose_symmetric_tilts

BOX, VOXEL = 32, 10.0


def _blobs() -> torch.Tensor:
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    sites = [(4, 0, 0), (0, 5, 2), (-3, -3, 4), (1, 2, -5)]
    density = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 4.5) for a, b, c in sites)
    return torch.from_numpy(np.asarray(density, dtype=np.float32))[None]


def _angles() -> tuple[np.ndarray, np.ndarray]:
    """Tilt (degrees) at which each frequency of the rfftn layout is measured, and its length."""
    k, half = np.fft.fftfreq(BOX), np.fft.rfftfreq(BOX)
    angle = np.rad2deg(np.arctan2(k[:, None, None], half[None, None, :] + 0 * k[:, None]))
    length = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + half**2)
    return np.broadcast_to(angle, length.shape), length


def _transfer_volume(series: TiltSeries, ctf: Ctf | None = None) -> np.ndarray:
    return series.transfer_volume(series.transfer(ctf, 5.0)).numpy()


def test_tilts_come_in_the_order_of_hagen():
    # Hagen et al. 2017, figure 1: 0, then sides in turn, two tilts on each side.
    np.testing.assert_allclose(dose_symmetric_tilts(-12, 12, 3), [0, 3, -3, -6, 6, 9, -9, -12, 12])
    np.testing.assert_allclose(dose_symmetric_tilts(-4, 9, 3), [0, 3, -3, 6, 9])
    assert len(dose_symmetric_tilts(-60, 60, 3)) == 41


def test_dose_filter_has_the_published_critical_exposures():
    # At the critical exposure the signal's power is 1/e of the fresh one.
    for resolution, critical in ((4.0, 0.245 * 4**1.665 + 2.81), (20.0, 0.245 * 20**1.665 + 2.81)):
        left = dose_filter(torch.tensor(1 / resolution), critical)
        assert float(left) ** 2 == pytest.approx(np.exp(-1), rel=1e-4)
    # About 5 electrons per Å² at 4 Å, as figure 1 of the paper shows.
    assert float(dose_filter(torch.tensor(0.25), 5.3)) ** 2 == pytest.approx(np.exp(-1), abs=0.01)
    assert float(dose_filter(torch.tensor(0.0), 100.0)) == 1.0


def test_without_ctf_and_dose_the_measured_half_stays_and_the_wedge_is_gone():
    series = TiltSeries(BOX, VOXEL, (-60, 60), TiltScheme(total_dose=0))
    angle, length = _angles()
    transfer = _transfer_volume(series)
    inner = (length > 0.08) & (length < 0.3)
    assert transfer[inner & (np.abs(angle) < 55)].mean() == pytest.approx(1, abs=0.03)
    # Cutting out the box smears the edge of the wedge by about one frequency step.
    k, half = np.fft.fftfreq(BOX), np.fft.rfftfreq(BOX)
    to_edge = (
        np.abs(k)[:, None, None] * np.sin(np.deg2rad(30)) - half * np.cos(np.deg2rad(30)) + 0 * k[:, None]
    )
    assert np.abs(transfer[inner & (to_edge > 2.5 / BOX)]).mean() < 0.06


def test_a_lopsided_range_is_measured_on_its_side():
    series = TiltSeries(BOX, VOXEL, (0, 60), TiltScheme(total_dose=0))
    angle, length = _angles()
    transfer = _transfer_volume(series)
    inner = (length > 0.15) & (length < 0.4)
    assert transfer[inner & (angle > 10) & (angle < 50)].mean() > 0.9
    assert np.abs(transfer[inner & (angle < -10) & (angle > -50)]).mean() < 0.1


def test_the_transfer_volume_predicts_the_subtomogram():
    series = TiltSeries(BOX, VOXEL, (-60, 60), TiltScheme())
    density = _blobs()
    image = series.image(density, series.transfer(Ctf(), 5.0))[0].numpy()
    predicted = np.fft.irfftn(
        np.fft.rfftn(density[0].numpy()) * _transfer_volume(series, Ctf()), s=(BOX,) * 3, axes=(0, 1, 2)
    )
    assert np.corrcoef(image.ravel(), predicted.ravel())[0, 1] > 0.99
    assert image.std() == pytest.approx(predicted.std(), rel=0.05)


def test_ctf_and_dose_stand_in_the_transfer_volume():
    angle, length = _angles()
    measured = (np.abs(angle) < 50) & (length > 0.06) & (length < 0.35)
    ctf = ctf_volume(BOX, VOXEL, Ctf(), 5.0).numpy()
    fresh = _transfer_volume(TiltSeries(BOX, VOXEL, (-60, 60), TiltScheme(total_dose=0)), Ctf())
    assert np.corrcoef(fresh[measured], ctf[measured])[0, 1] > 0.97
    # High tilts come last in the series and have lost most, first at high frequency.
    worn = _transfer_volume(TiltSeries(BOX, VOXEL, (-60, 60), TiltScheme(total_dose=120)))
    shell = (length > 0.28) & (length < 0.34)
    early, late = (
        worn[shell & (np.abs(angle) < 8)].mean(),
        worn[shell & (np.abs(np.abs(angle) - 50) < 5)].mean(),
    )
    assert early > 2 * late


def test_a_particle_off_centre_stays_where_it_is():
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    place = np.array([5, -4, 3])  # z, y, x
    blob = np.exp(-((z - place[0]) ** 2 + (y - place[1]) ** 2 + (x - place[2]) ** 2) / 4.5).astype(np.float32)
    series = TiltSeries(BOX, VOXEL, (-60, 60), TiltScheme(total_dose=0))
    image = series.image(torch.from_numpy(blob)[None], series.transfer(None, 5.0))[0].numpy()
    assert tuple(np.unravel_index(image.argmax(), image.shape)) == tuple(place + BOX // 2)


def test_noise_has_the_wedge_and_depends_on_the_particle_only():
    series = TiltSeries(BOX, VOXEL, (-60, 60), TiltScheme(total_dose=0))
    noise = series.noise(3, np.array([4, 9]))
    torch.testing.assert_close(noise[1:], series.noise(3, np.array([9])), atol=1e-4, rtol=1e-4)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1
    angle, length = _angles()
    power = (np.abs(np.fft.rfftn(noise.numpy(), axes=(1, 2, 3))) ** 2).mean(0)
    shell = (length > 0.15) & (length < 0.4)
    assert power[shell & (np.abs(angle) > 72)].mean() < 0.15 * power[shell & (np.abs(angle) < 55)].mean()


def test_tilts_turn_the_sample_right_handed_about_y():
    # One tilt only: the image is the projection of Ry(t) applied to the sample, so the reconstruction is
    # constant along the beam's direction in the sample, Ry(-t) z.
    tilt = 30.0
    series = TiltSeries(BOX, VOXEL, (29.0, 31.0), TiltScheme(step=30.0, total_dose=0))
    np.testing.assert_allclose(series.tilts, [tilt])
    transfer = _transfer_volume(series)
    beam = Rotation.from_euler("y", -tilt, degrees=True).apply([0.0, 0.0, 1.0])
    k, half = np.fft.fftfreq(BOX), np.fft.rfftfreq(BOX)
    z, y, x = np.meshgrid(k, k, half, indexing="ij")
    across = np.abs(x * beam[0] + y * beam[1] + z * beam[2])
    inner = np.sqrt(x**2 + y**2 + z**2) < 0.4
    assert transfer[inner & (across < 0.005)].mean() > 5 * np.abs(transfer[inner & (across > 0.08)]).mean()


def test_a_range_without_a_tilt_is_refused():
    with pytest.raises(SettingError, match="no multiple of the step"):
        TiltSeries(BOX, VOXEL, (1, 2), TiltScheme())
