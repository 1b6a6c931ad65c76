"""scikit-learn's handwritten digits: real images that come with the package, no download."""

import numpy as np
from PIL import Image

from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.labels import Factor, LabelTable

SIDE = 32
_BRIGHTEST = 16.0


def open_digits() -> ArraySource:
    """Open the 1,797 digits of scikit-learn, enlarged to 32×32.

    The originals are 8×8 counts from 0 to 16 of the ink in blocks of 4×4 pixels, smaller than the networks
    take; they are divided by 16 and enlarged bilinearly back to the 32×32 that were counted. The content
    label is `digit`. There is no published split.
    """
    from sklearn.datasets import load_digits

    counts, digit = load_digits(return_X_y=True)
    images = np.stack([_enlarge(image) for image in np.asarray(counts).reshape(-1, 8, 8)])
    ids = np.array([f"digit-{number:04d}" for number in range(len(images))])
    labels = LabelTable(ids, (Factor("digit", "content", np.asarray(digit, dtype=np.int64)),))
    return ArraySource(images, ids=ids, labels=labels, location="digits")


def _enlarge(image: np.ndarray) -> np.ndarray:
    """Bring one image of counts, shape (8, 8), to (32, 32) in [0, 1]."""
    scaled = Image.fromarray((image / _BRIGHTEST).astype(np.float32))
    # Bilinear weights are convex, so values stay in [0, 1] but for rounding.
    return np.clip(np.asarray(scaled.resize((SIDE, SIDE), Image.Resampling.BILINEAR)), 0.0, 1.0)
