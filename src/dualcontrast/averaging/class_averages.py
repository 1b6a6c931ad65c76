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

from dualcontrast.averaging.alignment import Alignment, align, align_further
from dualcontrast.averaging.coordinates import conformation_axes
from dualcontrast.averaging.map_sum import MapSum
from dualcontrast.averaging.particles import check_cubes, read_in_parts, read_spectra, waves_for
from dualcontrast.averaging.states import HARDLY_APART
from dualcontrast.class_maps import Maps, check_free
from dualcontrast.clusters import AVERAGES, AVERAGES_RECORD, Clusters, star_name
from dualcontrast.codes import Codes
from dualcontrast.confidence import check_confidence
from dualcontrast.errors import DataError, RunError, SettingError
from dualcontrast.export.chimerax import write_chimerax_script
from dualcontrast.export.series import write_images
from dualcontrast.export.star import StarText, write_star_subset
from dualcontrast.files import write_text
from dualcontrast.recorded_files import delete_recorded
from dualcontrast.run_folder import CLUSTERS, CODES, RunFolder
from dualcontrast.training.progress import stages

POSES = "poses.csv"
HEADER = ("id", "class", "state", "rot_deg", "tilt_deg", "psi_deg", "x", "y", "z")
# Particles that are laid on finished averages at a time.
LAID_AT_ONCE = 2048
logger = logging.getLogger(__name__)


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
    others: bool = True,
    min_confidence: float | None = None,
    output: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> Maps:
    """Align the particles of each class with each other, with no template, and write their average.

    Written are a map of each class (`class-NAME.mrc`), or one of each state in it (`class-NAME_state-K`);
    `poses.csv`; `codes.npz`, in which z says of each particle how it differs from the others of its class
    once they lie alike (see `conformation_axes`), and c is that of the run; and, for particles from a
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
        Particles of each class that averages and states are found from at the most: those nearest the centre
        of the class. The work and the memory that this takes do not grow beyond.
    others : bool
        Lay the other particles of the class on these averages, and add them. Without, they have no pose.
    min_confidence : float, optional
        Leave out particles whose class is less sure (`Confidence.confidence`). Unless given it is that of the
        clustering, so that averages and class STAR files hold the same particles.
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
    check_confidence(min_confidence)
    clusters = Clusters.load(run, classes)
    if min_confidence is None:
        min_confidence = clusters.record["settings"].get("min_confidence")
    elif clusters.confidence is None:
        raise RunError(
            f"{run.path}: the classes '{clusters.name}' are of an earlier version, without confidence; leave "
            "--min-confidence out, or make them again with `cluster --overwrite`"
        )
    folder = run.path / CLUSTERS / clusters.name / AVERAGES if output is None else Path(output)
    ways = ["", *(f"_state-{state}" for state in range(1, states + 1))]
    titles = [f"class-{name}{way}" for name in clusters.class_names for way in ways]
    stems = [] if output is None else [*titles, "averages", "poses", "codes"]
    check_free(folder / AVERAGES_RECORD, overwrite, stems)
    below = "" if min_confidence is None else f"below a confidence of {min_confidence:g}"
    members = {name: clusters.members(name, min_confidence) for name in clusters.class_names}
    # Of all classes before any is aligned, which takes long.
    for name, ids in members.items():
        count = min(len(ids), most)
        if count < 2 * states:
            raise DataError(
                f"{run.path}: {count} particles of class {name} are too few for {states} averages; "
                "ask for fewer states, or cluster into fewer classes"
                + (below and f"; particles {below} do not count")
            )
    preparation = run.preparation
    check_cubes(preparation)
    source = run.open_source()
    # Read before anything is aligned: a STAR file that has changed ends here.
    star = None if source.star_file is None else StarText(source.star_file)
    if star is not None:
        star.subset(clusters.ids.tolist())
    waves = waves_for(preparation.image_shape)
    averages: dict[str, np.ndarray] = {}
    poses: dict[str, Pose] = {}
    coordinates: dict[str, np.ndarray] = {}
    separations: dict[str, float | None] = {}
    for name, sure in members.items():
        ids, further = sure[:most], sure[most:] if others else sure[:0]
        if unsure := len(clusters.members(name)) - len(sure):
            logger.info(f"class {name}: {unsure:,} particles {below} are left out")
        # Volumes are read twice: for their plane waves, and for the map once they are known to lie alike.
        spectra, seen = read_spectra(source, preparation, ids, waves)
        full = preparation.image_shape[-1]
        with stages(f"class {name}", enabled=progress) as report:
            alignment = align(spectra, waves, full, states, seen=seen, seed=seed, report=report)
            lain = _Lain(alignment, states)
            for rows, volumes, wedges in read_in_parts(source, preparation, ids):
                lain.take(ids[rows], volumes, wedges, alignment.part(rows))
            for start in range(0, len(further), LAID_AT_ONCE):
                some = further[start : start + LAID_AT_ONCE]
                spectra, _ = read_spectra(source, preparation, some, waves)
                laid = align_further(spectra, alignment, seed=seed)
                for rows, volumes, wedges in read_in_parts(source, preparation, some):
                    lain.take(some[rows], volumes, wedges, laid.part(rows))
                report("other particles", (start + len(some)) / len(further))
        for state, total in enumerate(lain.sums, start=1):
            title = f"class-{name}" if states == 1 else f"class-{name}_state-{state}"
            averages[title] = total.average().numpy()
        poses[name], coordinates[name] = lain.poses(), np.concatenate(lain.coordinates)
        separations[name] = alignment.separation
        if alignment.separation is not None and alignment.separation < HARDLY_APART:
            logger.warning(
                f"class {name}: two of its {states} states differ hardly more than noise makes them "
                f"({alignment.separation:.1f} times as much); ask for fewer"
            )
    return _write(run, clusters, folder, star, averages, poses, coordinates, separations, states)


class _Lain:
    """What is kept of the particles of one class, which come in parts, as they lie."""

    def __init__(self, first: Alignment, states: int) -> None:
        self.used = np.unique(first.references.numpy())
        self.axes = conformation_axes(first.coefficients, first.references, states)
        self.sums = [MapSum() for _ in self.used]
        self.parts: list[Pose] = []
        self.coordinates: list[np.ndarray] = []

    def take(self, ids: np.ndarray, volumes: Tensor, wedges: Tensor | None, alignment: Alignment) -> None:
        """Add volumes (N, 1, L, L, L) to the maps of their states, and keep their poses."""
        states = np.searchsorted(self.used, alignment.references.numpy())
        for state, total in enumerate(self.sums):
            total.add(volumes, wedges, alignment, torch.from_numpy(np.flatnonzero(states == state)))
        # RELION's angles turn a particle back onto the map, by Rz(rot) Ry(tilt) Rz(psi).
        turns = Rotation.from_matrix(alignment.rotations.double().numpy()).inv()
        origins = -alignment.shifts.double().numpy()
        self.parts.append(Pose(ids, states + 1, turns.as_euler("ZYZ", degrees=True), origins))
        self.coordinates.append(self.axes.coordinates(alignment.coefficients).numpy())

    def poses(self) -> Pose:
        """Return the poses of all."""
        parts = self.parts
        return Pose(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.states for part in parts]),
            np.concatenate([part.angles for part in parts]),
            np.concatenate([part.origins for part in parts]),
        )


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
    delete_recorded(folder / AVERAGES_RECORD)
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
    stars: list[str] = []
    if star is not None:
        finer = preparation.image_shape[-1] / preparation.source_shape[-1]
        for name, pose in poses.items():
            values = _star_values(pose, star, voxel_size, finer, states)
            stars.append(star_name(name))
            write_star_subset(star, pose.ids.tolist(), folder / stars[-1], values)
    record = {
        "classes": clusters.name,
        "voxel_size_angstrom": voxel_size,
        "states": states,
        "separation": separations,
        "maps": files,
        "star_files": stars,
        "particles": {
            name: [int(count) for count in np.bincount(pose.states)[1:]] for name, pose in poses.items()
        },
    }
    # Last, because it says that everything is complete.
    write_text(folder / AVERAGES_RECORD, json.dumps(record, indent=1) + "\n")
    return Maps(folder, files, voxel_size, tuple(scripts))


def _star_values(
    pose: Pose, star: StarText, voxel_size: float | None, finer: float, states: int
) -> dict[str, dict[str, str]]:
    """Columns of poses: origins in Å, or in pixels of the stored box in files of RELION 3.0 and older.

    Priors, where the file has them, are those of another frame than that of the average; they become the
    poses as well.
    """
    in_angstrom = voxel_size is not None and (star.has_optics or "_rlnOriginXAngst" in star.columns)
    origins = pose.origins * (voxel_size or 1.0) if in_angstrom else pose.origins / finer
    ending = "Angst" if in_angstrom else ""
    values: dict[str, np.ndarray] = {}
    for name, column in zip(("Rot", "Tilt", "Psi"), pose.angles.T, strict=True):
        values |= {f"_rlnAngle{name}": column, f"_rlnAngle{name}Prior": column}
    for axis, column in zip("XYZ", origins.T, strict=True):
        values |= {f"_rlnOrigin{axis}{ending}": column, f"_rlnOrigin{axis}Prior{ending}": column}
    values = {name: column for name, column in values.items() if "Prior" not in name or name in star.columns}
    texts = {name: [f"{value:.6f}" for value in column] for name, column in values.items()}
    if states > 1:
        texts["_rlnClassNumber"] = [str(state) for state in pose.states]
    return {name: dict(zip(pose.ids.tolist(), column, strict=True)) for name, column in texts.items()}
