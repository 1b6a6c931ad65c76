"""From stored arrays to what a source returns: channels first, float32, finite."""

import numpy as np

from dualcontrast.errors import DataError


def channel_axis(shape: tuple[int, ...], where: str) -> int | None:
    """Find which axis of an array of images holds the channels.

    Parameters
    ----------
    shape : tuple of int
        `(N, H, W)`, `(N, C, H, W)`, `(N, H, W, C)`, `(N, D, H, W)`, `(N, C, D, H, W)` or `(N, D, H, W, C)`
        with C of 1 or 3. Four axes of which neither the second nor the last is 1 or 3 are volumes.
    where : str
        File or array, for messages.

    Returns
    -------
    int or None
        1 or the last axis; None where there is no axis of channels.

    Raises
    ------
    DataError
        When the shape is none of these, has an axis of length 0, or has alpha or two channels.
    """
    shown = f"{where}: shape {tuple(shape)}"
    if 0 in shape:
        raise DataError(f"{shown} holds no pixels; give at least one image")
    if len(shape) == 3:
        if shape[2] in (3, 4):
            raise DataError(f"{shown} looks like one colour image; stack the images as (N, H, W, 3)")
        return None
    if len(shape) not in (4, 5):
        raise DataError(f"{shown} is not images; expected (N, H, W), (N, C, H, W) or (N, C, D, H, W)")
    last = len(shape) - 1
    for axis in (1, last):
        if shape[axis] in (1, 3):
            return axis
    if shape[1] == 4 or shape[last] == 4:
        raise DataError(f"{shown} seems to have an alpha channel; drop it, keeping the three colours")
    if shape[1] == 2 or shape[last] == 2 or len(shape) == 5:
        raise DataError(f"{shown} has channels that are neither 1 nor 3; choose or combine them")
    return None


def channels_first(images: np.ndarray, where: str) -> np.ndarray:
    """View an array of images as `(N, C, *spatial)`; nothing is copied. Raises as `channel_axis` does."""
    axis = channel_axis(images.shape, where)
    return images[:, None] if axis is None else np.moveaxis(images, axis, 1)


def check_stored_type(dtype: np.dtype, where: str) -> None:
    """Raise `DataError` for arrays that do not hold real numbers."""
    if dtype.kind not in "buif":
        raise DataError(f"{where}: pixels of type {dtype}; store them as uint8, uint16 or float32")


def bounds(dtype: np.dtype) -> tuple[float, float] | None:
    """Lowest and highest value that `as_float32` makes of a stored type, where the type bounds them."""
    return (0.0, 1.0) if dtype.kind == "b" or (dtype.kind == "u" and dtype.itemsize <= 2) else None


def as_float32(stored: np.ndarray) -> np.ndarray:
    """Convert stored pixels to float32.

    8- and 16-bit unsigned integers are divided by the type's largest value. All other types are returned
    as they are: wider integers rarely use their whole range, and signed ones are measurements. What is
    float32 already is not copied.
    """
    with np.errstate(over="ignore"):
        # A float64 too large for float32 becomes infinite, which `check_finite` reports by name.
        pixels = stored.astype(np.float32, copy=False)
    if stored.dtype.kind == "u" and stored.dtype.itemsize <= 2:
        pixels /= np.iinfo(stored.dtype).max
    return pixels


def check_finite(images: np.ndarray, ids: np.ndarray, where: str) -> None:
    """Raise `DataError` naming the images of a batch, shape (n, C, *spatial), with NaN or infinite pixels."""
    finite = np.isfinite(images).all(axis=tuple(range(1, images.ndim)))
    if not finite.all():
        wrong = ids[~finite]
        raise DataError(
            f"{where}: NaN or infinite pixels in {name_some(wrong)}; "
            "replace those pixels or leave the image out"
        )


def name_some(ids: np.ndarray) -> str:
    """Name the first of the offending images, and say how many more there are."""
    named = ", ".join(f"'{particle}'" for particle in ids[:3].tolist())
    more = f" and {len(ids) - 3:,} more" if len(ids) > 3 else ""
    return f"image {named}" if len(ids) == 1 else f"images {named}{more}"
