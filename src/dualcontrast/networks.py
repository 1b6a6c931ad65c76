"""Encoders and decoders, sized from the image's shape."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualcontrast.errors import DataError
from dualcontrast.methods.base import Encoding, Posterior

SMALLEST_IMAGE = 16
Normalisation = Literal["instance", "batch", "none"]


def check_image_shape(image_shape: tuple[int, ...]) -> None:
    """Raise `DataError` for images that the networks cannot take."""
    spatial = image_shape[1:]
    if len(spatial) not in (2, 3):
        raise DataError(f"images of shape {image_shape}: expected (C, H, W) or (C, D, H, W)")
    if min(spatial) < SMALLEST_IMAGE:
        raise DataError(
            f"images of {'×'.join(map(str, spatial))} pixels are smaller than the networks take; "
            f"enlarge or pad them to at least {SMALLEST_IMAGE} pixels a side"
        )


def paper_encoder(
    image_shape: tuple[int, ...], normalisation: Normalisation, width: int = 1
) -> nn.Sequential:
    """Build the paper's convolutional encoder up to the flat features (paper, section 4; authors' code).

    2-D: 5×5 convolutions of stride 2, 16-32-64-128 channels, as many as bring the image to at most 3 pixels
    (three at 28×28, four at 64×64), each with normalisation and ReLU. 3-D: 4×4×4 convolutions of stride 2,
    32-64-128 channels, down to at most 4 voxels, then 512 channels over what is left and 1024 of 1×1×1, with
    leaky ReLU.

    Parameters
    ----------
    image_shape : tuple of int
        `(C, H, W)` or `(C, D, H, W)`.
    normalisation : {'instance', 'batch', 'none'}
        The authors' code has `instance` in 2-D and `none` in 3-D.
    width : int
        Multiplies the numbers of channels.
    """
    check_image_shape(image_shape)
    channels, *spatial = image_shape
    two_dimensional = len(spatial) == 2
    kernel, target = (5, 3) if two_dimensional else (4, 4)
    first = (16 if two_dimensional else 32) * width
    layers: list[nn.Module] = []

    def block(inputs: int, outputs: int, size: int, stride: int, padding: int) -> None:
        if not two_dimensional:
            # The last two layers look at all that is left, if that is a cube.
            whole = padding == 0 and len(set(spatial)) == 1
            convolution: type[nn.Module] = WholeConvolution3d if whole else ChannelsLastConv3d
        else:
            convolution = ChannelsLastConv2d if inputs == 1 else nn.Conv2d
        # A bias before a normalisation is subtracted again.
        bias = normalisation == "none"
        layers.append(convolution(inputs, outputs, size, stride=stride, padding=padding, bias=bias))
        layers.extend(_normalisation(normalisation, outputs, len(spatial)))
        layers.append(nn.ReLU(inplace=True) if two_dimensional else nn.LeakyReLU(inplace=True))

    outputs = first

    def halved(length: int) -> int:
        return (length + 2 - kernel) // 2 + 1

    # A single pixel would leave an instance normalisation nothing to normalise.
    while min(spatial) > target and halved(min(spatial)) > 1:
        block(channels, outputs, kernel, 2, 1)
        spatial = [halved(length) for length in spatial]
        channels, outputs = outputs, outputs * 2
    if not two_dimensional:
        block(channels, 512 * width, min(spatial), 1, 0)
        block(512 * width, 1024 * width, 1, 1, 0)
    return nn.Sequential(*layers, nn.Flatten())


class ChannelsLastConv2d(nn.Conv2d):
    """A convolution that has the channels of a point side by side in memory, on CPUs.

    Of images of one channel that takes a third of the time; of more, what is gained is lost again in bringing
    the normalisation's input into the other order.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve images (N, C, H, W)."""
        on_cpu = self.weight.device.type == "cpu"
        return self._conv_forward(input, _channels_last(self.weight) if on_cpu else self.weight, self.bias)


class ChannelsLastConv3d(nn.Conv3d):
    """The same for volumes; on a GPU too, which would turn each input and output into that order and back."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve volumes (N, C, D, H, W)."""
        return self._conv_forward(input, _channels_last(self.weight), self.bias)


def _channels_last(weight: Tensor) -> Tensor:
    """Lay out a kernel so that the convolution and its output follow; the parameter stays as it is."""
    return weight.to(memory_format=torch.channels_last if weight.ndim == 4 else torch.channels_last_3d)


class WholeConvolution3d(nn.Conv3d):
    """A convolution over volumes as large as its kernel: one matrix product, several times as fast."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve volumes (N, C, *kernel_size), giving (N, outputs, 1, 1, 1)."""
        product = F.linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return product[..., None, None, None]


class InstanceNorm(nn.Module):
    """Zero mean and unit variance for every channel of every image, without weights.

    Normalising groups of one channel each is the same as `torch.nn.InstanceNorm2d`, and faster on CPUs.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Normalise images (N, C, *spatial)."""
        # Group normalisation is slow where the channels of a point lie side by side.
        return F.group_norm(images.contiguous(), images.shape[1])


def _normalisation(kind: Normalisation, channels: int, dimension: int) -> list[nn.Module]:
    if kind == "instance":
        return [InstanceNorm()]
    if kind == "batch":
        return [nn.BatchNorm2d(channels) if dimension == 2 else nn.BatchNorm3d(channels)]
    return []


@contextmanager
def running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Leave the running mean and variance of every batch normalisation as they are.

    Those are what new images are normalised with. A training that also passes other images through a network,
    such as decoded ones, would mix their statistics in.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def feature_count(encoder: nn.Module, image_shape: tuple[int, ...]) -> int:
    """Length of the feature vector that an encoder gives for images of a shape."""
    was_training = encoder.training
    encoder.eval()
    with torch.no_grad():
        count = encoder(torch.zeros(1, *image_shape)).shape[1]
    encoder.train(was_training)
    return count


class TwoCodeEncoder(nn.Module):
    """q(c, z | x): the paper's convolutional features and a Gaussian head for each code.

    Parameters
    ----------
    content_dim, transformation_dim : int
        Lengths of the codes.
    image_shape : tuple of int
        `(C, H, W)` or `(C, D, H, W)`.
    layer_normalisation : {'paper', 'batch'}
        `paper`: instance normalisation in 2-D, none in 3-D, linear heads. `batch`: batch normalisation and
        hidden heads.
    centre_codes : bool
        Centre the means of both codes over the batch and scale them to unit variance.
    width : int
        Multiplies the channels.
    """

    def __init__(
        self,
        content_dim: int,
        transformation_dim: int,
        image_shape: tuple[int, ...],
        layer_normalisation: Literal["paper", "batch"] = "paper",
        width: int = 1,
        centre_codes: bool = False,
    ) -> None:
        super().__init__()
        batch = layer_normalisation == "batch"
        plain = "instance" if len(image_shape) == 3 else "none"
        self.features = paper_encoder(image_shape, "batch" if batch else plain, width)
        size = feature_count(self.features, image_shape)

        def mean_head(code_size: int) -> nn.Module:
            if not batch:
                return nn.Linear(size, code_size)
            return nn.Sequential(
                nn.Linear(size, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, code_size)
            )

        self.content_mean = mean_head(content_dim)
        self.transformation_mean = mean_head(transformation_dim)
        self.content_log_variance = nn.Linear(size, content_dim)
        self.transformation_log_variance = nn.Linear(size, transformation_dim)
        self.centre_content: nn.Module = nn.Identity()
        self.centre_transformation: nn.Module = nn.Identity()
        if centre_codes:
            self.centre_content = nn.BatchNorm1d(content_dim, affine=False)
            self.centre_transformation = nn.BatchNorm1d(transformation_dim, affine=False)
            # Start with little noise on the codes: at a variance of 1 the decoder learns to ignore them.
            for head in (self.content_log_variance, self.transformation_log_variance):
                nn.init.constant_(head.bias, -2.0)

    def forward(self, images: Tensor) -> Encoding:
        """Infer both posteriors, see `Method.encode`."""
        heads = (
            self.content_mean,
            self.transformation_mean,
            self.content_log_variance,
            self.transformation_log_variance,
        )
        content, transformation, content_log_variance, transformation_log_variance = _outputs_of(
            heads, self.features(images)
        )
        return Encoding(
            Posterior(self.centre_content(content), content_log_variance),
            Posterior(self.centre_transformation(transformation), transformation_log_variance),
        )


def _outputs_of(heads: Sequence[nn.Module], features: Tensor) -> list[Tensor]:
    """Apply heads to the same features (N, size); all linear ones in one matrix product.

    Products with a few columns each take a GPU as long as one with all of them.
    """
    linear = [head for head in heads if isinstance(head, nn.Linear)]
    weight, bias = (torch.cat([getattr(head, name) for head in linear]) for name in ("weight", "bias"))
    together = iter(F.linear(features, weight, bias).split([head.out_features for head in linear], dim=1))
    return [next(together) if isinstance(head, nn.Linear) else head(features) for head in heads]


class FullyConnectedDecoder(nn.Module):
    """The paper's decoder: one input layer for each code, then fully connected layers to the pixels.

    Widths follow the authors' code: 256 + 256 → 512×3 for images of up to 32×32 pixels, 256 + 256 →
    512-1024-1024 for larger ones (theirs for 64×64 RGB), 512 + 512 → 1024×3-5000 for volumes (theirs for 32³;
    the last layer is narrower for smaller volumes).

    Parameters
    ----------
    content_dim, transformation_dim : int
        Lengths of the codes.
    image_shape : tuple of int
        `(C, H, W)` or `(C, D, H, W)`.
    bounded : bool
        End in a sigmoid, for images in [0, 1].
    """

    def __init__(
        self, content_dim: int, transformation_dim: int, image_shape: tuple[int, ...], bounded: bool
    ) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        pixels = math.prod(image_shape)
        if len(image_shape) == 4:
            branch, hidden = 512, (1024, 1024, 1024, min(5000, pixels // 6))
        elif pixels <= 32 * 32:
            branch, hidden = 256, (512, 512, 512)
        else:
            branch, hidden = 256, (512, 1024, 1024)
        self.from_content = nn.Linear(content_dim, branch)
        self.from_transformation = nn.Linear(transformation_dim, branch)
        layers: list[nn.Module] = [nn.ReLU()]
        width = 2 * branch
        for next_width in hidden:
            layers += [nn.Linear(width, next_width), nn.ReLU()]
            width = next_width
        layers.append(nn.Linear(width, pixels))
        if bounded:
            layers.append(nn.Sigmoid())
        self.layers = nn.Sequential(*layers)

    def forward(self, content: Tensor, transformation: Tensor) -> Tensor:
        """Generate images, shape (N, C, *spatial)."""
        joined = torch.cat((self.from_content(content), self.from_transformation(transformation)), dim=1)
        return self.layers(joined).reshape(-1, *self.image_shape)


class ConvolutionalDecoder(nn.Module):
    """A decoder with a fraction of the weights: a coarse grid from both codes, doubled until it is the image.

    The codes enter as in `FullyConnectedDecoder`, by a layer each. A linear layer makes a grid of at most 4
    points a side with 128 channels; transposed convolutions of size 4 and stride 2 double it, 64 and 32
    channels and at least 16, each with batch normalisation and leaky ReLU. What goes beyond the image is cut
    off. At 32×32×32 voxels that is 1/33 of the weights of the paper's decoder.

    Parameters
    ----------
    content_dim, transformation_dim : int
        Lengths of the codes.
    image_shape : tuple of int
        `(C, H, W)` or `(C, D, H, W)`.
    bounded : bool
        End in a sigmoid, for images in [0, 1].
    """

    def __init__(
        self, content_dim: int, transformation_dim: int, image_shape: tuple[int, ...], bounded: bool
    ) -> None:
        super().__init__()
        channels, *spatial = image_shape
        self.image_shape = tuple(image_shape)
        dimension = len(spatial)
        doublings = math.ceil(math.log2(max(spatial) / 4))
        self.coarse = tuple(-(-length // 2**doublings) for length in spatial)
        branch, width = 256, 128
        self.from_content = nn.Linear(content_dim, branch)
        self.from_transformation = nn.Linear(transformation_dim, branch)
        self.to_grid = nn.Sequential(
            nn.ReLU(),
            nn.Linear(2 * branch, 2 * branch),
            nn.ReLU(),
            nn.Linear(2 * branch, width * math.prod(self.coarse)),
        )
        double: type[nn.Module] = nn.ConvTranspose2d if dimension == 2 else nn.ConvTranspose3d
        layers: list[nn.Module] = [*_normalisation("batch", width, dimension), nn.LeakyReLU(inplace=True)]
        for step in range(doublings):
            last = step == doublings - 1
            outputs = channels if last else max(16, width // 2)
            layers.append(double(width, outputs, 4, stride=2, padding=1, bias=last))
            if not last:
                layers += [*_normalisation("batch", outputs, dimension), nn.LeakyReLU(inplace=True)]
            width = outputs
        if bounded:
            layers.append(nn.Sigmoid())
        self.layers = nn.Sequential(*layers)

    def forward(self, content: Tensor, transformation: Tensor) -> Tensor:
        """Generate images, shape (N, C, *spatial)."""
        joined = torch.cat((self.from_content(content), self.from_transformation(transformation)), dim=1)
        grid = self.to_grid(joined).reshape(len(joined), -1, *self.coarse)
        inside = tuple(slice(length) for length in self.image_shape[1:])
        return self.layers(grid)[(..., *inside)]
