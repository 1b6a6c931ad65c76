"""Whether particles are light or dark, told from particles that are either."""

import json

import numpy as np
import pytest

from dualcontrast.contrast import ContrastEvidence, measure_contrast
from dualcontrast.data.arrays import ArraySource


def particles(sign: float, count: int = 80, noise: float = 1.0, hollow: bool = False) -> ArraySource:
    """Particles off the centre, in noise: balls, or shells with nothing inside."""
    rng = np.random.default_rng(1)
    axis = np.arange(20) - 10
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    centre = rng.uniform(-1, 1, (count, 3))[:, :, None, None, None]
    radius = np.sqrt(np.square(grid - centre).sum(axis=1))
    shape = np.exp(-np.square(radius - (6 if hollow else 0)) / (2 * (1 if hollow else 3) ** 2))
    volumes = sign * 0.5 * shape + noise * rng.normal(size=shape.shape) + 7
    return ArraySource(volumes.astype(np.float32), ids=[f"p{i:03d}" for i in range(count)])


@pytest.mark.parametrize("hollow", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_light_and_dark_particles(sign, hollow):
    evidence = measure_contrast(particles(sign, hollow=hollow))
    assert np.sign(evidence.difference) == np.sign(evidence.t) == sign
    assert evidence.decisive and evidence.volumes == 80


def test_noise_decides_nothing():
    evidence = measure_contrast(particles(0))
    assert abs(evidence.t) < 4 and not evidence.decisive


def test_the_numbers_are_those_of_the_definition():
    # Ball of radius 7 (0.7 of half the box) at 3, everything else 1: no noise, so by hand.
    axis = np.arange(20) - 10
    radius = np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")))
    volume = np.where(radius <= 7, 3.0, 1.0)
    scaled = np.stack([volume, 10 * volume, volume + 0.5 * (radius > 9.5)])
    evidence = measure_contrast(ArraySource(scaled.astype(np.float32)))
    share = (radius <= 7).mean()
    deviation = 2 * np.sqrt(share * (1 - share))
    third = scaled[2]
    shell = third[(radius > 8.5) & (radius <= 10)].mean()
    values = np.array([2 / deviation, 2 / deviation, (3 - shell) / third.std()])
    assert evidence.difference == pytest.approx(values.mean(), rel=1e-5)
    assert evidence.t == pytest.approx(values.mean() / (values.std(ddof=1) / np.sqrt(3)), rel=1e-3)


def test_the_order_of_the_particles_and_the_seed():
    source = particles(1, count=600, noise=3)
    shuffled = np.random.default_rng(2).permutation(600)
    other = ArraySource(source.read(range(600))[shuffled], ids=source.ids[shuffled])
    assert measure_contrast(source) == measure_contrast(other)
    assert measure_contrast(source, seed=0) != measure_contrast(source, seed=1)
    assert measure_contrast(source).volumes == 512


def test_what_cannot_be_told():
    constant = ArraySource(np.ones((5, 20, 20, 20), np.float32))
    assert measure_contrast(constant) == ContrastEvidence(0.0, 0.0, 5)
    assert measure_contrast(particles(1, count=1)).t == 0


def test_record():
    evidence = measure_contrast(particles(1))
    assert ContrastEvidence.from_dict(json.loads(json.dumps(evidence.to_dict()))) == evidence
