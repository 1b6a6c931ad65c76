"""A Gaussian mixture with a background: rows that lie between the groups, and shape none of them."""

from typing import Any

import numpy as np
from sklearn.mixture import GaussianMixture


class BackgroundMixture(GaussianMixture):
    """A mixture whose last component is the Gaussian of all rows, of which only the weight is fitted.

    Banfield and Raftery (1993) have a uniform density in its place, for which the hull of the rows would have
    to be known; in ten dimensions, most of that is empty.

    Parameters
    ----------
    mean, covariance : numpy.ndarray, shape (d,), (d, d)
        Of all rows.
    **settings
        Of the mixture, the background among its components.
    """

    weights_: np.ndarray
    means_: np.ndarray
    covariances_: np.ndarray
    precisions_cholesky_: np.ndarray

    def __init__(self, mean: np.ndarray, covariance: np.ndarray, **settings: Any) -> None:
        super().__init__(**settings)
        self.mean, self.covariance = mean, covariance
        self._precision_cholesky = np.linalg.inv(np.linalg.cholesky(covariance)).T

    def _m_step(self, *arguments: Any, **more: Any) -> None:
        super()._m_step(*arguments, **more)
        self.means_[-1], self.covariances_[-1] = self.mean, self.covariance
        self.precisions_cholesky_[-1] = self._precision_cholesky

    def _n_parameters(self) -> int:
        """Count what is fitted: the background has its weight."""
        dimensions = len(self.mean)
        return super()._n_parameters() - dimensions - dimensions * (dimensions + 1) // 2

    def without_background(self) -> GaussianMixture:
        """Return the mixture of the others, with weights that sum to 1."""
        groups = GaussianMixture(self.n_components - 1)
        groups.weights_ = self.weights_[:-1] / self.weights_[:-1].sum()
        groups.means_, groups.covariances_ = self.means_[:-1], self.covariances_[:-1]
        groups.precisions_cholesky_ = self.precisions_cholesky_[:-1]
        groups.converged_ = self.converged_
        return groups
