"""The procedures that `dualcontrast benchmark speed` times, by one interface: train an epoch, encode."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dualcontrast.benchmark import authors_procedure
from dualcontrast.benchmark.machine_limit import operations, wait_for
from dualcontrast.benchmark.speed_shapes import Shape
from dualcontrast.methods.dualcontrast import DualContrastMethod
from dualcontrast.model import Model

AUTHORS = "authors' procedure"


@dataclass(frozen=True)
class Speeds:
    """Images a second in one training and in one encoding."""

    training: float
    encoding: float


@dataclass(frozen=True)
class Procedure:
    """The authors' procedure, or the product's with a preset, on images of one shape.

    Attributes
    ----------
    shape : Shape
        Of the images.
    name : str
        `AUTHORS`, or a preset.
    device, precision : str
        See `Model`; the authors' procedure is in single precision always.
    """

    shape: Shape
    name: str
    device: str
    precision: str

    @property
    def batch(self) -> int:
        """Images a step: the preset's, but `reference` takes the authors' for the shape."""
        if self.name in (AUTHORS, "reference"):
            return self.shape.batch
        return DualContrastMethod.presets[self.name].recipe.batch_size

    def some(self, images: np.ndarray, batches: int | None = None) -> np.ndarray:
        """Return so many full batches of the images, or as many as there are, at least one."""
        return images[: self.batch * (batches or max(1, len(images) // self.batch))]

    def speeds(self, images: np.ndarray) -> Speeds:
        """Train two epochs and encode twice, of which the second counts; the first warms up."""
        images = self.some(images)
        training, encode = self.train(images, epochs=2)
        encode()
        started = time.perf_counter()
        encode()
        return Speeds(training, len(images) / (time.perf_counter() - started))

    def train(self, images: np.ndarray, epochs: int) -> tuple[float, Callable[[], object]]:
        """Train; return the images a second of the last epoch, and what encodes the images."""
        if self.name != AUTHORS:
            model = self.fit(images, epochs)
            return _speed_of_last_epoch(model), lambda: model.encode(images)
        device = torch.device(self.device)
        network = authors_procedure.Network(self.shape.image_shape, self.shape.code).to(device)
        speeds = authors_procedure.train(
            network, images, self.batch, epochs, device, lambda: wait_for(device)
        )
        return speeds[-1], lambda: authors_procedure.encode(network, images, self.batch, device)

    def fit(self, images: np.ndarray, epochs: int) -> Model:
        """Train by the product's own loop."""
        model = Model(
            preset=self.name,
            device=self.device,
            precision=self.precision,
            progress=False,
            contrast="light" if images.ndim == 5 else None,
            epochs=epochs,
            batch_size=self.batch,
            content_dim=self.shape.code,
            transformation_dim=self.shape.code,
        )
        return model.fit(images)

    def operations_an_image(self, images: np.ndarray) -> tuple[float, float]:
        """Count what a training step and an encoding must do, by the product's own.

        They repeat nothing: every image, view and decoded image goes through a network once, and gradients
        are computed for what is trained only. One step is the difference between trainings of two and one.
        """
        first, both = self.some(images, 1), self.some(images, 2)
        one, _ = operations(lambda: self.fit(first, epochs=1))
        two, model = operations(lambda: self.fit(both, epochs=1))
        encoding, _ = operations(lambda: model.encode(first))
        return (two - one) / self.batch, encoding / self.batch


def _speed_of_last_epoch(model: Model) -> float:
    """Images a second from the rows of metrics; one ends with every epoch."""
    last = model.history[-1]
    steps = last["step"] // model.recipe.epochs
    befores = [0, *(row["step"] for row in model.history[:-1])]
    times = [
        (row["step"] - before) / row["images_per_second"]
        for row, before in zip(model.history, befores, strict=True)
        if before >= last["step"] - steps
    ]
    return steps / sum(times)
