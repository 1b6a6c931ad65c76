"""A method on volumes whose codes are known by construction: balls of some width somewhere on the x axis."""

import numpy as np
import torch

from blobs import Arrays, BlobConfig, BlobRun, make_run
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.methods.base import Encoding, Method, Posterior

SIZE = 16


class Balls(Method):
    """c is the width of a ball, z where it lies on the x axis."""

    name = "balls"
    Config = BlobConfig
    presets = {}  # noqa: RUF012

    def __init__(self, config=None, image_shape=(1, SIZE, SIZE, SIZE), bounded=False):
        super().__init__(config, image_shape, bounded)

    def decode(self, content, transformation):
        axis = torch.arange(SIZE) - SIZE // 2
        z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
        place, width = (code[:, 0].reshape(-1, 1, 1, 1) for code in (transformation, content))
        square = z**2 + y**2 + (x - 3 * place) ** 2
        return 2 * torch.exp(-square / (2 * width**2))[:, None]

    def encode(self, images):
        axis = torch.arange(SIZE, dtype=torch.float32) - SIZE // 2
        mass = images.sum(dim=(1, 2, 3, 4))
        place = (images.sum(dim=(1, 2, 3)) * axis).sum(dim=1) / mass / 3
        width = ((images.sum(dim=(1, 2, 4)) * axis**2).sum(dim=1) / mass).sqrt()
        return Encoding(Posterior(width[:, None]), Posterior(place[:, None]))

    def losses(self, images, generator, phase):
        raise NotImplementedError

    def weights(self, progress):
        raise NotImplementedError


def make_ball_run(path, count: int = 60) -> BlobRun:
    """A finished run on balls of two widths, each somewhere on the x axis, out of three tomograms."""
    rng = np.random.default_rng(0)
    kind, place = rng.integers(2, size=count), rng.uniform(-1, 1, count)
    width = 1.2 + kind + rng.uniform(0, 0.2, count)
    images = Balls().decode(torch.from_numpy(width)[:, None], torch.from_numpy(place)[:, None]).float()
    source = Arrays(images)
    names = np.array(["ball", "big"])[kind]
    tomograms = np.array([f"TS_{number % 3 + 1:02d}" for number in range(count)])
    source.labels = LabelTable(
        source.ids, (Factor("kind", "content", names), Factor("rlnTomoName", "metadata", tomograms))
    )
    return make_run(path, Balls(), source=source)
