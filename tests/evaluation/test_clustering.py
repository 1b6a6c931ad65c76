from itertools import permutations

import numpy as np
import pytest

from dualcontrast.codes import Codes
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.evaluation.clustering import clustering, fit_and_assign, matched_accuracy


@pytest.mark.parametrize("seed", range(5))
def test_matching_finds_the_best_of_all_permutations(seed):
    rng = np.random.default_rng(seed)
    labels, clusters = rng.integers(4, size=40), rng.integers(4, size=40)
    best = max(np.mean(np.array(order)[clusters] == labels) for order in permutations(range(4)))
    assert matched_accuracy(labels, clusters) == pytest.approx(best)


def test_matching_takes_names_and_other_numbers_of_clusters():
    labels = np.array(["a", "a", "b", "b", "b"])
    assert matched_accuracy(labels, np.array([7, 7, 3, 3, 3])) == 1
    assert matched_accuracy(labels, np.zeros(5)) == 0.6
    assert matched_accuracy(labels, np.arange(5)) == 0.4


def separated(rng, count=600):
    labels = rng.integers(3, size=count)
    centres = np.array([[0, 0], [8, 0], [0, 8]])
    # Stretched clusters, which k-means alone would cut.
    return labels, centres[labels] + rng.normal(size=(count, 2)) * [2.2, 0.3]


def test_separated_groups_are_found(rng):
    labels, codes = separated(rng)
    clusters, converged = fit_and_assign(codes[:400], codes[400:], 3)
    assert converged
    assert matched_accuracy(labels[400:], clusters) > 0.98


def test_the_same_seed_gives_the_same_clusters(rng):
    codes = rng.normal(size=(300, 4))
    np.testing.assert_array_equal(
        fit_and_assign(codes, codes, 5, seed=1)[0], fit_and_assign(codes, codes, 5, seed=1)[0]
    )


def test_many_starts_find_what_one_start_misses(rng):
    # Ten tight groups in pairs: a single start often merges a pair and splits another.
    centres = np.repeat(rng.normal(size=(5, 6)) * 10, 2, axis=0) + rng.normal(size=(10, 6)) * 1.5
    labels = rng.integers(10, size=1500)
    codes = centres[labels] + rng.normal(size=(1500, 6)) * 0.15
    accuracies = [
        matched_accuracy(labels, fit_and_assign(codes, codes, 10, seed=seed)[0]) for seed in range(3)
    ]
    assert min(accuracies) > 0.99


def test_a_dead_code_is_one_cluster():
    dead = np.ones((50, 3), dtype=np.float32)
    assert set(fit_and_assign(dead, dead, 3)[0]) == {0}


def test_scores_of_a_table(rng):
    labels, codes = separated(rng)
    ids = np.array([f"p{i}" for i in range(600)])
    table = LabelTable(
        ids,
        (
            Factor("kind", "content", labels),
            Factor("size", "content", rng.normal(size=600)),
            Factor("pose", "transformation", labels),
        ),
    )
    content = codes.astype(np.float32)
    found = clustering(Codes(ids, content, content), table, ids[:400], ids[400:])
    assert found["gmm_accuracy"] > 0.98
    assert found["ari"] > 0.95
    assert found["nmi"] > 0.9
    assert [factor["name"] for factor in found["factors"]] == ["kind"]
    assert found["reason"] is None


def test_without_discrete_content_labels_there_is_a_reason(rng):
    ids = np.array(["a", "b", "c"])
    table = LabelTable(ids, (Factor("size", "content", np.array([1.0, 2.0, 3.0])),))
    codes = Codes(ids, rng.normal(size=(3, 2)), rng.normal(size=(3, 2)))
    found = clustering(codes, table, ids[:2], ids[2:])
    assert found["gmm_accuracy"] is None
    assert "no discrete content labels" in found["reason"]
