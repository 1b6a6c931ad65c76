"""What a known rotation of the image does to the two codes (the paper's two conditions, section 3.1)."""

import numpy as np
import torch
from torch import Tensor

from dualcontrast.evaluation.inference import encode_images
from dualcontrast.evaluation.regression import cross_fitted_r_squared
from dualcontrast.methods.base import Encoding, Method
from dualcontrast.random_streams import numpy_stream, torch_stream
from dualcontrast.rotations import vectors_of_matrices
from dualcontrast.views import rotate, rotation_matrices, uniform

MAX_ANGLE = 90.0


def draw_angles(images: Tensor, seed: int) -> Tensor:
    """Draw one rotation an image from U(-90°, 90°): shape (N,) in 2-D, (N, 3) about x, y, z in 3-D."""
    shape = (len(images),) if images.ndim == 4 else (len(images), 3)
    return uniform(shape, MAX_ANGLE, torch_stream(seed, "evaluation", "rotation"))


def encode_rotated(method: Method, images: Tensor, angles: Tensor) -> Encoding:
    """Encode every image turned by its own angle; angles as `draw_angles` gives them."""
    return encode_images(method, images, lambda batch, rows: rotate(batch, angles[rows].to(batch.device)))


def mean_distance(codes: np.ndarray) -> float:
    """Mean Euclidean distance of two different rows."""
    from scipy.spatial.distance import pdist

    return float(pdist(codes.astype(np.float64)).mean())


def relative_movement(codes: np.ndarray, moved: np.ndarray) -> float | None:
    """How far a change moves codes, against how far apart two random images' codes are.

    mean ‖u_i' - u_i‖ / mean ‖u_i - u_k‖ (i ≠ k): 0 where the change leaves every code in place, 1 where the
    changed image is as far from its own code as from anybody else's.

    Parameters
    ----------
    codes, moved : numpy.ndarray, shape (N, d)
        Codes before and after.

    Returns
    -------
    float or None
        None where all codes are the same, since nothing can then be compared.
    """
    apart = mean_distance(codes)
    if apart <= 1e-6 * max(1e-3, float(np.abs(codes).max())):
        return None
    return float(np.linalg.norm(moved.astype(np.float64) - codes, axis=1).mean() / apart)


def rotation_targets(angles: Tensor) -> np.ndarray:
    """Turn applied angles into what is read out of a code.

    Returns
    -------
    numpy.ndarray, float64, shape (N, 1) or (N, 3)
        In 2-D the angle in degrees; in 3-D the rotation vector (axis times angle, in degrees), whose
        components are comparable and do not depend on the order in which three angles are applied.
    """
    if angles.ndim == 1:
        return angles.double().numpy()[:, None]
    return torch.rad2deg(vectors_of_matrices(rotation_matrices(angles.double()))).numpy()


def rotation_readout(rotated_codes: np.ndarray, angles: Tensor, seed: int) -> float:
    """R² of the applied rotation, predicted from the codes of images that were each turned once.

    Ridge regression, five-fold: every image's angle is predicted by a regression fitted to other images.
    It asks for the angle by which the image was turned, so it can reach 1 only where the images share an
    upright pose; on particles in random poses it stays near 0 for every method.

    Parameters
    ----------
    rotated_codes : numpy.ndarray, shape (N, d)
        Posterior means of the turned images.
    angles : Tensor, shape (N,) or (N, 3)
        Applied angles, in degrees.
    seed : int
        Of the folds.
    """
    rng = numpy_stream(seed, "evaluation", "rotation_readout")
    return cross_fitted_r_squared(rotated_codes, rotation_targets(angles), rng)


def relative_readout(codes: np.ndarray, rotated_codes: np.ndarray, angles: Tensor, seed: int) -> float:
    """R² of the applied rotation, predicted from the codes of an image and of its turned copy together.

    Five-fold ridge regression with a Gaussian kernel. Unlike `rotation_readout` it does not ask how an image
    lay before it was turned. Turns in three dimensions of particles in random poses are still read badly
    from a few hundred images.

    Parameters
    ----------
    codes, rotated_codes : numpy.ndarray, shape (N, d)
        Posterior means of the images and of the turned images.
    angles : Tensor, shape (N,) or (N, 3)
        Applied angles, in degrees.
    seed : int
        Of the folds.
    """
    rng = numpy_stream(seed, "evaluation", "relative_readout")
    both = np.concatenate((codes, rotated_codes), axis=1)
    return cross_fitted_r_squared(both, rotation_targets(angles), rng, nonlinear=True)
