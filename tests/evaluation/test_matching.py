import numpy as np

from dualcontrast.evaluation.matching import match_names, matched


def test_permuted_names_are_matched_back(rng):
    reference = rng.integers(5, size=300)
    order = rng.permutation(5)
    assert match_names(reference, order[reference]) == {str(order[n]): str(n) for n in range(5)}
    assert matched(reference, order[reference]).all()


def test_one_name_stands_for_one_other_even_where_two_would_fit():
    # Both 'x' and 'y' are mostly 'a'; the larger gets it, and 'y' has to do with 'b'.
    reference = np.array(["a"] * 9 + ["b"])
    other = np.array(["x"] * 5 + ["y"] * 4 + ["y"])
    assert match_names(reference, other) == {"x": "a", "y": "b"}
    np.testing.assert_array_equal(matched(reference, other), [True] * 5 + [False] * 4 + [True])


def test_names_that_are_left_over_match_nothing():
    reference, other = np.array(["a", "a", "a", "b"]), np.array([1, 1, 2, 3])
    assert match_names(reference, other) == {"1": "a", "3": "b"}
    np.testing.assert_array_equal(matched(reference, other), [True, True, False, True])
    assert match_names(other, reference) == {"a": "1", "b": "3"}
    np.testing.assert_array_equal(matched(other, reference), [True, True, False, True])
