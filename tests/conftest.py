"""What every test shares: one thread a process, and small images."""

import os

# One thread each, here and in the programs that tests start: several test processes share the cores, and the
# number of threads changes the order of sums, so tests that compare bits fix it. Before NumPy is imported.
# Numba, too: it counts cores itself, and would set the number of threads of torch to that when UMAP runs it.
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch

from dualcontrast.data.arrays import ArraySource
from toy_images import bar_source

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def source() -> ArraySource:
    """60 images of 16×16 pixels."""
    return bar_source(60)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
