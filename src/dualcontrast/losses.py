"""The terms that methods sum: pure functions of codes and images, each with its equation."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast.full_precision import full_precision
from dualcontrast.methods.base import Posterior


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between paired codes: a·b / (‖a‖ ‖b‖), shape (N,); 0 for a code of zeros.

    Scaling the product takes half as many operations as `torch.nn.functional.cosine_similarity`, which scales
    both codes first; on a GPU each takes as long as a layer of a small network.
    """
    a, b = at_least_float32(a), at_least_float32(b)
    # At least so long each: gradients of codes of zeros stay as large as those of torch's function.
    of_a, of_b = (torch.linalg.vector_norm(codes, dim=-1).clamp_min(1e-8) for codes in (a, b))
    return (a * b).sum(dim=-1) / (of_a * of_b)


def absolute_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Absolute cosine of the angle between paired codes: |a·b| / (‖a‖ ‖b‖), shape (N,)."""
    return _cosine(a, b).abs()


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """L_dist of a positive pair: mean over the batch of 1 - |cos(a, b)| (paper, section 3.4)."""
    return 1 - absolute_cosine(a, b).mean()


def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """L_sim of a negative pair: mean over the batch of |cos(a, b)| (paper, section 3.4)."""
    return absolute_cosine(a, b).mean()


def signed_cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the batch of 1 - cos(a, b): unlike L_dist, opposite codes are not alike."""
    return 1 - _cosine(a, b).mean()


def kl_to_standard_normal(posterior: Posterior) -> Tensor:
    """KL(q ‖ N(0, I)) = ½ Σ (μ² + σ² - 1 - log σ²), summed over the code and averaged over the batch.

    Paper, equation 1.
    """
    mean, log_variance = posterior
    assert log_variance is not None, "the KL term needs a posterior with a variance"
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()


def derangement(count: int, generator: torch.Generator) -> Tensor:
    """Draw a permutation that leaves no index in place, shape (count,).

    The positions are shuffled and each takes the next one's index, so the permutation is one cycle.
    A batch of one has no derangement and keeps its only index.
    """
    order = torch.randperm(count, generator=generator, device=generator.device)
    partner = torch.empty_like(order)
    partner[order] = order.roll(-1)
    return partner


@full_precision
def info_nce(
    a: Tensor,
    b: Tensor,
    temperature: float,
    weights: Tensor | None = None,
    negatives: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """InfoNCE over paired codes, as its attracting and its repelling part.

    With s_ij = cos(a_i, b_j) / τ, the loss of image i is -s_ii + log Σ_j exp(s_ij); the same is done from b
    to a, and both are averaged. The positive part is the mean of -s_ii, the negative part that of the
    logarithms; their sum is the cross-entropy of finding each image's partner in the batch
    (van den Oord et al. 2018).

    Parameters
    ----------
    a, b : Tensor, shape (N, dim)
        Row i of both belongs to image i.
    temperature : float
        τ.
    weights : Tensor, shape (N,), optional
        How much each image counts in both means, 1 unless given. As a partner that others must not be
        taken for, each counts fully.
    negatives : Tensor, shape (N, N), optional
        The logarithm of how much exp(s) of image i with another image j counts, in both directions, 0
        unless given; see `negatives_in_like_states`.
    """
    scores = _directions(a) @ _directions(b).T / temperature
    attracting, back = -scores.diagonal(), scores.T
    if negatives is not None:
        scores, back = scores + negatives, back + negatives
    repelling = (scores.logsumexp(dim=1) + back.logsumexp(dim=1)) / 2
    if weights is not None:
        attracting, repelling = weights * attracting, weights * repelling
    return attracting.mean(), repelling.mean()


@full_precision
def negatives_in_like_states(transformation: Tensor, sharpness: float) -> Tensor:
    """How much an image counts as a negative of another, by how alike their states are; shape (N, N).

    log w_ij with w_ij = (N - 1) K_ij / Σ_k≠i K_ik and K_ij = exp(-sharpness ‖z_i - z_j‖² / m), where m is
    the mean of the squared distances between different images: 1 in the mean over all negatives of an image.
    The diagonal is 0: an image's own partner counts as before. Where negatives share the state, knowing it
    does not help to tell them apart (Ma et al. 2021, arXiv:2106.02866, who condition on a known attribute).

    Parameters
    ----------
    transformation : Tensor, shape (N, dim)
        Codes z, taken as given.
    sharpness : float
        0: all count alike.
    """
    distances = _squared_distances(at_least_float32(transformation.detach()))
    count = len(distances)
    mean = distances.sum() / max(1, count * (count - 1))
    own = torch.eye(count, dtype=torch.bool, device=distances.device)
    scores = (-sharpness * distances / mean.clamp_min(1e-12)).masked_fill(own, -torch.inf)
    return (scores.log_softmax(dim=1) + math.log(max(1, count - 1))).masked_fill(own, 0.0)


@full_precision
def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """NT-Xent over the 2N codes of two views of each image (Chen et al. 2020, equation 1).

    Unlike `info_nce`, every code is compared with all 2N - 1 others, those of its own side among them.

    Parameters
    ----------
    a, b : Tensor, shape (N, dim)
        Row i of both belongs to image i.
    temperature : float
        τ; the scores are cos / τ.
    """
    codes = _directions(torch.cat((a, b)))
    scores = codes @ codes.T / temperature
    scores = scores.masked_fill(torch.eye(len(codes), dtype=torch.bool, device=codes.device), -torch.inf)
    partner = torch.arange(len(codes), device=codes.device).roll(len(a))
    return F.cross_entropy(scores, partner)


@full_precision
def mutual_information(a: Tensor, b: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mutual information, in nats, between the clusters that paired images are put into.

    With the probabilities p_i and q_i of image i and of its view, the joint distribution of both clusters is
    P = mean of p_i q_iᵀ, made symmetric; I = Σ P log(P / (P_row P_column)). At most log K, when both always
    fall into the same of K equally large clusters (Ji et al. 2019, equation 3).

    Parameters
    ----------
    a, b : Tensor, shape (N, K)
        Logits of the K clusters; row i of both belongs to image i.
    weights : Tensor, shape (N,), optional
        How much each image counts in P; all the same unless given.
    """
    p, q = at_least_float32(a).softmax(dim=1), at_least_float32(b).softmax(dim=1)
    if weights is None:
        joint = p.T @ q / len(p)
    else:
        joint = (p * (weights / weights.sum().clamp_min(1e-8))[:, None]).T @ q
    joint = ((joint + joint.T) / 2).clamp_min(1e-8)
    independent = joint.sum(dim=1, keepdim=True) * joint.sum(dim=0, keepdim=True)
    return (joint * (joint / independent).log()).sum()


@full_precision
def kernel_alignment(content: Tensor, transformation: Tensor, temperature: float = 0.3) -> Tensor:
    """Statistical dependence of two codes over a batch: centred kernel alignment, 0 if independent.

    HSIC(K, M) / √(HSIC(K, K) HSIC(M, M)) with the unbiased estimator of Song et al. (2012). The kernel of
    the content code is exp((cos - 1) / temperature); that of the transformation code is Gaussian on the
    whitened code, exp(-‖z_i - z_j‖² / (2 dim)), so that a trace of the content counts as much in a
    direction in which z hardly varies as in any other: a linear classifier would find it there too.

    Parameters
    ----------
    content : Tensor, shape (N, content_dim)
        N ≥ 4.
    transformation : Tensor, shape (N, transformation_dim)
        Row i of both belongs to image i.
    temperature : float
        Width of the content kernel.
    """
    return alignment(_cosine_kernel(content, temperature), whitened_gaussian_kernel(transformation))


@full_precision
def product_alignment(content: Tensor, transformation: Tensor, temperature: float = 0.3) -> Tensor:
    """`kernel_alignment` with products of two numbers of the whitened z in place of its Gaussian kernel.

    The kernel (u_i · u_j)² / dim is the inner product of all products of two numbers, squares among them. A
    Gaussian one as wide as the codes lie apart weights products less, the longer the code: of 40 numbers it
    sees nearly the linear dependence alone, and a code that is kept from it tells the other by products.

    Parameters
    ----------
    content, transformation, temperature
        As for `kernel_alignment`.
    """
    white = whiten(at_least_float32(transformation))
    products = (white @ white.T).square() / white.shape[1]
    return alignment(_cosine_kernel(content, temperature), products)


def _cosine_kernel(codes: Tensor, temperature: float) -> Tensor:
    """exp((cos - 1) / temperature) of all pairs of codes, shape (N, N)."""
    directions = _directions(codes)
    return torch.exp((directions @ directions.T - 1) / temperature)


@full_precision
def whitened_kernel_alignment(a: Tensor, b: Tensor) -> Tensor:
    """`kernel_alignment` with the Gaussian kernel on both whitened codes; symmetric in them.

    Parameters
    ----------
    a, b : Tensor, shapes (N, dim) and (N, other_dim)
        N ≥ 4; row i of both belongs to image i.
    """
    return alignment(whitened_gaussian_kernel(a), whitened_gaussian_kernel(b))


def whitened_gaussian_kernel(codes: Tensor) -> Tensor:
    """exp(-‖u_i - u_j‖² / (2 dim)) of whitened codes u, shape (N, N)."""
    distances = _squared_distances(whiten(at_least_float32(codes)))
    return torch.exp(-distances / (2 * codes.shape[1]))


def alignment(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    """HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)) of two kernel matrices (N, N); 0 of fewer than four images."""
    if len(k) < 4:
        # The estimate divides by N - 3. The term stays one of the loss, so that every step has the same.
        return 0 * (k.sum() + l.sum())
    pairs_k, pairs_l = pairs_of(k), pairs_of(l)
    norm = (_own_hsic(k, pairs_k) * _own_hsic(l, pairs_l)).clamp_min(1e-12)
    return unbiased_hsic(pairs_k, pairs_l) / torch.sqrt(norm)


def _own_hsic(k: Tensor, pairs: "Pairs") -> Tensor:
    """HSIC(K, K), at least a tenth of the biased estimate: of a few images the unbiased one may be 0."""
    means = k.mean(0)
    centred = k - means - means[:, None] + means.mean()
    biased = centred.square().sum() / (len(k) - 1) ** 2
    return torch.maximum(unbiased_hsic(pairs, pairs), 0.1 * biased)


def _squared_distances(codes: Tensor) -> Tensor:
    """‖u_i - u_j‖² of all pairs of codes, shape (N, N)."""
    squares = codes.square().sum(1)
    return (squares[:, None] + squares[None] - 2 * codes @ codes.T).clamp_min(0)


def _directions(codes: Tensor) -> Tensor:
    """Codes of unit length."""
    return F.normalize(at_least_float32(codes), dim=1)


def at_least_float32(values: Tensor) -> Tensor:
    """Turn half precision into single precision, and leave double precision as it is."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def whiten(codes: Tensor, shrinkage: float = 1e-3) -> Tensor:
    """Centre codes over the batch and turn and scale them to unit covariance, shape (N, dim).

    Parameters
    ----------
    codes : Tensor, shape (N, dim)
        A batch.
    shrinkage : float
        Added to the covariance, as a fraction of the mean variance, so that a batch of fewer codes than
        dimensions can be whitened too.
    """
    centred = codes - codes.mean(0)
    covariance = centred.T @ centred / max(len(codes) - 1, 1)
    floor = shrinkage * covariance.diagonal().mean() + 1e-8
    # The form that does not raise: a loss that is not finite is the training loop's to report.
    one = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    factor, _ = torch.linalg.cholesky_ex(covariance + floor * one)
    return torch.linalg.solve_triangular(factor, centred.T, upper=False).T


class Pairs(NamedTuple):
    """A kernel matrix (N, N) without its diagonal, and the sum of each of its columns (N,)."""

    kernel: Tensor
    sums: Tensor


def pairs_of(kernel: Tensor) -> Pairs:
    """Leave the diagonal of a kernel matrix out."""
    kernel = kernel - torch.diag_embed(kernel.diagonal())
    return Pairs(kernel, kernel.sum(0))


def unbiased_hsic(k: Pairs, l: Pairs) -> Tensor:  # noqa: E741
    """Unbiased estimate of the Hilbert-Schmidt independence criterion (Song et al. 2012, equation 5).

    Parameters
    ----------
    k, l : Pairs
        Of kernel matrices (N, N); N ≥ 4.
    """
    count = len(k.sums)
    trace = (k.kernel * l.kernel).sum()
    means = k.sums.sum() * l.sums.sum() / ((count - 1) * (count - 2))
    cross = 2 / (count - 2) * (k.sums * l.sums).sum()
    return (trace + means - cross) / (count * (count - 3))
