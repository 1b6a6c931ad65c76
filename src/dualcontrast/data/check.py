"""Looking at every image once before anything is trained on them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from dualcontrast.data.pixels import name_some
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import DataError

_BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class Survey:
    """What a look at every image found.

    Attributes
    ----------
    low, high : float
        Lowest and highest pixel, as `read` returns them.
    constant : numpy.ndarray of str
        Ids of the images whose pixels are all equal.
    """

    low: float
    high: float
    constant: np.ndarray


def read_blocks(source: ImageSource) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read all images in order, in blocks of about 32 MiB: positions (n,) and images (n, C, *spatial)."""
    size = max(1, _BLOCK_BYTES // (4 * math.prod(source.image_shape)))
    for start in range(0, len(source), size):
        rows = np.arange(start, min(start + size, len(source)))
        yield rows, source.read(rows)


def survey_images(source: ImageSource, progress: Callable[[int], None] | None = None) -> Survey:
    """Read every image once.

    Parameters
    ----------
    source : ImageSource
        Read in blocks, so it may be larger than memory.
    progress : callable, optional
        Called after each block with the number of images read so far.

    Raises
    ------
    DataError
        When an image cannot be read or holds NaN or infinite pixels.

    Notes
    -----
    Nothing is read where the source knows the range of its images, because they were looked at before.
    """
    if source.known_range is not None:
        return Survey(*source.known_range, constant=source.ids[:0])
    low, high, constant = math.inf, -math.inf, []
    for rows, images in read_blocks(source):
        flat = images.reshape(len(images), -1)
        lowest, highest = flat.min(axis=1), flat.max(axis=1)
        constant.append(rows[lowest == highest])
        low, high = min(low, float(lowest.min())), max(high, float(highest.max()))
        if progress is not None:
            progress(int(rows[-1]) + 1)
    return Survey(low, high, source.ids[np.concatenate(constant)])


def check_images(source: ImageSource, progress: Callable[[int], None] | None = None) -> Survey:
    """Read every image once, and refuse what cannot be trained on.

    Parameters
    ----------
    source : ImageSource
        Read in blocks, so it may be larger than memory.
    progress : callable, optional
        Called after each block with the number of images read so far.

    Raises
    ------
    DataError
        When an image cannot be read, holds NaN or infinite pixels, or is constant.
    """
    survey = survey_images(source, progress)
    if len(survey.constant):
        raise DataError(
            f"{source.location}: all pixels are equal in {name_some(survey.constant)}; "
            "an image without contrast shows nothing, leave it out"
        )
    return survey
