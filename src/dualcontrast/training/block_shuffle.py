"""Shuffling images that are stored in blocks, so that every block is read once an epoch.

Blocks are put into random order and gathered into windows of several blocks; the images of a window are
shuffled among each other. Two images meet in a batch only where their blocks fall into one window (or into
two that follow each other), which new windows in every epoch even out.
"""

import numpy as np


class BlockShuffle:
    """Orders of images that keep those of a block near each other.

    Parameters
    ----------
    blocks : numpy.ndarray of int, shape (N,)
        Block of each image.
    window : int
        Images that are shuffled together, more or less by a block: as many as memory may hold.

    Attributes
    ----------
    blocks : numpy.ndarray of int, shape (N,)
        As given.
    """

    def __init__(self, blocks: np.ndarray, window: int) -> None:
        self.blocks = blocks
        self._by_block = np.argsort(blocks, kind="stable")
        starts = np.flatnonzero(np.diff(blocks[self._by_block], prepend=blocks[self._by_block[0]] - 1))
        self._starts, self._sizes = starts, np.diff(np.append(starts, len(blocks)))
        self._window = window

    @property
    def largest(self) -> int:
        """Images in the largest block."""
        return int(self._sizes.max())

    def order(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Shuffle.

        Parameters
        ----------
        rng : numpy.random.Generator
            Decides everything.

        Returns
        -------
        order : numpy.ndarray of int, shape (N,)
            Every image once.
        ends : numpy.ndarray of int, shape (K,)
            Where each window ends in `order`.
        """
        blocks = rng.permutation(len(self._starts))
        sizes = self._sizes[blocks]
        # Position in the new order, block by block, of what stands in `_by_block`.
        ends_of_blocks = np.cumsum(sizes)
        shift = np.repeat(self._starts[blocks] - (ends_of_blocks - sizes), sizes)
        order = self._by_block[np.arange(len(self._by_block)) + shift]
        window_of_block = (ends_of_blocks - sizes) // self._window
        ends = ends_of_blocks[np.append(np.diff(window_of_block) > 0, True)]
        for first, last in zip(np.append(0, ends[:-1]), ends, strict=True):
            order[first:last] = order[first:last][rng.permutation(last - first)]
        return order, ends
