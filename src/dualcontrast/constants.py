"""Small constant tensors, kept on the device that needs them.

Making one from Python's numbers on a GPU waits until the GPU has done what it was given.
"""

from functools import lru_cache

import torch
from torch import Tensor


# What is kept for later must be fit for training, even if encoding asks for it first.
@lru_cache(maxsize=64)
@torch.inference_mode(False)
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers as a tensor (n,); the same one every time, so it must not be changed."""
    return torch.tensor(values, dtype=dtype, device=device)
