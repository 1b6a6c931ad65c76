import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from dualcontrast.simulate.noise import add_noise, particle_mask


def _balls(box: int = 24) -> torch.Tensor:
    """Two Gaussian balls of different size and height."""
    axis = np.arange(box) - box // 2
    radius_squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2
    return torch.from_numpy(np.stack([np.exp(-radius_squared / 8), 5 * np.exp(-radius_squared / 40)])).float()


def test_mask_is_the_tenth_of_the_maximum_grown_by_one_voxel():
    densities = _balls()
    for density, mask in zip(densities.numpy(), particle_mask(densities).numpy(), strict=True):
        np.testing.assert_array_equal(
            mask, binary_dilation(density >= 0.1 * density.max(), np.ones((3, 3, 3)))
        )


@pytest.mark.parametrize("snr", [0.1, 0.03, 2.0])
def test_measured_snr_is_the_one_that_was_asked_for(snr):
    densities = _balls()
    masks = particle_mask(densities)
    images = densities * 0.7 - 0.2  # an offset is no signal
    noise = torch.randn(densities.shape, generator=torch.Generator().manual_seed(0)) * 17
    noisy = add_noise(images, noise, masks, snr)
    for index in range(2):
        signal = images[index].numpy()[masks[index].numpy()]
        added = (noisy[index] - images[index]).numpy()
        assert signal.var() / added.var() == pytest.approx(snr, rel=1e-3)
