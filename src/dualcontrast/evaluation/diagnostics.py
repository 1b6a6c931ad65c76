"""Measures of a run that need no labels, taken with the method on held-out images."""

from dataclasses import asdict
from typing import Any

from torch import Tensor

from dualcontrast.codes import BOTH_CODES
from dualcontrast.evaluation.activity import activity, collapse
from dualcontrast.evaluation.groups import group_scores
from dualcontrast.evaluation.inference import encode_images
from dualcontrast.evaluation.regression import cross_fitted_r_squared
from dualcontrast.evaluation.rotation import (
    draw_angles,
    encode_rotated,
    relative_movement,
    relative_readout,
    rotation_readout,
)
from dualcontrast.evaluation.swap import measure_swaps
from dualcontrast.methods.base import Method
from dualcontrast.random_streams import numpy_stream

MOST_IMAGES = 2_000
FEWEST_IMAGES = 20
MOST_PIXELS = 2**26


def image_limit(image_shape: tuple[int, ...]) -> int:
    """How many images the diagnostics take: at most 2,000 and at most 2²⁶ pixels (256 MB), at least 20."""
    pixels = 1
    for length in image_shape:
        pixels *= length
    return max(FEWEST_IMAGES, min(MOST_IMAGES, MOST_PIXELS // pixels))


def diagnostics(method: Method, images: Tensor, seed: int = 0) -> dict[str, Any]:
    """Measure how well the two codes keep the paper's conditions, without labels.

    Parameters
    ----------
    method : Method
        In evaluation mode.
    images : Tensor, shape (N, C, *spatial)
        Prepared held-out images; at least 20.
    seed : int
        Of the rotations, partners and folds.

    Returns
    -------
    dict
        `content_invariance`, `transformation_response` (see `relative_movement`); `rotation_readout` (see
        there) and `relative_readout` (see there) from both codes; `groups` (see `GroupScores`; None where c
        does not vary); `swap_consistency`, `self_consistency`, `decoder_use` of both codes and
        `reconstruction` (see `Swaps`; None without a decoder); `cross_predictability`, five-fold R² of one
        code from the other by ridge regression (`linear`) and by Gaussian-kernel ridge regression
        (`nonlinear`); `active_dimensions` (see `Activity`); `collapse` (see `Collapse`); `images`, how many
        were used; and `reasons`, why a measure is None.
    """
    encoding = encode_images(method, images)
    angles = draw_angles(images, seed)
    rotated = encode_rotated(method, images, angles)
    c, z = encoding.content.mean.numpy(), encoding.transformation.mean.numpy()
    rotated_c, rotated_z = rotated.content.mean.numpy(), rotated.transformation.mean.numpy()
    reasons: dict[str, str] = {}

    def folds(*name: str):
        return numpy_stream(seed, "evaluation", "folds", *name)

    found: dict[str, Any] = {
        "content_invariance": relative_movement(c, rotated_c),
        "transformation_response": relative_movement(z, rotated_z),
        "rotation_readout": {
            "from_content": rotation_readout(rotated_c, angles, seed),
            "from_transformation": rotation_readout(rotated_z, angles, seed),
        },
        "relative_readout": {
            "from_content": relative_readout(c, rotated_c, angles, seed),
            "from_transformation": relative_readout(z, rotated_z, angles, seed),
        },
        "cross_predictability": {
            "content_from_transformation": {
                "linear": cross_fitted_r_squared(z, c, folds("c")),
                "nonlinear": cross_fitted_r_squared(z, c, folds("c"), nonlinear=True),
            },
            "transformation_from_content": {
                "linear": cross_fitted_r_squared(c, z, folds("z")),
                "nonlinear": cross_fitted_r_squared(c, z, folds("z"), nonlinear=True),
            },
        },
    }
    for key in ("content_invariance", "transformation_response"):
        if found[key] is None:
            reasons[key] = "the code is the same for every image, so no distance can be compared"

    groups = group_scores(c, rotated_c, z, seed)
    found["groups"] = None if groups is None else asdict(groups)
    if groups is None:
        reasons["groups"] = "c does not vary, or there are fewer than 20 images"

    active = {"content": activity(encoding.content), "transformation": activity(encoding.transformation)}
    found["active_dimensions"] = {code: asdict(value) for code, value in active.items()}
    if method.generative:
        swaps = measure_swaps(method, images, encoding, seed)
        found["swap_consistency"] = {
            "content": swaps.swap_content,
            "transformation": swaps.swap_transformation,
        }
        found["self_consistency"] = {
            "content": swaps.self_content,
            "transformation": swaps.self_transformation,
        }
        found["decoder_use"] = {
            "content": swaps.decoder_use_content,
            "transformation": swaps.decoder_use_transformation,
        }
        found["reconstruction"] = {"mse": swaps.mean_squared_error, "relative": swaps.relative_error}
    else:
        for key in ("swap_consistency", "self_consistency", "decoder_use"):
            found[key] = {"content": None, "transformation": None}
            reasons[key] = f"the method {method.name} has no decoder"
        found["reconstruction"] = {"mse": None, "relative": None}
        reasons["reconstruction"] = f"the method {method.name} has no decoder"
    found["collapse"] = {
        code: asdict(collapse(active[code], found["decoder_use"][code])) for code in BOTH_CODES
    }
    return found | {"images": len(images), "reasons": reasons}
