"""Alignment against volumes drawn from formulas in known orientations."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast.averaging.alignment import Alignment, align, align_further
from dualcontrast.averaging.particles import mean_seen, spectra_of, waves_for
from dualcontrast.errors import DataError
from dualcontrast.fourier import fourier_pad
from dualcontrast.wedge import apply_wedge, tilt_wedge
from posed_blobs import BLOBS, BOX, drawn, posed_blobs

pytestmark = pytest.mark.slow


def aligned(
    volumes: Tensor, references: int = 1, *, wedges: Tensor | None = None, seed: int = 0
) -> Alignment:
    """Align volumes (N, 1, L, L, L), as they are read for it."""
    waves, full = waves_for(volumes.shape[1:]), volumes.shape[-1]
    seen = None if wedges is None else mean_seen(waves, wedges, full)
    return align(spectra_of(waves, volumes), waves, full, references, seen=seen, seed=seed)


def errors(found: Tensor, true: np.ndarray) -> np.ndarray:
    """Angles in degrees between found and true orientations, up to the one turn of the mean."""
    relative = Rotation.from_matrix(np.einsum("nji,njk->nik", true, found.double().numpy()))
    best = min(
        ((relative[i].inv() * relative).magnitude() for i in range(len(relative))), key=lambda a: np.median(a)
    )
    return np.degrees(best)


def test_orientations_and_shifts_are_found() -> None:
    """Of noisy volumes in unknown places, to a few degrees and a fraction of a voxel."""
    rotations, shifts = drawn(60, 0)
    found = aligned(posed_blobs(rotations, shifts, BLOBS, 0.3, 1), seed=0)
    angles = errors(found.rotations, rotations)
    assert np.median(angles) < 4
    assert (angles < 15).mean() > 0.9
    # The mean may lie off the middle by some vector d: volumes then lie off by A d.
    left = np.einsum("nji,nj->ni", found.rotations.double().numpy(), found.shifts.double().numpy() - shifts)
    assert np.median(np.linalg.norm(left - np.median(left, axis=0), axis=1)) < 0.35


def test_the_same_seed_gives_the_same_alignment() -> None:
    """Bit for bit."""
    volumes = posed_blobs(*drawn(20, 0), BLOBS, 0.5, 1)
    first, second = aligned(volumes, 2, seed=3), aligned(volumes, 2, seed=3)
    assert torch.equal(first.rotations, second.rotations)
    assert torch.equal(first.references, second.references)


def test_two_states_are_told_apart() -> None:
    """Volumes in which one blob stands elsewhere are sorted by it, wherever they lie."""
    other = BLOBS.copy()
    other[1] = [2.0, 4.0, 0.0]
    rotations, shifts = drawn(80, 2)
    volumes = torch.cat(
        (
            posed_blobs(rotations[:40], shifts[:40], BLOBS, 0.5, 3),
            posed_blobs(rotations[40:], shifts[40:], other, 0.5, 4),
        )
    )
    found = aligned(volumes, 2, seed=0).references.numpy()
    truth = np.repeat([0, 1], 40)
    agreement = (found == truth).mean()
    assert max(agreement, 1 - agreement) > 0.9


def test_further_volumes_are_laid_on_the_means_of_others() -> None:
    """In the frame of these, and each on the mean of its own state."""
    other = BLOBS.copy()
    other[1] = [2.0, 4.0, 0.0]
    rotations, shifts = drawn(160, 2)
    truth = np.arange(160) % 2
    volumes = torch.empty(160, 1, BOX, BOX, BOX)
    for state, places in enumerate((BLOBS, other)):
        rows = truth == state
        volumes[torch.from_numpy(rows)] = posed_blobs(rotations[rows], shifts[rows], places, 0.5, 3 + state)
    found = aligned(volumes[:80], 2, seed=0)
    further = align_further(spectra_of(found.waves, volumes[80:]), found, seed=0)
    states = torch.cat((found.references, further.references)).numpy()
    agreement = (states == truth).reshape(2, 80).mean(axis=1)
    assert (np.maximum(agreement, 1 - agreement) > 0.9).all()
    # The same number is the same state.
    assert (agreement > 0.5).all() or (agreement < 0.5).all()
    together = torch.cat((found.rotations, further.rotations))
    for state in (0, 1):
        rows = states == state
        angles = errors(together[torch.from_numpy(rows)], rotations[rows])
        first = int(rows[:80].sum())
        assert np.median(angles[first:]) < 1.5 * np.median(angles[:first])
        assert np.median(angles[first:]) < 8
    assert further.separation == found.separation


# A half turn about z lays the first four on each other, and the fifth on none.
PAIRED = np.array([[4.0, 1, 0], [-4, -1, 0], [0, 3, -3], [0, -3, -3], [2, -3, 3]])
PAIRED_WEIGHTS = np.array([1.2, 1.2, 1.0, 1.0, 0.6])


def test_states_of_a_nearly_symmetric_particle_are_told_apart() -> None:
    """Although the mean of all does not say in which of two orientations a particle lies."""
    other = PAIRED.copy()
    other[4] = [-2.0, 1.0, 3.5]
    rotations, shifts = drawn(240, 2)
    truth = np.arange(240) % 2
    volumes = torch.empty(240, 1, BOX, BOX, BOX)
    for state, places in enumerate((PAIRED, other)):
        rows = truth == state
        volumes[torch.from_numpy(rows)] = posed_blobs(
            rotations[rows], shifts[rows], places, 0.3, 3 + state, PAIRED_WEIGHTS
        )
    found = aligned(volumes, 2, seed=0)
    agreement = (found.references.numpy() == truth).mean()
    assert max(agreement, 1 - agreement) > 0.95
    assert found.separation is not None and found.separation > 3
    # Which of two ways one state is laid on the other, nothing says.
    for state in (0, 1):
        rows = truth == state
        assert np.median(errors(found.rotations[torch.from_numpy(rows)], rotations[rows])) < 6


def test_a_missing_wedge_does_not_line_up() -> None:
    """With a wedge of ±50 degrees the particle is laid on itself, not the wedge on the wedge."""
    wedge = tilt_wedge((BOX, BOX, BOX), -50, 50)[None]
    rotations, shifts = drawn(60, 5)
    volumes = apply_wedge(posed_blobs(rotations, shifts, BLOBS, 0.2, 6), wedge)
    angles = errors(aligned(volumes, wedges=wedge, seed=0).rotations, rotations)
    assert np.median(angles) < 12


def test_large_boxes_give_shifts_in_their_own_voxels() -> None:
    """A box of 48 is aligned at 32; its shifts are 1.5 times those of the smaller box."""
    rotations, shifts = drawn(12, 7)
    small = torch.nn.functional.pad(posed_blobs(rotations, shifts, BLOBS, 0.1, 8), (8,) * 6)
    inner, outer = aligned(small, seed=0), aligned(fourier_pad(small, 48), seed=0)
    assert (outer.shifts - 1.5 * inner.shifts).abs().median() < 0.05


def test_identical_volumes_have_fewer_states_than_asked_for():
    """Where nothing tells volumes apart, no mean is made of none."""
    volumes = posed_blobs(np.eye(3)[None], np.zeros((1, 3)), BLOBS, 0.1, 0).expand(6, -1, -1, -1, -1)
    found = aligned(volumes.clone(), 3)
    assert found.coefficients.isfinite().all() and found.shifts.isfinite().all()


@pytest.mark.parametrize(
    ("shape", "references", "says"),
    [
        ((4, 1, 8, 8, 10), 1, "cubes"),
        ((4, 2, 8, 8, 8), 1, "one channel"),
        ((3, 1, 8, 8, 8), 2, "too few"),
    ],
)
def test_what_cannot_be_aligned_is_refused(shape: tuple[int, ...], references: int, says: str) -> None:
    """With a message that says why."""
    with pytest.raises(DataError, match=says):
        aligned(torch.zeros(shape), references)
