"""The authors' procedure in plain PyTorch: what `dualcontrast benchmark speed` compares with.

It does what their released code does, in the same order, and none of what makes a training fast: images come
one by one from a DataLoader; the image, its rotation and its negatives go through the network in separate
passes; the images of the positive pairs are encoded once more; a second optimiser step for them also computes
the gradients of the decoder, which it does not use; and the losses are read back in every step.

What it computes is the arithmetic of the preset `reference`: the bugs that the preset does not copy (see
docs/method.md) are not copied here either. They do not change how long a step takes. Reading the images of
MNIST through PIL, as theirs does, is left out, which makes it faster than theirs.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

KL_WEIGHT = 0.01
LEARNING_RATE = 1e-4


class Items(Dataset[Tensor]):
    """Images that are handed out one at a time, as float32.

    Parameters
    ----------
    pixels : numpy.ndarray, uint8 or float32, shape (N, C, *spatial)
        8-bit images are scaled to [0, 1], volumes are standardised already.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        item = torch.from_numpy(self.pixels[index])
        return item.float() / 255 if item.dtype == torch.uint8 else item


class Heads(NamedTuple):
    """What the encoder says of a batch: means and log-variances of z and of c, each (N, code)."""

    z: Tensor
    z_log_variance: Tensor
    c: Tensor
    c_log_variance: Tensor


class Encoder(nn.Module):
    """Convolutions and four linear heads.

    2-D: 5×5, stride 2, padding 1, instance normalisation, ReLU; 16-32-64 channels at 28×28, 16-32-64-128 at
    64×64. 3-D: 4×4×4, stride 2, leaky ReLU, 32-64-128 channels, then 512 over the 4×4×4 that are left at 32³,
    and 1024 of 1×1×1.
    """

    def __init__(self, image_shape: tuple[int, ...], code: int) -> None:
        super().__init__()
        channels, size = image_shape[0], image_shape[-1]
        layers: list[nn.Module] = []
        if len(image_shape) == 3:
            outputs = 16
            while size > 3:
                layers += [
                    nn.Conv2d(channels, outputs, 5, stride=2, padding=1),
                    nn.InstanceNorm2d(outputs),
                    nn.ReLU(inplace=True),
                ]
                channels, outputs, size = outputs, 2 * outputs, (size - 3) // 2 + 1
            features = channels * size**2
        else:
            outputs = 32
            while size > 4:
                layers += [nn.Conv3d(channels, outputs, 4, stride=2, padding=1), nn.LeakyReLU()]
                channels, outputs, size = outputs, 2 * outputs, size // 2
            layers += [
                nn.Conv3d(channels, 512, size),
                nn.LeakyReLU(),
                nn.Conv3d(512, 1024, 1),
                nn.LeakyReLU(),
            ]
            features = 1024
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.heads = nn.ModuleList(nn.Linear(features, code) for _ in range(4))

    def forward(self, x: Tensor) -> Heads:
        """Infer the posteriors of images (N, C, *spatial)."""
        features = self.convolutions(x)
        return Heads(*(head(features) for head in self.heads))


class Decoder(nn.Module):
    """Fully connected layers from both codes to the pixels, with a sigmoid on images.

    256 + 256 → 512×3 at 28×28, 256 + 256 → 512-1024-1024 at 64×64, 512 + 512 → 1024×3-5000 at 32³.
    """

    def __init__(self, image_shape: tuple[int, ...], code: int) -> None:
        super().__init__()
        self.image_shape = image_shape
        pixels = int(np.prod(image_shape))
        if len(image_shape) == 4:
            first, hidden = 512, (1024, 1024, 1024, min(5000, pixels // 6))
        else:
            first, hidden = 256, (512, 512, 512) if pixels <= 32**2 else (512, 1024, 1024)
        self.from_z, self.from_c = nn.Linear(code, first), nn.Linear(code, first)
        widths = (2 * first, *hidden, pixels)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """Draw images (N, C, *spatial) from codes (N, code)."""
        h = torch.cat((self.from_c(c), self.from_z(z)), dim=1)
        for layer in self.layers:
            h = layer(F.relu(h))
        if len(self.image_shape) == 3:
            h = torch.sigmoid(h)
        return h.view(len(h), *self.image_shape)


class Network(nn.Module):
    """Encoder, sampler and decoder."""

    def __init__(self, image_shape: tuple[int, ...], code: int) -> None:
        super().__init__()
        self.code = code
        self.encoder, self.decoder = Encoder(image_shape, code), Decoder(image_shape, code)

    def forward(self, x: Tensor) -> tuple[Tensor, Heads]:
        """Encode images (N, C, *spatial), sample both codes, and draw them."""
        heads = self.encoder(x)
        z, c = sample(heads.z, heads.z_log_variance), sample(heads.c, heads.c_log_variance)
        return self.decoder(z, c), heads


def sample(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Draw from N(mean, exp(log_variance)) by the reparametrisation trick."""
    return mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)


def vae_loss(drawn: Tensor, x: Tensor, heads: Heads) -> Tensor:
    """Mean squared error, and both KL terms divided by the numbers in the batch of images."""
    loss = F.mse_loss(drawn, x)
    for mean, log_variance in ((heads.z, heads.z_log_variance), (heads.c, heads.c_log_variance)):
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        loss = loss + KL_WEIGHT * kl / x.numel()
    return loss


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """L_sim: |cos| of paired codes, summed and divided by the numbers in them."""
    return F.cosine_similarity(a, b).abs().sum() / a.numel()


def distance(a: Tensor, b: Tensor) -> Tensor:
    """L_dist: the same of 1 - |cos|."""
    return (1 - F.cosine_similarity(a, b).abs()).sum() / a.numel()


def rotated(x: Tensor) -> Tensor:
    """Turn images by one angle from U(-90°, 90°), nearest neighbour; volumes by three angles of their own."""
    count = len(x)
    if x.ndim == 4:
        angle = (torch.rand(1, device=x.device) - 0.5) * torch.pi
        matrices = turn(angle, 2, 0, 1).expand(count, 2, 2)
    else:
        angles = (torch.rand(count, 3, device=x.device) - 0.5) * torch.pi
        about_x, about_y, about_z = (
            turn(angles[:, axis], 3, *plane) for axis, plane in enumerate(((1, 2), (2, 0), (0, 1)))
        )
        matrices = about_z @ about_y @ about_x
    matrices = torch.cat((matrices, matrices.new_zeros(count, x.ndim - 2, 1)), dim=2)
    grid = F.affine_grid(matrices, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, "nearest" if x.ndim == 4 else "bilinear", "zeros", align_corners=False)


def turn(angles: Tensor, dimension: int, first: int, second: int) -> Tensor:
    """Rotation matrices (N, dimension, dimension) in the plane of two axes."""
    matrices = torch.eye(dimension, device=angles.device).repeat(len(angles), 1, 1)
    matrices[:, first, first] = matrices[:, second, second] = angles.cos()
    matrices[:, second, first] = angles.sin()
    matrices[:, first, second] = -angles.sin()
    return matrices


def first_loss(network: Network, x: Tensor, turned: Tensor, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Losses of the first step: VAE, con(c), and the negative part of con(z).

    The negatives of images are drawn as well, and thrown away; those of volumes are encoded only.

    Parameters
    ----------
    network : Network
        In training.
    x, turned : Tensor, shape (N, C, *spatial)
        The images and their rotations.
    order : Tensor of int, shape (N,)
        The image of each place's content negative.
    """
    drawn, heads = network(x)
    drawn_turned, heads_turned = network(turned)
    vae = vae_loss(drawn, x, heads) + vae_loss(drawn_turned, turned, heads_turned)
    if x.ndim == 4:
        _, negatives = network(x[order])
    else:
        negatives = network.encoder(x[order])
    contrast_c = similarity(heads.c, negatives.c) + distance(heads.c, heads_turned.c)
    return vae, contrast_c, similarity(heads.z, heads_turned.z)


def second_loss(network: Network, x: Tensor, first: Tensor, second: Tensor, z: Tensor) -> Tensor:
    """Loss of the second step, the positive part of con(z): the contents of two images, drawn with one z.

    Parameters
    ----------
    network : Network
        In training.
    x : Tensor, shape (N, C, *spatial)
        The images.
    first, second : Tensor of int, shape (N,)
        The images that the contents are taken from.
    z : Tensor, shape (N, code)
        Drawn from N(0, I).
    """
    c_first, c_second = network.encoder(x[first]).c, network.encoder(x[second]).c
    drawn_first, drawn_second = (network.decoder(z, c.detach()) for c in (c_first, c_second))
    return distance(network.encoder(drawn_first).z, network.encoder(drawn_second).z)


def train(
    network: Network,
    pixels: np.ndarray,
    batch_size: int,
    epochs: int,
    device: torch.device,
    wait: Callable[[], None] = lambda: None,
) -> list[float]:
    """Train, and return how many images were trained on in a second of every epoch.

    Parameters
    ----------
    network : Network
        On the device.
    pixels : numpy.ndarray, shape (N, C, *spatial)
        See `Items`.
    batch_size : int
        Images a step; a last incomplete batch is left out.
    epochs : int
        Passes over the images.
    device : torch.device
        Where the batches go.
    wait : callable
        Called before the clock is read.
    """
    loader = DataLoader(Items(pixels), batch_size, shuffle=True, drop_last=True)
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    encoder_optimiser = torch.optim.Adam(network.encoder.parameters(), LEARNING_RATE)
    schedules = [
        torch.optim.lr_scheduler.StepLR(each, step_size=50, gamma=0.1)
        for each in (optimiser, encoder_optimiser)
    ]
    network.train()
    speeds = []
    for _ in range(epochs):
        started = time.perf_counter()
        total = total_vae = total_c = total_z = 0.0
        for batch in loader:
            x = batch.to(device)
            with torch.no_grad():
                turned = rotated(x)
            vae, contrast_c, contrast_z = first_loss(network, x, turned, torch.randperm(len(x)))
            loss = vae + contrast_c + contrast_z
            total += loss.item()
            total_vae += vae.item()
            total_c += contrast_c.item()
            total_z += contrast_z.item()
            optimiser.zero_grad()
            loss.backward(retain_graph=True)
            optimiser.step()

            z = torch.randn(len(x), network.code, device=device)
            loss = second_loss(network, x, torch.randperm(len(x)), torch.randperm(len(x)), z)
            encoder_optimiser.zero_grad()
            loss.backward()
            encoder_optimiser.step()
            total += loss.item()
            total_z += loss.item()
        for schedule in schedules:
            schedule.step()
        wait()
        speeds.append(len(loader) * batch_size / (time.perf_counter() - started))
    return speeds


def encode(
    network: Network, pixels: np.ndarray, batch_size: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Return the posterior means of c and z, each (N, code); a last incomplete batch is left out."""
    loader = DataLoader(Items(pixels), batch_size, shuffle=False, drop_last=True)
    network.eval()
    content, transformation = [], []
    with torch.no_grad():
        for batch in loader:
            heads = network.encoder(batch.to(device))
            content.append(heads.c.cpu().numpy())
            transformation.append(heads.z.cpu().numpy())
    return np.concatenate(content), np.concatenate(transformation)
