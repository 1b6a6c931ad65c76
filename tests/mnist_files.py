"""Small files of the names and the format of MNIST's."""

import struct

import numpy as np

COUNTS = {"train": 9, "t10k": 4}


def mnist_files() -> dict[str, bytes]:
    """Content of the four files by name: 9 training and 4 test images of noise."""
    rng = np.random.default_rng(0)
    files = {}
    for part, count in COUNTS.items():
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        files[f"{part}-images-idx3-ubyte"] = (
            b"\0\0\x08\x03" + struct.pack(">3I", *images.shape) + images.tobytes()
        )
        files[f"{part}-labels-idx1-ubyte"] = b"\0\0\x08\x01" + struct.pack(">I", count) + labels.tobytes()
    return files
