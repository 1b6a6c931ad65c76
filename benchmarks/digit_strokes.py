"""Slant, thickness and width of handwritten digits, computed from the images, as transformation labels.

    python benchmarks/digit_strokes.py mnist strokes.csv
    dualcontrast train mnist --output runs/mnist --labels strokes.csv

Nobody labelled them, so they are measured: the slant as the shear that rights a digit, the width after it is
righted, the thickness from how deep inside the stroke its pixels lie. The content labels are kept beside.
"""

import argparse
import csv
import io
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt, zoom

from dualcontrast.data.open import open_source
from dualcontrast.errors import DataError
from dualcontrast.files import write_text

FACTORS = ("slant", "thickness", "width")
# The edge of a stroke is found between pixels.
FINER = 4


def strokes(image: np.ndarray) -> tuple[float, float, float]:
    """Measure one digit.

    Parameters
    ----------
    image : numpy.ndarray, shape (H, W)
        Light on dark.

    Returns
    -------
    slant : float
        Degrees to the right by which an upright digit would have to be sheared.
    thickness : float
        Of the stroke, in pixels: four times the mean distance from the edge, as in a straight bar.
    width : float
        Standard deviation of the ink along x once the digit is upright, in pixels.
    """
    weights = image.astype(np.float64) / image.sum()
    y, x = np.indices(image.shape, dtype=np.float64)
    x -= (weights * x).sum()
    y -= (weights * y).sum()
    xx, xy, yy = ((weights * product).sum() for product in (x * x, x * y, y * y))
    ink = zoom(image.astype(np.float64), FINER, order=1) > image.max() / 2
    thickness = 4 * distance_transform_edt(ink)[ink].mean() / FINER
    return float(np.degrees(np.arctan(-xy / yy))), float(thickness), float(np.sqrt(xx - xy**2 / yy))


def write_strokes(data: str, output: Path) -> None:
    """Write a CSV file of labels: `id`, the content labels, and the three factors.

    Raises
    ------
    DataError
        When the images are no digits: coloured, or volumes.
    """
    source = open_source(data)
    if source.image_shape[0] != 1 or len(source.image_shape) != 3:
        raise DataError(f"{data}: images of shape {source.image_shape} are no grey 2-D images of digits")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    content = [] if source.labels is None else source.labels.of_role("content")
    names = [f"content:{factor.name}" for factor in content] + [f"transformation:{name}" for name in FACTORS]
    writer.writerow(["id", *names])
    for start in range(0, len(source), 1000):
        rows = np.arange(start, min(start + 1000, len(source)))
        for row, image in zip(rows, source.read(rows)[:, 0], strict=True):
            labels = [factor.values[row] for factor in content]
            writer.writerow([source.ids[row], *labels, *(f"{value:.4f}" for value in strokes(image))])
    write_text(output, out.getvalue())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="a data set of digits")
    parser.add_argument("output", type=Path, help="CSV file to write")
    asked = parser.parse_args()
    write_strokes(asked.data, asked.output)
