"""Labels that only a curved fit reads, on codes whose answers are known."""

import numpy as np
import pytest

from blobs import blob_source, make_run
from dualcontrast.codes import Codes
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.evaluation.curved_read_out import MOST_FITTED, curved_read_out
from dualcontrast.evaluation.d_score import d_score
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.evaluation.readings import readings
from dualcontrast.figures.report import render

COUNT = 900
IDS = np.array([f"v{i:04d}" for i in range(COUNT)])
TRAIN, TEST = IDS[:600], IDS[600:]
KIND = np.random.default_rng(0).integers(3, size=COUNT)
SIZE = np.random.default_rng(1).uniform(-1, 1, size=COUNT)
ANGLE = np.random.default_rng(2).uniform(0, 2 * np.pi, size=COUNT)


def labels() -> LabelTable:
    return LabelTable(
        IDS,
        (
            Factor("kind", "content", np.array(["a", "b", "c"])[KIND]),
            Factor("size", "content", SIZE),
            Factor("bend", "transformation", SIZE**2),
        ),
    )


def on_circles() -> Codes:
    """z on a circle whose radius is 1, 2 or 3, as the kind is; c nothing but noise and the size."""
    ring = (1.0 + KIND)[:, None] * np.stack((np.cos(ANGLE), np.sin(ANGLE)), axis=1)
    noise = np.random.default_rng(3).normal(size=(COUNT, 2))
    return Codes(IDS, np.column_stack((noise, SIZE)).astype(np.float32), ring.astype(np.float32))


def test_classes_on_circles_are_read_by_a_curved_fit_only():
    codes = on_circles()
    linear = d_score(codes, labels(), TRAIN, TEST)["content"]["factors"][0]
    assert linear["from_transformation"] < 0.45
    found = curved_read_out(codes, labels(), TRAIN, TEST)
    kind, size = found["content"]["factors"]
    assert (kind["name"], kind["measure"], kind["chance"]) == ("kind", "accuracy", linear["chance"])
    assert kind["from_transformation"] > 0.98
    assert kind["from_content"] < 0.45
    assert size["measure"] == "r2" and size["from_content"] > 0.99 and size["from_transformation"] < 0.05
    assert found["content"]["from_transformation"] == pytest.approx(
        (kind["from_transformation"] + size["from_transformation"]) / 2
    )
    # A parabola of what c holds.
    assert found["transformation"]["from_content"] > 0.95
    assert found["transformation"]["measure"] == "r2"


def test_the_order_of_a_file_changes_nothing():
    order = np.random.default_rng(4).permutation(COUNT)
    codes = on_circles()
    shuffled = curved_read_out(codes.select(IDS[order]), labels().select(IDS[order]), TRAIN, TEST[::-1])
    assert shuffled == curved_read_out(codes, labels(), TRAIN, TEST)


def test_what_cannot_be_scored_says_why():
    truth = LabelTable(IDS, (Factor("same", "content", np.full(COUNT, 2.0)),))
    found = curved_read_out(on_circles(), truth, TRAIN, TEST)
    assert found["content"]["from_transformation"] is None
    assert found["content"]["reason"] == "every training image has the same value"
    assert found["transformation"]["reason"] == "the images have no transformation labels"
    nothing = curved_read_out(on_circles(), LabelTable(IDS[:0], ()), TRAIN, TEST)
    assert "no training image" in nothing["content"]["reason"]


def test_a_class_that_is_not_among_the_fitted_counts_as_wrong():
    kinds = np.array(["a", "b"])[KIND % 2].astype("<U4")
    kinds[600:] = "rare"
    found = curved_read_out(on_circles(), LabelTable(IDS, (Factor("kind", "content", kinds),)), TRAIN, TEST)
    assert found["content"]["from_content"] == found["content"]["chance"] == 0


def test_only_so_many_are_fitted():
    count = MOST_FITTED + 600
    ids = np.array([f"w{i:05d}" for i in range(count)])
    values = np.random.default_rng(5).normal(size=(count, 2)).astype(np.float32)
    table = LabelTable(ids, (Factor("x", "content", values[:, 0].astype(float)),))
    found = curved_read_out(Codes(ids, values, values), table, ids[:-300], ids[-300:])
    assert found["content"]["factors"][0]["train_images"] == MOST_FITTED
    assert found["content"]["from_content"] > 0.999


def test_the_report_tells_it(tmp_path):
    run = make_run(tmp_path / "run", source=blob_source(40))
    evaluation = evaluate_run(run)
    shown = {reading.key: reading for reading in readings(evaluation)}
    key = "curved_read_out.content.from_transformation"
    value = evaluation["curved_read_out"]["content"]["from_transformation"]
    assert shown[key].value == value and "curved fit" in shown[key].meaning
    assert shown[key].title in render(run, evaluation, [])
    earlier = {name: evaluation[name] for name in evaluation if name != "curved_read_out"}
    assert key not in [reading.key for reading in readings(earlier)]
