"""CTF volumes, which say how much of every Fourier component of a subtomogram was measured.

RELION and Warp write them per particle (`rlnCtfImage`) in one of two layouts, told apart by the shape, as
RELION's `relion_refine` does: cubes with the zero frequency at voxel `n // 2` of every axis; or the
non-negative half along x, `(D, H, W // 2 + 1)`, in the order of FFTW with the zero frequency first.

RELION 4 and 5 append a second half volume along z, the multiplicity: how many tilts were added to a
component, counted in parts where they lie between voxels. The first half is then the sum of their squared
CTFs, weighted by dose, and the subtomogram beside it the sum of what they measured, times their CTFs; a
component on the tilt axis, where all tilts meet, counts as often as there are tilts. Both are brought to
means over the tilts by dividing them by the multiplicity, as `relion_tomo_subtomo --nrm` does.
"""

from pathlib import Path

import numpy as np

from dualcontrast.data.mrc import MrcHeader, read_mrc_header, read_pixels_of
from dualcontrast.errors import DataError

# Components to which less of a tilt was added were not measured; RELION's default as well.
LEAST_MULTIPLICITY = 0.01


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
        Absolute values, means over the tilts where there is a multiplicity, divided by the largest; in the
        layout of `numpy.fft.rfftn`.

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
    if len(stored) == 2 * depth:
        weights = _over(weights, stored[depth:])
    most = float(weights.max())
    if not np.isfinite(most):
        raise DataError(f"{path}: a CTF volume with NaN or infinite values; write it again")
    if most == 0:
        raise DataError(f"{path}: a CTF volume of zeros; write it again, or remove the column rlnCtfImage")
    return weights / most


def has_multiplicity(path: Path, box: tuple[int, ...]) -> bool:
    """Whether a CTF volume comes with its multiplicity, so that its subtomogram is a sum over tilts.

    Raises
    ------
    DataError
        As `check_ctf_header`.
    """
    return check_ctf_header(path, box).shape[0] == 2 * box[0]


def mean_over_tilts(volume: np.ndarray, path: Path) -> np.ndarray:
    """Divide the Fourier components of a subtomogram that is a sum over tilts by how many were added.

    Parameters
    ----------
    volume : numpy.ndarray, float32, shape (D, H, W)
        The subtomogram.
    path : Path
        Of its CTF volume, with the multiplicity.

    Returns
    -------
    numpy.ndarray, float32, shape (D, H, W)

    Raises
    ------
    DataError
        When the CTF volume has no multiplicity, as that of other particles in the file has.
    """
    if not has_multiplicity(path, volume.shape):
        raise DataError(
            f"{path}: has no multiplicity, as CTF volumes of other particles have; extract all by one program"
        )
    multiplicity = read_pixels_of(read_mrc_header(path))[len(volume) :].astype(np.float32)
    spectrum = _over(np.fft.rfftn(volume), multiplicity)
    return np.fft.irfftn(spectrum, s=volume.shape, axes=(0, 1, 2)).astype(np.float32)


def _over(sums: np.ndarray, multiplicity: np.ndarray) -> np.ndarray:
    measured = multiplicity > LEAST_MULTIPLICITY
    return np.where(measured, sums / np.where(measured, multiplicity, 1), 0)
