"""Densities of structures and maps in a small cubic box, at a stated resolution.

A structure becomes its electrostatic potential: the sum of the electron scattering factors of its atoms
(International Tables for Crystallography, volume C, table 4.3.2.2) in vacuum, B factors of 0. Both kinds are
then filtered alike:

- low-pass to the resolution R: the amplitude at spatial frequency k is multiplied by exp(-(k R)²), which is
  1/e at k = 1/R. This is the convention of EMAN's `pdb2mrc`.
- cut at the Nyquist frequency of the box with a soft edge: half a cosine from 80 % to 100 % of it, the same
  in all directions. Without it a resolution finer than two voxels leaves ripples that lie along the axes.
"""

from pathlib import Path
from typing import Any

import gemmi
import mrcfile
import numpy as np

from dualcontrast.errors import DataError
from dualcontrast.simulate.structures import Atoms

MAP_SUFFIXES = (".mrc", ".map")

# The atoms are drawn on a grid this many times finer than the voxels, blurred to a width that this grid can
# hold, and the blur is undone in Fourier space. Drawn straight on voxels of 10 Å, an atom would be a needle
# between the grid points. The blur is a B factor, in units of the squared voxel size.
_OVERSAMPLING = 4
_BLUR = 3.0

# Part of the Nyquist frequency at which the soft edge begins.
_EDGE = 0.8

# Where a map counts as particle, as part of its largest voxel, and how much of that may lie outside the box.
_PARTICLE_LEVEL = 0.1
_LOST_SHARE = 0.01


def scattering_weights(atoms: Atoms) -> np.ndarray:
    """Return what each atom adds to the density: its scattering factor at k = 0 in Å, times its occupancy."""
    symbols, which = np.unique(atoms.elements, return_inverse=True)
    factors = np.array([gemmi.Element(symbol).c4322.calculate_sf(0.0) for symbol in symbols])
    return factors[which] * atoms.occupancies


def centred(atoms: Atoms) -> Atoms:
    """Move the centre of mass of the density to (0, 0, 0)."""
    return atoms.moved(-np.average(atoms.positions, axis=0, weights=scattering_weights(atoms)))


def structure_density(
    atoms: Atoms, *, box: int, voxel_size: float, resolution: float, name: str = "structure"
) -> np.ndarray:
    """Draw the density of a structure, (0, 0, 0) on voxel `box // 2`.

    Parameters
    ----------
    atoms : Atoms
        Positions relative to the centre of the box.
    box : int
        Voxels along each axis.
    voxel_size, resolution : float
        In Å.
    name : str
        What messages call the structure.

    Returns
    -------
    numpy.ndarray, float32, shape (box, box, box)
        (z, y, x), electrostatic potential in units of scattering length per volume, Å/Å³. Sharp cuts in
        Fourier space leave small negative ripples.

    Raises
    ------
    DataError
        When the structure does not fit the box in every orientation.
    """
    radius = float(np.linalg.norm(atoms.positions, axis=1).max())
    if radius > box * voxel_size / 2:
        raise DataError(_does_not_fit(name, radius, box, voxel_size))

    fine = box * _OVERSAMPLING
    length = box * voxel_size
    structure = gemmi.Structure()
    structure.cell = gemmi.UnitCell(length, length, length, 90, 90, 90)
    structure.spacegroup_hm = "P 1"
    structure.add_model(_model(atoms, offset=(box // 2) * voxel_size))

    calculator = gemmi.DensityCalculatorE()
    calculator.blur = _BLUR * voxel_size**2
    calculator.cutoff = 1e-6
    calculator.grid.set_size(fine, fine, fine)
    calculator.grid.set_unit_cell(structure.cell)
    calculator.grid.spacegroup = gemmi.SpaceGroup("P 1")
    calculator.add_model_density_to_grid(structure[0])

    spectrum = np.fft.rfftn(np.ascontiguousarray(calculator.grid.array.transpose(2, 1, 0)))
    spectrum = _crop(spectrum, box) / _OVERSAMPLING**3
    frequency = _frequencies((box,) * 3, voxel_size)
    spectrum *= _filter(frequency, resolution, voxel_size) * np.exp(calculator.blur * frequency**2 / 4)
    return np.fft.irfftn(spectrum, s=(box,) * 3, axes=(0, 1, 2)).astype(np.float32)


def map_density(path: str | Path, *, box: int, voxel_size: float, resolution: float) -> np.ndarray:
    """Read a map, filter and resample it, its centre of mass on voxel `box // 2`.

    The centre of mass is that of all voxels above a tenth of the largest one after filtering. Resampling is
    exact for what the filter leaves: the Fourier series of the map is evaluated at the new voxels. Beyond the
    edges of the map the density is 0.

    Parameters
    ----------
    path : str or Path
        MRC or CCP4 map, also gzipped or bzip2ed, the particle bright.
    box : int
        Voxels along each axis of the result.
    voxel_size, resolution : float
        Of the result, in Å.

    Returns
    -------
    numpy.ndarray, float32, shape (box, box, box)
        (z, y, x), in the units of the map.

    Raises
    ------
    DataError
        When the map cannot be read, has no voxel size, holds NaN, is empty or inverted, or when more than 1 %
        of the particle lies outside the sphere that fits the new box.
    """
    path = Path(path)
    volume, spacing = _read_map(path)
    spectrum = np.fft.rfftn(volume)
    spectrum *= _filter(_frequencies(volume.shape, spacing), resolution, voxel_size)
    smooth = np.fft.irfftn(spectrum, s=volume.shape, axes=(0, 1, 2))
    if smooth.max() <= -smooth.min():
        raise DataError(f"{path}: the particle should be brighter than its surroundings; invert the map")

    weights = np.where(smooth > _PARTICLE_LEVEL * smooth.max(), smooth, 0)
    inside = np.argwhere(weights)
    mass = weights[tuple(inside.T)].astype(np.float64)
    centre = np.average(inside, axis=0, weights=mass)
    distances = np.linalg.norm(inside - centre, axis=1) * spacing
    if mass[distances > box * voxel_size / 2].sum() > _LOST_SHARE * mass.sum():
        order = np.argsort(distances)
        share = np.cumsum(mass[order]) / mass.sum()
        radius = float(distances[order][np.searchsorted(share, 1 - _LOST_SHARE)])
        raise DataError(_does_not_fit(str(path), radius, box, voxel_size))

    result: np.ndarray = spectrum
    for axis, size in enumerate(volume.shape):
        # Positions of the new voxels in voxels of the map.
        positions = (np.arange(box) - box // 2) * voxel_size / spacing + centre[axis]
        last = axis == len(volume.shape) - 1
        order = np.fft.rfftfreq(size) if last else np.fft.fftfreq(size)
        waves = np.exp(2j * np.pi * np.outer(positions, order)).astype(np.complex64) / size
        if last:
            # The other half of the spectrum is the conjugate of this one: count it by doubling.
            doubled = np.where((order == 0) | (order == 0.5), 1, 2)
            waves *= doubled.astype(np.float32)
        waves[(positions < -0.5) | (positions > size - 0.5)] = 0
        result = np.moveaxis(np.tensordot(waves, result, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(np.real(result), dtype=np.float32)


def _read_map(path: Path) -> tuple[np.ndarray, float]:
    """Read a map as (z, y, x) in float32, and its voxel size in Å."""
    try:
        with mrcfile.open(path, permissive=False) as file:
            data = np.asarray(file.data)
            header: Any = file.header
            sizes = [float(file.voxel_size[axis]) for axis in "xyz"]
            axes = [int(header[field]) for field in ("maps", "mapr", "mapc")]
    except (OSError, EOFError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(f"{path}: not a whole MRC file ({reason})") from None
    if data.ndim != 3 or min(data.shape) < 2:
        raise DataError(f"{path}: a single volume is needed, not an array of shape {data.shape}")
    if min(sizes) <= 0 or max(sizes) > 1.01 * min(sizes):
        raise DataError(
            f"{path}: the header should name one voxel size above 0 for all axes, not "
            f"{' × '.join(f'{size:g}' for size in sizes)} Å"
        )
    if sorted(axes) == [1, 2, 3]:
        # Axis 1 is x: the header says which axis columns, rows and sections run along.
        data = data.transpose([axes.index(number) for number in (3, 2, 1)])
    volume = data.astype(np.float32)
    if not np.isfinite(volume).all():
        raise DataError(f"{path}: some voxels are NaN or infinite")
    return volume, float(np.mean(sizes))


def _model(atoms: Atoms, offset: float) -> gemmi.Model:
    """Make a gemmi model of one residue that holds all atoms, moved by an offset in Å along each axis."""
    residue = gemmi.Residue()
    elements = {symbol: gemmi.Element(symbol) for symbol in np.unique(atoms.elements)}
    atom = gemmi.Atom()
    atom.b_iso = 0.0
    for position, symbol, occupancy in zip(
        (atoms.positions + offset).tolist(), atoms.elements, atoms.occupancies.tolist(), strict=True
    ):
        atom.pos = gemmi.Position(*position)
        atom.element = elements[symbol]
        atom.occ = occupancy
        residue.add_atom(atom)
    chain = gemmi.Chain("A")
    chain.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(chain)
    return model


def _crop(spectrum: np.ndarray, box: int) -> np.ndarray:
    """Cut the low frequencies out of the `rfftn` of a larger cube; those of the Nyquist planes become 0."""
    keep = (box - 1) // 2
    cropped = np.zeros((box, box, box // 2 + 1), dtype=spectrum.dtype)
    old = np.r_[0 : keep + 1, spectrum.shape[0] - keep : spectrum.shape[0]]
    new = np.r_[0 : keep + 1, box - keep : box]
    cropped[np.ix_(new, new, np.arange(keep + 1))] = spectrum[np.ix_(old, old, np.arange(keep + 1))]
    return cropped


def _frequencies(shape: tuple[int, ...], voxel_size: float) -> np.ndarray:
    """Return the spatial frequency of each element of an `rfftn`, in 1/Å."""
    axes = [np.fft.fftfreq(size, voxel_size) for size in shape[:-1]] + [
        np.fft.rfftfreq(shape[-1], voxel_size)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.sqrt(z**2 + y**2 + x**2).astype(np.float32)


def _filter(frequency: np.ndarray, resolution: float, voxel_size: float) -> np.ndarray:
    """Return the amplitude of the low-pass filter and of the soft edge at the Nyquist frequency."""
    part = frequency * 2 * voxel_size
    edge = 0.5 + 0.5 * np.cos(np.pi * np.clip((part - _EDGE) / (1 - _EDGE), 0, 1))
    return np.exp(-((frequency * resolution) ** 2)) * edge


def _does_not_fit(name: str, radius: float, box: int, voxel_size: float) -> str:
    """Say which box would hold a particle of this radius."""
    needed = int(np.ceil(2 * radius / voxel_size))
    needed += needed % 2
    return (
        f"{name}: reaches {radius:.0f} Å from its centre, but a box of {box} voxels of {voxel_size:g} Å only "
        f"{box * voxel_size / 2:.0f} Å; use a box of at least {needed} voxels, or larger voxels"
    )
