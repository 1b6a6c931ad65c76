"""Volumes as MRC files (MRC2014)."""

import warnings
from pathlib import Path

import numpy as np

from dualcontrast.errors import DataError
from dualcontrast.files import atomic_path


def write_map(path: str | Path, volume: np.ndarray, voxel_size: float | None) -> Path:
    """Write one volume as a 32-bit float MRC map.

    Parameters
    ----------
    path : str or Path
        File to write, usually ending in .mrc; replaced where it exists.
    volume : numpy.ndarray, shape (D, H, W)
        Densities, in the order z, y, x of MRC files.
    voxel_size : float or None
        Edge of a voxel in Å. Where it is not known, the cell is written as 0, which says so.

    Raises
    ------
    DataError
        When the array is no volume, holds NaN or infinite voxels, or the voxel size is not positive.
    UserError
        When the file cannot be written.
    """
    path = Path(path)
    if volume.ndim != 3:
        raise DataError(f"{path}: an array of shape {volume.shape} is no volume; give (D, H, W)")
    if not np.isfinite(volume).all():
        raise DataError(f"{path}: the map holds NaN or infinite voxels; look at the training of the run")
    if voxel_size is not None and not voxel_size > 0:
        raise DataError(f"{path}: a voxel size of {voxel_size:g} Å; give a positive number")
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # mrcfile warns of a cell of 0, which is meant here.
        warnings.simplefilter("ignore", RuntimeWarning)
        write_mrc(temporary, volume, voxel_size or 0.0)
    return path


def write_mrc(path: Path, volume: np.ndarray, voxel_size: float) -> None:
    """Write a volume (z, y, x) in single precision with its voxel size in Å, unchecked and in place.

    For files in a folder that is renamed as a whole when it is complete; `write_map` is for all others.
    """
    import mrcfile

    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.ascontiguousarray(volume, dtype=np.float32))
        file.voxel_size = voxel_size
        # mrcfile's own label holds the time, and the same volume should give the same bytes again.
        assert file.header is not None
        file.header.label[0] = b"written by dualcontrast"
