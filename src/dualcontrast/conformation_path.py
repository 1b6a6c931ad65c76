"""A path through one code of a run while the other stays, decoded into a series of maps or images."""

import json
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from dualcontrast.class_maps import Maps, check_free, decoder_of, mean_codes
from dualcontrast.clusters import Clusters
from dualcontrast.codes import BOTH_CODES, Codes
from dualcontrast.errors import RunError, SettingError
from dualcontrast.evaluation.inference import decode_codes
from dualcontrast.evaluation.regression import standardise
from dualcontrast.export.chimerax import write_chimerax_script
from dualcontrast.export.series import write_animation, write_images
from dualcontrast.figures.traversals import principal_axes, traverse
from dualcontrast.files import write_text
from dualcontrast.recorded_files import delete_recorded
from dualcontrast.run_folder import CODES, TRAVERSALS, RunFolder

PATH_RECORD = "path.json"
DEFAULT_STEPS, MOST_STEPS = 9, 200

Code = Literal["content", "transformation"]


def traverse_run(
    run: RunFolder | str | Path,
    *,
    code: Code = "transformation",
    axis: int | None = None,
    from_class: str | None = None,
    to_class: str | None = None,
    classes: str | None = None,
    at: str | None = None,
    at_class: str | None = None,
    steps: int = DEFAULT_STEPS,
    spread: float = 2.0,
    output: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> Maps:
    """Decode a path of one code at a fixed value of the other, and write it as a series.

    Along a principal axis, the code goes from `-spread` to `+spread` standard deviations about the mean, and
    keeps its other coordinates. Between two classes it goes in a straight line from the mean code of one to
    that of the other.

    What stays, and what is moved from, is by default: along an axis, the particle whose codes are nearest the
    mean; between classes, the mean of the other code over the members of both. A particle (`at`) or the mean
    of a class (`at_class`) may be given instead. With `at_class` and an axis, the axes are those of the
    members of that class: the conformations of one identity.

    Volumes are written as `step-01.mrc`, ... with `morph.cxc` for ChimeraX; images as PNG with the array
    `path.npy` and the animation `path.gif`. The sheet `path.png` shows all steps, and `path.json` holds the
    codes.

    Parameters
    ----------
    run : RunFolder, str or Path
        A trained run; it is encoded first where that is not done.
    code : {'transformation', 'content'}
        The code that moves.
    axis : int, optional
        Which principal axis, from 1; 1 unless classes are given.
    from_class, to_class : str, optional
        Classes or conformations of a clustering, for example `1.1` and `1.2`.
    classes : str, optional
        Name of the clustering, where the run has several.
    at, at_class : str, optional
        Particle or class that gives the fixed code.
    steps : int
        How many maps, from 2 to 200.
    spread : float
        Standard deviations to either side of the mean.
    output : str or Path, optional
        Folder to write into; one named after the path in `RUN/traversals` unless given.
    overwrite : bool
        Replace a path that is there.
    device : str
        Where the method runs.
    progress : bool
        Show a progress bar while images are encoded.

    Raises
    ------
    SettingError
        For options that exclude each other or are out of range, or a method without a decoder.
    RunError
        When a class is not known, or a path is there and `overwrite` is not set.
    DataError
        When a particle is not known.
    """
    from dualcontrast.pipeline import encode_run

    _check_options(code, axis, from_class, to_class, at, at_class, steps, spread)
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    clusters = None
    if classes is not None or from_class is not None or at_class is not None:
        clusters = Clusters.load(run, classes)
    axis = 1 if axis is None and from_class is None else axis
    folder = (
        Path(output)
        if output is not None
        else run.path / TRAVERSALS / _folder_name(code, axis, from_class, to_class, at, at_class, clusters)
    )
    width = max(2, len(str(steps)))
    names = [f"step-{number:0{width}d}" for number in range(1, steps + 1)]
    check_free(folder / PATH_RECORD, overwrite, [] if output is None else [*names, "path", "morph"])
    encode_run(run, device=device, progress=progress)
    fixed = _fixed_codes(run, clusters, from_class, to_class, at, at_class)
    record: dict[str, Any] = {"code": code, "at": at, "at_class": at_class, "steps": steps}
    if axis is not None:
        members = None if clusters is None or at_class is None else clusters.members(at_class)
        moved, about = _along_axis(run, code, axis, fixed[code], members, steps, spread)
    else:
        assert clusters is not None and from_class is not None and to_class is not None
        moved, about = _between(run, code, clusters, from_class, to_class, steps)
    other = "content" if code == "transformation" else "transformation"
    still = np.repeat(fixed[other][None], steps, axis=0)
    pair = {code: torch.from_numpy(moved), other: torch.from_numpy(still)}
    decoded = decode_codes(decoder_of(run, device), pair["content"], pair["transformation"]).numpy()
    # A former path may have had more steps.
    delete_recorded(folder / PATH_RECORD, "path.npy", "path.png", "path.gif", "morph.cxc")
    voxel_size = run.preparation.voxel_size
    files = write_images(folder, dict(zip(names, decoded, strict=True)), voxel_size, "path")
    scripts: tuple[str, ...] = ()
    if decoded.ndim == 5:
        scripts = ("morph.cxc",)
        write_chimerax_script(folder / scripts[0], list(files.values()), "morph")
    else:
        write_animation(folder / "path.gif", decoded)
    record |= about | {
        "voxel_size_angstrom": voxel_size,
        "files": list(files.values()),
        f"{code}_codes": np.round(moved.astype(np.float64), 6).tolist(),
        f"{other}_code": np.round(fixed[other].astype(np.float64), 6).tolist(),
    }
    # Last, because it says that the series is complete.
    write_text(folder / PATH_RECORD, json.dumps(record, indent=1) + "\n")
    return Maps(folder, files, voxel_size, scripts)


def typical_particle(codes: Codes) -> str:
    """Return the id of the particle whose codes, standardised and side by side, are nearest their mean."""
    order = codes.select(np.sort(codes.ids))
    (both,) = standardise(np.concatenate((order.content, order.transformation), axis=1))
    return str(order.ids[np.square(both).sum(axis=1).argmin()])


def _check_options(
    code: str,
    axis: int | None,
    from_class: str | None,
    to_class: str | None,
    at: str | None,
    at_class: str | None,
    steps: int,
    spread: float,
) -> None:
    if code not in BOTH_CODES:
        raise SettingError(f"--code {code}: choose content or transformation")
    if (from_class is None) != (to_class is None):
        raise SettingError("--from-class and --to-class belong together; give both or an --axis")
    if axis is not None and from_class is not None:
        raise SettingError("--axis and --from-class exclude each other; choose one path")
    if from_class is not None and from_class == to_class:
        raise SettingError(f"--from-class and --to-class are both {from_class}; give two classes")
    if at is not None and at_class is not None:
        raise SettingError("--at and --at-class exclude each other; choose one")
    if not 2 <= steps <= MOST_STEPS:
        raise SettingError(f"--steps {steps}: choose from 2 to {MOST_STEPS}")
    if not (np.isfinite(spread) and spread > 0):
        raise SettingError(f"--spread {spread:g}: give a positive number of standard deviations")


def _folder_name(
    code: str,
    axis: int | None,
    from_class: str | None,
    to_class: str | None,
    at: str | None,
    at_class: str | None,
    clusters: Clusters | None,
) -> str:
    parts = [code, f"axis-{axis}" if axis is not None else f"from-{from_class}-to-{to_class}"]
    if clusters is not None and from_class is not None:
        parts.append(clusters.name)
    if at_class is not None and clusters is not None:
        parts.append(
            f"at-class-{at_class}" if from_class is not None else f"at-class-{at_class}_{clusters.name}"
        )
    if at is not None:
        parts.append("at-" + re.sub(r"[^A-Za-z0-9._-]+", "-", at).strip("-"))
    return "_".join(parts)


def _fixed_codes(
    run: RunFolder,
    clusters: Clusters | None,
    from_class: str | None,
    to_class: str | None,
    at: str | None,
    at_class: str | None,
) -> dict[str, np.ndarray]:
    if at is not None:
        if at not in run.codes.ids:
            raise RunError(
                f"{run.path / CODES}: holds no particle '{at}' (--at); ids look like '{run.codes.ids[0]}'"
            )
        codes = run.codes.select(np.array([at]))
        return {"content": codes.content[0], "transformation": codes.transformation[0]}
    if at_class is not None:
        assert clusters is not None
        content, transformation = mean_codes(run, clusters.members(at_class))
    elif from_class is not None and to_class is not None:
        assert clusters is not None
        # A conformation is part of its class, so members could come twice.
        both = np.union1d(clusters.members(from_class), clusters.members(to_class))
        content, transformation = mean_codes(run, both)
    else:
        codes = run.codes
        chosen = codes.select(np.array([typical_particle(codes)]))
        content, transformation = chosen.content[0], chosen.transformation[0]
    return {"content": content, "transformation": transformation}


def _along_axis(
    run: RunFolder,
    code: str,
    axis: int,
    start: np.ndarray,
    members: np.ndarray | None,
    steps: int,
    spread: float,
) -> tuple[np.ndarray, dict[str, Any]]:
    population = getattr(run.codes if members is None else run.codes.select(members), code)
    dimensions = population.shape[1]
    if not 1 <= axis <= dimensions:
        raise SettingError(f"--axis {axis}: the {code} code has axes 1 to {dimensions}")
    if len(population) < 2:
        raise RunError("a class of one particle has no principal axes; give --from-class and --to-class")
    centre, axes, spreads = principal_axes(population, axis)
    places = np.linspace(-spread, spread, steps)
    total = population.astype(np.float64).var(axis=0).sum()
    moved = traverse(start.astype(np.float64), centre, axes[-1], float(spreads[-1]), places)
    return moved, {
        "axis": axis,
        "share_of_variance": float(spreads[-1] ** 2 / total) if total > 0 else 0.0,
        "standard_deviations": np.round(places, 6).tolist(),
    }


def _between(
    run: RunFolder, code: str, clusters: Clusters, from_class: str, to_class: str, steps: int
) -> tuple[np.ndarray, dict[str, Any]]:
    place = 0 if code == "content" else 1
    first, last = (mean_codes(run, clusters.members(name))[place] for name in (from_class, to_class))
    share = np.linspace(0.0, 1.0, steps, dtype=np.float32)[:, None]
    moved = (1 - share) * first + share * last
    return moved, {"classes": clusters.name, "from_class": from_class, "to_class": to_class}
