"""The images that `dualcontrast benchmark speed` trains on, and what is asked of the speed on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from dualcontrast import settings
from dualcontrast.errors import SettingError

NODES = 6


@dataclass(frozen=True)
class Target:
    """What is asked for on one kind of device; None where nothing is.

    Attributes
    ----------
    training, encoding : float or None
        How many times as fast as the authors' procedure.
    of_limit : float or None
        Share of the limit that training reaches.
    """

    training: float | None = None
    encoding: float | None = None
    of_limit: float | None = None


@dataclass(frozen=True)
class Shape:
    """Images of one shape, and how they are trained on.

    Attributes
    ----------
    name, title : str
        As given to `--shapes`, and as printed.
    image_shape : tuple of int
        (C, *spatial).
    code : int
        Length of each code.
    batch : int
        Images a step, in the authors' code and in `reference`.
    best_preset : str
        Timed beside `reference`, with its own batch.
    images, images_on_gpu : int
        Images of an epoch on a CPU and on a GPU, of which each procedure takes as many full batches as there
        are.
    targets : mapping of str to Target
        By type of device.
    """

    name: str
    title: str
    image_shape: tuple[int, ...]
    code: int
    batch: int
    best_preset: str
    images: int
    images_on_gpu: int
    targets: Mapping[str, Target] = field(default_factory=dict)

    def images_on(self, device: str) -> int:
        """Images of an epoch on a type of device."""
        return self.images_on_gpu if device == "cuda" else self.images


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            "mnist",
            "MNIST (28², codes of 10 + 10)",
            (1, 28, 28),
            10,
            100,
            "default",
            2_560,
            25_600,
            {"cpu": Target(4, 3, 0.4), "cuda": Target(20, 3)},
        ),
        Shape(
            "linemod",
            "LineMod (64² RGB, codes of 16 + 16)",
            (3, 64, 64),
            16,
            100,
            "default",
            768,
            7_680,
            {"cpu": Target(4, 3, 0.4), "cuda": Target(encoding=3)},
        ),
        Shape(
            "subtomogram",
            "Subtomograms (32³, codes of 50 + 50)",
            (1, 32, 32, 32),
            50,
            50,
            "subtomogram",
            100,
            5_000,
            {"cpu": Target(5, 3, 0.4), "cuda": Target(10, 3, 0.5)},
        ),
    )
}


def choose_shapes(names: list[str]) -> list[Shape]:
    """Find shapes by name, in the order given, each once; `all` is every one.

    Raises
    ------
    SettingError
        For an unknown name, or none.
    """
    if names == ["all"]:
        return list(SHAPES.values())
    if not names:
        raise SettingError(f"--shapes: name at least one of {', '.join(SHAPES)}, or all")
    for name in names:
        if name not in SHAPES:
            raise settings.unknown_name(name, list(SHAPES), "shape in --shapes")
    return [SHAPES[name] for name in dict.fromkeys(names)]


def generated_images(shape: Shape, count: int, seed: int = 0) -> np.ndarray:
    """Make smooth random images: 8-bit pictures, or volumes of zero mean and unit deviation in float32.

    Random numbers on a coarse grid, interpolated, so that neighbouring pixels are alike, as in photographs.

    Parameters
    ----------
    shape : Shape
        Of the images.
    count : int
        How many.
    seed : int
        The same seed, the same images.

    Returns
    -------
    numpy.ndarray, uint8 or float32, shape (count, C, *spatial)
    """
    channels, *spatial = shape.image_shape
    generator = torch.Generator().manual_seed(seed)
    nodes = torch.randn((count, channels, *(NODES,) * len(spatial)), generator=generator)
    mode = "bicubic" if len(spatial) == 2 else "trilinear"
    images = F.interpolate(nodes, size=tuple(spatial), mode=mode, align_corners=True)
    if len(spatial) == 2:
        return (255 * images.sigmoid()).to(torch.uint8).numpy()
    axes = tuple(range(1, images.ndim))
    return ((images - images.mean(axes, keepdim=True)) / images.std(axes, keepdim=True)).numpy()
