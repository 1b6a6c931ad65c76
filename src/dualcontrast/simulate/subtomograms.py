"""Simulated subtomograms of known identity and conformation, written as RELION writes extracted ones."""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import starfile
import torch

from dualcontrast.errors import DataError, SettingError, UserError
from dualcontrast.export.mrc import write_mrc
from dualcontrast.files import recover_folder, replaced_folder
from dualcontrast.random_streams import numpy_stream
from dualcontrast.simulate.conformation import Conformation
from dualcontrast.simulate.conformations import load_conformations
from dualcontrast.simulate.ctf import ANGSTROM_PER_MICROMETRE
from dualcontrast.simulate.imaging import Microscope, make_microscope, photograph
from dualcontrast.simulate.poses import Poses, draw_poses, oversample, pose_density
from dualcontrast.simulate.subtomogram_spec import SubtomogramSpec, write_spec

PARTICLES, LABELS, SPEC = "particles.star", "particles.csv", "simulation.yaml"
SUBTOMOGRAMS, REFERENCES = "Subtomograms", "references"

# Particles imaged at once: a few tens of MB in the mode `tilt_series`.
_BATCH = 32
# Extent of a tomogram in Å, from which coordinates are drawn.
_TOMOGRAM_SIZE = np.array([8000.0, 8000.0, 2000.0])


def simulate(
    spec: SubtomogramSpec,
    output: str | Path,
    *,
    conformations: Sequence[Conformation] | None = None,
    folder: str | Path = ".",
    seed: int = 0,
    overwrite: bool = False,
    on_conformation: Callable[[int], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Simulate subtomograms and write them with a STAR file and their ground truth.

    Particle n depends on `seed`, the settings and n alone, and every copy of all conformations is numbered
    before the next one begins: more copies only add particles. Volumes are made and written in batches, so
    memory does not grow with their number. The folder appears when it is complete.

    Parameters
    ----------
    spec : SubtomogramSpec
        What to simulate.
    output : str or Path
        Folder to make. It gets `particles.star` (RELION 5), `particles.csv` (identity and conformation by
        image name), `Subtomograms/TOMOGRAM/NUMBER.mrc`, `references/IDENTITY/CONFORMATION.mrc` (noise-free
        densities before the CTF) and `simulation.yaml` (all settings).
    conformations : sequence of Conformation, optional
        Densities to use instead of loading those that `spec.identities` names.
    folder : str or Path
        Where relative paths in `spec.identities` start.
    seed : int
        Seed of everything random, at least 0.
    overwrite : bool
        Whether an older simulation in `output` may be replaced.
    on_conformation : callable, optional
        Called with the number of conformations loaded since the last call.
    on_progress : callable, optional
        Called with the numbers of subtomograms written so far and in all.

    Returns
    -------
    Path
        The STAR file.

    Raises
    ------
    DataError
        When `output` exists, or a structure cannot be used.
    SettingError
        When a setting is out of its range, or no identity is given.
    UserError
        When the folder cannot be written.
    """
    if seed < 0:
        raise SettingError(f"seed: {seed} is not allowed; give a whole number of at least 0")
    output = Path(output)
    recover_folder(output.absolute())
    _check_output(output, overwrite)
    if conformations is None:
        spec = replace(spec, identities=_absolute(spec.identities, Path(folder)))
        conformations = load_conformations(
            spec.identities,
            count=spec.conformations_per_identity,
            box=spec.box,
            voxel_size=spec.voxel_size,
            resolution=spec.resolution,
            folder=Path(folder),
            rmsd=spec.rmsd,
            seed=seed,
            on_progress=on_conformation,
        )
    _check_conformations(conformations, spec)
    _check_space(output, spec, len(conformations))
    defoci = _defoci(spec, seed)
    microscope = make_microscope(spec, defoci)
    with replaced_folder(output.absolute()) as new:
        write_spec(spec, new / SPEC, f"dualcontrast {version('dualcontrast')}, simulated with --seed {seed}")
        _write_references(conformations, new / REFERENCES)
        weights = _write_weights(microscope, spec, new)
        tables, done = [], 0
        for which, conformation in enumerate(conformations):
            numbers = np.arange(spec.copies) * len(conformations) + which
            for volumes, table in _particles(conformation, numbers, microscope, spec, seed):
                for volume, name in zip(volumes, table["rlnImageName"], strict=True):
                    write_mrc(new / name, volume, spec.voxel_size)
                tables.append(table)
                done += len(table)
                if on_progress is not None:
                    on_progress(done, spec.copies * len(conformations))
        particles = pd.concat(tables).sort_values("number", ignore_index=True)
        _write_star(particles, defoci, weights, spec, new / PARTICLES)
        _write_labels(particles, new / LABELS)
    return output / PARTICLES


def tomogram_name(tomogram: int) -> str:
    """Name of a tomogram, numbered from 0."""
    return f"TS_{tomogram + 1:02d}"


def _particles(
    conformation: Conformation,
    numbers: np.ndarray,
    microscope: Microscope,
    spec: SubtomogramSpec,
    seed: int,
) -> Iterator[tuple[np.ndarray, pd.DataFrame]]:
    """Make the particles of one conformation, some at a time: volumes and rows of their table."""
    fine = oversample(torch.from_numpy(conformation.density))
    for start in range(0, len(numbers), _BATCH):
        batch = numbers[start : start + _BATCH]
        poses = draw_poses(batch, spec.max_shift, seed)
        places = [_place(spec, seed, int(number)) for number in batch]
        tomograms = np.array([tomogram for tomogram, _, _ in places])
        densities = pose_density(fine, poses, spec.voxel_size)
        volumes = photograph(microscope, densities, tomograms, batch, spec.snr, seed)
        table = _rows(conformation, batch, poses, tomograms)
        table[[f"rlnCoordinate{axis}" for axis in "XYZ"]] = np.stack([place for _, place, _ in places])
        table["rlnRandomSubset"] = [half for _, _, half in places]
        yield volumes.numpy(), table


def _place(spec: SubtomogramSpec, seed: int, number: int) -> tuple[int, np.ndarray, int]:
    """Draw a particle's tomogram, its coordinates in voxels, and its half set (1 or 2)."""
    generator = numpy_stream(seed, "place", number)
    tomogram = int(generator.integers(spec.tomograms))
    return (
        tomogram,
        generator.uniform(size=3) * _TOMOGRAM_SIZE / spec.voxel_size,
        int(generator.integers(1, 3)),
    )


def _rows(
    conformation: Conformation, numbers: np.ndarray, poses: Poses, tomograms: np.ndarray
) -> pd.DataFrame:
    """Make the rows of some particles, by RELION's column names and three of our own."""
    names = [tomogram_name(tomogram) for tomogram in tomograms]
    labelled = list(zip(names, numbers + 1, strict=True))
    columns: dict[str, object] = {
        "number": numbers,
        "identity": conformation.identity,
        "conformation": conformation.name,
        "tomogram": tomograms,
        "rlnTomoName": names,
        "rlnTomoParticleName": [f"{name}/{number}" for name, number in labelled],
        "rlnImageName": [f"{SUBTOMOGRAMS}/{name}/{number:06d}.mrc" for name, number in labelled],
    }
    columns |= {f"rlnAngle{angle}": poses.angles[:, i] for i, angle in enumerate(("Rot", "Tilt", "Psi"))}
    columns |= {f"rlnOrigin{axis}Angst": poses.origins[:, i] for i, axis in enumerate("XYZ")}
    return pd.DataFrame(columns)


def _write_star(
    particles: pd.DataFrame,
    defoci: np.ndarray,
    weights: dict[int, str],
    spec: SubtomogramSpec,
    path: Path,
) -> None:
    """Write the STAR file of RELION 5."""
    tomograms = particles["tomogram"].to_numpy()
    order = [
        "rlnTomoName",
        "rlnTomoParticleName",
        *(f"rlnCoordinate{axis}" for axis in "XYZ"),
        "rlnImageName",
    ]
    order += [f"rlnAngle{angle}" for angle in ("Rot", "Tilt", "Psi")]
    order += [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
    table = pd.DataFrame({name: particles[name] for name in order})
    if weights:
        table.insert(6, "rlnCtfImage", [weights[tomogram] for tomogram in tomograms])
    optics: dict[str, object] = {"rlnOpticsGroup": 1, "rlnOpticsGroupName": "opticsGroup1"}
    if spec.ctf is not None:
        table["rlnDefocusU"] = table["rlnDefocusV"] = defoci[tomograms] * ANGSTROM_PER_MICROMETRE
        table["rlnDefocusAngle"] = 0.0
        optics["rlnSphericalAberration"] = spec.ctf.cs
        optics["rlnVoltage"] = spec.ctf.voltage
        optics["rlnAmplitudeContrast"] = spec.ctf.amplitude_contrast
    table["rlnOpticsGroup"] = 1
    table["rlnRandomSubset"] = particles["rlnRandomSubset"]
    optics |= {
        "rlnTomoTiltSeriesPixelSize": spec.voxel_size,
        "rlnTomoSubtomogramBinning": 1.0,
        "rlnCtfDataAreCtfPremultiplied": 0,
        "rlnImageDimensionality": 3,
        "rlnImagePixelSize": spec.voxel_size,
        "rlnImageSize": spec.box,
    }
    blocks: dict[str, dict[str, str | int | float] | pd.DataFrame] = {
        "general": {"rlnTomoSubTomosAre2DStacks": 0},
        "optics": pd.DataFrame([optics]),
        "particles": table,
    }
    starfile.write(blocks, path)


def _write_labels(particles: pd.DataFrame, path: Path) -> None:
    """Write the ground truth that the STAR file has no columns for."""
    table = pd.DataFrame(
        {
            "id": particles["rlnImageName"],
            "content:identity": particles["identity"],
            "transformation:conformation": particles["conformation"],
        }
    )
    table.to_csv(path, index=False)


def _write_references(conformations: Sequence[Conformation], folder: Path) -> None:
    for conformation in conformations:
        path = folder / _file_name(conformation.identity) / f"{_file_name(conformation.name)}.mrc"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mrc(path, conformation.density, conformation.voxel_size)


def _write_weights(microscope: Microscope, spec: SubtomogramSpec, folder: Path) -> dict[int, str]:
    """Make the folders of the tomograms and write the Fourier weights of each; return their names."""
    names = {}
    for tomogram in range(spec.tomograms):
        place = f"{SUBTOMOGRAMS}/{tomogram_name(tomogram)}"
        (folder / place).mkdir(parents=True)
        weights = microscope.weights(tomogram)
        if weights is not None:
            names[tomogram] = f"{place}/ctf.mrc"
            write_mrc(folder / names[tomogram], weights.numpy(), spec.voxel_size)
    return names


def _defoci(spec: SubtomogramSpec, seed: int) -> np.ndarray:
    """Draw the defocus of every tomogram, in µm."""
    if spec.ctf is None:
        return np.zeros(spec.tomograms)
    spread = [numpy_stream(seed, "defocus", tomogram).uniform(-1, 1) for tomogram in range(spec.tomograms)]
    return spec.ctf.defocus + spec.ctf.defocus_spread * np.array(spread)


def _file_name(name: str) -> str:
    # `..` would be the folder above.
    return re.sub(r"^\.|[^\w.+-]", "_", name)


def _absolute(identities: dict[str, list[str]], folder: Path) -> dict[str, list[str]]:
    """Make paths absolute, so that the written settings can be used from any folder."""
    return {
        identity: [
            str((folder / source).resolve()) if (folder / source).is_file() else source for source in sources
        ]
        for identity, sources in identities.items()
    }


def _check_conformations(conformations: Sequence[Conformation], spec: SubtomogramSpec) -> None:
    if not conformations:
        raise SettingError("no conformation to simulate; name at least one identity")
    files = set()
    for conformation in conformations:
        name = f"{conformation.identity}, {conformation.name}"
        if conformation.density.shape != (spec.box,) * 3 or conformation.voxel_size != spec.voxel_size:
            raise DataError(
                f"{name}: a density of {'×'.join(map(str, conformation.density.shape))} voxels of "
                f"{conformation.voxel_size:g} Å; the settings ask for a box of {spec.box} voxels of "
                f"{spec.voxel_size:g} Å"
            )
        file = (_file_name(conformation.identity), _file_name(conformation.name))
        if file in files:
            raise DataError(f"{name}: there are two conformations of that name; rename one")
        files.add(file)


def _check_output(output: Path, overwrite: bool) -> None:
    if not output.exists():
        return
    if not overwrite:
        raise DataError(
            f"{output}: exists already; choose another folder or allow overwriting with --overwrite"
        )
    if not (output / SPEC).is_file() or not (output / PARTICLES).is_file():
        raise DataError(f"{output}: is not a simulation, so it is not overwritten; choose another folder")


def _check_space(output: Path, spec: SubtomogramSpec, conformations: int) -> None:
    """Refuse what does not fit on the disk before hours are spent on it."""
    needed = spec.copies * conformations * (4 * spec.box**3 + 1024)
    place = next(parent for parent in output.absolute().parents if parent.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"{output}: needs {needed / 1e9:.3g} GB and {free / 1e9:.3g} GB are free; "
            "ask for fewer copies, or choose another disk"
        )
