"""Reading prepared images and running a method on them in batches that fit in memory."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from dualcontrast.data.labels import positions_of
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError
from dualcontrast.methods.base import Encoding, Method, Posterior
from dualcontrast.prepare import Preparation
from dualcontrast.training import batches

PIXELS_PER_BATCH = 2**22
IMAGES_PER_BATCH = 256


def read_prepared(source: ImageSource, preparation: Preparation, ids: np.ndarray) -> Tensor:
    """Read the images of some particles, prepared as in training, shape (n, C, *spatial).

    Raises
    ------
    DataError
        When a particle is not in the source.
    """
    rows = positions_of(ids, source.ids)
    if (rows < 0).any():
        missing = ids[rows < 0]
        raise DataError(
            f"{source.location}: has no image with the id '{missing[0]}' ({len(missing)} ids are missing); "
            "give ids of this data set"
        )
    preparation.check_source(source)
    return batches.read_prepared(source, preparation, rows)


def slices(images: Tensor) -> Iterator[slice]:
    """Yield slices over the images, each small enough to run through a network at once."""
    size = max(1, min(IMAGES_PER_BATCH, PIXELS_PER_BATCH // images[0].numel())) if len(images) else 1
    for start in range(0, len(images), size):
        yield slice(start, start + size)


def device_of(method: Method) -> torch.device:
    """Return the device of a method's weights; the CPU for one that has none."""
    return next((parameter.device for parameter in method.parameters()), torch.device("cpu"))


@torch.inference_mode()
def encode_images(
    method: Method, images: Tensor, change: Callable[[Tensor, slice], Tensor] = lambda batch, rows: batch
) -> Encoding:
    """Encode images in batches; the posteriors come back on the CPU.

    Parameters
    ----------
    method : Method
        Does the encoding, on its own device.
    images : Tensor, shape (N, C, *spatial)
        Prepared images.
    change : callable
        Applied to every batch before it is encoded, with the rows that the batch holds.
    """
    device = device_of(method)
    parts: list[Encoding] = [method.encode(change(images[rows].to(device), rows)) for rows in slices(images)]

    def joined(posteriors: list[Posterior]) -> Posterior:
        variances = [posterior.log_variance for posterior in posteriors]
        return Posterior(
            torch.cat([posterior.mean for posterior in posteriors]).float().cpu(),
            None
            if any(variance is None for variance in variances)
            else torch.cat([variance for variance in variances if variance is not None]).float().cpu(),
        )

    return Encoding(joined([part.content for part in parts]), joined([part.transformation for part in parts]))


@torch.inference_mode()
def decode_codes(method: Method, content: Tensor, transformation: Tensor) -> Tensor:
    """Decode codes in batches; the images come back on the CPU, shape (N, C, *spatial)."""
    device = device_of(method)
    return torch.cat(
        [
            method.decode(
                content[start : start + IMAGES_PER_BATCH].to(device),
                transformation[start : start + IMAGES_PER_BATCH].to(device),
            )
            .float()
            .cpu()
            for start in range(0, len(content), IMAGES_PER_BATCH)
        ]
    )
