"""What the readers of the known angle ask of z."""

import pytest
import torch

from dualcontrast.angle_readers import UprightReader, build_angle_reader


def best_slope(poses: torch.Tensor, turns: torch.Tensor) -> float:
    """Slope that a reader settles at, whose z is the angle at which an image lies, in units of 90°."""
    reader = UprightReader(1)
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
    assert set(build_angle_reader(kind, 10, dimension).state_dict()) == expected
