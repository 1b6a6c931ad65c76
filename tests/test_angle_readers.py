"""What the readers of the known angle ask of z."""

import pytest
import torch

from dualcontrast.angle_readers import (
    DifferenceReader,
    UprightReader,
    build_angle_reader,
    half_turn_error,
)


def best_slope(poses: torch.Tensor, turns: torch.Tensor) -> float:
    """Slope that a reader settles at, whose z is the angle at which an image lies, in units of 90°."""
    reader = UprightReader(1, half_turn=2)
    with torch.no_grad():
        reader.weight.fill_(1.0)
    z, z_view, known = poses[:, None] / 90, (poses + turns)[:, None] / 90, turns[:, None] / 90
    optimiser = torch.optim.LBFGS([reader.slope, reader.offset], max_iter=50)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        error = reader.error(z, z_view, known)
        error.backward()
        return error

    optimiser.step(closure)
    return float(reader.slope.detach())


@pytest.mark.parametrize(("spread", "expected"), [(0.0, 1.0), (90.0, 1 / 2), (180.0, 1 / 5)])
def test_the_angle_alone_counts_as_far_as_images_share_a_pose(spread, expected):
    """Of images at θ turned by an independent α, α is regressed on θ + α with slope var α / var(θ + α)."""
    generator = torch.Generator().manual_seed(0)
    poses, turns = (2 * torch.rand(2, 100_000, generator=generator) - 1) * torch.tensor([[spread], [90.0]])
    assert best_slope(poses, turns) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("kind", "dimension", "expected"), [
    ("pair", 2, {"0.weight", "0.bias", "2.weight", "2.bias"}),
    ("difference", 2, {"weight"}),
    ("upright", 2, {"weight", "slope", "offset"}),
    ("upright", 3, {"0.weight", "0.bias", "2.weight", "2.bias"}),
])  # fmt: skip
def test_weights_keep_the_names_that_runs_were_saved_with(kind, dimension, expected):
    assert set(build_angle_reader(kind, 10, dimension, 90.0).state_dict()) == expected


def test_half_turns_are_no_error_and_small_errors_count_as_their_squares():
    known = torch.tensor([[0.5], [-0.3]], dtype=torch.float64)
    for half_turn in (1.0, 2.0):
        off = [float(half_turn_error(known + by, known, half_turn)) for by in (half_turn, -half_turn, 0.01)]
        assert off == pytest.approx([0, 0, 1e-4], abs=1e-7)
    # Farthest from right: a quarter of a turn, 2 h² / 2 π² · (1 + 1) / 2.
    assert float(half_turn_error(known + 1, known, 2.0)) == pytest.approx(4 / torch.pi**2)


def test_what_looks_the_same_upside_down_is_read_in_full():
    """Shapes of that kind in all poses, and a z that follows the angle and jumps after half a turn.

    Turned by a uniform angle, the pose is uniform again and independent of the first, so z' - z has the
    variance 2/3 (in units of 90°) and no covariance with the angle: mean squared errors only grow with it.
    """
    generator = torch.Generator().manual_seed(0)
    poses, known = 2 * torch.rand(2, 200_000, 1, generator=generator, dtype=torch.float64) - 1

    def z_of(angles: torch.Tensor) -> torch.Tensor:
        return (angles + 1) % 2 - 1

    z, z_view = z_of(poses), z_of(poses + known)
    plain, upright = DifferenceReader(1).double(), UprightReader(1, half_turn=2).double()
    with torch.no_grad():
        plain.weight.fill_(1.0)
        upright.weight.fill_(1.0)
        # What the view alone says of the angle is nothing.
        upright.slope.fill_(0.0)
    of_angle = 1 / 3
    assert plain.error(0 * z, 0 * z, known).item() == pytest.approx(of_angle, rel=0.02)
    assert plain.error(z, z_view, known).item() == pytest.approx(of_angle + 2 / 3, rel=0.02)
    assert upright.error(z, z_view, known).item() == pytest.approx(of_angle, rel=0.02)
