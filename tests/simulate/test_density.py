import gzip

import gemmi
import mrcfile
import numpy as np
import pytest

from dualcontrast.errors import DataError
from dualcontrast.simulate.density import centred, map_density, scattering_weights, structure_density
from dualcontrast.simulate.structures import Atoms


def atoms_at(positions, elements, occupancies=None) -> Atoms:
    positions = np.array(positions, dtype=float)
    occupancies = np.ones(len(positions)) if occupancies is None else np.array(occupancies)
    return Atoms(positions, np.array(elements), occupancies, np.zeros(0, dtype=np.int64))


def factor(element: str, frequency: np.ndarray) -> np.ndarray:
    """Sum a exp(-b s²/4), the electron scattering factor of the International Tables, with gemmi's table."""
    table = gemmi.Element(element).c4322
    return sum(a * np.exp(-b * frequency**2 / 4) for a, b in zip(table.a, table.b, strict=True))


def gaussian_atoms(atoms: Atoms, box: int, voxel_size: float, resolution: float) -> np.ndarray:
    """Add up the Fourier transforms of a exp(-c s²), which are a (π/c)^1.5 exp(-π² r²/c), at the voxels."""
    grid = (np.arange(box) - box // 2) * voxel_size
    z, y, x = np.meshgrid(grid, grid, grid, indexing="ij")
    total = np.zeros((box,) * 3)
    for place, element, occupancy in zip(atoms.positions, atoms.elements, atoms.occupancies, strict=True):
        squared = (x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2
        table = gemmi.Element(element).c4322
        for a, b in zip(table.a, table.b, strict=True):
            c = b / 4 + resolution**2
            total += occupancy * a * (np.pi / c) ** 1.5 * np.exp(-(np.pi**2) * squared / c)
    return total


@pytest.mark.parametrize("element", ["C", "P", "Fe"])
@pytest.mark.parametrize("box", [40, 41])
def test_an_atom_between_voxels_is_a_sum_of_gaussians(element, box):
    atom = atoms_at([[7.3, -11.1, 18.6]], [element])
    drawn = structure_density(atom, box=box, voxel_size=4.0, resolution=30.0)
    expected = gaussian_atoms(atom, box, 4.0, 30.0)
    assert np.abs(drawn - expected).max() < 0.01 * expected.max()


def test_atoms_add_up_by_their_occupancies():
    atoms = atoms_at([[9.0, 0, 0], [0, -20.0, 0], [0, 0, 31.5]], ["O", "S", "N"], [1.0, 0.4, 0.7])
    drawn = structure_density(atoms, box=40, voxel_size=4.0, resolution=30.0)
    expected = gaussian_atoms(atoms, 40, 4.0, 30.0)
    assert np.abs(drawn - expected).max() < 0.01 * expected.max()


def test_coarse_voxels_hold_the_right_fourier_coefficients_and_total():
    random = np.random.default_rng(0)
    atoms = atoms_at(random.normal(0, 30, (200, 3)).clip(-80, 80), random.choice(["C", "N", "O", "P"], 200))
    drawn = structure_density(atoms, box=32, voxel_size=10.0, resolution=10.0)
    total = scattering_weights(atoms).sum()
    assert drawn.sum(dtype=float) * 10.0**3 == pytest.approx(total, rel=0.01)
    assert total == pytest.approx(sum(factor(element, np.array(0.0)) for element in atoms.elements))

    measured = np.fft.fftn(np.fft.ifftshift(drawn)) * 10.0**3
    for k in ([1, 0, 0], [0, 3, -2], [5, -1, 7], [-9, 8, 4]):
        frequency = np.array(k) / 320.0
        size = np.linalg.norm(frequency)
        waves = np.exp(-2j * np.pi * atoms.positions @ frequency)
        factors = np.array([factor(element, size) for element in atoms.elements])
        expected = np.sum(factors * waves) * np.exp(-((size * 10.0) ** 2))
        assert abs(measured[k[2], k[1], k[0]] - expected) < 0.003 * total


def test_nothing_is_left_at_and_beyond_the_nyquist_frequency():
    drawn = structure_density(atoms_at([[3, 4, 5]], ["C"]), box=16, voxel_size=10.0, resolution=10.0)
    spectrum = np.abs(np.fft.fftn(drawn))
    index = np.fft.fftfreq(16, 1 / 16)
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(index, index, index)))
    assert spectrum[radius >= 8].max() < 1e-5 * spectrum.max()


def test_the_centre_is_that_of_the_scattering_mass():
    atoms = centred(atoms_at([[10, 0, 0], [40, 20, -7], [0, 5, 60]], ["P", "C", "O"]))
    drawn = structure_density(atoms, box=33, voxel_size=8.0, resolution=25.0)
    for axis in range(3):
        profile = drawn.sum(axis=tuple(other for other in range(3) if other != axis), dtype=float)
        assert profile @ np.arange(33) / profile.sum() == pytest.approx(16, abs=0.02)


def test_a_structure_that_could_leave_the_box_names_the_box_it_needs():
    with pytest.raises(DataError, match=r"long one: reaches 170 Å .* box of at least 34 voxels"):
        structure_density(
            atoms_at([[0, 0, 170.0], [0, 0, 0]], ["C", "C"]),
            box=32,
            voxel_size=10.0,
            resolution=10.0,
            name="long one",
        )


# Maps: a Gaussian blob of three widths, off the centre and off the voxels.

WIDTHS = np.array([14.0, 20.0, 17.0])  # along x, y, z in Å
PLACE = np.array([80.7, 71.3, 88.1])


def blob(shape=(48, 44, 52), spacing=3.3) -> np.ndarray:
    axes = [
        np.exp(-((np.arange(n) * spacing - p) ** 2) / (2 * w**2))
        for n, p, w in zip(shape, PLACE, WIDTHS, strict=True)
    ]
    return np.einsum("x,y,z->zyx", *axes).astype(np.float32)


def write_map(path, volume, spacing=3.3, axes=(1, 2, 3)):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(volume)
        file.voxel_size = spacing
        file.header.mapc, file.header.mapr, file.header.maps = axes
    return path


def expected_blob(box: int, voxel_size: float, resolution: float) -> np.ndarray:
    # The filter exp(-(k R)²) is a Gaussian of variance R² / (2 π²) in space; it keeps the integral.
    widened = np.sqrt(WIDTHS**2 + resolution**2 / (2 * np.pi**2))
    grid = (np.arange(box) - box // 2) * voxel_size
    axes = [w / v * np.exp(-(grid**2) / (2 * v**2)) for w, v in zip(WIDTHS, widened, strict=True)]
    return np.einsum("x,y,z->zyx", *axes)


@pytest.mark.parametrize("voxel_size", [5.0, 7.9, 2.6])
def test_a_map_is_resampled_centred_and_filtered(tmp_path, voxel_size):
    path = write_map(tmp_path / "blob.mrc", blob())
    box = 2 * int(75 / voxel_size)
    drawn = map_density(path, box=box, voxel_size=voxel_size, resolution=20.0)
    assert np.abs(drawn - expected_blob(box, voxel_size, 20.0)).max() < 0.01


def test_beyond_the_edges_of_a_map_there_is_nothing(tmp_path):
    drawn = map_density(write_map(tmp_path / "blob.mrc", blob()), box=64, voxel_size=5.0, resolution=20.0)
    assert np.abs(drawn - expected_blob(64, 5.0, 20.0)).max() < 0.01
    assert drawn[0].max() == drawn[-1].max() == 0


def test_maps_stored_in_another_order_of_axes_and_gzipped(tmp_path):
    volume = blob()
    # Columns along z, rows along y, sections along x.
    turned = write_map(
        tmp_path / "turned.mrc", np.ascontiguousarray(volume.transpose(2, 1, 0)), axes=(3, 2, 1)
    )
    zipped = tmp_path / "zipped.mrc.gz"
    zipped.write_bytes(gzip.compress(write_map(tmp_path / "plain.mrc", volume).read_bytes()))
    expected = expected_blob(24, 6.0, 20.0)
    for path in (turned, zipped):
        drawn = map_density(path, box=24, voxel_size=6.0, resolution=20.0)
        assert np.abs(drawn - expected).max() < 0.01


def test_the_centre_of_mass_of_two_blobs_and_their_scale(tmp_path):
    grid = np.arange(40) * 4.0

    def blobs(width: float) -> np.ndarray:
        total = np.zeros((40, 40, 40))
        for amplitude, place in ((3.0, (60.0, 80.0, 80.0)), (1.0, (100.0, 80.0, 80.0))):
            axes = [12 / width * np.exp(-((grid - p) ** 2) / (2 * width**2)) for p in place]
            total += amplitude * np.einsum("x,y,z->zyx", *axes)
        return total

    volume = blobs(12.0)
    drawn = map_density(
        write_map(tmp_path / "two.mrc", volume.astype(np.float32), 4.0),
        box=40,
        voxel_size=4.0,
        resolution=10.0,
    )
    # Only voxels above a tenth of the largest count for the centre, which is not quite the mean of 70 Å.
    filtered = blobs(np.sqrt(12.0**2 + 10.0**2 / (2 * np.pi**2)))
    counted = np.where(filtered > 0.1 * filtered.max(), filtered, 0).sum(axis=(0, 1))
    centre = counted @ grid / counted.sum()
    profile = drawn.sum(axis=(0, 1), dtype=float)
    assert abs(centre - 70.0) < 3
    assert profile @ np.arange(40) / profile.sum() == pytest.approx(20 + (70.0 - centre) / 4, abs=0.02)
    assert drawn.sum(dtype=float) == pytest.approx(volume.sum(), rel=0.01)


@pytest.mark.filterwarnings("ignore:Data array contains NaN")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: write_map(path, blob(), spacing=0.0), "one voxel size above 0"),
        (lambda path: write_map(path, blob(), spacing=(3.0, 3.0, 4.0)), "one voxel size above 0"),
        (lambda path: write_map(path, np.where(blob() > 0.9, np.nan, blob()).astype(np.float32)), "NaN"),
        (lambda path: write_map(path, -blob()), "invert the map"),
        (lambda path: write_map(path, np.zeros((20, 20, 20), np.float32)), "invert the map"),
        (lambda path: write_map(path, blob()[0]), "a single volume"),
        (lambda path: path.write_bytes(write_map(path, blob()).read_bytes()[:5000]), "not a whole MRC file"),
        (lambda path: path.write_bytes(b"nothing"), "not a whole MRC file"),
    ],
)
def test_maps_that_cannot_be_used_are_refused_by_name(tmp_path, change, message):
    path = tmp_path / "map.mrc"
    change(path)
    with pytest.raises(DataError, match=message) as caught:
        map_density(path, box=24, voxel_size=6.0, resolution=20.0)
    assert str(caught.value).startswith(str(path))


def test_a_map_larger_than_the_box_names_the_box_it_needs(tmp_path):
    path = write_map(tmp_path / "blob.mrc", blob())
    with pytest.raises(DataError, match="use a box of at least"):
        map_density(path, box=8, voxel_size=5.0, resolution=10.0)
