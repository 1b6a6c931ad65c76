"""Turns against rotations of SciPy and Wigner matrices of their products."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from dualcontrast.averaging.turns import Turns, nearby
from dualcontrast.wigner import wigner_matrices

HIGHEST = 3


def turns(rotations: Rotation) -> Turns:
    """Turns of SciPy's rotations."""
    matrices = rotations.as_matrix()
    return Turns(torch.from_numpy(matrices).float(), wigner_matrices(matrices, HIGHEST))


def test_one_after_the_other_is_the_product():
    first, second = (
        Rotation.random(5, rng=np.random.default_rng(0)),
        Rotation.random(rng=np.random.default_rng(1)),
    )
    found = turns(first).then(turns(Rotation.concatenate([second])))
    expected = turns(first * second)
    assert torch.allclose(found.rotations, expected.rotations, atol=1e-5)
    for matrix, other in zip(found.wigner, expected.wigner, strict=True):
        assert torch.allclose(matrix, other, atol=1e-4)


def test_none_turns_nothing():
    some = turns(Rotation.random(4, rng=np.random.default_rng(2)))
    same = some.then(Turns.none(4, HIGHEST))
    assert torch.equal(same.rotations, some.rotations)
    assert all(torch.equal(a, b) for a, b in zip(same.wigner, some.wigner, strict=True))


def test_nearby_turns_are_small_and_one_is_none():
    found = Rotation.from_matrix(nearby(0, 0, 2.0, HIGHEST).rotations.double().numpy()).magnitude()
    assert found[0] < 1e-5
    # Three components of 2 degrees each: a root mean square of 2 √3.
    assert 3.1 < np.degrees(np.sqrt((found[1:] ** 2).mean())) < 3.9
