import numpy as np
import pytest

from dualcontrast.errors import SettingError
from dualcontrast.evaluation.calibration import calibration, expected_calibration_error, reliability


def test_the_error_is_that_of_the_formula_by_hand():
    # Ten bins. (0.2, 0.3]: mean 0.275, right 1/2. (0.8, 0.9]: mean 2.65/3, right 2/3. (0.9, 1]: 1, right.
    # |0.5 - 0.275| · 2/6 + |2/3 - 2.65/3| · 3/6 + 0 · 1/6.
    confidence = np.array([0.25, 0.3, 0.85, 0.9, 0.9, 1.0])
    right = np.array([True, False, True, True, False, True])
    by_hand = 0.225 * 2 / 6 + (2.65 - 2) / 3 * 3 / 6
    assert expected_calibration_error(confidence, right, bins=10) == pytest.approx(by_hand)
    filled = [one for one in reliability(confidence, right, bins=10) if one.count]
    assert [one.count for one in filled] == [2, 3, 1]
    assert [one.confidence for one in filled] == pytest.approx([0.275, 2.65 / 3, 1])
    assert [one.right for one in filled] == pytest.approx([0.5, 2 / 3, 1])
    assert [one.low for one in filled] == pytest.approx([0.2, 0.8, 0.9])
    assert [one.high for one in filled] == pytest.approx([0.3, 0.9, 1.0])


def test_one_bin_is_the_difference_of_means(rng):
    confidence, right = rng.uniform(size=500), rng.uniform(size=500) < 0.3
    expected = abs(confidence.mean() - right.mean())
    assert expected_calibration_error(confidence, right, bins=1) == pytest.approx(expected)


def test_calibrated_confidences_have_no_error_and_constant_ones_theirs(rng):
    confidence = rng.uniform(size=200_000)
    right = rng.uniform(size=len(confidence)) < confidence
    assert expected_calibration_error(confidence, right) < 0.01
    # Sure of everything, right in 0.5 on average.
    assert expected_calibration_error(np.ones(len(right)), right) == pytest.approx(0.5, abs=0.01)
    # The square is too low by E[p - p²] = 1/6.
    assert expected_calibration_error(confidence**2, right) == pytest.approx(1 / 6, abs=0.01)


def test_edges_belong_to_the_bin_below_and_0_to_the_first():
    counts = [one.count for one in reliability(np.array([0, 0.5, 0.51, 1.0]), np.ones(4, dtype=bool), bins=2)]
    assert counts == [2, 2]


def test_the_most_and_the_least_confident():
    confidence = np.arange(20) / 20
    right = np.arange(20) >= 9
    found = calibration(confidence, right)
    assert found["accuracy"] == 11 / 20
    assert found["accuracy_most_confident_half"] == 1
    assert found["accuracy_least_confident_tenth"] == 0
    # One wrong at the top, one right at the bottom.
    right[19], right[0] = False, True
    found = calibration(confidence, right)
    assert found["accuracy_most_confident_half"] == 0.9
    assert found["accuracy_least_confident_tenth"] == 0.5
    assert sum(one["count"] for one in found["bins"]) == 20


@pytest.mark.parametrize(
    ("confidence", "right", "bins", "message"),
    [
        ([0.5], [True], 0, "0 bins"),
        ([], [], 15, "equally long"),
        ([0.5, 0.6], [True], 15, "equally long"),
        ([1.1], [True], 15, "from 0 to 1"),
        ([np.nan], [True], 15, "from 0 to 1"),
    ],
)
def test_what_cannot_be_measured(confidence, right, bins, message):
    with pytest.raises(SettingError, match=message):
        expected_calibration_error(np.array(confidence), np.array(right), bins)
