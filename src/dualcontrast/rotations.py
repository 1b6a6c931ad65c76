"""Rotations in three dimensions as matrices, vectors and angles, by roma.

roma is imported on the first call: it brings PyTorch's compiler along, which takes longer to import than
everything else, and most commands turn nothing.
"""

from torch import Tensor


def matrices_of_vectors(vectors: Tensor) -> Tensor:
    """Return the matrices (N, 3, 3) of rotation vectors (N, 3): axis times angle, in radians."""
    import roma

    return roma.rotvec_to_rotmat(vectors)


def vectors_of_matrices(matrices: Tensor) -> Tensor:
    """Return the rotation vectors (N, 3), in radians, of matrices (N, 3, 3)."""
    import roma

    return roma.rotmat_to_rotvec(matrices)


def matrices_of_angles(angles: Tensor) -> Tensor:
    """Return the matrices (N, 3, 3) of turns by angles (N, 3), in degrees, about x, y and z in that order."""
    import roma

    return roma.euler_to_rotmat("xyz", angles, degrees=True)
