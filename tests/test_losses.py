"""Losses against formulas written again in float64 NumPy, or worked by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from dualcontrast import losses
from dualcontrast.methods.base import Posterior
from dualcontrast.methods.dualcontrast import IMAGES_PER_NUMBER


def random_codes(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


def test_cosine_terms_by_hand():
    a = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0]])
    b = torch.tensor([[0.0, 5.0], [-4.0, 3.0], [0.0, -1.0]])
    # Cosines 0, 0 and -1: the absolute value makes opposite codes alike.
    assert losses.cosine_similarity(a, b).item() == pytest.approx(1 / 3)
    assert losses.cosine_distance(a, b).item() == pytest.approx(2 / 3)
    assert losses.signed_cosine_distance(a, b).item() == pytest.approx(4 / 3)


def test_cosines_of_faint_codes_and_of_zeros_are_those_of_torch():
    a = torch.tensor([[3e-7, 4e-7], [0.0, 0.0], [1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[4e-7, 3e-7], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    found = losses.signed_cosine_distance(a, b)
    assert found.item() == pytest.approx(1 - 24 / 25 / 3)
    (gradient,) = torch.autograd.grad(found, a)
    (expected,) = torch.autograd.grad(1 - F.cosine_similarity(a, b, dim=-1, eps=1e-8).mean(), a)
    assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)


def test_cosine_terms_against_numpy():
    a, b = random_codes(50, 7), random_codes(50, 7, seed=1)
    expected = np.abs(cosines(a, b)).mean()
    assert losses.cosine_similarity(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(
        expected, abs=1e-12
    )
    assert losses.cosine_distance(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(
        1 - expected, abs=1e-12
    )


def test_kl_is_the_integral_it_stands_for():
    mean, log_variance = 0.7, -0.9
    q = stats.norm(mean, math.exp(log_variance / 2))
    expected = q.expect(lambda x: q.logpdf(x) - stats.norm.logpdf(x))
    posterior = Posterior(torch.tensor([[mean]]), torch.tensor([[log_variance]]))
    assert losses.kl_to_standard_normal(posterior).item() == pytest.approx(expected, rel=1e-5)


def test_kl_sums_over_the_code_and_averages_over_the_batch():
    # A unit mean costs ½ per dimension.
    posterior = Posterior(torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]]), torch.zeros(2, 3))
    assert losses.kl_to_standard_normal(posterior).item() == pytest.approx((1.5 + 0.5) / 2)


def test_info_nce_against_numpy():
    a, b, temperature = random_codes(20, 5), random_codes(20, 5, seed=1), 0.3
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    scores = np.exp(unit[0] @ unit[1].T / temperature)
    own = np.diag(scores)
    expected = -(np.log(own / scores.sum(1)) + np.log(own / scores.sum(0))).mean() / 2
    positive, negative = losses.info_nce(torch.tensor(a), torch.tensor(b), temperature)
    assert (positive + negative).item() == pytest.approx(expected, abs=1e-12)
    assert positive.item() == pytest.approx(-np.log(own).mean(), abs=1e-12)


def test_pairs_of_info_nce_that_count_more():
    a, b, temperature = random_codes(20, 5), random_codes(20, 5, seed=1), 0.3
    counts = np.random.default_rng(2).uniform(0, 2, size=20)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    scores = np.exp(unit[0] @ unit[1].T / temperature)
    own = np.diag(scores)
    expected = -(counts * (np.log(own / scores.sum(1)) + np.log(own / scores.sum(0)))).mean() / 2
    parts = losses.info_nce(torch.tensor(a), torch.tensor(b), temperature, torch.tensor(counts))
    assert sum(parts).item() == pytest.approx(expected, abs=1e-12)


def test_negatives_in_like_states_against_numpy():
    a, b, z, temperature, sharpness = (
        random_codes(8, 5),
        random_codes(8, 5, seed=1),
        random_codes(8, 3, seed=2),
        0.3,
        4,
    )
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    scores = np.exp(unit[0] @ unit[1].T / temperature)
    mean = np.mean([np.sum((z[i] - z[j]) ** 2) for i in range(8) for j in range(8) if i != j])
    expected = 0.0
    for i in range(8):
        others = [j for j in range(8) if j != i]
        kernel = {j: np.exp(-sharpness * np.sum((z[i] - z[j]) ** 2) / mean) for j in others}
        weight = {j: 7 * kernel[j] / sum(kernel.values()) for j in others}
        for found in (scores, scores.T):
            total = found[i, i] + sum(weight[j] * found[i, j] for j in others)
            expected -= np.log(found[i, i] / total) / 16
    negatives = losses.negatives_in_like_states(torch.tensor(z), sharpness)
    parts = losses.info_nce(torch.tensor(a), torch.tensor(b), temperature, negatives=negatives)
    assert sum(parts).item() == pytest.approx(expected, abs=1e-12)


def test_where_all_states_are_alike_so_are_the_negatives():
    assert_allclose(losses.negatives_in_like_states(torch.ones(5, 3), 4).numpy(), 0, atol=1e-6)
    assert losses.negatives_in_like_states(torch.ones(1, 3), 4).tolist() == [[0]]


def test_a_code_that_tells_the_state_gains_nothing_where_negatives_share_it():
    """c of content and state, or of content alone: the first finds partners better among all images only."""
    random = np.random.default_rng(0)
    content, state = np.eye(4)[np.repeat(np.arange(4), 64)], random.integers(0, 4, size=256)
    both = np.concatenate((content, np.eye(4)[state]), axis=1) / np.sqrt(2)
    z = torch.tensor(100 * np.eye(4)[state])

    def loss(c, negatives):
        return float(sum(losses.info_nce(torch.tensor(c), torch.tensor(c), 0.1, negatives=negatives)))

    # Partners are found among 256/16 images alike, or among 256/4.
    assert loss(content, None) - loss(both, None) > 1
    shared = losses.negatives_in_like_states(z, 50)
    assert loss(content, shared) < loss(both, shared) + 0.01


def test_an_image_that_counts_three_times_is_three_images_to_the_clusters():
    a, b = (torch.tensor(random_codes(6, 4, seed=seed)) for seed in (0, 1))
    counts = torch.tensor([3, 0, 1, 1, 2, 5])
    repeated = losses.mutual_information(*(x.repeat_interleave(counts, dim=0) for x in (a, b)))
    assert losses.mutual_information(a, b, counts.double()).item() == pytest.approx(repeated.item(), abs=1e-9)


def test_hsic_is_the_u_statistic():
    """The mean over all quadruples of different indices, which the estimator computes in closed form."""
    count = 7
    k, gauss = (random_codes(count, count, seed=s) for s in (0, 1))
    k, gauss = k + k.T, gauss + gauss.T
    total, number = 0.0, 0
    for i in range(count):
        for j in range(count):
            for q in range(count):
                for r in range(count):
                    if len({i, j, q, r}) == 4:
                        total += k[i, j] * (gauss[i, j] + gauss[q, r] - 2 * gauss[i, q])
                        number += 1
    actual = losses.unbiased_hsic(*(losses.pairs_of(torch.tensor(kernel)) for kernel in (k, gauss))).item()
    assert actual == pytest.approx(total / number, abs=1e-10)


def test_kernel_alignment_is_zero_for_independent_codes_and_large_for_dependent_ones():
    c = torch.tensor(random_codes(400, 5))
    independent = torch.tensor(random_codes(400, 3, seed=1))
    assert abs(losses.kernel_alignment(c, independent).item()) < 0.03
    assert losses.kernel_alignment(c, c[:, :3] + 0.1 * independent).item() > 0.3


@pytest.mark.parametrize("count", [4, 5, 8])
def test_kernel_alignment_of_a_few_images_stays_bounded(count):
    """The unbiased estimate of HSIC(K, K) may come out as 0 there, by which nothing may be divided."""
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(2, count, 10, generator=generator) for _ in range(300)]
    values = torch.stack([losses.kernel_alignment(c, z) for c, z in draws])
    assert values.abs().max() < 5


def test_kernel_alignment_sees_a_faint_trace():
    """Codes are whitened, so neither scale nor correlation hides a dependent direction."""
    c = torch.tensor(random_codes(400, 5))
    z = torch.tensor(random_codes(400, 2, seed=1))
    strong = torch.cat((z[:, :1], c[:, :1]), dim=1)
    faint = torch.cat((z[:, :1], z[:, :1] + 0.1 * c[:, :1]), dim=1)
    assert_allclose(losses.kernel_alignment(c, faint), losses.kernel_alignment(c, strong), rtol=0.1)


def hsic_by_definition(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """Song et al. (2012), equation 5, as it stands there."""
    n, one = len(k), np.ones(len(k))
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    of_sums = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ l @ one)
    return (np.trace(k @ l) + of_sums) / (n * (n - 3))


def test_product_alignment_is_that_of_all_products_of_two_numbers():
    """Written out: one feature for each product, of codes whitened by an eigendecomposition."""
    c, z = random_codes(60, 5), random_codes(60, 3, seed=1) ** 3
    values, vectors = np.linalg.eigh(np.cov(z.T))
    white = (z - z.mean(axis=0)) @ vectors / np.sqrt(values)
    products = (white[:, :, None] * white[:, None, :]).reshape(60, 9)
    unit = c / np.linalg.norm(c, axis=1, keepdims=True)
    k, l = np.exp((unit @ unit.T - 1) / 0.3), products @ products.T  # noqa: E741
    expected = hsic_by_definition(k, l) / math.sqrt(hsic_by_definition(k, k) * hsic_by_definition(l, l))
    found = losses.product_alignment(torch.tensor(c), torch.tensor(z)).item()
    # The covariance that whitens is shrunk by a thousandth.
    assert found == pytest.approx(expected, rel=0.02, abs=1e-3)


def test_products_of_a_long_code_stand_out_where_one_wide_kernel_does_not_see_them():
    """c tells the product of two of forty numbers, in batches of 256."""
    random = torch.Generator().manual_seed(0)
    wide, products, chance = [], [], []
    for _ in range(60):
        z, independent = torch.randn(2, 256, 40, generator=random)
        c = torch.cat((z[:, :1] * z[:, 1:2], torch.randn(256, 1, generator=random)), dim=1)
        wide.append(losses.kernel_alignment(c, z))
        products.append(losses.product_alignment(c, z))
        chance.append(losses.product_alignment(c, independent))
    found, chance, wide = (torch.stack(values) for values in (products, chance, wide))
    assert found.mean() > chance.mean() + chance.std()
    assert wide.mean() < found.mean() / 3


@pytest.mark.parametrize(("images_per_number", "stands_out"), [(IMAGES_PER_NUMBER, True), (1, False)])
def test_one_number_in_common_stands_out_in_batches_that_are_large_enough(images_per_number, stands_out):
    length, random = 40, torch.Generator().manual_seed(0)
    independent, dependent = [], []
    for _ in range(60):
        c, z = (torch.randn(images_per_number * length, d, generator=random) for d in (10, length))
        independent.append(losses.kernel_alignment(c, z))
        dependent.append(losses.kernel_alignment(c, torch.cat((c[:, :1], z[:, 1:]), dim=1)))
    found, chance = torch.stack(dependent), torch.stack(independent)
    assert (found.mean() > chance.mean() + 2 * chance.std()) == stands_out


def test_whitened_kernel_alignment_sees_a_faint_trace_in_either_code():
    c = torch.tensor(random_codes(400, 2))
    z = torch.tensor(random_codes(400, 2, seed=1))
    assert abs(losses.whitened_kernel_alignment(c, z).item()) < 0.03
    strong = torch.cat((c[:, :1], z[:, :1]), dim=1)
    faint = torch.cat((c[:, :1], c[:, :1] + 0.1 * z[:, :1]), dim=1)
    assert losses.whitened_kernel_alignment(strong, z).item() > 0.2
    assert_allclose(
        losses.whitened_kernel_alignment(faint, z), losses.whitened_kernel_alignment(z, strong), rtol=0.1
    )
    assert losses.whitened_kernel_alignment(c, c).item() == pytest.approx(1)


def test_whitened_codes_have_unit_covariance():
    codes = torch.tensor(random_codes(50, 4) @ random_codes(4, 4, seed=1) + 3)
    white = losses.whiten(codes, shrinkage=0)
    assert_allclose(np.cov(white.numpy().T), np.eye(4), atol=1e-4)
    assert_allclose(white.mean(0).numpy(), 0, atol=1e-12)
    # Fewer codes than dimensions.
    assert torch.isfinite(losses.whiten(torch.tensor(random_codes(4, 9)))).all()


@pytest.mark.parametrize(
    "name",
    [
        "cosine_distance",
        "cosine_similarity",
        "kernel_alignment",
        "product_alignment",
        "whitened_kernel_alignment",
    ],
)
def test_gradients_numerically(name: str):
    a = torch.tensor(random_codes(6, 3), requires_grad=True)
    b = torch.tensor(random_codes(6, 3, seed=1), requires_grad=True)
    assert torch.autograd.gradcheck(getattr(losses, name), (a, b))


@given(st.integers(2, 200), st.integers(0, 2**32))
def test_derangement_moves_every_index(count: int, seed: int):
    partners = losses.derangement(count, torch.Generator().manual_seed(seed))
    assert sorted(partners.tolist()) == list(range(count))
    assert not (partners == torch.arange(count)).any()


def test_mutual_information_of_clusters():
    """Four equal clusters in which both views agree: log 4; where one says nothing of the other: 0."""
    agreed = 50 * torch.eye(4, dtype=torch.float64).repeat(6, 1)
    assert losses.mutual_information(agreed, agreed).item() == pytest.approx(math.log(4), abs=1e-5)
    crossed = 50 * torch.eye(4, dtype=torch.float64)
    a, b = crossed.repeat_interleave(4, dim=0), crossed.repeat(4, 1)
    assert losses.mutual_information(a, b).item() == pytest.approx(0, abs=1e-5)
    # By hand, for a joint distribution that is symmetric already.
    p, q = np.array([0.9, 0.1]), np.array([0.2, 0.8])
    joint = (np.outer(p, p) + np.outer(q, q)) / 2
    marginal = joint.sum(axis=0)
    expected = (joint * np.log(joint / np.outer(marginal, marginal))).sum()
    logits = torch.log(torch.tensor(np.array([p, q])))
    assert losses.mutual_information(logits, logits).item() == pytest.approx(expected, rel=1e-6)


LOSSES_OF_PAIRS = {
    "info_nce": lambda a, b: torch.stack(losses.info_nce(a, b, 0.2)),
    "negatives_in_like_states": lambda a, _: losses.negatives_in_like_states(a, 3.0),
    "nt_xent": lambda a, b: losses.nt_xent(a, b, 0.2),
    "mutual_information": losses.mutual_information,
    "kernel_alignment": losses.kernel_alignment,
    "product_alignment": losses.product_alignment,
    "whitened_kernel_alignment": losses.whitened_kernel_alignment,
    "signed_cosine_distance": losses.signed_cosine_distance,
}


@pytest.mark.parametrize("name", LOSSES_OF_PAIRS)
def test_losses_are_of_single_precision_in_mixed_precision(name: str):
    """Codes come rounded from the networks; what is made of them is not rounded again."""
    a, b = (torch.tensor(random_codes(40, 10, seed=seed)).bfloat16() for seed in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        found = LOSSES_OF_PAIRS[name](a, b)
    assert found.dtype == torch.float32
    expected = LOSSES_OF_PAIRS[name](a.double(), b.double())
    assert_allclose(found.numpy(), expected.numpy(), rtol=2e-5, atol=1e-6)
