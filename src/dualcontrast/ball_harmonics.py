"""Volumes as sums of waves in a ball, and what of them does not change when a volume is turned.

A volume inside a ball is a sum of ball harmonics j_l(k r) Y_lm: waves that stand along the radius, times
spherical harmonics. A rotation mixes the 2 l + 1 orders m of each degree l among themselves and leaves
everything else alone, so the power that two waves of one degree have in common,

    P_l(k, k') = Σ_m f_klm f_k'lm / √(2 l + 1),

stays as it is, and so does f_k00 (Kam 1980 uses the same invariants of particles in unknown orientations).
"""

import math

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import gammaln, lpmv, spherical_jn
from torch import Tensor, nn

from dualcontrast.errors import SettingError
from dualcontrast.fourier import fourier_crop, fourier_pad
from dualcontrast.full_precision import full_precision
from dualcontrast.spread import by_rows

# Linear interpolation, by which volumes are turned, leaves little of what is finer.
FINEST_WAVE = 3.0
# Bounds on the size of the arrays.
HIGHEST_DEGREE = 10
LARGEST_BOX = 32


def wave_numbers(degree: int, largest: float) -> list[float]:
    """List the zeros of the spherical Bessel function j_l in (0, `largest`].

    Waves of these wave numbers, in units of 1 / radius, vanish on the surface of the ball and are orthogonal.
    """
    grid = np.linspace(0.5, largest, max(2, math.ceil(largest * 50)))
    values = spherical_jn(degree, grid)
    # Close to 0 the function of a high degree underflows, and has no zero.
    crossings = np.flatnonzero(values[:-1] * values[1:] < 0)
    return [float(brentq(lambda x: spherical_jn(degree, x), grid[i], grid[i + 1])) for i in crossings]  # pyright: ignore[reportArgumentType]


def spherical_harmonics(degree: int, cosine: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """Real spherical harmonics of one degree, but for a factor that is the same for all orders.

    Parameters
    ----------
    degree : int
        l.
    cosine, azimuth : numpy.ndarray, shape (V,)
        Of the directions: z / r, and the angle of (x, y) in radians.

    Returns
    -------
    numpy.ndarray, shape (2 l + 1, V)
        Order 0, then cosine and sine of order 1, of order 2, ...
    """
    orders = []
    for order in range(degree + 1):
        scale = math.exp((gammaln(degree - order + 1) - gammaln(degree + order + 1)) / 2)
        legendre = scale * lpmv(order, degree, cosine)
        if order == 0:
            orders.append(legendre)
        else:
            orders += [math.sqrt(2) * legendre * np.cos(order * azimuth)]
            orders += [math.sqrt(2) * legendre * np.sin(order * azimuth)]
    return np.stack(orders)


def ball_harmonics(
    spatial: tuple[int, ...], centre: tuple[float, ...], radius: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Sample ball harmonics on the voxels of a box.

    Parameters
    ----------
    spatial : tuple of int
        (D, H, W).
    centre : tuple of float
        Of the ball (z, y, x), in voxels.
    radius : float
        Of the ball, in voxels.

    Returns
    -------
    inside : numpy.ndarray of int, shape (V,)
        Flat indices of the voxels in the ball.
    harmonics : list of numpy.ndarray, float32, shapes (waves, 2 l + 1, V)
        One array for each degree l from 0 to `HIGHEST_DEGREE`, as long as there is a wave of at least
        `FINEST_WAVE` voxels. They are orthonormal but for sampling: white noise of variance 1 gives
        coefficients of variance 1.
    """
    axes = [np.arange(length) - middle for length, middle in zip(spatial, centre, strict=True)]
    z, y, x = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    distance = np.sqrt(z**2 + y**2 + x**2)
    inside = np.flatnonzero(distance < radius)
    z, y, x, distance = z[inside], y[inside], x[inside], distance[inside]
    cosine = z / np.maximum(distance, 1e-9)
    azimuth = np.arctan2(y, x)
    harmonics = []
    for degree in range(HIGHEST_DEGREE + 1):
        waves = wave_numbers(degree, 2 * math.pi / FINEST_WAVE * radius)
        if not waves:
            break
        radial = np.stack([spherical_jn(degree, wave * distance / radius) for wave in waves])
        sampled = radial[:, None] * spherical_harmonics(degree, cosine, azimuth)
        # One factor for all orders, so that a rotation still turns them into each other.
        sampled /= np.sqrt((sampled**2).sum(axis=2).mean(axis=1))[:, None, None]
        harmonics.append(sampled.astype(np.float32))
    return inside, harmonics


class BallHarmonics(nn.Module):
    """Coefficients of volumes, volumes of coefficients, and rotation invariants; has no weights.

    Boxes of more than 32 voxels are Fourier-cropped to 32 first, which keeps the arrays small.

    Parameters
    ----------
    image_shape : tuple of int
        (C, D, H, W).
    diameter : float
        Of the ball, as a share of the shortest side.

    Raises
    ------
    SettingError
        For images of two dimensions.
    """

    def __init__(self, image_shape: tuple[int, ...], diameter: float = 1.0) -> None:
        super().__init__()
        if len(image_shape) != 4:
            raise SettingError("the networks 'harmonic' are for volumes; use 'paper' for 2-D images")
        self.channels, *spatial = image_shape
        self.full, self.box = tuple(spatial), tuple(spatial)
        # Turns are about the middle of the box, which lies between two voxels where their number is even.
        centre = tuple((length - 1) / 2 for length in spatial)
        if len(set(spatial)) == 1 and spatial[0] > LARGEST_BOX:
            length, self.box = spatial[0], (LARGEST_BOX,) * 3
            # Cropping keeps voxel n // 2 in place.
            centre = (LARGEST_BOX // 2 + (centre[0] - length // 2) * LARGEST_BOX / length,) * 3
        inside, harmonics = ball_harmonics(self.box, centre, diameter * min(self.box) / 2)
        # Made again wherever the network is, so not a part of what is saved.
        self.register_buffer("inside", torch.from_numpy(inside), persistent=False)
        flat = np.concatenate([degree.reshape(-1, len(inside)) for degree in harmonics])
        self.register_buffer("harmonics", torch.from_numpy(flat), persistent=False)
        self.waves = [degree.shape[0] for degree in harmonics]
        # Each pair of waves once, as places in the powers of all degrees, flattened and joined.
        pairs, start = [], 0
        for waves in self.waves:
            first, second = np.triu_indices(waves)
            pairs.append(start + first * waves + second)
            start += waves**2
        self.register_buffer("pairs", torch.from_numpy(np.concatenate(pairs)), persistent=False)

    inside: Tensor
    harmonics: Tensor
    pairs: Tensor

    @property
    def coefficient_count(self) -> int:
        """Number of coefficients of a volume."""
        return self.channels * len(self.harmonics)

    @property
    def invariant_count(self) -> int:
        """Number of invariants of a volume."""
        return self.channels * (self.waves[0] + len(self.pairs))

    @by_rows("volumes")
    @full_precision
    def coefficients(self, volumes: Tensor) -> Tensor:
        """Return f_klm of volumes (N, C, D, H, W), shape (N, coefficient_count), in single precision."""
        volumes = volumes.float()
        if self.box != self.full:
            volumes = fourier_crop(volumes, self.box[0])
        return (volumes.flatten(2)[..., self.inside] @ self.harmonics.T).flatten(1)

    @by_rows("coefficients")
    @full_precision
    def volumes(self, coefficients: Tensor) -> Tensor:
        """Add up the waves of coefficients (N, coefficient_count) to volumes (N, C, D, H, W)."""
        waves = coefficients.float().unflatten(1, (self.channels, -1)) @ self.harmonics
        flat = waves.new_zeros(*waves.shape[:2], math.prod(self.box))
        volumes = flat.index_copy(2, self.inside, waves).unflatten(2, self.box)
        return volumes if self.box == self.full else fourier_pad(volumes, self.full[0])

    @by_rows("coefficients")
    @full_precision
    def invariants(self, coefficients: Tensor) -> Tensor:
        """Return f_k00 and P_l(k, k') of coefficients (N, coefficient_count), shape (N, invariant_count)."""
        coefficients = coefficients.float().unflatten(1, (self.channels, -1))
        powers, start = [], 0
        for degree, waves in enumerate(self.waves):
            orders = 2 * degree + 1
            f = coefficients[..., start : start + waves * orders].unflatten(-1, (waves, orders))
            powers.append((f @ f.mT / math.sqrt(orders)).flatten(-2))
            start += waves * orders
        mixed = torch.cat(powers, dim=-1)[..., self.pairs]
        return torch.cat((coefficients[..., : self.waves[0]], mixed), dim=-1).flatten(1)
