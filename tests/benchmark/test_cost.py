"""The cost model, by hand."""

import pytest

from dualcontrast.benchmark.cost import estimate
from dualcontrast.errors import SettingError


def test_by_hand():
    cost = estimate(7.2e6, 32, 10, 1000, devices=4, efficiency=0.5, encoding_speedup=2, id_length=10)
    # 72 million images at 2,000 a second are 36,000 seconds.
    assert cost.training_hours == pytest.approx(10)
    # 7.2 million at 4,000 a second are 1,800 seconds.
    assert cost.encoding_hours == pytest.approx(0.5)
    assert cost.device_hours == pytest.approx(42)
    assert cost.disk_gb == pytest.approx(7.2e6 * 65_536 / 1e9)


def test_memory_grows_by_what_is_kept_of_every_image():
    small, large = (estimate(images, 32, 1, 100, id_length=7).memory_gb for images in (1e5, 1e6))
    # Measured: 100 MB for 900,000 more images with ids of up to 7 characters.
    assert (large - small) * 1000 == pytest.approx(100, rel=0.1)
    assert estimate(1e6, 64, 1, 100, id_length=7).memory_gb == large


def test_what_makes_no_sense_is_refused():
    with pytest.raises(SettingError, match="images_per_second is 0"):
        estimate(1e6, 32, 1, 0)
