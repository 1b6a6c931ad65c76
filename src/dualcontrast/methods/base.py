"""The contract that every method keeps, so that one loop trains and one evaluation judges them all."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

# Whole trainings take thousands; of fewer images `default` has as many, by more epochs.
ENOUGH_STEPS = 2_000

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
CodeSize = Annotated[int, Field(ge=1, le=4096)]


class Posterior(NamedTuple):
    """A diagonal Gaussian over one code, or a point where the method has no posterior.

    Attributes
    ----------
    mean : Tensor, shape (N, dim)
        Posterior mean: the code that is stored and evaluated.
    log_variance : Tensor or None, shape (N, dim)
        Log-variance; None for a deterministic encoder.
    """

    mean: Tensor
    log_variance: Tensor | None = None

    def first(self, count: int) -> "Posterior":
        """Return the posteriors of the first images of the batch."""
        log_variance = None if self.log_variance is None else self.log_variance[:count]
        return Posterior(self.mean[:count], log_variance)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw one code an image by the reparametrisation trick, shape (N, dim)."""
        if self.log_variance is None:
            return self.mean
        noise = torch.randn(
            self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype
        )
        return self.mean + noise * torch.exp(0.5 * self.log_variance)


class Encoding(NamedTuple):
    """What an encoder says of a batch of images.

    Attributes
    ----------
    content : Posterior
        Over the content code c, shape (N, content_dim).
    transformation : Posterior
        Over the transformation code z, shape (N, transformation_dim).
    """

    content: Posterior
    transformation: Posterior


class Batch(NamedTuple):
    """Prepared images of one training step.

    Attributes
    ----------
    images : Tensor, shape (N, C, *spatial)
        As `Preparation.apply` returns them.
    wedges : Tensor or None, shape (N, D, H, W // 2 + 1)
        How much of every Fourier component of a volume was measured, in the layout of `torch.fft.rfftn`
        (see `ImageSource.read_wedges`); None where everything was, or nothing is known.
    progress : Tensor or None, shape ()
        The share of the training's steps that were taken before, from 0 towards 1; None counts as 0.
    """

    images: Tensor
    wedges: Tensor | None = None
    progress: Tensor | None = None


@dataclass(frozen=True)
class Recipe:
    """How a method is optimised; every method brings its published one.

    Attributes
    ----------
    epochs : int
        Passes over the training images.
    least_steps : int
        As many epochs more as this many steps take; see `for_images`.
    batch_size : int
        Images a step.
    learning_rate : float
        Of Adam.
    adam_beta2 : float
        Share of the running mean of squared gradients that Adam keeps in a step. 0.95 looks back at 20 steps,
        0.999 at a thousand.
    schedule : {'constant', 'step', 'one_cycle'}
        `step` multiplies the learning rate by `decay` every `decay_epochs` epochs; `one_cycle` warms up
        over the first tenth of the steps and falls to zero along a cosine.
    decay : float
        Factor of the `step` schedule.
    decay_epochs : int
        Period of the `step` schedule, in epochs.
    """

    epochs: Annotated[int, Field(ge=1)] = 100
    least_steps: Annotated[int, Field(ge=0)] = 0
    # A loss over pairs needs two images.
    batch_size: Annotated[int, Field(ge=2)] = 100
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    schedule: Literal["constant", "step", "one_cycle"] = "constant"
    decay: Annotated[float, Field(gt=0, le=1)] = 0.1
    decay_epochs: Annotated[int, Field(ge=1)] = 50

    def for_images(self, count: int) -> "Recipe":
        """Return the recipe for so many training images: `epochs` raised to `least_steps`, which are then 0.

        An epoch of few images is few steps, and a network learns by steps.
        """
        needed = math.ceil(self.least_steps / max(1, self.steps_per_epoch(count)))
        return replace(self, epochs=max(self.epochs, needed), least_steps=0)

    def steps_per_epoch(self, count: int) -> int:
        """Return how many steps an epoch of so many images has."""
        return batches_per_epoch(count, self.batch_size)


def batches_per_epoch(count: int, batch_size: int) -> int:
    """Return into how many nearly equal batches so many images are cut.

    Into as few as leave none with more than `batch_size` images; of an odd number of images in pairs, one
    batch has three, since a single image is no pair.
    """
    return max(1, min(math.ceil(count / batch_size), count // 2))


class Phase(NamedTuple):
    """One optimiser step that a method takes on every batch.

    Attributes
    ----------
    name : str
        Given back to `Method.losses`.
    parameters : list of torch.nn.Parameter
        The weights that this step changes, and no others.
    learning_rate_scale : float
        Multiplies the recipe's learning rate.
    """

    name: str
    parameters: list[nn.Parameter]
    learning_rate_scale: float = 1.0


@dataclass(frozen=True)
class Preset:
    """Named settings of a method: its configuration and the recipe that goes with it."""

    config: Any
    recipe: Recipe


def doubt_of_cosines(letter: str) -> str:
    """Say that a contrast compares codes of one number, whose cosine is 1 or -1 and has no gradient."""
    return (
        f"{letter} is one number, and the cosine of two numbers is 1 or -1 whatever they are, so its "
        "contrast does nothing; a code of two numbers is the shortest that it can form"
    )


class Method(nn.Module, ABC):
    """A model of images with a content and a transformation code.

    Attributes
    ----------
    name : str
        As given to `--method`.
    Config : type
        Dataclass of the method's settings; has at least `content_dim`, and `transformation_dim` unless what
        the transformation code means fixes its length.
    presets : mapping of str to Preset
        Holds at least `default`. `subtomogram`, where there is one, is what volumes get unless told
        otherwise.
    generative : bool
        Whether `decode` works.
    spatial_dims : tuple of int
        Numbers of spatial dimensions that the method is defined for.
    other_dimensions : str
        Told to users whose images have another number of dimensions: why not, and what to do instead.
    search : mapping of str to sequence
        The two or three settings whose best values differ from data set to data set, by dotted name, each
        with the values that `--search` tries; empty where none is known.
    """

    name: ClassVar[str]
    Config: ClassVar[type]
    presets: ClassVar[Mapping[str, Preset]]
    generative: ClassVar[bool] = True
    spatial_dims: ClassVar[tuple[int, ...]] = (2, 3)
    other_dimensions: ClassVar[str] = "choose another --method"
    search: ClassVar[Mapping[str, Sequence[Any]]] = MappingProxyType({})

    config: Any
    image_shape: tuple[int, ...]

    @abstractmethod
    def __init__(self, config: Any, image_shape: tuple[int, ...], bounded: bool) -> None:
        """Build the networks.

        Parameters
        ----------
        config : Config
            Settings of the method.
        image_shape : tuple of int
            `(C, H, W)` or `(C, D, H, W)`.
        bounded : bool
            True where pixels lie in [0, 1] (the decoder then ends in a sigmoid), False where they are
            standardised.
        """
        super().__init__()

    @property
    def transformation_dim(self) -> int:
        """Length of the transformation code."""
        return self.config.transformation_dim

    @abstractmethod
    def encode(self, images: Tensor) -> Encoding:
        """Infer both codes of a batch, shape (N, C, *spatial)."""

    def decode(self, content: Tensor, transformation: Tensor) -> Tensor:
        """Generate images, shape (N, C, *spatial), from codes (N, content_dim), (N, transformation_dim)."""
        raise NotImplementedError(f"{self.name} has no decoder")

    def transformation_parameters(self, transformation: Tensor) -> dict[str, Tensor]:
        """Say what transformation codes mean, where the method gives them a meaning.

        Parameters
        ----------
        transformation : Tensor, shape (N, transformation_dim)
            Transformation codes.

        Returns
        -------
        dict of str to Tensor, shape (N,) or (N, k)
            By name with its unit, for example `angle_deg` or `shift_x_px`; empty for an implicit code.
        """
        return {}

    @abstractmethod
    def losses(self, batch: Batch, generator: torch.Generator, phase: str) -> dict[str, Tensor]:
        """Compute the named, unweighted terms that one phase minimises.

        On a GPU this runs for the first few batches only; what it gives the GPU to do is recorded there, and
        repeated for all others (see `training.recording`). So nothing may differ from step to step but what
        the arguments bring, and a value that Python reads (`.item()`, an `if` about a tensor) leaves the
        method unrecorded, and slower. What changes as the training goes on belongs into `weights`, or is
        computed from `batch.progress`.

        Parameters
        ----------
        batch : Batch
            Prepared images: all of the step, though they may be spread over several devices (see
            `dualcontrast.spread`).
        generator : torch.Generator
            The only source of randomness that a method may use; lives on the images' device.
        phase : str
            Name of the phase.
        """

    @abstractmethod
    def weights(self, progress: float) -> dict[str, float]:
        """Weight of every term, by name, at this point of the training: `progress` goes from 0 towards 1."""

    def doubts(self, batch_size: int, images: int) -> list[str]:
        """Say which terms can do little in batches of this size, and what to do; told before a run begins.

        Parameters
        ----------
        batch_size, images : int
            Images in a batch, and in the training set: what is advised must be possible.
        """
        return []

    def phases(self) -> list[Phase]:
        """Return the optimiser steps of one batch, in order; one over all weights unless overridden."""
        return [Phase("all", list(self.parameters()))]
