"""Measured states within one identity, on codes whose answers are known."""

import numpy as np
import pytest

from blobs import blob_source, make_run
from dualcontrast.codes import Codes
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.evaluation.curved_within_content import curved_within_content
from dualcontrast.evaluation.d_score import d_score
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.figures.report import render

COUNT = 1_200
IDS = np.array([f"v{i:04d}" for i in range(COUNT)])
RNG = np.random.default_rng(0)
OBJECT = RNG.integers(6, size=COUNT)
AZIMUTH = RNG.uniform(0, 2 * np.pi, size=COUNT)
TRAIN, TEST = IDS[:900], IDS[900:]


def labels() -> LabelTable:
    return LabelTable(
        IDS,
        (
            Factor("object", "content", OBJECT),
            Factor("azimuth_sin", "transformation", np.sin(AZIMUTH)),
            Factor("azimuth_cos", "transformation", np.cos(AZIMUTH)),
        ),
    )


def noise(columns: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(COUNT, columns)).astype(np.float32)


def in_frames_of_their_own() -> np.ndarray:
    """The azimuth on a circle, which begins elsewhere for each of six objects: six sixths of a turn."""
    angle = AZIMUTH + OBJECT * np.pi / 3
    return np.stack((np.cos(angle), np.sin(angle)), axis=1).astype(np.float32)


def test_each_object_has_a_frame_of_its_own():
    codes = Codes(IDS, noise(4), in_frames_of_their_own())
    # Over all objects the six frames cancel, as they are.
    pooled = d_score(codes, labels(), TRAIN, TEST)["transformation"]
    assert pooled["from_transformation"] < 0.05
    found = curved_within_content(codes, labels(), TRAIN, TEST)
    assert [factor["name"] for factor in found] == ["azimuth_sin", "azimuth_cos"]
    for factor in found:
        assert factor["identities"] == 6
        assert factor["from_transformation"] > 0.97
        assert factor["from_content"] < 0.1


def test_a_factor_that_only_a_curve_can_tell():
    # |z| tells it, and no linear map does.
    state = RNG.normal(size=COUNT)
    truth = LabelTable(
        IDS,
        (Factor("object", "content", OBJECT), Factor("stretch", "transformation", np.abs(state))),
    )
    codes = Codes(IDS, noise(2), state[:, None].astype(np.float32))
    assert d_score(codes, truth, TRAIN, TEST)["transformation"]["from_transformation"] < 0.1
    assert curved_within_content(codes, truth, TRAIN, TEST)[0]["from_transformation"] > 0.85


def test_the_order_of_the_images_changes_nothing():
    codes, truth = Codes(IDS, noise(3), in_frames_of_their_own() + noise(2, seed=2)), labels()
    shuffled = IDS[np.random.default_rng(5).permutation(COUNT)]
    again = curved_within_content(codes.select(shuffled), truth.select(shuffled), TRAIN, TEST)
    for one, other in zip(again, curved_within_content(codes, truth, TRAIN, TEST), strict=True):
        assert one == pytest.approx(other)


def test_kinds_with_few_images_are_left_out():
    codes, truth = Codes(IDS, noise(3), in_frames_of_their_own()), labels()
    few = np.concatenate((TEST[OBJECT[900:] != 2], TEST[OBJECT[900:] == 2][:9]))
    assert curved_within_content(codes, truth, TRAIN, few)[0]["identities"] == 5
    assert curved_within_content(codes, truth, TRAIN, TEST[:0]) == []


def test_without_such_labels_there_is_nothing():
    codes, truth = Codes(IDS, noise(3), noise(2)), labels()
    assert curved_within_content(codes, LabelTable(IDS, truth.of_role("content")), TRAIN, TEST) == []
    assert curved_within_content(codes, LabelTable(IDS, truth.of_role("transformation")), TRAIN, TEST) == []


def test_the_report_has_them(tmp_path):
    source = blob_source(240)
    angle = source.labels.factors[1]
    run = make_run(tmp_path / "run", source=source)
    evaluation = evaluate_run(run)
    assert [factor["name"] for factor in evaluation["curved_within_content"]] == [angle.name]
    assert "R² of a curved fit for each kind by itself" in render(run, evaluation, [])
    earlier = {key: evaluation[key] for key in evaluation if key != "curved_within_content"}
    assert "curved fit for each" not in render(run, earlier, [])
