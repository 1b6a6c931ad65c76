import numpy as np
import pytest
import torch

from blobs import Blobs, DeadTransformation, DeafDecoder, Leaky, Mute, Tripod, blob_factors, draw_blobs
from dualcontrast.evaluation.activity import activity, collapse
from dualcontrast.evaluation.diagnostics import diagnostics, image_limit
from dualcontrast.evaluation.rotation import relative_movement, rotation_targets
from dualcontrast.evaluation.swap import concordance
from dualcontrast.methods.base import Posterior


@pytest.fixture(scope="module")
def images():
    return draw_blobs(*blob_factors(300))


@pytest.fixture(scope="module")
def good(images):
    return diagnostics(Blobs(), images)


def test_the_test_method_is_an_exact_inverse(images):
    mass, spread, angle = blob_factors(300)
    encoding = Blobs().encode(images)
    np.testing.assert_allclose(encoding.content.mean, torch.stack((mass, spread), 1), atol=1e-3)
    np.testing.assert_allclose(encoding.transformation.mean[:, 0], angle, atol=1e-5)


def test_rotation_is_read_from_an_angle_code_and_not_from_an_invariant_one(good):
    assert good["rotation_readout"]["from_transformation"] > 0.9
    assert good["rotation_readout"]["from_content"] < 0.02


def test_rotation_read_out_tells_codes_that_are_the_wrong_way_round(images):
    found = diagnostics(Leaky(), images)
    assert found["rotation_readout"]["from_transformation"] < 0.02
    assert found["rotation_readout"]["from_content"] > 0.9
    assert found["content_invariance"] > 1


def test_an_invariant_code_hardly_moves(good):
    # What is left is the blur of resampling.
    assert good["content_invariance"] < 0.1
    assert good["transformation_response"] > 1


def test_rotations_of_volumes_are_read_as_rotation_vectors():
    found = diagnostics(Tripod(), Tripod.draw(torch.linspace(1, 3, 120)))
    assert found["rotation_readout"]["from_transformation"] > 0.99
    assert found["rotation_readout"]["from_content"] < 0.1


def test_rotation_vectors_of_single_axes_are_the_angles():
    angles = torch.tensor([[30.0, 0, 0], [0, -45, 0], [0, 0, 80]])
    np.testing.assert_allclose(rotation_targets(angles), angles, atol=1e-6)


def test_swaps_survive_a_perfect_method(good):
    assert good["swap_consistency"]["content"] > 0.999
    assert good["swap_consistency"]["transformation"] > 0.999
    assert good["reconstruction"]["relative"] < 1e-6


def test_a_deaf_decoder_is_at_chance(images):
    found = diagnostics(DeafDecoder(), images)
    assert found["swap_consistency"]["content"] > 0.999
    assert found["swap_consistency"]["transformation"] < 0.05
    assert found["decoder_use"]["transformation"] == 0
    assert found["collapse"]["transformation"]["collapsed"]
    assert "ignores" in found["collapse"]["transformation"]["why"]
    assert not found["collapse"]["content"]["collapsed"]


def test_a_dead_code_is_called_collapsed(images):
    found = diagnostics(DeadTransformation(), images)
    assert found["collapse"]["transformation"]["collapsed"]
    assert found["active_dimensions"]["transformation"]["by_variance"] == 0
    assert found["rotation_readout"]["from_transformation"] == 0
    assert found["swap_consistency"]["transformation"] == 0
    assert found["transformation_response"] is None
    assert "transformation_response" in found["reasons"]


def test_a_good_run_is_not_called_collapsed(good):
    assert not good["collapse"]["content"]["collapsed"]
    assert not good["collapse"]["transformation"]["collapsed"]
    assert good["active_dimensions"]["content"]["by_variance"] == 2


def test_independent_codes_do_not_predict_each_other(good):
    for direction in good["cross_predictability"].values():
        assert direction["linear"] < 0.05
        assert direction["nonlinear"] < 0.05


def test_a_method_without_a_decoder_skips_what_needs_one(images):
    found = diagnostics(Mute(), images)
    assert found["swap_consistency"] == {"content": None, "transformation": None}
    assert found["reconstruction"]["mse"] is None
    assert "no decoder" in found["reasons"]["swap_consistency"]
    assert found["rotation_readout"]["from_transformation"] > 0.9


def test_the_same_seed_gives_the_same_numbers(images, good):
    assert diagnostics(Blobs(), images) == good


def test_the_reconstruction_error_is_the_mean_square_over_images_and_pixels(images):
    method = DeafDecoder()
    encoding = method.encode(images)
    decoded = method.decode(encoding.content.mean, encoding.transformation.mean)
    expected = float(((decoded - images) ** 2).double().mean())
    found = diagnostics(method, images)["reconstruction"]
    assert found["mse"] == pytest.approx(expected, rel=1e-5)
    assert found["relative"] == pytest.approx(
        expected / float(images.var(dim=0, correction=0).mean()), rel=1e-4
    )


def test_limits_on_images():
    assert image_limit((1, 28, 28)) == 2000
    assert image_limit((1, 64, 64, 64)) == 256
    assert image_limit((1, 512, 512, 512)) == 20


def test_relative_movement_by_hand():
    codes = np.array([[0.0], [3.0], [6.0]])
    # Distances of pairs: 3, 6 and 3, mean 4. Movements: 1, 0 and 2, mean 1.
    assert relative_movement(codes, codes + np.array([[1.0], [0.0], [2.0]])) == pytest.approx(0.25)
    assert relative_movement(codes, codes) == 0
    assert relative_movement(np.ones((4, 2)), np.zeros((4, 2))) is None


def test_an_unrelated_copy_is_as_far_as_any_other(rng):
    codes = rng.normal(size=(1500, 8))
    assert relative_movement(codes, rng.normal(size=(1500, 8))) == pytest.approx(1, abs=0.03)


def test_concordance_is_lins():
    rng = np.random.default_rng(1)
    x = rng.normal(2, 1.5, 200)
    y = 0.7 * x + rng.normal(0, 0.4, 200)
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    lin = 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert concordance(x[:, None], y[:, None]) == pytest.approx(lin)


def test_concordance_is_chance_aware(rng):
    codes = rng.normal(size=(4000, 3))
    assert concordance(codes, codes) == 1
    assert concordance(codes, rng.normal(size=(4000, 3))) < 0.05
    assert concordance(codes, np.zeros((4000, 3))) < 0.05
    assert concordance(codes, -codes) == 0
    # Ten images a class do not lower the ceiling.
    classes = np.eye(3)[rng.integers(3, size=90)]
    assert concordance(classes, classes) == 1
    assert concordance(np.ones((9, 2)), np.ones((9, 2))) == 0


def test_active_dimensions_by_hand(rng):
    mean = torch.zeros(1000, 4)
    mean[:, 0] = torch.linspace(-2, 2, 1000)
    mean[:, 1] = 0.05 * torch.sign(torch.linspace(-1, 1, 1000))
    # Dimension 3 has the same narrow posterior for every image: informative to the KL, but not about images.
    log_variance = torch.zeros(1000, 4)
    log_variance[:, 0] = -3
    log_variance[:, 3] = -4
    found = activity(Posterior(mean, log_variance))
    assert (found.by_variance, found.by_kl, found.of) == (1, 2, 4)
    assert found.effective == pytest.approx(1, abs=0.01)


def test_a_code_of_small_scale_is_active_when_its_posterior_is_narrower_still(rng):
    # By hand: of the variance that the posterior draws, 0.004 / (0.004 + 1e-6) lies between the images.
    mean = torch.from_numpy(rng.normal(size=(500, 2)) * 0.004**0.5)
    narrow, wide = torch.full((500, 2), 1e-6).log(), torch.full((500, 2), 0.5).log()
    assert activity(Posterior(mean, narrow)).by_variance == 2
    assert activity(Posterior(mean, wide)).by_variance == 0


def test_effective_dimensions_count_equal_shares():
    codes = torch.from_numpy(np.random.default_rng(0).normal(size=(5000, 3)) * [1, 1, 0])
    assert activity(Posterior(codes)).effective == pytest.approx(2, abs=0.01)


def test_codes_without_a_posterior_are_active_at_any_scale(rng):
    codes = torch.from_numpy(rng.normal(size=(500, 4)) * 1e-3)
    assert activity(Posterior(codes)).by_variance == 4
    assert activity(Posterior(codes, torch.zeros(500, 4))).by_variance == 0


def test_collapse_without_a_decoder_rests_on_the_dimensions(rng):
    alive = activity(Posterior(torch.from_numpy(rng.normal(size=(50, 2)))))
    dead = activity(Posterior(torch.ones(50, 2)))
    assert not collapse(alive, None).collapsed
    assert collapse(dead, None).collapsed
    assert collapse(alive, 0.005).collapsed
    assert not collapse(alive, 0.02).collapsed
