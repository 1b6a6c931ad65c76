"""Views against exact turns, SciPy's rotations and analytic images."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from scipy import ndimage, stats
from scipy.spatial.transform import Rotation

from dualcontrast.errors import SettingError
from dualcontrast.views import (
    ViewConfig,
    as_a_view,
    cubic_interpolation,
    draw_rotations,
    quarter_turns,
    random_view,
    rotate,
    rotation_matrices,
    sample,
    smoothed_as_views,
    split_noise,
    turns_within,
    uniform_rotation_vectors,
    view_pair,
)
from dualcontrast.wedge import apply_wedge, tilt_wedge


def blob(position: tuple[float, ...], shape: tuple[int, ...], width: float = 2.0) -> torch.Tensor:
    """A Gaussian at `position` (x, y[, z] from the centre, in pixels), shape (1, 1, *shape)."""
    axes = [torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in shape]
    grid = torch.meshgrid(*axes, indexing="ij")
    square = sum((axis - p) ** 2 for axis, p in zip(grid, reversed(position), strict=True))
    return torch.exp(-square / (2 * width**2))[None, None]


@pytest.mark.parametrize("shape", [(16, 16), (17, 17)])
def test_quarter_turn_is_exact(shape):
    image = torch.rand(1, 2, *shape, dtype=torch.float64)
    turned = rotate(image, torch.tensor([90.0], dtype=torch.float64))
    assert_allclose(turned[0].numpy(), np.rot90(image[0].numpy(), axes=(1, 2)), atol=1e-6)


def test_rotation_against_scipy():
    image = blob((4.0, -3.0), (33, 33)) + blob((-6.0, 1.0), (33, 33), width=3)
    turned = rotate(image, torch.tensor([33.0], dtype=torch.float64))
    # scipy.ndimage.rotate turns counter-clockwise for arrays shown with the first axis down.
    expected = ndimage.rotate(image[0, 0].numpy(), 33.0, reshape=False, order=1, mode="grid-constant")
    assert_allclose(turned[0, 0].numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (30, 36, 44)])
def test_images_that_are_not_square_are_turned_not_sheared(shape):
    dimension = len(shape)
    start = np.array([3.0, -2.0, 4.0][:dimension])
    if dimension == 2:
        matrices = rotation_matrices(torch.tensor([50.0], dtype=torch.float64))
    else:
        matrices = torch.tensor(Rotation.from_euler("xyz", [20, -50, 70], degrees=True).as_matrix())[None]
    turned = rotate(blob(tuple(start), shape, width=3), matrices)
    end = matrices[0].numpy() @ start
    assert_allclose(turned.numpy(), blob(tuple(end), shape, width=3).numpy(), atol=0.06)


def test_three_angles_are_scipy_euler_angles():
    angles = torch.tensor([[20.0, -50.0, 70.0], [1.0, 2.0, 3.0]], dtype=torch.float64)
    expected = Rotation.from_euler("xyz", angles.numpy(), degrees=True).as_matrix()
    assert_allclose(rotation_matrices(angles).numpy(), expected, atol=1e-12)


def test_shift_is_a_fraction_of_the_width():
    image = blob((0.0, 0.0), (32, 32))
    matrix = torch.tensor([[[1.0, 0.0, 0.25], [0.0, 1.0, -0.125]]], dtype=torch.float64)
    assert_allclose(sample(image, matrix).numpy(), blob((8.0, -4.0), (32, 32)).numpy(), atol=1e-6)


def test_no_change_gives_the_image_back():
    image = torch.rand(3, 1, 20, 20)
    config = ViewConfig(max_angle=0.0)
    views, angles, _ = random_view(image, config, torch.Generator().manual_seed(0))
    assert_allclose(views.numpy(), image.numpy(), atol=1e-5)
    assert (angles == 0).all()


def test_angles_are_uniform_and_differ_within_the_batch():
    images = torch.zeros(4000, 1, 16, 16)
    _, angles, _ = random_view(images, ViewConfig(max_angle=90.0), torch.Generator().manual_seed(0))
    assert angles.min() < -89 and angles.max() > 89
    assert angles.mean().abs() < 3 and abs(angles.std().item() - 180 / math.sqrt(12)) < 2
    _, one, _ = random_view(images, ViewConfig(one_angle_per_batch=True), torch.Generator().manual_seed(0))
    assert len(one.unique()) == 1


def test_the_reported_angle_is_the_angle_applied():
    images = torch.rand(5, 1, 24, 24)
    views, angles, _ = random_view(images, ViewConfig(), torch.Generator().manual_seed(3))
    assert_allclose(views.numpy(), rotate(images, angles).numpy(), atol=1e-6)


@pytest.mark.parametrize("shape", [(24, 24), (16, 16, 16)])
def test_affine_and_elastic_views_move_pixels_smoothly(shape):
    images = blob((2.0, 1.0, 0.0)[: len(shape)], shape).float().repeat(8, 1, *[1] * len(shape))
    config = ViewConfig(max_angle=0.0, scale=0.2, shear=0.2, shift=0.1, elastic=0.03)
    views, _, _ = random_view(images, config, torch.Generator().manual_seed(0))
    assert views.shape == images.shape
    assert (views - images).abs().flatten(1).max(1).values.min() > 0.02
    # A view moves the blob; it does not tear it or fade it out.
    assert views.flatten(1).max(1).values.min() > 0.8
    assert 0.5 < (views.sum() / images.sum()).item() < 2


def test_cubic_interpolation_is_that_of_torch():
    nodes = torch.randn((3, 2, 5, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = F.interpolate(nodes, size=(28, 17), mode="bicubic", align_corners=True)
    assert_allclose(cubic_interpolation(nodes, (28, 17)), expected, atol=1e-12)


def test_cubic_interpolation_of_volumes_treats_axes_apart():
    generator = torch.Generator().manual_seed(0)
    lines = [torch.randn((1, 1, 4, 1), generator=generator, dtype=torch.float64) for _ in range(3)]
    finer = [F.interpolate(line, size=(9, 1), mode="bicubic", align_corners=True).flatten() for line in lines]
    nodes, expected = (
        torch.einsum("i,j,k->ijk", *(part.flatten() for part in parts)) for parts in (lines, finer)
    )
    assert_allclose(cubic_interpolation(nodes[None, None], (9, 9, 9))[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("config", [ViewConfig(scale=0.2, shift=0.1, elastic=0.03), ViewConfig(both=True)])
@pytest.mark.parametrize("shape", [(24, 24), (16, 16, 16)])
def test_views_are_exact_in_mixed_precision(config, shape):
    images = torch.rand(4, 1, *shape)
    expected = view_pair(images, config, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        actual = view_pair(images, config, torch.Generator().manual_seed(0))
    for view, other in zip(expected, actual, strict=True):
        assert torch.equal(view.images, other.images) and torch.equal(view.angles, other.angles)


def test_same_generator_same_view():
    images = torch.rand(4, 1, 20, 20)
    config = ViewConfig(scale=0.2, shear=0.2, shift=0.1, elastic=0.03)
    first, second = (random_view(images, config, torch.Generator().manual_seed(7))[0] for _ in range(2))
    assert torch.equal(first, second)


def test_uniform_rotations_follow_the_haar_measure():
    """The angle of a uniform rotation has the density (1 - cos a) / π; its mean is π/2 + 2/π."""
    vectors = uniform_rotation_vectors(20_000, 180.0, torch.Generator().manual_seed(0)).double()
    angle = torch.deg2rad(vectors.norm(dim=1)).numpy()
    ks = stats.kstest(angle, lambda a: (a - np.sin(a)) / np.pi)
    assert ks.pvalue > 0.01
    assert angle.mean() == pytest.approx(np.pi / 2 + 2 / np.pi, abs=0.01)
    # Where a fixed direction goes is uniform on the sphere: each coordinate is uniform on [-1, 1].
    moved = Rotation.from_rotvec(vectors.numpy(), degrees=True).apply([0.0, 0.0, 1.0])
    for axis in range(3):
        assert stats.kstest(moved[:, axis], "uniform", (-1, 2)).pvalue > 0.01


def test_uniform_rotations_by_at_most_an_angle():
    vectors = uniform_rotation_vectors(5_000, 40.0, torch.Generator().manual_seed(1)).double()
    angle = torch.deg2rad(vectors.norm(dim=1)).numpy()
    assert angle.max() <= np.radians(40) * (1 + 1e-6)
    whole = np.radians(40) - np.sin(np.radians(40))
    assert stats.kstest(angle, lambda a: (a - np.sin(a)) / whole).pvalue > 0.01


def test_a_view_of_uniform_rotation_is_turned_by_its_vector():
    volumes = blob((4.0, -3.0, 2.0), (24, 24, 24)).float().repeat(3, 1, 1, 1, 1)
    config = ViewConfig(max_angle=180.0, rotations="uniform")
    views, vectors, wedges = random_view(volumes, config, torch.Generator().manual_seed(5))
    assert wedges is None
    for view, vector in zip(views, vectors.double().numpy(), strict=True):
        place = Rotation.from_rotvec(vector, degrees=True).apply([4.0, -3.0, 2.0])
        assert_allclose(view[0].numpy(), blob(tuple(place), (24, 24, 24))[0, 0].numpy(), atol=0.12)


def test_a_view_has_the_wedge_of_its_image_again():
    """After turning, nothing is left inside the unturned wedge, and the weights say what is left at all."""
    generator = torch.Generator().manual_seed(2)
    volumes = torch.randn(4, 1, 24, 24, 24, generator=generator)
    wedges = tilt_wedge((24, 24, 24), -60, 60).expand(4, -1, -1, -1)
    config = ViewConfig(max_angle=180.0, rotations="uniform")
    views, _, measured = random_view(apply_wedge(volumes, wedges), config, generator, wedges)
    power = torch.fft.rfftn(views[:, 0], dim=(1, 2, 3)).abs().square()
    assert power[wedges == 0].mean() < 1e-6 * power[wedges > 0].mean()
    assert measured is not None and (measured <= wedges + 1e-6).all()
    # The tilts measure 2/3 of all frequencies. Of two independent gaps the views keep about (2/3)², of which
    # the frequencies inside the largest sphere of the box are counted.
    frequencies = torch.meshgrid(*[torch.fft.fftfreq(24)] * 2, torch.fft.rfftfreq(24), indexing="ij")
    sphere = sum(f.square() for f in frequencies).sqrt() < 0.45
    assert measured[:, sphere].mean().item() == pytest.approx(4 / 9, abs=0.08)
    # Energy of the turned noise stays where the weights say, but for the blur of the interpolation.
    assert (
        power[:, sphere][measured[:, sphere] > 0.9].mean()
        > 5 * power[:, sphere][measured[:, sphere] < 0.1].mean()
    )


@pytest.mark.parametrize("rotations", ["axes", "uniform"])
def test_two_views_of_a_volume_and_the_turn_between_them(rotations):
    """The turn that is told takes the first view to the second."""
    volumes = blob((4.0, -3.0, 2.0), (24, 24, 24)).float().repeat(4, 1, 1, 1, 1)
    config = ViewConfig(max_angle=150.0, rotations=rotations, both=True)
    first, second = view_pair(volumes, config, torch.Generator().manual_seed(3))

    def place(view):
        axis = torch.arange(24.0) - 11.5
        mass = view[:, 0] / view[:, 0].sum(dim=(1, 2, 3), keepdim=True)
        sums = [(mass.sum(dim=dims) * axis).sum(1) for dims in ((1, 2), (1, 3), (2, 3))]
        return torch.stack(sums, dim=1).numpy()

    assert (first.images - volumes).abs().amax(dim=(1, 2, 3, 4)).min() > 0.1
    turned = Rotation.from_rotvec(second.angles.double().numpy(), degrees=True).apply(place(first.images))
    assert_allclose(place(second.images), turned, atol=0.05)


def test_two_views_of_an_image_and_the_angle_between_them():
    image = blob((6.0, 0.0), (33, 33)).float().repeat(3, 1, 1, 1)
    first, second = view_pair(image, ViewConfig(both=True), torch.Generator().manual_seed(1))
    again = rotate(first.images, second.angles)
    assert_allclose(again.numpy(), second.images.numpy(), atol=0.12)


def test_one_view_leaves_the_image_as_it_is():
    images = torch.rand(3, 1, 20, 20)
    first, second = view_pair(images, ViewConfig(), torch.Generator().manual_seed(1))
    expected = random_view(images, ViewConfig(), torch.Generator().manual_seed(1))
    assert torch.equal(first.images, images)
    assert torch.equal(second.images, expected.images) and torch.equal(second.angles, expected.angles)


@pytest.mark.parametrize("shape", [(64, 64), (24, 24, 24)])
def test_smoothing_takes_as_much_from_noise_as_turning_does(shape):
    """In the middle of the box, where turning cuts nothing, white noise keeps the same variance."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(40, 1, *shape, generator=generator)
    turned = random_view(
        noise, ViewConfig(max_angle=180.0, rotations="uniform", shift=0.05), generator
    ).images
    smooth = smoothed_as_views(noise)
    middle = (slice(None), slice(None), *(slice(length // 3, 2 * length // 3) for length in shape))
    assert smooth[middle].var().item() == pytest.approx(turned[middle].var().item(), rel=0.04)
    # The mean over all frequencies of 1 - (1 - cos ω) / 3 is 2/3 an axis.
    assert smooth.var().item() == pytest.approx((2 / 3) ** len(shape), rel=0.03)
    assert_allclose(smoothed_as_views(torch.ones(1, 1, *shape)).numpy(), 1, atol=1e-5)


def test_quarter_turns_are_the_rotation_group_of_the_cube():
    volume = torch.rand(1, 1, 6, 6, 6, generator=torch.Generator().manual_seed(0))
    turned = list(quarter_turns(volume))
    assert len(turned) == 24 and torch.equal(turned[0], volume)
    assert len({tuple(t.flatten().tolist()) for t in turned}) == 24
    # SciPy's 24 rotations of the octahedral group, applied to the positions of the voxels.
    place = np.stack(np.meshgrid(*[np.arange(6) - 2.5] * 3, indexing="ij"), axis=-1)[..., ::-1].reshape(-1, 3)
    expected = set()
    for rotation in Rotation.create_group("O"):
        moved = np.rint(rotation.apply(place) + 2.5).astype(int)
        result = np.zeros((6, 6, 6), dtype=np.float32)
        result[moved[:, 2], moved[:, 1], moved[:, 0]] = volume.numpy().ravel()
        expected.add(tuple(result.ravel().tolist()))
    assert {tuple(t.flatten().tolist()) for t in turned} == expected


def test_split_noise_is_independent_and_the_particle_is_common():
    generator = torch.Generator().manual_seed(0)
    particle = blob((2.0, -1.0, 3.0), (24, 24, 24)).float()
    noise = torch.randn(60, 1, 24, 24, 24, generator=generator)
    first, second = split_noise(particle + noise)
    middle = (slice(None), slice(None), *[slice(6, 18)] * 3)
    parts = [(half - particle / math.sqrt(2))[middle].double().flatten() for half in (first, second)]
    # Of 103,680 voxels: a correlation of independent noise has a standard deviation of 0.003.
    assert abs(torch.corrcoef(torch.stack(parts))[0, 1].item()) < 0.015
    assert parts[0].var().item() == pytest.approx(1, abs=0.02)
    # Without noise, both show the particle at 1/√2 in the middle of the box.
    for half in split_noise(particle):
        assert_allclose(half[middle].numpy(), particle[middle].numpy() / math.sqrt(2), atol=1e-3)


def test_views_are_masked_by_a_sphere():
    volumes = torch.ones(2, 1, 24, 24, 24)
    config = ViewConfig(max_angle=0.0, rotations="uniform", both=True, mask=0.5)
    for view in view_pair(volumes, config, torch.Generator().manual_seed(0)):
        assert view.images[:, 0, 12, 12, 12].min() > 0.99 and view.images[:, 0, 2, 2, 2].max() == 0
    whole = as_a_view(volumes, config)
    assert whole[:, 0, 12, 12, 12].min() > 0.99 and whole[:, 0, 2, 2, 2].max() == 0
    assert torch.equal(as_a_view(volumes, ViewConfig()), volumes)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize(
    ("progress", "limit"), [(None, 90.0), (0.0, 90.0), (0.29, 90.0), (0.3, 30.0), (0.99, 30.0)]
)
def test_views_become_narrow_after_a_share_of_the_training(dimension, progress, limit):
    config = ViewConfig(narrow_to=30.0, narrow_after=0.3)
    now = None if progress is None else torch.tensor(progress)
    angles, matrices = draw_rotations(5_000, dimension, config, torch.Generator().manual_seed(0), now)
    for drawn in angles.reshape(5_000, -1).T:
        # Twenty are compared, so one below 0.05 is no surprise.
        assert stats.kstest(drawn.numpy(), "uniform", (-limit, 2 * limit)).pvalue > 0.001
    # The matrices are those of the angles.
    torch.testing.assert_close(matrices, rotation_matrices(angles))


@pytest.mark.parametrize("limit", [0.1, 0.9, 40.0])
def test_narrow_rotations_of_volumes_are_uniform_too(limit):
    config = ViewConfig(max_angle=180.0, rotations="uniform", narrow_to=limit)
    vectors, matrices = draw_rotations(5_000, 3, config, torch.Generator().manual_seed(1), torch.tensor(0.9))
    shares = vectors.double().norm(dim=1).numpy() / limit
    half = math.radians(limit) ** 2 / 20
    # a - sin a over what it is at the limit, by its series: of small angles rounding would leave nothing.
    assert stats.kstest(shares, lambda s: s**3 * (1 - half * s**2) / (1 - half)).pvalue > 0.01
    expected = Rotation.from_rotvec(vectors.numpy(), degrees=True).as_matrix()
    assert_allclose(matrices.numpy(), expected, atol=1e-5)


def test_rotations_by_nothing_leave_volumes_as_they_are():
    assert not uniform_rotation_vectors(10, 0.0, torch.Generator().manual_seed(0)).any()


def test_views_that_do_not_narrow_draw_what_they_drew():
    """Whatever the training has come to: a run is repeated by its seed in later versions."""
    drawn = [
        draw_rotations(8, 2, ViewConfig(), torch.Generator().manual_seed(0), progress)[0]
        for progress in (None, torch.tensor(0.9))
    ]
    assert torch.equal(*drawn)


def test_views_cannot_widen():
    with pytest.raises(SettingError, match=r"views\.narrow_to is 60 degrees, more than views\.max_angle, 45"):
        ViewConfig(max_angle=45.0, narrow_to=60.0)


def test_copies_are_turned_within_the_views_of_the_end():
    image = blob((6.0, 0.0), (33, 33)).float()
    farthest = list(turns_within(image, ViewConfig(max_angle=90.0, narrow_to=30.0)))[-1]
    torch.testing.assert_close(farthest, rotate(image, torch.tensor([20.0])))
