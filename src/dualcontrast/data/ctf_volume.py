"""CTF volumes, which say how much of every Fourier component of a subtomogram was measured.

RELION and Warp write them per particle (`rlnCtfImage`) in one of two layouts, told apart by the shape, as
RELION's `relion_refine` does: cubes with the zero frequency at voxel `n // 2` of every axis; or the
non-negative half along x, `(D, H, W // 2 + 1)`, in the order of FFTW with the zero frequency first. In the
latter, RELION 4 may append a second volume along z, the multiplicity, which is left alone.
"""

from pathlib import Path

import numpy as np

from dualcontrast.data.mrc import MrcHeader, read_mrc_header, read_pixels_of
from dualcontrast.errors import DataError


def check_ctf_header(path: Path, box: tuple[int, ...]) -> MrcHeader:
    """Read the header of a CTF volume.

    Raises
    ------
    DataError
        When it is no MRC file, or fits no volume of the shape `box`, `(D, H, W)`.
    """
    header = read_mrc_header(path)
    depth, height, width = box
    half = width // 2 + 1
    if header.shape not in ((depth, height, width), (depth, height, half), (2 * depth, height, half)):
        raise DataError(
            f"{path}: a CTF volume of {'×'.join(map(str, header.shape))} does not fit volumes of "
            f"{'×'.join(map(str, box))}; extract both in one box"
        )
    return header


def read_ctf_volume(path: Path, box: tuple[int, ...]) -> np.ndarray:
    """Read the Fourier weights of one subtomogram.

    Parameters
    ----------
    path : Path
        An MRC file in either layout.
    box : tuple of int
        `(D, H, W)` of the subtomogram.

    Returns
    -------
    numpy.ndarray, float32, shape (D, H, W // 2 + 1)
        Absolute values divided by the largest, in the layout of `numpy.fft.rfftn`.

    Raises
    ------
    DataError
        As `check_ctf_header`, and when values are NaN, infinite or all 0.
    """
    header = check_ctf_header(path, box)
    stored = read_pixels_of(header).astype(np.float32)
    depth, _, width = box
    half = width // 2 + 1
    if header.shape == box:
        # As RELION reads them, frequency f from voxel n // 2 - f: both are one by Friedel's law, and only the
        # negative of the highest frequency of an even box is there.
        rows = [(length // 2 - np.arange(length)) % length for length in box[:2]]
        columns = (width // 2 - np.arange(half)) % width
        stored = stored[np.ix_(*rows, columns)]
    weights = np.abs(stored[:depth])
    most = float(weights.max())
    if not np.isfinite(most):
        raise DataError(f"{path}: a CTF volume with NaN or infinite values; write it again")
    if most == 0:
        raise DataError(f"{path}: a CTF volume of zeros; write it again, or remove the column rlnCtfImage")
    return weights / most
