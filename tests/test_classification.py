"""Particles sorted by averages, against volumes drawn from formulas in known orientations."""

import numpy as np
import pytest
import torch

from dualcontrast.averaging import classification
from dualcontrast.averaging.classification import classify, compare, shift_lattice
from dualcontrast.averaging.particles import mean_seen, spectra_of, waves_for
from dualcontrast.averaging.search import Search, scores
from dualcontrast.wedge import apply_wedge, tilt_wedge
from posed_blobs import BLOBS, BOX, drawn, posed_blobs

pytestmark = pytest.mark.slow

EACH, NOISE = 80, 0.5
OTHER = BLOBS * [0.5, 0.5, 1.4]
TRUTH = np.repeat([0, 1], EACH)


def particles() -> torch.Tensor:
    """Two particles in unknown places, shape (160, 1, 16, 16, 16)."""
    rotations, shifts = drawn(2 * EACH, 0)
    return torch.cat(
        [
            posed_blobs(rotations[i == TRUTH], shifts[i == TRUTH], places, NOISE, i)
            for i, places in enumerate((BLOBS, OTHER))
        ]
    )


def mixed(share: float) -> list[np.ndarray]:
    """Rows of two classes, of whose members a share is in the right one."""
    right = np.random.default_rng(1).random(2 * EACH) < share
    return [np.flatnonzero((label == TRUTH) == right) for label in (0, 1)]


def test_badly_mixed_classes_become_pure() -> None:
    """From a third of the particles in the wrong class to hardly any, of which a wedge was not measured."""
    wedge = tilt_wedge((BOX, BOX, BOX), -60.0, 60.0)[None]
    waves, volumes = waves_for((1, BOX, BOX, BOX)), apply_wedge(particles(), wedge)
    spectra = spectra_of(waves, volumes)
    begun = mixed(0.67)
    assert (begun[0] < EACH).mean() < 0.72
    stages: list[str] = []
    found = classify(
        lambda rows: spectra[torch.from_numpy(rows)],
        begun,
        waves,
        mean_seen(waves, wedge, BOX),
        rounds=8,
        report=lambda stage, share: stages.append(stage),
    )
    assert (found.probabilities.argmax(axis=1) == TRUTH).mean() > 0.95
    assert np.allclose(found.probabilities.sum(axis=1), 1)
    assert found.separation is not None and found.separation > 5
    assert list(dict.fromkeys(stages)) == ["first averages", "sorting", "all particles"]


@pytest.mark.parametrize("tilted", [False, True])
def test_two_classes_of_one_particle_are_told(tilted) -> None:
    """Their averages do not differ by more than noise makes them."""
    waves, volumes = waves_for((1, BOX, BOX, BOX)), particles()[:EACH]
    wedge = tilt_wedge((BOX, BOX, BOX), -60.0, 60.0)[None]
    spectra = spectra_of(waves, apply_wedge(volumes, wedge) if tilted else volumes)
    halves = [np.arange(0, EACH, 2), np.arange(1, EACH, 2)]
    seen = mean_seen(waves, wedge, BOX) if tilted else None
    found = classify(lambda rows: spectra[torch.from_numpy(rows)], halves, waves, seen, rounds=4)
    # With a wedge, averages of so few differ by which parts of them were measured as well.
    assert found.separation is not None and found.separation < (4 if tilted else 3)


@pytest.mark.parametrize("tilted", [False, True])
def test_what_a_mean_has_beyond_the_degree_does_not_count_against_it(tilted) -> None:
    """Products end at a degree; energy beyond it, which nothing there can match, would cost the finer one."""
    waves, volumes = waves_for((1, BOX, BOX, BOX)), particles()[:4]
    wedge = tilt_wedge((BOX, BOX, BOX), -60.0, 60.0)[None]
    seen = mean_seen(waves, wedge, BOX) if tilted else None
    search = Search(waves, spectra_of(waves, volumes), seen, max_shift=BOX / 10, seed=0)
    mean = waves.coefficients(search.spectra).mean(dim=0)
    finer, by_degree = mean.clone(), waves.by_degree(mean)
    assert len(by_degree) - 1 > search.degree
    coarse = sum(part.numel() for part in by_degree[: search.degree + 1])
    finer[coarse:] *= 5
    energies = search.energy_seen(torch.stack((mean, finer)), search.grid, search.degree)
    torch.testing.assert_close(energies[0], energies[1])
    whole = search.energy_seen(torch.stack((mean, finer)), search.grid)
    assert (whole[1] > 1.01 * whole[0]).all()
    if not tilted:
        assert float(energies[0]) == pytest.approx(float(mean[:coarse].square().sum()), rel=1e-5)


def test_the_same_seed_gives_the_same_classes() -> None:
    """Bit for bit; another seed does not."""
    waves = waves_for((1, BOX, BOX, BOX))
    spectra = spectra_of(waves, particles()[::4])
    begun = [np.arange(0, 40, 2), np.arange(1, 40, 2)]
    first, second, other = (
        classify(lambda rows: spectra[torch.from_numpy(rows)], begun, waves, rounds=2, seed=seed)
        for seed in (3, 3, 4)
    )
    assert torch.equal(first.log_likelihoods, second.log_likelihoods)
    assert not torch.equal(first.log_likelihoods, other.log_likelihoods)


@pytest.mark.parametrize(("finer", "points"), [(False, 35), (True, 189)])
def test_no_shift_is_far_from_the_lattice(finer, points) -> None:
    """No farther than the half diagonal of what a body-centred lattice leaves: √5 / 4 of its step."""
    lattice, step = shift_lattice(32, finer=finer), 0.75 if finer else 1.5
    assert lattice.shape == (points, 3)
    inside = torch.from_numpy(np.random.default_rng(0).uniform(-1.5, 1.5, size=(2000, 3))).float()
    assert float(torch.cdist(inside, lattice).min(dim=1).values.max()) <= step * np.sqrt(5) / 4 + 1e-6


@pytest.mark.parametrize("tilted", [False, True])
def test_unsure_particles_are_compared_over_finer_shifts(monkeypatch, tilted) -> None:
    """As if all orientations were, and not only the probable ones; computed here one pose after the other."""
    monkeypatch.setattr(classification, "SURE", 1.1)
    waves, volumes = waves_for((1, BOX, BOX, BOX)), particles()[::40]
    wedge = tilt_wedge((BOX, BOX, BOX), -60.0, 60.0)[None]
    seen = mean_seen(waves, wedge, BOX) if tilted else None
    search = Search(waves, spectra_of(waves, volumes), seen, max_shift=BOX / 10, seed=0)
    nowhere = np.zeros((2, 3))
    upright = np.stack([np.eye(3)] * 2)
    means = waves.coefficients(
        spectra_of(
            waves,
            torch.cat([posed_blobs(upright[:1], nowhere[:1], places, 0.0, 0) for places in (BLOBS, OTHER)]),
        )
    )
    noise = 2.0
    found = compare(search, means, noise)
    degree = min(classification.LAST_DEGREE, search.highest)
    energies = search.energy_seen(means, search.grid, degree)
    expected = []
    for spectrum in search.spectra:
        of_shifts = []
        for shift in shift_lattice(BOX, finer=True):
            moved = waves.coefficients(spectrum[None], shift[None])
            of_shifts.append(scores(waves.products(moved, means, degree), search.grid)[0] - 0.5 * energies)
        # The noise of a particle is spread over what was measured of it.
        of_measured = noise / (1.0 if seen is None else float(seen.mean()))
        expected.append((torch.stack(of_shifts) / of_measured).logsumexp(dim=2).logsumexp(dim=0))
    wanted = torch.stack(expected)
    assert torch.allclose(found[:, 0] - found[:, 1], wanted[:, 0] - wanted[:, 1], atol=0.05)
    monkeypatch.setattr(classification, "SURE", 0.0)
    coarse = compare(search, means, noise)
    assert not torch.allclose(coarse[:, 0] - coarse[:, 1], wanted[:, 0] - wanted[:, 1], atol=0.05)
