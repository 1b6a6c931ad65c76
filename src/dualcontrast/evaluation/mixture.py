"""Clusters of codes: a Gaussian mixture with a given or chosen number of components, or k-means."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from dualcontrast.errors import SettingError
from dualcontrast.evaluation.expected import Posteriors, expected_responsibilities
from dualcontrast.evaluation.gaussian_mixture import fit_mixture
from dualcontrast.evaluation.regression import standardise
from dualcontrast.random_streams import numpy_stream

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

FITTED_ROWS = 20_000
K_MEANS_STARTS = 20
AUTOMATIC_RANGE = (1, 10)
FEWEST_PER_COMPONENT, FEWEST_PER_DIMENSION = 10, 5
SEARCHED_DIMENSIONS = 10
METHODS = ("gmm", "kmeans")

ClusterMethod = Literal["gmm", "kmeans"]


@dataclass(frozen=True)
class Partition:
    """Codes divided into clusters.

    Clusters are numbered from 0 by falling size. Components to which no code belongs are left out.

    Attributes
    ----------
    labels : numpy.ndarray of int, shape (N,)
        Cluster of each code.
    responsibilities : numpy.ndarray, shape (N, K)
        Probability of each cluster given the code; rows sum to 1. k-means knows only 0 and 1.
    expected : numpy.ndarray, shape (N, K)
        Probability of each cluster averaged over the posterior of each code, see `expected_responsibilities`,
        under the mixture with components as wide as codes drawn from their posteriors scatter; for k-means
        the share of the posterior that lies nearest each centre. The same as `responsibilities` where no
        variances are given. Rows sum to 1, but for what lies at components to which no code belongs.
    centres : numpy.ndarray, shape (K, d)
        Mean of the codes weighted by their responsibilities, in the units of the codes.
    distances : numpy.ndarray, shape (N,)
        Distance of each code to the centre of its cluster: Mahalanobis distance for the mixture, Euclidean
        distance of standardised codes for k-means.
    bic : dict of int to float
        Bayesian information criterion by number of components (lower is better); empty for k-means.
    converged : bool
        Whether the fit reached its optimum.
    dimensions : int
        Dimensions, or principal directions, that were clustered.
    """

    labels: np.ndarray
    responsibilities: np.ndarray
    expected: np.ndarray
    centres: np.ndarray
    distances: np.ndarray
    bic: dict[int, float]
    converged: bool
    dimensions: int


def partition(
    codes: np.ndarray,
    count: int | tuple[int, int] | None = None,
    method: ClusterMethod = "gmm",
    seed: int = 0,
    what: str = "codes",
    variances: np.ndarray | None = None,
) -> Partition:
    """Divide codes into clusters.

    Codes are standardised, and at most 20,000 rows, chosen at random, are fitted. BIC chooses the number on
    the first ten principal directions of the codes: a full covariance has d (d + 1) / 2 numbers, and in 50
    dimensions their price hides clusters that lie well apart. The mixture of the chosen number is then fitted
    to all dimensions, as it is for a number that is given. Where there are fewer than five rows for each
    component and dimension, only as many principal directions are used as leave five, since covariances of
    more would be fitted to noise.

    Parameters
    ----------
    codes : numpy.ndarray, shape (N, d)
        Codes; the order of the rows decides which are sampled, so it should always be the same.
    count : int, (int, int) or None
        Number of clusters, or the lowest and highest of which BIC (Schwarz 1978) chooses; None stands for
        1 to 10. The highest is lowered to a tenth of the rows.
    method : {'gmm', 'kmeans'}
        k-means needs a number: it has no likelihood, and so no BIC.
    seed : int
        Of the sample and the starts.
    what : str
        What the codes are of, for messages.
    variances : numpy.ndarray, shape (N, d), optional
        Posterior variances of the codes, which `Partition.expected` is averaged over.

    Raises
    ------
    SettingError
        For a number below 1 or above N, for k-means without a number, or where several clusters are asked of
        codes that do not vary.
    """
    low, high = check_count(count, method)
    rows_there = len(codes)
    if low > rows_there:
        raise SettingError(f"{what}: {low} clusters of {rows_there} particles; ask for at most {rows_there}")
    high = max(low, min(high, rows_there // FEWEST_PER_COMPONENT))
    rows = numpy_stream(seed, "clusters", "rows").permutation(rows_there)[:FITTED_ROWS]
    alive = standardise(codes[rows])[0].shape[1]
    if alive == 0:
        if low > 1:
            raise SettingError(
                f"{what}: every particle has the same code, so there are no {low} clusters; "
                "look at `dualcontrast evaluate` for a collapsed code"
            )
        alone = np.ones((rows_there, 1))
        return _ordered(alone, alone, np.zeros((rows_there, 1)), codes, {}, True, 0)
    bic: dict[int, float] = {}
    if high > low:
        x, *_ = _directions(codes, rows, min(alive, SEARCHED_DIMENSIONS), high)
        for n in range(low, high + 1):
            bic[n] = fit_mixture(x, n, numpy_stream(seed, "clusters", n)).bic
        low = min(bic, key=lambda n: bic[n])
    x, everything, scale = _directions(codes, rows, alive, low)
    posteriors = None if variances is None else Posteriors(everything, variances, scale)
    if method == "kmeans":
        return _kmeans(x, everything, codes, low, seed, posteriors)
    best, of_best = fit_mixture(x, low, numpy_stream(seed, "clusters", low))
    bic = bic or {low: of_best}
    means, roots = np.asarray(best.means_), np.asarray(best.precisions_cholesky_)
    # precisions_cholesky_ P has Σ⁻¹ = P Pᵀ, so the Mahalanobis distance is the length of Pᵀ (x - μ).
    distances = np.stack(
        [np.linalg.norm((everything - mean) @ root, axis=1) for mean, root in zip(means, roots, strict=True)],
        axis=1,
    )
    responsibilities = best.predict_proba(everything)
    expected = responsibilities
    if posteriors is not None:
        expected = expected_responsibilities(_of_draws(best, posteriors, responsibilities), posteriors, seed)
    return _ordered(responsibilities, expected, distances, codes, bic, bool(best.converged_), x.shape[1])


def _of_draws(
    mixture: "GaussianMixture", posteriors: Posteriors, responsibilities: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the responsibilities by the mixture of codes that are drawn, rather than posterior means.

    Draws scatter about the mean of a component by the covariance of the posterior means, which was fitted,
    and the mean covariance of the posteriors (law of total covariance). Without the latter, draws along a
    dimension in which posteriors are wide and means close together, as in one that is nearly dead, would lie
    far from every component, and be given to one that is as little theirs as the others.
    """
    covariances = np.asarray(mixture.covariances_) + posteriors.mean_covariances(responsibilities)
    # W with Σ⁻¹ = W Wᵀ, so that the squared Mahalanobis distance is |Wᵀ (x - μ)|²; side by side for all
    # components, in single precision: this is evaluated 128 times, and a million codes should take minutes.
    whitening = np.swapaxes(np.linalg.inv(np.linalg.cholesky(covariances)), 1, 2)
    # Factors of a Cholesky decomposition are triangular: the determinant is the product of the diagonal.
    determinants = np.log(np.diagonal(whitening, axis1=1, axis2=2)).sum(axis=1)
    logarithms = np.log(np.asarray(mixture.weights_)) + determinants
    centres = np.einsum("kj,kji->ki", np.asarray(mixture.means_), whitening).ravel().astype(np.float32)
    sides = np.concatenate(list(whitening), axis=1).astype(np.float32)

    def responsibilities_of(x: np.ndarray) -> np.ndarray:
        whitened = x.astype(np.float32) @ sides
        whitened -= centres
        whitened = whitened.reshape(len(x), len(whitening), -1)
        joint = logarithms - 0.5 * np.einsum("nki,nki->nk", whitened, whitened)
        joint -= joint.max(axis=1, keepdims=True)
        np.exp(joint, out=joint)
        joint /= joint.sum(axis=1, keepdims=True)
        return joint

    return responsibilities_of


def check_count(count: int | tuple[int, int] | None, method: str = "gmm") -> tuple[int, int]:
    """Return the lowest and highest number of clusters that is asked for.

    Raises
    ------
    SettingError
        For numbers below 1, a range that runs backwards, an unknown method, or k-means without a number.
    """
    if method not in METHODS:
        raise SettingError(f"unknown clustering '{method}'; choose {' or '.join(METHODS)}")
    low, high = (count, count) if isinstance(count, int) else count or AUTOMATIC_RANGE
    if low < 1 or high < low:
        raise SettingError(f"{low} to {high} clusters: give a number of at least 1, or a range that rises")
    if method == "kmeans" and low != high:
        raise SettingError("k-means cannot choose the number of clusters; give it, or use the method gmm")
    return low, high


def _kmeans(
    x: np.ndarray,
    everything: np.ndarray,
    codes: np.ndarray,
    count: int,
    seed: int,
    posteriors: Posteriors | None,
) -> Partition:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    random_state = int(numpy_stream(seed, "clusters", count).integers(2**31))
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        means = KMeans(
            count,
            n_init=K_MEANS_STARTS,  # pyright: ignore[reportArgumentType]
            max_iter=500,
            random_state=random_state,
        ).fit(x)
        distances = means.transform(everything)

    def nearest(points: np.ndarray) -> np.ndarray:
        return np.eye(distances.shape[1])[means.transform(points).argmin(axis=1)]

    hard = np.eye(distances.shape[1])[distances.argmin(axis=1)]
    expected = hard if posteriors is None else expected_responsibilities(nearest, posteriors, seed)
    return _ordered(hard, expected, distances, codes, {}, means.n_iter_ < 500, x.shape[1])


def _directions(
    codes: np.ndarray, rows: np.ndarray, most: int, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardise codes, along principal directions where rows are too few for `most` dimensions.

    The directions are those of the codes as they are, not of standardised ones, in which a dimension of noise
    counts as much as any other. Returned are the codes of `rows`, those of all, and the matrix, shape
    (d, dimensions), that takes a difference of two codes to that of the standardised ones.
    """
    dimensions = max(1, min(most, len(rows) // (FEWEST_PER_DIMENSION * count)))
    fitted, everything, directions = codes[rows], codes, np.eye(codes.shape[1])
    if dimensions < codes.shape[1]:
        centred = fitted.astype(np.float64) - fitted.mean(axis=0, dtype=np.float64)
        _, vectors = np.linalg.eigh(centred.T @ centred)
        directions = vectors[:, ::-1][:, :dimensions]
        fitted, everything = fitted @ directions, everything @ directions
    units = np.eye(directions.shape[1])
    x, everything, ends, origin = standardise(fitted, everything, units, np.zeros((1, len(units))))
    return x, everything, directions @ (ends - origin)


def _ordered(
    responsibilities: np.ndarray,
    expected: np.ndarray,
    distances: np.ndarray,
    codes: np.ndarray,
    bic: dict[int, float],
    converged: bool,
    dimensions: int,
) -> Partition:
    """Number the clusters by falling size, and leave out those without members."""
    labels = responsibilities.argmax(axis=1)
    sizes = np.bincount(labels, minlength=responsibilities.shape[1])
    weights = responsibilities / np.maximum(responsibilities.sum(axis=0), np.finfo(float).tiny)
    centres = weights.T @ codes.astype(np.float64)
    # Of clusters of one size, the one whose centre comes first: the numbers then depend on the codes alone.
    order = np.lexsort((*centres.T[::-1], -sizes))
    order = order[sizes[order] > 0]
    kept, kept_expected = responsibilities[:, order], expected[:, order]
    return Partition(
        labels=np.argsort(order)[np.searchsorted(np.sort(order), labels)],
        responsibilities=kept / kept.sum(axis=1, keepdims=True),
        # What lies at components without members stays missing: it is no probability of another cluster.
        expected=kept_expected,
        centres=centres[order],
        distances=distances[np.arange(len(codes)), labels],
        bic=bic,
        converged=converged,
        dimensions=dimensions,
    )
