"""States told within one identity, on codes whose answers are known."""

import numpy as np
import pytest

from blobs import blob_source, make_run
from dualcontrast.codes import Codes
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.evaluation.evaluate import evaluate_run
from dualcontrast.evaluation.readings import readings
from dualcontrast.evaluation.within_content import within_content
from dualcontrast.figures.report import render

COUNT = 900
IDS = np.array([f"p{i:04d}" for i in range(COUNT)])
RNG = np.random.default_rng(0)
IDENTITY = RNG.integers(3, size=COUNT)
STATE = RNG.integers(4, size=COUNT)
TRAIN, TEST = IDS[:600], IDS[600:]


def labels(states: np.ndarray | None = None) -> LabelTable:
    named = np.array(["nucleosome", "shell", "spike"])[IDENTITY]
    return LabelTable(
        IDS,
        (
            Factor("identity", "content", named),
            Factor("hinge", "transformation", RNG.normal(size=COUNT)),
            Factor("conformation", "transformation", STATE if states is None else states),
        ),
    )


def noise(columns: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(COUNT, columns)).astype(np.float32)


def corners(state: np.ndarray) -> np.ndarray:
    """Four states at the corners of a square, ten deviations apart."""
    return np.stack([state % 2, state // 2], axis=1).astype(np.float32) * 10


def test_states_that_z_holds_and_c_does_not():
    # In z, the identity moves all states, so that only within an identity four groups are four states.
    z = corners(STATE) + noise(2) + 3.0 * IDENTITY[:, None].astype(np.float32)
    found = within_content(Codes(IDS, noise(3, seed=2), z), labels(), TRAIN, TEST)
    assert (found["content"], found["transformation"]) == ("identity", "conformation")
    assert [entry["name"] for entry in found["classes"]] == ["nucleosome", "shell", "spike"]
    assert found["from_transformation"] > 0.99 and found["ari"] > 0.99 and found["gmm_accuracy"] > 0.99
    assert found["from_content"] == pytest.approx(found["chance"], abs=0.1)
    for number, entry in enumerate(found["classes"]):
        assert entry["states"] == 4
        assert entry["train_images"] == np.sum(IDENTITY[:600] == number)
        assert entry["test_images"] == np.sum(IDENTITY[600:] == number)
        most = np.bincount(STATE[:600][IDENTITY[:600] == number]).argmax()
        assert entry["chance"] == np.mean(STATE[600:][IDENTITY[600:] == number] == most)


def test_a_code_that_only_names_the_identity_tells_nothing_within_it():
    # Each identity has states of its own names, and is mostly in one of them: the identity says much.
    state = 10 * IDENTITY + np.where(np.random.default_rng(3).uniform(size=COUNT) < 0.7, 0, STATE)
    z = (20 * np.eye(3)[IDENTITY]).astype(np.float32) + noise(3)
    found = within_content(Codes(IDS, z, z), labels(state), TRAIN, TEST)
    assert found["from_transformation"] == pytest.approx(found["chance"], abs=0.03)
    assert abs(found["ari"]) < 0.1


def test_one_identity_told_and_the_others_not():
    told = IDENTITY == 1
    z = np.where(told[:, None], corners(STATE), 0).astype(np.float32) + noise(2)
    found = within_content(Codes(IDS, noise(2, seed=4), z), labels(), TRAIN, TEST)
    by_name = {entry["name"]: entry for entry in found["classes"]}
    assert by_name["shell"]["from_transformation"] > 0.99 and by_name["shell"]["ari"] > 0.98
    assert by_name["spike"]["from_transformation"] < 0.45 and by_name["spike"]["ari"] < 0.15
    for measure in ("from_content", "from_transformation", "chance", "ari", "gmm_accuracy"):
        assert found[measure] == pytest.approx(np.mean([e[measure] for e in found["classes"]]))


def test_an_identity_with_one_state_is_left_out_of_the_means():
    state = np.where(IDENTITY == 2, 7, STATE)
    z = corners(STATE) + noise(2)
    found = within_content(Codes(IDS, z, z), labels(state), TRAIN, TEST)
    spike = found["classes"][2]
    assert spike["reason"] == "every training image has the same value" and spike["ari"] is None
    assert found["from_transformation"] > 0.99 and found["reason"] is None


def test_a_dead_code_has_no_clusters():
    found = within_content(Codes(IDS, noise(2), np.ones((COUNT, 2), np.float32)), labels(), TRAIN, TEST)
    assert found["ari"] == 0
    assert found["from_transformation"] == found["chance"]


def test_the_order_of_the_particles_changes_nothing():
    z = corners(STATE) + 4 * noise(2)
    codes, truth = Codes(IDS, noise(3, seed=2), z), labels()
    shuffled = IDS[np.random.default_rng(5).permutation(COUNT)]
    again = within_content(codes.select(shuffled), truth.select(shuffled), TRAIN, TEST)
    assert again["ari"] == within_content(codes, truth, TRAIN, TEST)["ari"]


def test_labels_that_are_missing_are_said():
    codes = Codes(IDS, noise(2), noise(2))
    truth = labels()
    without = LabelTable(IDS, truth.of_role("content") + truth.of_role("transformation")[:1])
    assert "no discrete transformation labels" in within_content(codes, without, TRAIN, TEST)["reason"]
    found = within_content(codes, LabelTable(IDS, ()), TRAIN, TEST)
    assert found["reason"] == "the images have no discrete content labels"
    assert found["classes"] == [] and found["ari"] is None
    found = within_content(codes, truth, TRAIN, TEST[:0])
    assert "no held-out image" in found["reason"] and found["ari"] is None


def test_an_evaluation_says_what_is_told_within_each_kind(tmp_path):
    source = blob_source(240)
    angle = source.labels.factors[1].values
    side = np.where(angle > 0, "left", "right")
    source.labels = LabelTable(source.ids, (source.labels.factors[0], Factor("side", "transformation", side)))
    run = make_run(tmp_path / "run", source=source)
    found = evaluate_run(run)
    assert found["within_content"]["from_transformation"] > 0.95
    by_key = {reading.key: reading for reading in readings(found)}
    told = by_key["within_content.from_transformation"]
    assert told.level == "good" and told.title == "Side within each kind read from z"
    assert "The mean of large " in told.meaning
    assert by_key["within_content.from_content"].level == "good"
    page = render(run, found, [])
    assert "Every kind by itself" in page and "Clusters of z against side within each kind" in page
