"""The average of each class of a run: its particles laid over each other, and how each of them lies."""

import csv
import io
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast.averaging.alignment import Alignment, align
from dualcontrast.averaging.coordinates import conformation_coordinates
from dualcontrast.averaging.particles import check_cubes, read_particles
from dualcontrast.averaging.states import HARDLY_APART
from dualcontrast.class_maps import Maps, check_free
from dualcontrast.clusters import AVERAGES, Clusters, star_name
from dualcontrast.codes import Codes
from dualcontrast.errors import DataError, SettingError
from dualcontrast.export.chimerax import write_chimerax_script
from dualcontrast.export.series import write_images
from dualcontrast.export.star import StarText, write_star_subset
from dualcontrast.files import write_text
from dualcontrast.run_folder import CLUSTERS, CODES, RunFolder
from dualcontrast.training.progress import stages
from dualcontrast.views import sample
from dualcontrast.wedge import move_wedges

AVERAGES_RECORD, POSES = "averages.json", "poses.csv"
HEADER = ("id", "class", "state", "rot_deg", "tilt_deg", "psi_deg", "x", "y", "z")
logger = logging.getLogger(__name__)
# Components that hardly any particle measured are noise; they are not blown up.
LEAST_COVERAGE = 0.1


@dataclass(frozen=True)
class Pose:
    """How particles of a class lie, as RELION writes it.

    Attributes
    ----------
    ids : numpy.ndarray of str, shape (N,)
        Particle ids.
    states : numpy.ndarray of int, shape (N,)
        Which of the class's averages a particle belongs to, from 1.
    angles : numpy.ndarray, shape (N, 3)
        rot, tilt and psi in degrees: `rlnAngleRot`, `rlnAngleTilt`, `rlnAnglePsi`.
    origins : numpy.ndarray, shape (N, 3)
        (x, y, z) in voxels of the prepared box: the shift that brings the particle to the centre.
    """

    ids: np.ndarray
    states: np.ndarray
    angles: np.ndarray
    origins: np.ndarray


def average_classes(
    run: RunFolder | str | Path,
    classes: str | None = None,
    *,
    states: int = 1,
    most: int = 2000,
    output: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Maps:
    """Align the particles of each class with each other, with no template, and write their average.

    Written are a map of each class (`class-NAME.mrc`), or one of each state in it (`class-NAME_state-K`);
    `poses.csv`; `codes.npz`, in which z says of each particle how it differs from the others of its class
    once they lie alike (see `conformation_coordinates`), and c is that of the run; and, for particles from a
    STAR file, `class-NAME.star` with their orientations and origins.

    Parameters
    ----------
    run : RunFolder, str or Path
        A run with classes.
    classes : str, optional
        Name of the clustering, where the run has several.
    states : int
        Averages of each class; particles are sorted to the one that they resemble most.
    most : int
        Particles of each class that are aligned at the most: those nearest the centre of the class.
    output : str or Path, optional
        Folder to write into; `RUN/clusters/NAME/averages` unless given.
    seed : int
        Of the first orientations.
    overwrite : bool
        Replace averages that are there.
    progress : bool
        Show a progress bar for each class on standard error.

    Raises
    ------
    RunError
        When the run has no such classes, or averages are there and `overwrite` is not set.
    DataError
        When the particles are no longer where they were, or a class has too few.
    SettingError
        For images that are no cubes, or numbers that cannot be used.
    """
    if states < 1 or most < 2:
        raise SettingError(f"--states {states}, --most {most}: give at least 1 state and 2 particles")
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    clusters = Clusters.load(run, classes)
    folder = run.path / CLUSTERS / clusters.name / AVERAGES if output is None else Path(output)
    check_free(folder / AVERAGES_RECORD, overwrite)
    preparation = run.preparation
    check_cubes(preparation)
    source = run.open_source()
    # Read before anything is aligned: a STAR file that has changed ends here.
    star = None if source.star_file is None else StarText(source.star_file)
    if star is not None:
        star.subset(clusters.ids.tolist())
    averages: dict[str, np.ndarray] = {}
    poses: dict[str, Pose] = {}
    coordinates: dict[str, np.ndarray] = {}
    separations: dict[str, float | None] = {}
    for name in clusters.class_names:
        ids = clusters.members(name)[:most]
        if len(ids) < 2 * states:
            raise DataError(
                f"{run.path}: {len(ids)} particles of class {name} are too few for {states} averages; "
                "ask for fewer states, or cluster into fewer classes"
            )
        volumes, wedges = read_particles(source, preparation, ids)
        with stages(f"class {name}", enabled=progress) as report:
            alignment = align(volumes, states, wedges=wedges, seed=seed, report=report)
        used = np.unique(alignment.references.numpy())
        for state, reference in enumerate(used, start=1):
            rows = torch.from_numpy(np.flatnonzero(alignment.references.numpy() == reference))
            title = f"class-{name}" if states == 1 else f"class-{name}_state-{state}"
            averages[title] = _average(volumes, wedges, alignment, rows).numpy()
        poses[name] = _pose(ids, np.searchsorted(used, alignment.references.numpy()) + 1, alignment)
        found = conformation_coordinates(alignment.coefficients, alignment.references, states)
        coordinates[name] = found.numpy()
        separations[name] = alignment.separation
        if alignment.separation is not None and alignment.separation < HARDLY_APART:
            logger.warning(
                f"class {name}: two of its {states} states differ hardly more than noise makes them "
                f"({alignment.separation:.1f} times as much); ask for fewer"
            )
    return _write(run, clusters, folder, star, averages, poses, coordinates, separations, states)


def _average(volumes: Tensor, wedges: Tensor | None, alignment: Alignment, rows: Tensor) -> Tensor:
    """Average volumes laid alike, each Fourier component over those that measured it; (1, D, H, W)."""
    width = volumes.shape[-1]
    total = torch.zeros(volumes.shape[1:], dtype=torch.float64)
    coverage = None if wedges is None else torch.zeros(wedges.shape[1:], dtype=torch.float64)
    # `sample` turns about the middle of the box, alignments about voxel n // 2.
    middle = torch.full((3, 1), width // 2 - (width - 1) / 2)
    for part in rows.split(128):
        back = alignment.rotations[part].mT
        # p in the volume comes from Aᵀ (p - t).
        shift = middle - back @ (middle + alignment.shifts[part, :, None])
        total += sample(volumes[part], torch.cat((back, shift / width), dim=2)).sum(dim=0)
        if wedges is not None and coverage is not None:
            own = wedges.expand(len(volumes), *wedges.shape[1:])[part]
            coverage += move_wedges(own, back, width).sum(dim=0)
    if coverage is None:
        return (total / len(rows)).float()
    axes = (-3, -2, -1)
    share = (coverage / len(rows)).clamp(min=LEAST_COVERAGE)
    return torch.fft.irfftn(torch.fft.rfftn(total / len(rows), dim=axes) / share, s=total.shape[1:]).float()


def _pose(ids: np.ndarray, states: np.ndarray, alignment: Alignment) -> Pose:
    # RELION's angles turn a particle back onto the map, by Rz(rot) Ry(tilt) Rz(psi).
    turns = Rotation.from_matrix(alignment.rotations.double().numpy()).inv()
    return Pose(ids, states, turns.as_euler("ZYZ", degrees=True), -alignment.shifts.double().numpy())


def _write(
    run: RunFolder,
    clusters: Clusters,
    folder: Path,
    star: StarText | None,
    averages: dict[str, np.ndarray],
    poses: dict[str, Pose],
    coordinates: dict[str, np.ndarray],
    separations: dict[str, float | None],
    states: int,
) -> Maps:
    _delete(folder)
    preparation = run.preparation
    voxel_size = preparation.voxel_size
    files = write_images(folder, averages, voxel_size, AVERAGES)
    scripts = ["averages.cxc"]
    write_chimerax_script(folder / scripts[0], list(files.values()), "tile")
    scale = voxel_size or 1.0
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    unit = "angstrom" if voxel_size else "voxels"
    writer.writerow([*HEADER[:6], *(f"origin_{axis}_{unit}" for axis in HEADER[6:])])
    for name, pose in poses.items():
        for row, particle in enumerate(pose.ids.tolist()):
            numbers = [f"{value:.6f}" for value in (*pose.angles[row], *(pose.origins[row] * scale))]
            writer.writerow([particle, name, pose.states[row], *numbers])
    write_text(folder / POSES, out.getvalue())
    of_run = run.codes.select(np.concatenate([pose.ids for pose in poses.values()]))
    Codes(of_run.ids, of_run.content, np.concatenate(list(coordinates.values()))).save(folder / CODES)
    if star is not None:
        finer = preparation.image_shape[-1] / preparation.source_shape[-1]
        for name, pose in poses.items():
            values = _star_values(pose, star.has_optics and voxel_size is not None, scale, finer, states)
            write_star_subset(star, pose.ids.tolist(), folder / star_name(name), values)
    record = {
        "classes": clusters.name,
        "voxel_size_angstrom": voxel_size,
        "states": states,
        "separation": separations,
        "maps": files,
        "particles": {
            name: [int(count) for count in np.bincount(pose.states)[1:]] for name, pose in poses.items()
        },
    }
    # Last, because it says that everything is complete.
    write_text(folder / AVERAGES_RECORD, json.dumps(record, indent=1) + "\n")
    return Maps(folder, files, voxel_size, tuple(scripts))


def _delete(folder: Path) -> None:
    """Delete the maps of former averages, of which there may have been more, and no other file."""
    record = folder / AVERAGES_RECORD
    if not record.exists():
        return
    try:
        files = list(json.loads(record.read_text(encoding="utf-8"))["maps"].values())
    except (ValueError, LookupError, TypeError, AttributeError):
        # A record that was damaged names none.
        files = []
    record.unlink()
    for file in map(str, files):
        # Only names: a record that was changed must not reach beyond its folder.
        (folder / Path(file).name).unlink(missing_ok=True)


def _star_values(
    pose: Pose, in_angstrom: bool, voxel_size: float, finer: float, states: int
) -> dict[str, dict[str, str]]:
    """Columns of poses: origins in Å, or in pixels of the stored box for files without optics groups."""
    origins = pose.origins * voxel_size if in_angstrom else pose.origins / finer
    ending = "Angst" if in_angstrom else ""
    columns = dict(zip(("Rot", "Tilt", "Psi"), pose.angles.T, strict=True))
    values = {f"_rlnAngle{name}": column for name, column in columns.items()}
    values |= {f"_rlnOrigin{axis}{ending}": origins[:, i] for i, axis in enumerate("XYZ")}
    texts = {name: [f"{value:.6f}" for value in column] for name, column in values.items()}
    if states > 1:
        texts["_rlnClassNumber"] = [str(state) for state in pose.states]
    return {name: dict(zip(pose.ids.tolist(), column, strict=True)) for name, column in texts.items()}
