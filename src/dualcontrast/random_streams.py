"""Every random stream of a run, made from the run's seed, a name and a counter.

A stream depends on nothing that happened before it, so a run that is resumed at step 1,000 draws what the
uninterrupted run draws at step 1,000, and no random state has to be stored.
"""

import hashlib

import numpy as np
import torch


def stream_seed(seed: int, *names: str | int) -> int:
    """Derive a 63-bit seed from the run's seed and the stream's name and counters."""
    text = "\x1f".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def torch_stream(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a torch generator for one stream, on a device."""
    generator = torch.Generator(device=device)
    generator.manual_seed(stream_seed(seed, *names))
    return generator


def numpy_stream(seed: int, *names: str | int) -> np.random.Generator:
    """Make a NumPy generator for one stream."""
    return np.random.default_rng(stream_seed(seed, *names))
