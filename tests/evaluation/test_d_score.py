import numpy as np
import pytest
import sklearn.linear_model
from scipy.optimize import minimize

from dualcontrast.codes import Codes
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.evaluation.d_score import (
    classification_score,
    d_score,
    regression_score,
    stratified_rows,
)


def one_hot(labels, count):
    return np.eye(count)[labels]


def test_labels_themselves_are_read_without_error(rng):
    labels = rng.integers(5, size=400)
    codes = one_hot(labels, 5)
    result = classification_score(codes[:300], labels[:300], codes[300:], labels[300:])
    assert result.score == 1
    assert result.converged


def test_a_value_itself_is_explained_fully(rng):
    values = rng.normal(size=400)
    result = regression_score(values[:300, None], values[:300], values[300:, None], values[300:])
    assert result.score == pytest.approx(1, abs=1e-4)


def test_random_codes_give_chance(rng):
    codes, labels = rng.normal(size=(4000, 6)), rng.integers(4, size=4000)
    result = classification_score(codes[:2000], labels[:2000], codes[2000:], labels[2000:])
    assert result.score == pytest.approx(0.25, abs=0.04)
    assert result.chance == pytest.approx(0.25, abs=0.04)
    values = rng.normal(size=4000)
    assert regression_score(codes[:2000], values[:2000], codes[2000:], values[2000:]).score < 0.01


def test_a_dead_code_gives_the_share_of_the_commonest_class(rng):
    labels = np.array(["a"] * 70 + ["b"] * 30)
    dead = np.full((100, 3), 0.1, dtype=np.float32)
    result = classification_score(dead, labels, dead, labels)
    assert result.score == result.chance == 0.7
    assert regression_score(dead, rng.normal(size=100), dead, rng.normal(size=100)).score == 0


def test_noise_of_rounding_is_not_amplified():
    # The last bit of a dead code happens to tell the label.
    labels = np.tile([0, 1], 50)
    code = (1 + labels[:, None] * np.finfo(np.float32).eps).astype(np.float32)
    assert classification_score(code, labels, code, labels).score == 0.5


def test_agrees_with_an_optimiser_of_our_own(rng):
    count, classes = 300, 3
    labels = rng.integers(classes, size=count)
    # Scales that the penalty would feel if the codes were not standardised.
    scale = np.array([1e-3, 1, 1e-2, 5])
    codes = scale * (rng.normal(size=(classes, 4))[labels] + rng.normal(size=(count, 4)))
    x = (codes - codes.mean(axis=0)) / codes.std(axis=0)
    x1 = np.column_stack((x, np.ones(count)))

    def objective(flat):
        weights = flat.reshape(5, classes)
        logits = x1 @ weights
        logits -= logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(logits).sum(axis=1))
        chance = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        loss = (log_sum - logits[np.arange(count), labels]).sum() + 0.5 * (weights[:-1] ** 2).sum()
        gradient = x1.T @ (chance - np.eye(classes)[labels])
        gradient[:-1] += weights[:-1]
        return loss, gradient.ravel()

    best = minimize(objective, np.zeros(15), jac=True, method="BFGS", options={"gtol": 1e-6})
    new = scale * rng.normal(size=(500, 4)) * 2
    new_labels = rng.integers(classes, size=500)
    scaled = (new - codes.mean(axis=0)) / codes.std(axis=0)
    expected = np.mean(
        (np.column_stack((scaled, np.ones(500))) @ best.x.reshape(5, 3)).argmax(axis=1) == new_labels
    )
    assert classification_score(codes, labels, new, new_labels).score == pytest.approx(expected)


def test_a_label_unseen_in_training_counts_as_an_error(rng):
    labels = np.repeat([0, 1], 50)
    test_labels = np.array([0, 1, 2, 2])
    codes = one_hot(labels, 3)
    result = classification_score(codes, labels, one_hot(test_labels, 3), test_labels)
    assert result.score == 0.5


def test_a_fit_that_does_not_converge_is_reported(rng, monkeypatch):
    class Impatient(sklearn.linear_model.LogisticRegression):
        def __init__(self, solver="lbfgs", tol=1e-6, max_iter=1):
            super().__init__(solver=solver, tol=1e-12, max_iter=1)

    monkeypatch.setattr(sklearn.linear_model, "LogisticRegression", Impatient)
    labels = rng.integers(3, size=90)
    codes = rng.normal(size=(90, 4))
    assert not classification_score(codes, labels, codes, labels).converged


def test_newton_takes_over_where_the_first_solver_stalls(rng, monkeypatch):
    original = sklearn.linear_model.LogisticRegression
    used = []

    def stalling(solver, tol, max_iter):
        used.append(solver)
        return original(solver=solver, tol=tol, max_iter=1 if solver == "lbfgs" else max_iter)

    monkeypatch.setattr(sklearn.linear_model, "LogisticRegression", stalling)
    labels = rng.integers(3, size=90)
    codes = rng.normal(size=(90, 4))
    assert classification_score(codes, labels, codes, labels).converged
    assert used == ["lbfgs", "newton-cholesky"]


def test_the_sample_keeps_the_shares_of_the_classes(rng):
    values = np.array(["a"] * 6000 + ["b"] * 3000 + ["c"] * 1000)
    chosen = stratified_rows(values, 1000, rng)
    counts = {name: int(np.sum(values[chosen] == name)) for name in "abc"}
    assert counts["a"] == pytest.approx(600, abs=2)
    assert counts["b"] == pytest.approx(300, abs=2)
    assert counts["c"] == pytest.approx(100, abs=2)
    assert len(np.unique(chosen)) == len(chosen)


def test_the_sample_keeps_a_rare_class(rng):
    values = np.concatenate((np.zeros(5000, dtype=int), [1]))
    assert set(values[stratified_rows(values, 50, rng)]) == {0, 1}


def test_a_sample_is_not_needed_below_the_limit(rng):
    np.testing.assert_array_equal(stratified_rows(np.arange(10.0), 10, rng), np.arange(10))


def make(count, rng):
    ids = np.array([f"p{i}" for i in range(count)])
    kind, angle = rng.integers(3, size=count), rng.uniform(-1, 1, count)
    codes = Codes(ids, one_hot(kind, 3).astype(np.float32), angle[:, None].astype(np.float32))
    return ids, kind, angle, codes


def test_all_four_directions(rng):
    ids, kind, angle, codes = make(500, rng)
    labels = LabelTable(
        ids,
        (
            Factor("kind", "content", kind),
            Factor("angle", "transformation", angle),
            Factor("day", "metadata", kind),
        ),
    )
    scores = d_score(codes, labels, ids[:300], ids[300:])
    assert scores["content"]["from_content"] == 1
    assert scores["content"]["from_transformation"] < 0.5
    assert scores["transformation"]["from_transformation"] > 0.999
    assert scores["transformation"]["from_content"] < 0.05
    assert [factor["name"] for role in scores.values() for factor in role["factors"]] == ["kind", "angle"]
    assert scores["content"]["measure"] == "accuracy"
    assert scores["transformation"]["measure"] == "r2"


def test_several_factors_are_averaged(rng):
    ids, kind, _, codes = make(500, rng)
    labels = LabelTable(
        ids, (Factor("kind", "content", kind), Factor("noise", "content", rng.normal(size=500)))
    )
    content = d_score(codes, labels, ids[:300], ids[300:])["content"]
    each = [factor["from_content"] for factor in content["factors"]]
    assert content["from_content"] == pytest.approx(np.mean(each))
    assert each[0] == 1
    assert each[1] < 0.05
    assert content["measure"] == "mean of accuracy and r2"


def test_absent_labels_are_none_with_a_reason(rng):
    ids, kind, _, codes = make(60, rng)
    labels = LabelTable(ids, (Factor("kind", "content", kind),))
    block = d_score(codes, labels, ids[:40], ids[40:])["transformation"]
    assert block["from_content"] is None
    assert block["from_transformation"] is None
    assert "no transformation labels" in block["reason"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.arange(60), "too many for classes"),
        (np.zeros(60, dtype=int), "same value"),
    ],
)
def test_a_factor_that_cannot_be_scored_says_why(values, reason, rng):
    ids, _, _, codes = make(60, rng)
    labels = LabelTable(ids, (Factor("bad", "content", values),))
    block = d_score(codes, labels, ids[:40], ids[40:])["content"]
    assert block["from_content"] is None
    assert reason in block["reason"]


def test_particles_without_a_label_are_left_out(rng):
    ids, kind, _, codes = make(500, rng)
    labelled = np.concatenate((ids[:100], ids[300:340]))
    labels = LabelTable(labelled, (Factor("kind", "content", np.concatenate((kind[:100], kind[300:340]))),))
    factor = d_score(codes, labels, ids[:300], ids[300:])["content"]["factors"][0]
    assert (factor["train_images"], factor["test_images"]) == (100, 40)


def test_a_sample_of_many_training_images_is_fitted(rng, monkeypatch):
    monkeypatch.setattr("dualcontrast.evaluation.d_score.TRAINING_ROWS", 120)
    ids, kind, _, codes = make(500, rng)
    labels = LabelTable(ids, (Factor("kind", "content", kind),))
    content = d_score(codes, labels, ids[:300], ids[300:])["content"]
    assert content["factors"][0]["train_images"] == 120
    assert content["from_content"] == 1


def test_the_score_is_of_held_out_images(rng):
    # Codes that are good in training and noise on the held-out images.
    ids, kind, _, codes = make(600, rng)
    content = codes.content.copy()
    content[300:] = content[300:][rng.permutation(300)]
    shuffled = Codes(ids, content, codes.transformation)
    labels = LabelTable(ids, (Factor("kind", "content", kind),))
    assert d_score(shuffled, labels, ids[:300], ids[300:])["content"]["from_content"] < 0.5
