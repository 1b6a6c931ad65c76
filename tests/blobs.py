"""Methods whose codes are known by construction: blobs on a circle, whose angle is all of their pose."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import roma
import torch
from torch import Tensor

from dualcontrast.codes import Codes
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.data.source import ImageSource
from dualcontrast.data.split import Split
from dualcontrast.methods.base import Encoding, Method, Posterior, Preset
from dualcontrast.prepare import Preparation
from dualcontrast.run_folder import CODES, RunFolder

SIZE = 33
RADIUS = 8.0


@dataclass(frozen=True)
class BlobConfig:
    content_dim: int = 2
    transformation_dim: int = 1


def positions() -> tuple[Tensor, Tensor]:
    axis = torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def draw_blobs(mass: Tensor, spread: Tensor, angle: Tensor) -> Tensor:
    """Gaussian blobs at a distance of 8 pixels from the centre; angle in units of 90°, counter-clockwise."""
    x, y = positions()
    radians = angle.double() * np.pi / 2
    dx = x - RADIUS * torch.cos(radians)[:, None, None]
    dy = y + RADIUS * torch.sin(radians)[:, None, None]
    variance = (1.5 + 0.3 * spread.double())[:, None, None] ** 2
    shape = torch.exp(-(dx**2 + dy**2) / (2 * variance)) / (2 * np.pi * variance)
    return (shape * (10 + mass.double())[:, None, None])[:, None].float()


class Blobs(Method):
    """Reads mass and spread of a blob as content and its angle as transformation; an exact inverse of "
    "`decode`."""

    name = "blobs"
    Config = BlobConfig
    presets: ClassVar[Mapping[str, Preset]] = {}

    def __init__(self, config=None, image_shape=(1, SIZE, SIZE), bounded=False):
        super().__init__(config, image_shape, bounded)

    def encode(self, images: Tensor) -> Encoding:
        x, y = positions()
        pixels = images[:, 0].double()
        mass = pixels.sum(dim=(1, 2))
        centre_x = (pixels * x).sum(dim=(1, 2)) / mass
        centre_y = (pixels * y).sum(dim=(1, 2)) / mass
        square = (pixels * ((x - centre_x[:, None, None]) ** 2 + (y - centre_y[:, None, None]) ** 2)).sum(
            dim=(1, 2)
        )
        spread = (torch.sqrt(square / mass / 2) - 1.5) / 0.3
        angle = torch.atan2(-centre_y, centre_x) / (np.pi / 2)
        return Encoding(
            Posterior(torch.stack((mass - 10, spread), dim=1).float()), Posterior(angle[:, None].float())
        )

    def decode(self, content: Tensor, transformation: Tensor) -> Tensor:
        return draw_blobs(content[:, 0], content[:, 1], transformation[:, 0])

    def losses(self, batch, generator, phase):
        raise NotImplementedError

    def weights(self, progress):
        raise NotImplementedError


class DeadTransformation(Blobs):
    """z is the same for every image; the decoder draws the same angle."""

    name = "dead"

    def encode(self, images):
        content = super().encode(images).content
        return Encoding(content, Posterior(torch.full((len(images), 1), 0.3)))


class DeafDecoder(Blobs):
    """z is right, but the decoder does not look at it."""

    name = "deaf"

    def decode(self, content, transformation):
        return draw_blobs(content[:, 0], content[:, 1], torch.zeros(len(content)))


class Leaky(Blobs):
    """The two codes are the wrong way round: c is the angle and z the blob."""

    name = "leaky"

    def encode(self, images):
        content, transformation = super().encode(images)
        return Encoding(transformation, content)

    def decode(self, content, transformation):
        return super().decode(transformation, content)


class Mute(Blobs):
    """Has no decoder."""

    name = "mute"
    generative = False

    def decode(self, content, transformation):
        return Method.decode(self, content, transformation)


class Tripod(Method):
    """Three points at the ends of the axes, one a channel: z is the rotation vector in units of 90°, c "
    "the mass."""

    name = "tripod"
    Config = BlobConfig
    presets: ClassVar[Mapping[str, Preset]] = {}
    generative = False
    size = 17

    def __init__(self, config=None, image_shape=(3, 17, 17, 17), bounded=False):
        super().__init__(config, image_shape, bounded)

    @classmethod
    def grid(cls) -> Tensor:
        axis = torch.arange(cls.size, dtype=torch.float64) - (cls.size - 1) / 2
        z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
        return torch.stack((x, y, z))

    @classmethod
    def draw(cls, mass: Tensor) -> Tensor:
        ends = 4.0 * torch.eye(3, dtype=torch.float64)
        square = ((cls.grid()[None] - ends[:, :, None, None, None]) ** 2).sum(dim=1)
        blobs = torch.exp(-square / (2 * 1.2**2))
        return (blobs[None] * mass[:, None, None, None, None]).float()

    def encode(self, images):
        pixels = images.double()
        mass = pixels.sum(dim=(2, 3, 4))
        centres = torch.einsum("ncdhw,kdhw->nkc", pixels, self.grid()) / mass[:, None]
        rotation = roma.special_procrustes(centres)
        vector = roma.rotmat_to_rotvec(rotation) / (np.pi / 2)
        return Encoding(Posterior(mass.mean(dim=1, keepdim=True).float()), Posterior(vector.float()))

    def losses(self, batch, generator, phase):
        raise NotImplementedError

    def weights(self, progress):
        raise NotImplementedError


class Arrays(ImageSource):
    """Images in memory."""

    def __init__(self, images: Tensor, labels: LabelTable | None = None, ids: np.ndarray | None = None):
        self.images = images.numpy()
        self.ids = np.array([f"p{i:04d}" for i in range(len(images))]) if ids is None else ids
        self.image_shape = tuple(self.images.shape[1:])
        self.location = "blobs in memory"
        self.labels = labels

    def read(self, indices):
        return self.images[np.asarray(indices)]


def blob_factors(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Mass in one of three clusters, spread continuous, angle within ±20°: mass, spread, angle / 90°."""
    rng = np.random.default_rng(seed)
    mass = torch.from_numpy(3.0 * rng.integers(3, size=count) - 3 + rng.normal(0, 0.1, count))
    return mass, torch.from_numpy(rng.uniform(-1, 1, count)), torch.from_numpy(rng.uniform(-0.2, 0.2, count))


def blob_source(count: int, seed: int = 0, labelled: bool = True) -> Arrays:
    mass, spread, angle = blob_factors(count, seed)
    source = Arrays(draw_blobs(mass, spread, angle))
    if labelled:
        source.labels = LabelTable(
            source.ids,
            (
                Factor(
                    "kind",
                    "content",
                    np.array(["small", "middle", "large"])[np.round(mass.numpy() / 3).astype(int) + 1],
                ),
                Factor("angle", "transformation", angle.numpy()),
                Factor("micrograph", "metadata", np.arange(count)),
            ),
        )
    return source


class BlobRun(RunFolder):
    """A run folder whose images and method are blobs; everything else lies on disk as in any run."""

    method: Method
    source: Arrays

    def load_method(self, device="cpu"):
        return self.method.eval()

    def open_source(self):
        return self.source


def make_run(path, method=None, count=300, labelled=True, source=None) -> BlobRun:
    """A finished run: trained (there is nothing to train), encoded, with metrics of two epochs."""
    method, source = method or Blobs(), source or blob_source(count, labelled=labelled)
    preparation = Preparation("unit", 0.0, 2.0, source.image_shape)
    cut = 2 * len(source) // 3
    config = {
        "data": {"location": source.location, "labels": None, "folder_labels": False},
        "method": method.name,
        "preset": "default",
        "seed": 0,
        "settings": {"content_dim": 2, "transformation_dim": 1},
        "recipe": {"epochs": 2},
        "preparation": preparation.to_dict(),
    }
    run = BlobRun.create(path, config, Split(source.ids[:cut], source.ids[cut:]))
    run.method, run.source = method, source
    encoding = method.encode(preparation.apply(torch.from_numpy(source.images)))
    Codes(source.ids, encoding.content.mean.numpy(), encoding.transformation.mean.numpy()).save(path / CODES)
    for step in range(1, 21):
        terms = {"reconstruction": 1 / step, "kl_content": 0.1 * step, "con_z_negative": 0.5}
        run.append_metrics(
            {"step": step, "epoch": step / 10, "loss": 2 / step, "images_per_second": 9.0, "terms": terms}
        )
    return run
