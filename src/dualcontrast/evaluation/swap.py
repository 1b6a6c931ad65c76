"""What survives when the two codes of different images are combined: decode (c_i, z_j) and encode again."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dualcontrast.evaluation.inference import IMAGES_PER_BATCH, PIXELS_PER_BATCH, device_of
from dualcontrast.losses import derangement
from dualcontrast.methods.base import Encoding, Method
from dualcontrast.random_streams import torch_stream


def concordance(wanted: np.ndarray, found: np.ndarray) -> float:
    """Lin's concordance of codes that were asked for and codes that were read back, pooled over dimensions.

    ρ = 1 - E‖u_i' - u_i‖² / E‖u_i' - u_k‖², where u_i is the code asked for, u_i' the one read back and u_k a
    code of an image drawn independently. It is 1 where every code comes back as it was, and 0 where what
    comes back has nothing to do with what was asked for: that is the chance level, whatever the code's
    scale, its dimension, or the number of images that share a code. Negative values are reported as 0.

    Parameters
    ----------
    wanted, found : numpy.ndarray, shape (N, d)
        Codes asked for and read back; a code that is the same for all images counts as 0, since nothing is
        asked of it.
    """
    wanted, found = wanted.astype(np.float64), found.astype(np.float64)
    error = np.square(found - wanted).sum(axis=1).mean()
    independent = (
        wanted.var(axis=0).sum()
        + found.var(axis=0).sum()
        + np.square(wanted.mean(axis=0) - found.mean(axis=0)).sum()
    )
    if wanted.var(axis=0).sum() <= 1e-12 * max(1e-6, np.square(wanted).sum(axis=1).mean()):
        return 0.0
    return float(max(0.0, 1 - error / independent))


@dataclass(frozen=True)
class Swaps:
    """Measures that need the decoder.

    Attributes
    ----------
    swap_content, swap_transformation : float
        `concordance` of c with c_i and of z with z_j, after decoding (c_i, z_j) and encoding the result.
    self_content, self_transformation : float
        The same without a swap, decoding (c_i, z_i): what reconstruction alone keeps, a ceiling for the swap.
    decoder_use_content, decoder_use_transformation : float
        How much of the decoded image hangs on one code: mean squared change of the image when only that code
        is taken from another image, relative to the change when both are. 0 where the decoder ignores it.
    mean_squared_error : float
        Of the reconstruction, per pixel.
    relative_error : float
        The same, divided by the images' variance about their mean image: 1 is no better than showing the
        mean.
    """

    swap_content: float
    swap_transformation: float
    self_content: float
    self_transformation: float
    decoder_use_content: float
    decoder_use_transformation: float
    mean_squared_error: float
    relative_error: float | None


@torch.inference_mode()
def measure_swaps(method: Method, images: Tensor, encoding: Encoding, seed: int) -> Swaps:
    """Decode every image as it is and with either code taken from another image, and encode the results.

    Parameters
    ----------
    method : Method
        A generative method.
    images : Tensor, shape (N, C, *spatial)
        Prepared images.
    encoding : Encoding
        Their codes.
    seed : int
        Chooses the partners; no image is its own.
    """
    device = device_of(method)
    content, transformation = encoding.content.mean, encoding.transformation.mean
    partner = derangement(len(images), torch_stream(seed, "evaluation", "swap"))
    errors, change_content, change_transformation, change_both = [], [], [], []
    found: dict[str, list[Tensor]] = {"swap_c": [], "swap_z": [], "self_c": [], "self_z": []}
    size = max(1, min(IMAGES_PER_BATCH, PIXELS_PER_BATCH // images[0].numel()))
    for start in range(0, len(images), size):
        rows = slice(start, start + size)
        c, z = content[rows].to(device), transformation[rows].to(device)
        other_c, other_z = content[partner[rows]].to(device), transformation[partner[rows]].to(device)
        own = method.decode(c, z)
        swapped = method.decode(c, other_z)
        errors.append(_per_image(own, images[rows].to(device)))
        change_transformation.append(_per_image(swapped, own))
        change_content.append(_per_image(method.decode(other_c, z), own))
        change_both.append(_per_image(method.decode(other_c, other_z), own))
        for name, decoded in (("self", own), ("swap", swapped)):
            again = method.encode(decoded)
            found[f"{name}_c"].append(again.content.mean.float().cpu())
            found[f"{name}_z"].append(again.transformation.mean.float().cpu())

    def survival(wanted: Tensor, name: str) -> float:
        return concordance(wanted.numpy(), torch.cat(found[name]).numpy())

    both = torch.cat(change_both).mean()
    error = float(torch.cat(errors).mean())
    variance = float((images - images.mean(dim=0)).double().square().mean())
    return Swaps(
        swap_content=survival(content, "swap_c"),
        swap_transformation=survival(transformation[partner], "swap_z"),
        self_content=survival(content, "self_c"),
        self_transformation=survival(transformation, "self_z"),
        decoder_use_content=float(torch.cat(change_content).mean() / both) if both > 0 else 0.0,
        decoder_use_transformation=float(torch.cat(change_transformation).mean() / both) if both > 0 else 0.0,
        mean_squared_error=error,
        relative_error=error / variance if variance > 0 else None,
    )


def _per_image(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).double().square().flatten(1).mean(dim=1).cpu()
