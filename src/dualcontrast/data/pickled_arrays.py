"""Images in a pickle, in the forms in which people keep them."""

from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast.data.arrays import ArraySource, source_of
from dualcontrast.data.safe_pickle import read_pickle
from dualcontrast.errors import DataError

SUFFIXES = (".pkl", ".pickle")
_PLAIN = (bool, int, float, str, np.number, np.bool_)


def open_pickle(path: str | Path) -> ArraySource:
    """Open the images in a pickle, without running anything that is in it; see `read_pickle`.

    These forms are understood:

    - one array of images, shaped as `ArraySource` takes them;
    - a dict of arrays: `images` or `volumes`, or the only one with three or more axes; the others as in
      `open_npz`;
    - a list or tuple of the images and one label for each, which become the content label `label`;
    - a list of single images, or of pairs of an image and its label.

    Raises
    ------
    DataError
        When the file is damaged, holds anything but arrays and plain containers, or is of none of these
        forms.
    """
    path = Path(path)
    images, others = _parts_of(read_pickle(path), path)
    return source_of(images, others, path)


def _parts_of(value: Any, path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Tell images from what is beside them."""
    if isinstance(value, np.ndarray):
        return value, {}
    if isinstance(value, dict):
        arrays = {str(key): _as_column(item) for key, item in value.items()}
        many = [name for name, array in arrays.items() if array is not None and array.ndim >= 3]
        named = [name for name in ("images", "volumes") if name in many] or many
        if len(named) == 1:
            images = arrays.pop(named[0])
            assert images is not None
            return images, {name: array for name, array in arrays.items() if array is not None}
        raise DataError(
            f"{path}: has {len(many) or 'no'} arrays of images ({', '.join(arrays) or 'it is empty'}); give "
            "one the name `images`"
        )
    if isinstance(value, list | tuple) and value:
        first = value[0]
        pair = len(value) == 2 and isinstance(first, np.ndarray)
        labels = _as_column(value[1]) if pair else None
        if labels is not None and labels.ndim < first.ndim:
            return first, {"label": labels.ravel() if labels.ndim == 2 and labels.shape[1] == 1 else labels}
        if all(isinstance(item, np.ndarray) for item in value):
            return _stacked(value, path), {}
        if all(isinstance(item, list | tuple) and len(item) == 2 for item in value):
            label = _as_column([_as_number(item[1]) for item in value])
            if label is not None:
                return _stacked([item[0] for item in value], path), {"label": label}
    raise DataError(
        f"{path}: of no form that is understood; give an array, a dict of arrays, (images, labels), or a "
        "list of images"
    )


def _as_number(value: Any) -> Any:
    """Take a number out of an array of one; return anything else as it is."""
    return value.item() if isinstance(value, np.ndarray) and value.size == 1 else value


def _as_column(value: Any) -> np.ndarray | None:
    """Turn a list of plain values into an array; None for what is none."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, list | tuple) or not all(isinstance(item, _PLAIN) for item in value):
        return None
    # NumPy would turn a number among texts into a text.
    return np.array(value) if len({isinstance(item, str) for item in value}) == 1 else None


def _stacked(images: Any, path: Path) -> np.ndarray:
    shapes = {item.shape if isinstance(item, np.ndarray) else None for item in images}
    if len(shapes) != 1 or None in shapes:
        raise DataError(f"{path}: its images have {len(shapes)} different shapes; bring them to one size")
    return np.stack(images)
