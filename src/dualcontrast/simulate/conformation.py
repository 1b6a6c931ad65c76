"""One conformation of one particle, as a density that is ready to be posed and imaged."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Conformation:
    """A density of one conformation, and what it is called.

    Attributes
    ----------
    identity : str
        Name of the particle, for example `nucleosome`.
    name : str
        Name of the conformation, unique within the identity, for example `1kx5+mode1+6.0A`.
    density : numpy.ndarray, float32, shape (D, D, D)
        In (z, y, x) order, in a cubic box. The centre of mass lies on voxel `D // 2` of each axis, the origin
        of RELION and of the Fourier transform. Scaled so that the largest voxel is 1: maps come in units of
        their own, so no physical unit holds for all. Around 0 outside of the particle, with small ripples of
        either sign where the resolution is finer than the voxels can hold.
    voxel_size : float
        In Å.
    """

    identity: str
    name: str
    density: np.ndarray
    voxel_size: float
