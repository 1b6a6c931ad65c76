"""Projection and back-projection through central slices of the Fourier transform, for many volumes at once.

All subtomograms of a tomogram share their tilts, so the interpolation between the volume's grid and the
slices is worked out once, as a sparse matrix, and used for every particle. torch-fourier-slice works it out
anew for each call, which takes more than ten times as long; the tests compare with it.
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array
from torch import Tensor


class CentralSlices:
    """Trilinear interpolation between a Fourier volume and its central slices.

    Slices reach to the Nyquist sphere; their corners beyond it are left out.

    Parameters
    ----------
    box : int
        Edge of the Fourier volume and of the images; even.
    matrices : numpy.ndarray, shape (T, 3, 3)
        For each image the rotation that takes its axes (x, y, beam) to those of the volume.
    inner : int, optional
        Edge of the volumes that go in and come out, from the middle of the box; even. All of it by default.
    """

    def __init__(self, box: int, matrices: np.ndarray, inner: int | None = None) -> None:
        self.box, self.count = box, len(matrices)
        self._margin = 0 if inner is None else (box - inner) // 2
        half = box // 2 + 1
        ky, kx = np.meshgrid(np.round(np.fft.fftfreq(box, 1 / box)), np.arange(half), indexing="ij")
        # On kx = 0, the points at +ky and -ky are one measurement; and no grid has ±Nyquist apart.
        used = (np.hypot(kx, ky) < box / 2) & ~((kx == 0) & (ky < 0))
        self._used = torch.from_numpy(np.flatnonzero(used.ravel()))
        points = np.stack((kx[used], ky[used], 0 * kx[used]))
        points = (matrices @ points).transpose(0, 2, 1).reshape(-1, 3)
        # The transform of a real volume is stored for x >= 0; elsewhere it is the conjugate of its mirror.
        # Rounding must not send a point on the plane x = 0 to the other half.
        points[np.abs(points) < 1e-9] = 0
        mirrored = points[:, 0] < 0
        points[mirrored] *= -1
        self._mirrored = torch.from_numpy(mirrored)
        lower = np.floor(points).astype(int)
        share = points - lower
        rows, columns, values = [], [], []
        for corner in np.ndindex(2, 2, 2):
            x, y, z = (lower + corner).T
            weight = np.prod(np.where(corner, share, 1 - share), axis=1)
            keep = (weight > 0) & (x < half)
            rows.append(np.flatnonzero(keep))
            columns.append((((z % box) * box + y % box) * half + x)[keep])
            values.append(weight[keep])
        entries, place = np.concatenate(values).astype(np.float32), np.concatenate(columns)
        # The centre of a volume is voxel box / 2, not 0: its transform has alternating signs.
        sign = (-1.0) ** np.sum(np.unravel_index(place, (box, box, half)), axis=0).astype(np.float32)
        shape = (len(points), box * box * half)
        self._gather = csr_array((entries * sign, (np.concatenate(rows), place)), shape)
        self._scatter = csr_array(self._gather.T)
        weights = np.bincount(place, entries, minlength=shape[1]).reshape(1, box, box, half)
        self.weights = self._add_mirror(torch.from_numpy(weights).float())[0]
        self._kernel = _kernel(box, self._margin)

    def project(self, volumes: Tensor) -> Tensor:
        """Project volumes along the beam of every image.

        Parameters
        ----------
        volumes : Tensor of shape (N, inner, inner, inner), float32
            What fills the whole box wraps around.

        Returns
        -------
        Tensor of shape (N, T, box, box // 2 + 1), complex64
            Fourier transforms of the images as `rfft2` gives them, with the image's centre at pixel (0, 0).
        """
        padded = F.pad(volumes / self._kernel, (self._margin,) * 6)
        spectra = torch.fft.rfftn(padded, dim=(-3, -2, -1)).reshape(len(volumes), -1)
        values = _multiply(self._gather, spectra)
        values = torch.where(self._mirrored, values.conj(), values)
        images = values.new_zeros(len(volumes), self.count, self.box * (self.box // 2 + 1))
        images[:, :, self._used] = values.reshape(len(volumes), self.count, -1)
        images = images.reshape(len(volumes), self.count, self.box, -1)
        return self._fill_redundant(images)

    def back_project(self, images: Tensor) -> Tensor:
        """Reconstruct volumes from images by weighted Fourier insertion.

        Each Fourier voxel becomes the weighted mean of what was measured near it; where less than one
        measurement reached it, it keeps that share.

        Parameters
        ----------
        images : Tensor of shape (N, T, box, box // 2 + 1), complex64
            As `project` returns them.

        Returns
        -------
        Tensor of shape (N, inner, inner, inner), float32
        """
        values = images.reshape(len(images), self.count, -1)[:, :, self._used].reshape(len(images), -1)
        values = torch.where(self._mirrored, values.conj(), values)
        spectra = self._add_mirror(self._insert(values)) / self.weights.clamp(min=1)
        volumes = torch.fft.irfftn(spectra, s=(self.box,) * 3, dim=(-3, -2, -1))
        inner = slice(self._margin, self.box - self._margin)
        return volumes[:, inner, inner, inner] / self._kernel

    def _insert(self, values: Tensor) -> Tensor:
        spectra = _multiply(self._scatter, values)
        return spectra.reshape(len(values), self.box, self.box, self.box // 2 + 1)

    @staticmethod
    def _add_mirror(spectra: Tensor) -> Tensor:
        """Add to the plane x = 0, in place, what the mirrored measurements put there."""
        spectra[..., 0] += torch.roll(spectra[..., 0].flip((-2, -1)), (1, 1), (-2, -1)).conj()
        return spectra

    @staticmethod
    def _fill_redundant(images: Tensor) -> Tensor:
        """Fill kx = 0, ky < 0 of images with the conjugates of ky > 0."""
        column = images[..., 0]
        half = column.shape[-1] // 2
        column[..., half + 1 :] = column[..., 1:half].flip(-1).conj()
        return images


def _multiply(matrix: csr_array, vectors: Tensor) -> Tensor:
    """Multiply each of N complex vectors, shape (N, columns), by a real sparse matrix; shape (N, rows)."""
    columns = torch.view_as_real(vectors.T.contiguous()).reshape(vectors.shape[1], -1)
    product = torch.from_numpy(matrix @ columns.numpy())
    return torch.view_as_complex(product.reshape(len(product), len(vectors), 2)).T.contiguous()


def _kernel(box: int, margin: int) -> Tensor:
    """What trilinear interpolation in Fourier space multiplies a volume by, without the margin of the box."""
    line = torch.sinc((torch.arange(margin, box - margin) - box // 2) / box) ** 2
    return line[:, None, None] * line[None, :, None] * line[None, None, :]
