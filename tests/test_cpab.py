"""CPAB transformations against SciPy's integrator, libcpab, and what a diffeomorphism must do."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import ndimage
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from dualcontrast import cpab
from dualcontrast.cpab import CPAB, exp_minus_1, flow, flow_in_parts, triangle_of, triangles, velocity_basis

CELLS = (2, 4)
# Moves points of the square by 0.04 on average and by up to 0.2: a pixel, and six, of 28.
REALISTIC = 0.5


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def points_in_square(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, 2, generator=generator, dtype=torch.float64)


def containing(points: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """The triangle of each point (P, 2), from the signs of its barycentric coordinates."""
    corners = triangles(cells)
    homogeneous = np.concatenate((corners, np.ones((*corners.shape[:2], 1))), axis=2)
    weights = np.linalg.solve(
        homogeneous.transpose(0, 2, 1)[None], np.c_[points, np.ones(len(points))][:, None, :, None]
    )
    return weights[..., 0].min(axis=2).argmax(axis=1)


@pytest.fixture(scope="module")
def libcpab_basis(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """libcpab's tessellation and basis, told to keep its files out of site-packages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path_factory.mktemp("extensions")))
        from libcpab.tesselation import Tesselation2D
    folder: Path = tmp_path_factory.mktemp("basis")
    return Tesselation2D(list(CELLS), [0, 0], [1, 1], zero_boundary=True, direc=f"{folder}/")


@pytest.fixture(scope="module")
def in_their_order(libcpab_basis: Any) -> np.ndarray:
    """Our number of each of libcpab's triangles."""
    theirs, ours = libcpab_basis.get_cell_centers(), triangles(CELLS).mean(axis=1)
    distance = np.linalg.norm(theirs[:, None] - ours[None], axis=2)
    assert distance.min(axis=1).max() < 1e-12
    return distance.argmin(axis=1)


@pytest.mark.parametrize(
    ("cells", "dim"), [((2, 4), 30), ((1, 1), 2), ((3, 2), 4 + 12 + 6), ((4, 4), 18 + 32 + 12)]
)
def test_dimension_is_that_of_the_free_vertex_velocities(cells, dim):
    # Two for every inner corner and every centre, one for every corner on a side, none for the outer four.
    basis = velocity_basis(cells)
    assert basis.shape == (4 * cells[0] * cells[1], 2, 3, dim)
    flat = basis.reshape(-1, dim)
    assert_allclose(flat.T @ flat, np.eye(dim), atol=1e-12)


def test_basis_spans_what_libcpab_finds(libcpab_basis, in_their_order):
    ours = velocity_basis(CELLS)[in_their_order].reshape(192, 30)
    theirs = libcpab_basis.B
    assert theirs.shape == (192, 30)
    assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-10)


def test_transformation_is_that_of_libcpab(libcpab_basis, in_their_order):
    from libcpab.transformer import CPAB_transformer_slow

    theirs = libcpab_basis.B
    theta, points = draw(6, 30) * REALISTIC, points_in_square(300)
    same_field = theta.numpy() @ velocity_basis(CELLS)[in_their_order].reshape(192, 30).T @ theirs
    settings = SimpleNamespace(ndim=2, nC=32, nc=list(CELLS), Ashape=[2, 3], nstepsolver=50, basis=theirs)
    expected = CPAB_transformer_slow(points.T.float(), torch.as_tensor(same_field).float(), settings)
    moved = CPAB(CELLS).transform(points.float(), theta.float())
    assert_allclose(moved.numpy(), expected.mT.numpy(), atol=1e-5)


@pytest.mark.parametrize("cells", [(2, 4), (3, 1)])
def test_triangles_are_found_by_rounding(cells):
    points = points_in_square(500)
    found = triangle_of(points * torch.tensor(cells), cells)
    assert_allclose(found.numpy(), containing(points.numpy(), cells))


def test_flow_is_the_solution_of_the_differential_equation():
    model, theta = CPAB(CELLS, dtype=torch.float64), draw(1, 30) * REALISTIC
    points = points_in_square(6)
    maps = model.velocities(theta)[0].numpy()

    def velocity(_, position):
        triangle = containing(position[None], CELLS)[0]
        return maps[triangle] @ np.array([*position, 1.0])

    expected = np.array(
        [solve_ivp(velocity, (0, 1), point, rtol=1e-8, atol=1e-9).y[:, -1] for point in points.numpy()]
    )
    assert np.abs(expected - points.numpy()).max() > 0.05
    assert_allclose(model.transform(points, theta)[0].numpy(), expected, atol=1e-4)
    fine = CPAB(CELLS, steps=5000, dtype=torch.float64)
    assert_allclose(fine.transform(points, theta)[0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_opposite_parameters_are_the_inverse(dtype):
    model = CPAB(CELLS, dtype=dtype)
    theta, points = (draw(64, 30) * REALISTIC).to(dtype), points_in_square(500).to(dtype)
    moved = model.transform(points, theta)
    distance = (moved - points).norm(dim=-1)
    assert distance.mean() > 0.03 and distance.max() > 0.15
    assert_allclose(model.transform(moved, -theta), points.expand(64, -1, -1), atol=1e-4)


def test_zero_is_the_identity():
    points, images = points_in_square(3, 50).float(), draw(3, 2, 9, 14).float()
    model, theta = CPAB(CELLS), torch.zeros(3, 30)
    assert_allclose(model.transform(points, theta), points, atol=1e-6)
    assert_allclose(model.warp(images, theta), images, atol=1e-5)


def test_sides_stay_sides_and_corners_stay():
    along = torch.linspace(0, 1, 50, dtype=torch.float64)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    vertical, horizontal = torch.cartesian_prod(ends, along), torch.cartesian_prod(along, ends)
    model, theta = CPAB(CELLS, dtype=torch.float64), draw(20, 30) * 2
    for points, fixed in ((vertical, 0), (horizontal, 1)):
        moved = model.transform(points, theta)
        assert_allclose(moved[..., fixed], points[:, fixed].expand(20, -1), atol=1e-12)
        assert (moved[..., 1 - fixed] - points[:, 1 - fixed]).abs().max() > 0.05
    corners = torch.cartesian_prod(ends, ends)
    assert_allclose(model.transform(corners, theta), corners.expand(20, -1, -1), atol=1e-12)


def test_points_stay_in_the_square_and_in_order():
    model, theta = CPAB(CELLS, dtype=torch.float64), draw(20, 30) * REALISTIC
    grid = torch.cartesian_prod(*[torch.linspace(0, 1, 30, dtype=torch.float64)] * 2)
    moved = model.transform(grid, theta).unflatten(1, (30, 30))
    assert moved.min() > -1e-12 and moved.max() < 1 + 1e-12
    right, down = moved.diff(dim=1)[:, :, :-1], moved.diff(dim=2)[:, :-1]
    # No part of the square is turned over.
    assert (right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]).min() > 0


def test_gradients_are_those_of_finite_differences():
    model = CPAB((2, 2), steps=20, dtype=torch.float64)
    theta = (draw(2, model.dim) * REALISTIC).requires_grad_()
    points = points_in_square(2, 5).requires_grad_()
    assert torch.autograd.gradcheck(model.transform, (points, theta))


def test_gradient_through_a_warp():
    model = CPAB(CELLS, steps=10, dtype=torch.float64)
    theta, images = (draw(1, 30) * 0.3).requires_grad_(), draw(1, 2, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(model.warp, (images, theta))


def test_all_devices_integrate_alike(monkeypatch):
    # Without a GPU, the operations that would run on it are compared on the CPU, three images at a time.
    monkeypatch.setattr(cpab, "POINTS_AT_ONCE", 3 * 40)
    results = []
    for integrate in (flow, flow_in_parts):
        points = (points_in_square(8, 40) * torch.tensor(CELLS)).requires_grad_()
        change = (draw(8, 32, 2, 3) * 0.005).requires_grad_()
        moved = integrate(points, change, CELLS, 50)
        (moved * draw(8, 40, 2, seed=3)).sum().backward()
        results.append((moved.detach(), points.grad, change.grad))
    for compiled, plain in zip(*results, strict=True):
        assert_allclose(compiled, plain, rtol=1e-9, atol=1e-10)


def test_threads_share_the_images():
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            model, theta = CPAB(CELLS), (draw(7, 30) * REALISTIC).float().requires_grad_()
            moved = model.transform(points_in_square(60).float(), theta)
            moved.square().sum().backward()
            results.append((moved.detach(), theta.grad))
    finally:
        torch.set_num_threads(threads)
    for one, three in zip(*results, strict=True):
        assert_allclose(one, three, rtol=1e-5, atol=1e-6)


def test_warp_is_linear_interpolation_at_the_moved_pixels():
    images, theta = draw(3, 2, 9, 14), draw(3, 30)
    model = CPAB(CELLS, dtype=torch.float64)
    y, x = np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 14), indexing="ij")
    moved = model.transform(torch.as_tensor(np.stack((x.ravel(), y.ravel()), axis=1)), theta).numpy()
    warped = model.warp(images, theta).numpy()
    for image, result, positions in zip(images.numpy(), warped, moved, strict=True):
        place = positions[:, ::-1].T * [[8], [13]]
        for channel, actual in zip(image, result, strict=True):
            expected = ndimage.map_coordinates(channel, place, order=1, mode="nearest")
            assert_allclose(actual.ravel(), expected, atol=1e-9)


def test_mixed_precision_does_not_reach_the_integration():
    model, theta, points = CPAB(CELLS), draw(2, 30).float(), points_in_square(50).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.transform(points, theta)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, model.transform(points, theta))


@pytest.mark.parametrize("largest_entry", [1e-6, 0.01, 1.0])
def test_matrix_exponential_against_scipy(largest_entry):
    matrices = (2 * points_in_square(20, 9)[..., 0].unflatten(1, (3, 3)) - 1) * largest_entry
    expected = expm(matrices.numpy()) - np.eye(3)
    assert_allclose(exp_minus_1(matrices), expected, rtol=1e-5, atol=1e-7 * largest_entry + 1e-15)
