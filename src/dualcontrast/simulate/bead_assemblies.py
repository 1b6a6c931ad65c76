"""Particles made of beads, for trying things out without any file.

Each identity is two or three compact domains of Gaussian beads, side by side. The second domain turns about a
hinge on an edge that it shares with the first; how far it has opened is the conformation.
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from dualcontrast.errors import SettingError
from dualcontrast.random_streams import numpy_stream
from dualcontrast.simulate.conformation import Conformation

# Beads are close-packed at this distance (Å), about 3.4 kDa each at the density of protein, and are shaken by
# this part of it.
SPACING = 18.0
_SHAKE = 0.12

# Width of a bead, as the standard deviation of its Gaussian (Å): wide enough for neighbours to flow together.
BEAD_WIDTH = 9.0

# All identities have this many beads in total unless told otherwise, about 250 kDa.
BEADS = 72

# Largest opening of a hinge in degrees. Side by side is 0.
OPENING = 150.0

# Relative half-axes of the domains along (x, y, z): x across to the partner, y up from the hinge, z along it.
_DOMAINS = {
    "rod": (1.0, 2.5, 1.0),
    "plate": (0.8, 1.9, 1.9),
    "ball": (1.0, 1.0, 1.0),
    "bar": (1.0, 1.0, 2.8),
}

# The identities, the first three as different as can be. In all of them the openings are different shapes;
# two balls, or a ball and a bar along the hinge, would only look turned.
IDENTITIES: tuple[tuple[str, ...], ...] = (
    ("rod", "rod"),
    ("ball", "plate"),
    ("bar", "ball", "ball"),
    ("rod", "plate"),
    ("rod", "bar"),
    ("rod", "ball"),
    ("plate", "plate"),
    ("plate", "bar"),
)


def bead_assemblies(
    identities: int = 3,
    conformations: int = 6,
    *,
    beads: Sequence[int] | None = None,
    largest_opening: float = OPENING,
    box: int = 32,
    voxel_size: float = 10.0,
    seed: int = 0,
) -> list[Conformation]:
    """Make bead assemblies of several identities, each in several conformations.

    With the same number of beads each, they are 95 to 235 Å long, and a hinge that opens widely changes the
    shape more than another identity does.

    Parameters
    ----------
    identities : int
        At most 8.
    conformations : int
        Of each identity, opened in equal steps from 0° to the largest opening.
    beads : sequence of int, optional
        Number of beads of each identity; 72 unless given.
    largest_opening : float
        Of the hinge, in degrees, up to 150.
    box : int
        Voxels along each axis.
    voxel_size : float
        In Å.
    seed : int
        Of the irregular places of the beads.

    Returns
    -------
    list of Conformation
        Named by the opening of the hinge, for example `open090`.

    Raises
    ------
    SettingError
        When a number is out of range, or the box is too small for the particles.
    """
    if not 1 <= identities <= len(IDENTITIES):
        raise SettingError(f"identities: should be from 1 to {len(IDENTITIES)}, not {identities}")
    if not 1 <= conformations <= 50:
        raise SettingError(f"conformations: should be from 1 to 50, not {conformations}")
    counts = [BEADS] * identities if beads is None else list(beads)
    if len(counts) != identities or not all(12 <= count <= 500 for count in counts):
        raise SettingError(f"beads: should be {identities} numbers from 12 to 500, not {counts}")
    if not 0 <= largest_opening <= OPENING:
        raise SettingError(f"largest opening: should be from 0 to {OPENING:g}°, not {largest_opening:g}")
    if not voxel_size > 0:
        raise SettingError(f"voxel size: should be above 0 Å, not {voxel_size:g}")
    made = []
    for domains, count in zip(IDENTITIES, counts, strict=False):
        identity = "-".join(domains)
        for opening in np.linspace(0, largest_opening, conformations):
            positions = bead_positions(domains, float(opening), seed, count)
            density = _draw(positions, box, voxel_size, identity)
            made.append(Conformation(identity, f"open{opening:03.0f}", density, voxel_size))
    return made


def bead_positions(domains: tuple[str, ...], opening: float, seed: int = 0, count: int = BEADS) -> np.ndarray:
    """Place the beads of an assembly.

    A plane that stands on the hinge separates the first two domains. The second turns away from it, so that
    they never meet. A third is fixed to the far side of the first.

    Parameters
    ----------
    domains : tuple of str
        Two or three shapes: `rod`, `plate`, `ball` or `bar`.
    opening : float
        Of the hinge, in degrees.
    seed : int
        Of the irregular places of the beads.
    count : int
        Of the beads, shared out equally among the domains.

    Returns
    -------
    numpy.ndarray, float64, shape (count, 3)
        (x, y, z) in Å; the mean is 0. Fewer where the domains do not divide the count.
    """
    shake = numpy_stream(seed, "beads", *domains)
    first = _domain(domains[0], count // len(domains), shake)
    parts = [first]
    for shape, side, turn in zip(domains[1:], (1, -1), (-opening, 0.0), strict=False):
        part = _domain(shape, count // len(domains), shake) * (side, 1, 1)
        # Half a spacing between the hinge and the beads nearest to it on either side.
        hinge = side * ((side * first[:, 0]).max() + SPACING / 2)
        part[:, 0] += side * (SPACING / 2 - (side * part[:, 0]).min())
        parts.append(Rotation.from_euler("z", turn, degrees=True).apply(part) + np.array([hinge, 0, 0]))
    beads = np.concatenate(parts)
    return beads - beads.mean(axis=0)


def _domain(shape: str, count: int, shake: np.random.Generator) -> np.ndarray:
    """Fill a shape with close-packed beads; its base, half a spacing below its lowest bead, is at y = 0."""
    axes = np.array(_DOMAINS[shape])
    steps = np.stack(np.meshgrid(*[np.arange(-12, 13)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    # Face-centred cubic: the points of a cubic lattice of which the coordinates have an even sum.
    lattice = steps[steps.sum(axis=1) % 2 == 0] * SPACING / np.sqrt(2)
    nearest = np.argsort(np.linalg.norm(lattice / axes, axis=1), kind="stable")[:count]
    beads = lattice[nearest] + shake.uniform(-1, 1, (count, 3)) * _SHAKE * SPACING
    beads[:, 1] += SPACING / 2 - beads[:, 1].min()
    return beads


def _draw(beads: np.ndarray, box: int, voxel_size: float, identity: str) -> np.ndarray:
    """Add up the Gaussians of the beads at the voxels, the mean of the beads on voxel `box // 2`."""
    radius = np.linalg.norm(beads, axis=1).max() + 2 * BEAD_WIDTH
    if radius > box * voxel_size / 2:
        needed = 2 * int(np.ceil(radius / voxel_size))
        raise SettingError(
            f"box: {box} voxels of {voxel_size:g} Å are too few for the bead assembly {identity}; "
            f"use a box of at least {needed} voxels, or larger voxels"
        )
    grid = (np.arange(box) - box // 2) * voxel_size
    x, y, z = (np.exp(-((grid - beads[:, axis, None]) ** 2) / (2 * BEAD_WIDTH**2)) for axis in range(3))
    density = np.einsum("nz,ny,nx->zyx", z, y, x, optimize=True)
    return (density / density.max()).astype(np.float32)
