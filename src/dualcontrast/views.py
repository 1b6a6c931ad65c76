"""Second views of a batch of images, made on the images' own device.

A view keeps what the image shows and changes the state it is in. The paper uses rotations only
(section 3.4); `default` adds small affine changes and smooth elastic warps, which also leave identity alone.
All changes of one view are composed into a single sampling grid, so an image is interpolated once.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from dualcontrast.constants import constant
from dualcontrast.errors import SettingError
from dualcontrast.full_precision import full_precision
from dualcontrast.mask import spherical_mask
from dualcontrast.rotations import matrices_of_angles, matrices_of_vectors, vectors_of_matrices
from dualcontrast.spread import alongside, by_rows
from dualcontrast.wedge import apply_wedge, move_wedges

Interpolation = Literal["bilinear", "nearest"]
Rotations = Literal["axes", "uniform"]
Amount = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class ViewConfig:
    """How far a view may go from its image.

    Attributes
    ----------
    max_angle : float
        Largest rotation, in degrees. In 2-D angles are drawn from U(-max_angle, max_angle).
    narrow_to : float or None
        Largest rotation later in the training, in degrees, at most `max_angle`. Wide views settle what
        belongs to which code, and narrow ones then leave more to tell images by. None: as before.
    narrow_after : float
        The share of the training after which views are narrow.
    rotations : {'axes', 'uniform'}
        How rotations are drawn in 3-D. `axes`: angles from U(-max_angle, max_angle) about x, then y, then z,
        as the authors' code does. `uniform`: uniformly on SO(3), among the rotations by at most max_angle;
        180 is all of them, for particles that lie in any orientation.
    both : bool
        Compare two views of each image instead of the image and a view. Turning a noisy volume smooths its
        noise and cuts its corners, by which a network tells a turned copy from an untouched one and learns
        nothing else; two turned copies are alike in that.
    split_noise : bool
        Give the two views of a volume noise of their own (with `both`); see `split_noise`.
    mask : float
        Diameter of a soft spherical mask on views of volumes, as a share of the box; 0 is none.
    one_angle_per_batch : bool
        Draw one rotation for the whole batch (2-D only), as the authors' code does.
    interpolation : {'bilinear', 'nearest'}
        How pixels are resampled.
    scale : float
        Each axis is scaled by e^u, u from U(-scale, scale).
    shear : float
        Off-diagonal entries of the affine matrix are drawn from U(-shear, shear).
    shift : float
        Shifts are drawn from U(-shift, shift), as a fraction of the image's width.
    elastic : float
        Standard deviation of a smooth random displacement field, as a fraction of the image's width.
    elastic_nodes : int
        Nodes along each axis of the coarse grid that carries the displacements; fewer is smoother.
    """

    max_angle: Annotated[float, Field(ge=0, le=180)] = 90.0
    narrow_to: Annotated[float, Field(ge=0, le=180)] | None = None
    narrow_after: Annotated[float, Field(ge=0, le=1)] = 0.3
    rotations: Rotations = "axes"
    both: bool = False
    split_noise: bool = False
    mask: Annotated[float, Field(ge=0, le=1)] = 0.0
    one_angle_per_batch: bool = False
    interpolation: Interpolation = "bilinear"
    scale: Amount = 0.0
    shear: Amount = 0.0
    shift: Amount = 0.0
    elastic: Amount = 0.0
    elastic_nodes: Annotated[int, Field(ge=1)] = 4

    def __post_init__(self) -> None:
        if self.narrow_to is not None and self.narrow_to > self.max_angle:
            raise SettingError(
                f"views.narrow_to is {self.narrow_to:g} degrees, more than views.max_angle, "
                f"{self.max_angle:g}; views can only become narrower"
            )

    @property
    def last_angle(self) -> float:
        """Largest rotation at the end of the training, in degrees."""
        return self.max_angle if self.narrow_to is None else self.narrow_to

    def largest_angle(self, progress: Tensor | None) -> Tensor | float:
        """Largest rotation, in degrees, at a point of the training.

        Parameters
        ----------
        progress : Tensor or None, shape ()
            See `Batch`.

        Returns
        -------
        Tensor, shape (), or float
            A tensor where it changes: to know it, a GPU would have to be waited for.
        """
        if progress is None or self.narrow_to is None:
            return self.max_angle
        wide, narrow = (progress.new_full((), angle) for angle in (self.max_angle, self.narrow_to))
        return torch.where(progress < self.narrow_after, wide, narrow)


def uniform(shape: tuple[int, ...], limit: float | Tensor, generator: torch.Generator) -> Tensor:
    """Draw from U(-limit, limit) on the generator's device."""
    return (2 * torch.rand(shape, generator=generator, device=generator.device) - 1) * limit


def rotation_matrices(angles: Tensor) -> Tensor:
    """Turn angles into rotation matrices.

    Parameters
    ----------
    angles : Tensor, shape (N,) or (N, 3)
        Degrees. `(N,)`: in-plane, counter-clockwise as the image is displayed (x right, y down).
        `(N, 3)`: extrinsic rotations about x, then y, then z.

    Returns
    -------
    Tensor, shape (N, 2, 2) or (N, 3, 3)
        Matrices acting on (x, y) or (x, y, z) column vectors.
    """
    if angles.ndim == 1:
        radians = torch.deg2rad(angles)
        cos, sin = torch.cos(radians), torch.sin(radians)
        # y points down, so the counter-clockwise turn a viewer sees has the sine's sign swapped.
        return torch.stack((cos, sin, -sin, cos), dim=-1).reshape(-1, 2, 2)
    return matrices_of_angles(angles)


@full_precision
@by_rows("images", "matrices", "displacements")
def sample(
    images: Tensor,
    matrices: Tensor,
    displacements: Tensor | None = None,
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """Move images by affine maps about their centre, and optionally by displacement fields.

    Parameters
    ----------
    images : Tensor, shape (N, C, *spatial)
        Pixels outside the image are taken as 0.
    matrices : Tensor, shape (N, d, d) or (N, d, d + 1)
        Affine maps of pixel positions (x, y[, z]), measured from the centre; the last column is a shift as
        a fraction of the image's width. A feature at p appears at `A p + t`.
    displacements : Tensor or None, shape (N, d, *spatial)
        Added to the positions that are sampled, as a fraction of the image's width.
    interpolation : {'bilinear', 'nearest'}
        How pixels are resampled.

    Returns
    -------
    Tensor, shape (N, C, *spatial)
        The moved images.
    """
    spatial = images.shape[2:]
    dimension = len(spatial)
    linear = matrices[..., :dimension]
    # The form that does not raise: to know, a GPU would have to be waited for.
    inverse = torch.linalg.inv_ex(linear).inverse
    shift = (
        matrices[..., dimension:]
        if matrices.shape[-1] > dimension
        else linear.new_zeros(len(linear), dimension, 1)
    )
    # grid_sample measures each axis in half-widths of that axis; convert so that a turn of an image that is
    # not square stays a turn.
    size = constant(tuple(reversed(spatial)), images.dtype, images.device)
    to_pixels, to_grid = size / 2, 2 / size
    backward = torch.cat((inverse, -inverse @ (shift * size[0])), dim=-1)
    backward = backward * to_grid[:, None]
    backward = torch.cat((backward[..., :dimension] * to_pixels, backward[..., dimension:]), dim=-1)
    grid = F.affine_grid(backward, list(images.shape), align_corners=False)
    if displacements is not None:
        grid = grid + displacements.movedim(1, -1) * (size[0] * to_grid)
    return F.grid_sample(images, grid, mode=interpolation, padding_mode="zeros", align_corners=False)


def rotate(images: Tensor, rotations: Tensor, interpolation: Interpolation = "bilinear") -> Tensor:
    """Rotate every image about its centre.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W) or (N, C, D, H, W)
        Pixels that come from outside the image are 0.
    rotations : Tensor, shape (N,), (N, 3) or (N, 3, 3)
        Angles in degrees (see `rotation_matrices`) or, in 3-D, matrices.
    interpolation : {'bilinear', 'nearest'}
        How pixels are resampled.

    Returns
    -------
    Tensor
        Of the images' shape.
    """
    matrices = rotations if rotations.ndim == 3 else rotation_matrices(rotations)
    return sample(images, matrices.to(images.dtype), interpolation=interpolation)


class View(NamedTuple):
    """Second views of a batch, and what was done to make them.

    Attributes
    ----------
    images : Tensor, shape (N, C, *spatial)
        The views.
    angles : Tensor, shape (N,) in 2-D, (N, 3) in 3-D
        The rotations, in degrees: the three angles of `axes`, the rotation vector of `uniform`.
    wedges : Tensor or None, shape (N, D, H, W // 2 + 1)
        What of each Fourier component of the view was measured; None where the images come without.
    """

    images: Tensor
    angles: Tensor
    wedges: Tensor | None = None


def uniform_rotation_vectors(count: int, max_angle: float | Tensor, generator: torch.Generator) -> Tensor:
    """Draw rotations uniformly on SO(3), among those by at most an angle.

    The axis is uniform on the sphere, the angle a has the density (1 - cos a) that the Haar measure gives it.

    Parameters
    ----------
    count : int
        How many.
    max_angle : float or Tensor, shape ()
        Degrees, from 0 to 180.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    Tensor, shape (count, 3)
        Rotation vectors (x, y, z) in degrees.
    """
    device = generator.device
    axes = F.normalize(torch.randn((count, 3), generator=generator, device=device), dim=1)
    share = torch.rand(count, generator=generator, device=device)
    exact = {"dtype": torch.float64, "device": device}
    limit = max_angle.double() if isinstance(max_angle, Tensor) else torch.full((), max_angle, **exact)
    # Of small angles rounding leaves nothing of a - sin a; below a degree it is a³ / 6, of one shape.
    listed = limit.clamp(min=1.0)
    # The distribution function a - sin a has no inverse in closed form; a fine table of it does.
    table = torch.linspace(0, 1, 4096, **exact) * torch.deg2rad(listed)
    reached = table - torch.sin(table)
    place = torch.searchsorted(reached / reached[-1], share.double()).clamp(1, len(table) - 1)
    below, above = reached[place - 1], reached[place]
    within = ((share * reached[-1] - below) / (above - below)).clamp(0, 1)
    angle = table[place - 1] + within * (table[place] - table[place - 1])
    return (axes * (torch.rad2deg(angle) * (limit / listed))[:, None]).float()


def draw_rotations(
    count: int,
    dimension: int,
    config: ViewConfig,
    generator: torch.Generator,
    progress: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw the rotations of a batch of views.

    Parameters
    ----------
    count, dimension : int
        Of the images.
    config : ViewConfig
        How far rotations may go.
    generator : torch.Generator
        Source of randomness.
    progress : Tensor or None, shape ()
        Of the training; see `Batch`.

    Returns
    -------
    angles : Tensor, shape (N,) or (N, 3)
        See `View`.
    matrices : Tensor, shape (N, 2, 2) or (N, 3, 3)
        See `rotation_matrices`.
    """
    limit = config.largest_angle(progress)
    if dimension == 3 and config.rotations == "uniform":
        vectors = uniform_rotation_vectors(count, limit, generator)
        return vectors, matrices_of_vectors(torch.deg2rad(vectors))
    drawn = 1 if config.one_angle_per_batch and dimension == 2 else count
    angles = uniform((drawn,) if dimension == 2 else (drawn, 3), limit, generator)
    angles = angles.expand(count, *angles.shape[1:])
    return angles, rotation_matrices(angles)


@full_precision
def random_view(
    images: Tensor,
    config: ViewConfig,
    generator: torch.Generator,
    wedges: Tensor | None = None,
    progress: Tensor | None = None,
) -> View:
    """Make one view of every image.

    Turning a subtomogram turns its missing wedge too, and a turned wedge tells which of two copies is the
    turned one. So where wedges are given, the view is measured once more: it loses what lies in the image's
    own, unturned wedge, and keeps both gaps.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W) or (N, C, D, H, W)
        A batch.
    config : ViewConfig
        What a view may change.
    generator : torch.Generator
        Source of randomness, on the images' device.
    wedges : Tensor or None, shape (N, D, H, W // 2 + 1)
        Fourier weights of volumes; see `Batch`.
    progress : Tensor or None, shape ()
        Of the training; see `Batch`.

    Returns
    -------
    View
        Images, rotations, and the Fourier weights of the views.
    """
    count, dimension = len(images), images.ndim - 2
    angles, matrices = draw_rotations(count, dimension, config, generator, progress)
    if config.scale or config.shear:
        shape = uniform((count, dimension, dimension), config.shear, generator)
        scale = torch.exp(uniform((count, dimension), config.scale, generator))
        diagonal = torch.eye(dimension, dtype=torch.bool, device=images.device)
        matrices = matrices @ torch.where(diagonal, torch.diag_embed(scale), shape)
    if config.shift:
        matrices = torch.cat((matrices, uniform((count, dimension, 1), config.shift, generator)), dim=-1)
    displacements = None
    if config.elastic:
        displacements = smooth_displacements(images, config, generator)
    views = sample(images, matrices, displacements, config.interpolation)
    if wedges is None:
        return View(masked(views, config), angles)
    turned = move_wedges(wedges, matrices[..., :dimension], images.shape[-1])
    return View(masked(apply_wedge(views, wedges), config), angles, wedges * turned)


@by_rows("images")
def masked(images: Tensor, config: ViewConfig) -> Tensor:
    """Multiply volumes with the soft sphere of the settings; leave images, or all where there is none."""
    if not config.mask or images.ndim != 5:
        return images
    spatial = tuple(images.shape[2:])
    return images * _mask(spatial, config.mask * min(spatial), images.device).to(images.dtype)


# What is kept for later must be fit for training, even if encoding asks for it first.
@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _mask(spatial: tuple[int, ...], diameter: float, device: torch.device) -> Tensor:
    return spherical_mask(spatial, diameter).to(device)


@full_precision
def view_pair(
    images: Tensor,
    config: ViewConfig,
    generator: torch.Generator,
    wedges: Tensor | None = None,
    progress: Tensor | None = None,
) -> tuple[View, View]:
    """Make the two images that are compared: the image and a view of it, or two views (`ViewConfig.both`).

    Parameters
    ----------
    images, config, generator, wedges, progress
        As for `random_view`.

    Returns
    -------
    first, second : View
        The angles of the second are those that turn the first into it. Where both are views of a volume, they
        are a rotation vector in degrees.
    """
    if not config.both:
        second = random_view(images, config, generator, wedges, progress)
        return View(images, torch.zeros_like(second.angles), wedges), second
    halves = split_noise(images) if config.split_noise and images.ndim == 5 else (images, images)
    first, second = (random_view(half, config, generator, wedges, progress) for half in halves)
    if images.ndim == 4:
        return first, second._replace(angles=second.angles - first.angles)
    matrices = [_matrices_of(view.angles, config) for view in (first, second)]
    between = vectors_of_matrices(matrices[1] @ matrices[0].mT)
    return first, second._replace(angles=torch.rad2deg(between))


@by_rows("volumes")
def split_noise(volumes: Tensor) -> tuple[Tensor, Tensor]:
    """Make two copies of noisy volumes that show the same particle under independent noise.

    With s half the box along every axis, x(r + s) is what lies in the corners of the box: noise n' as strong
    as the noise n on the particle, and independent of it. Then n + n' and n - n' are uncorrelated, and
    independent where the noise is Gaussian:

        (x(r) + x(r + s)) / √2    and    (x(r) - x(r + s)) / √2

    have nothing in common but the particle, at half the signal-to-noise ratio. An encoder that is to find the
    partner of a copy can then not go by the noise that both would share, which it otherwise learns first.

    The shift wraps around. It moves the particle into the corners, outside a centred sphere of the box's
    width as long as the particle is not wider than 0.7 of the box; mask the copies with such a sphere.

    Parameters
    ----------
    volumes : Tensor, shape (N, C, D, H, W)
        With their corners: volumes that were masked before have no noise there, and both copies stay alike.

    Returns
    -------
    tuple of two Tensors
        Of the volumes' shape.
    """
    corners = volumes.roll([length // 2 for length in volumes.shape[2:]], dims=(2, 3, 4))
    return (volumes + corners) / math.sqrt(2), (volumes - corners) / math.sqrt(2)


def as_a_view(images: Tensor, config: ViewConfig) -> Tensor:
    """Bring untouched images to what a network has seen that was trained on two views (`ViewConfig.both`)."""
    return masked(smoothed_as_views(images), config) if config.both else images


@by_rows("images")
def smoothed_as_views(images: Tensor) -> Tensor:
    """Smooth images on the whole as much as the linear interpolation of a turned copy does.

    Between two pixels, at a fraction a of the way, linear interpolation leaves of the power at the frequency
    ω the share |1 - a + a exp(iω)|² = 1 - 2 a (1 - a) (1 - cos ω), on average over a 1 - (1 - cos ω) / 3.
    The axes multiply. A network that has seen turned copies only takes an untouched noisy image for something
    else; after this it does not.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W) or (N, C, D, H, W)

    Returns
    -------
    Tensor
        Of the images' shape.
    """
    spatial = tuple(images.shape[2:])
    axes = tuple(range(2, images.ndim))
    exact = images.to(torch.promote_types(images.dtype, torch.float32))
    smoothed = torch.fft.rfftn(exact, dim=axes) * _smoothing_filter(spatial, images.device)
    return torch.fft.irfftn(smoothed, s=spatial, dim=axes).to(images.dtype)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _smoothing_filter(spatial: tuple[int, ...], device: torch.device) -> Tensor:
    filters = torch.ones((), device=device)
    for axis, length in enumerate(spatial):
        last = axis == len(spatial) - 1
        frequency = (torch.fft.rfftfreq if last else torch.fft.fftfreq)(length, device=device)
        kept = (1 - (1 - torch.cos(2 * math.pi * frequency)) / 3).sqrt()
        filters = filters[..., None] * kept
    return filters


def turns_within(images: Tensor, config: ViewConfig) -> Iterator[Tensor]:
    """Turn images by five angles, evenly spread over two thirds of the range of views at the end.

    Views of a turned copy then go as far as those of the image on one side, so that the copy is still like
    what a network has been trained on.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
    config : ViewConfig
        With the largest angle.

    Yields
    ------
    Tensor
        Of the images' shape; the third is the images themselves.
    """
    for share in (-2, -1, 0, 1, 2):
        angle = share * config.last_angle / 3
        yield rotate(images, images.new_full((len(images),), angle)) if share else images


def quarter_turns(volumes: Tensor) -> Iterator[Tensor]:
    """Turn volumes by the 24 rotations of the cube, which need no interpolation.

    Parameters
    ----------
    volumes : Tensor, shape (N, C, D, D, D)
        Cubes.

    Yields
    ------
    Tensor
        Of the volumes' shape; the first is the volumes themselves.
    """
    z, y, x = 2, 3, 4
    # Each of the six faces to the top, then the four turns about the vertical axis.
    for face in (0, 1, 2, 3):
        up = torch.rot90(volumes, face, (z, y))
        for turn in range(4):
            yield torch.rot90(up, turn, (y, x))
    for face in (1, 3):
        up = torch.rot90(volumes, face, (z, x))
        for turn in range(4):
            yield torch.rot90(up, turn, (y, x))


def _matrices_of(angles: Tensor, config: ViewConfig) -> Tensor:
    if config.rotations == "uniform":
        return matrices_of_vectors(torch.deg2rad(angles))
    return rotation_matrices(angles)


def smooth_displacements(images: Tensor, config: ViewConfig, generator: torch.Generator) -> Tensor:
    """Draw smooth random displacement fields, shape (N, d, *spatial), as fractions of the width."""
    dimension = images.ndim - 2
    nodes = torch.randn(
        (len(images), dimension, *(config.elastic_nodes,) * dimension),
        generator=generator,
        device=images.device,
    )
    return config.elastic * cubic_interpolation(alongside(images, nodes), tuple(images.shape[2:]))


@by_rows("nodes")
def cubic_interpolation(nodes: Tensor, spatial: tuple[int, ...]) -> Tensor:
    """Interpolate values on a coarse grid whose corners are those of the fine one.

    Axis after axis by a matrix product. `torch.nn.functional.interpolate` does the same for images, takes
    many times as long on a GPU, and knows nothing cubic for volumes.

    Parameters
    ----------
    nodes : Tensor, shape (N, C, *coarse)
        Values.
    spatial : tuple of int
        Lengths of the axes of the fine grid.

    Returns
    -------
    Tensor, shape (N, C, *spatial)
        Interpolated with the cubic kernel of Keys (1981) for a = -3/4; nodes beyond the edge are those on it.
    """
    for axis, length in enumerate(spatial, start=2):
        weights = _cubic_weights(nodes.shape[axis], length, nodes.dtype, nodes.device)
        nodes = (nodes.movedim(axis, -1) @ weights).movedim(-1, axis)
    return nodes


# What is kept for later must be fit for training, even if encoding asks for it first.
@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _cubic_weights(nodes: int, length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Weight of each node in each point, shape (nodes, length)."""
    # Along the other axis, points are nodes.
    one = torch.eye(nodes, dtype=torch.float64)[None, None]
    found = F.interpolate(one, size=(nodes, length), mode="bicubic", align_corners=True)
    return found[0, 0].to(dtype).to(device)
