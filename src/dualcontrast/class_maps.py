"""The mean volume (or image) of each class of a run, drawn by its decoder."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dualcontrast.clusters import MAPS, MAPS_RECORD, Clusters
from dualcontrast.errors import RunError, SettingError
from dualcontrast.evaluation.inference import decode_codes
from dualcontrast.export.chimerax import write_chimerax_script
from dualcontrast.export.series import write_images
from dualcontrast.files import write_text
from dualcontrast.methods.base import Method
from dualcontrast.recorded_files import delete_recorded
from dualcontrast.run_folder import CLUSTERS, CONFIG, RunFolder


@dataclass(frozen=True)
class Maps:
    """Files of decoded images.

    Attributes
    ----------
    folder : Path
        Where they are.
    files : dict of str to str
        File of each class or step.
    voxel_size : float or None
        Å; None for images without a known voxel size.
    scripts : tuple of str
        ChimeraX scripts beside them; none for 2-D images.
    """

    folder: Path
    files: dict[str, str]
    voxel_size: float | None
    scripts: tuple[str, ...]


def decode_classes(
    run: RunFolder | str | Path,
    classes: str | None = None,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Maps:
    """Decode each class of a run, and write maps of the box and voxel size that the run was prepared to.

    Two maps are written of each class and conformation: `class-NAME`, decoded from the mean of the members'
    content codes and the mean of their transformation codes, and `class-NAME_member`, decoded from the codes
    of the member nearest the centre. The mean is the better summary where the codes of a class lie close
    together. Where they lie on a ring, as poses do, the mean is in the empty middle, and the member is safer.

    Parameters
    ----------
    run : RunFolder, str or Path
        A run with classes.
    classes : str, optional
        Name of the clustering, where the run has several.
    output : str or Path, optional
        Folder to write into; `RUN/clusters/NAME/maps` unless given.
    overwrite : bool
        Replace maps that are there.
    device : str
        Where the method runs.

    Raises
    ------
    RunError
        When the run has no such classes, or maps are there and `overwrite` is not set.
    SettingError
        When the method has no decoder.
    """
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    clusters = Clusters.load(run, classes)
    folder = run.path / CLUSTERS / clusters.name / MAPS if output is None else Path(output)
    names = clusters.class_names + clusters.conformation_names
    titles = [f"class-{name}" for name in names] + [f"class-{name}_member" for name in names]
    check_free(folder / MAPS_RECORD, overwrite, [] if output is None else [*titles, "maps", "classes"])
    method = decoder_of(run, device)
    centres = decode_centres(run, clusters, method, names)
    decoded = np.concatenate((centres.means, centres.members))
    delete_recorded(folder / MAPS_RECORD)
    voxel_size = run.preparation.voxel_size
    files = write_images(folder, dict(zip(titles, decoded, strict=True)), voxel_size, "maps")
    scripts = _write_scripts(folder, clusters, files) if decoded.ndim == 5 else ()
    record = {
        "classes": clusters.name,
        "voxel_size_angstrom": voxel_size,
        "scripts": list(scripts),
        "maps": {
            name: {
                "mean": files[f"class-{name}"],
                "member": files[f"class-{name}_member"],
                "member_id": str(member),
                "particles": len(clusters.members(name)),
            }
            for name, member in zip(names, centres.member_ids, strict=True)
        },
    }
    # Last, because it says that the maps are complete.
    write_text(folder / MAPS_RECORD, json.dumps(record, indent=1) + "\n")
    return Maps(folder, files, voxel_size, scripts)


@dataclass(frozen=True)
class Centres:
    """What the decoder draws of the middle of each class.

    Attributes
    ----------
    means : numpy.ndarray, shape (K, C, *spatial)
        Decoded from the mean codes of the members.
    members : numpy.ndarray, shape (K, C, *spatial)
        Decoded from the codes of the member nearest the centre.
    member_ids : numpy.ndarray of str, shape (K,)
        Those members.
    """

    means: np.ndarray
    members: np.ndarray
    member_ids: np.ndarray


def decode_centres(run: RunFolder, clusters: Clusters, method: Method, names: Sequence[str]) -> Centres:
    """Decode the mean and the member nearest the centre of classes or conformations.

    Parameters
    ----------
    run : RunFolder
        Supplies the codes.
    clusters : Clusters
        The classes.
    method : Method
        A generative method.
    names : sequence of str, length K
        Which of them.

    Raises
    ------
    RunError
        When there is no such class.
    """
    middle = [mean_codes(run, clusters.members(name)) for name in names]
    nearest = run.codes.select(np.array([clusters.members(name)[0] for name in names], dtype=str))
    content = np.concatenate([np.stack([c for c, _ in middle]), nearest.content])
    transformation = np.concatenate([np.stack([z for _, z in middle]), nearest.transformation])
    decoded = decode_codes(method, torch.from_numpy(content), torch.from_numpy(transformation)).numpy()
    return Centres(decoded[: len(names)], decoded[len(names) :], nearest.ids)


def mean_codes(run: RunFolder, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean content and the mean transformation code of some particles, float32."""
    codes = run.codes.select(ids)
    return tuple(  # pyright: ignore[reportReturnType]
        code.mean(axis=0, dtype=np.float64).astype(np.float32)
        for code in (codes.content, codes.transformation)
    )


def decoder_of(run: RunFolder, device: str = "auto") -> Method:
    """Load the method of a run.

    Raises
    ------
    SettingError
        When it has no decoder.
    """
    method = run.load_method(device)
    if not method.generative:
        raise SettingError(f"the method {method.name} has no decoder, so it draws no maps; use another run")
    return method


def check_free(record: Path, overwrite: bool, stems: Iterable[str]) -> None:
    """Raise `RunError` when what is to be written is there already.

    Parameters
    ----------
    record : Path
        The file that says that the results are complete.
    overwrite : bool
        Whether they may be replaced; the files of a run may not.
    stems : iterable of str
        Names, without suffix, of the files that are to be written beside it, where the folder is not the
        command's own: another command, or a person, may have written some of these.
    """
    folder, wanted = record.parent, set(stems)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; choose another --output")
    if (folder / CONFIG).exists():
        raise RunError(f"{folder}: is a run, whose codes would be replaced; choose another --output")
    if overwrite:
        return
    if record.exists():
        raise RunError(f"{folder}: holds maps already; add --overwrite or choose another --output")
    others = sorted(file.name for file in folder.glob("*") if file.stem in wanted)
    if others:
        raise RunError(
            f"{folder}: holds '{others[0]}' already, of another command or an interrupted one; choose "
            "another --output, or add --overwrite"
        )


def _write_scripts(folder: Path, clusters: Clusters, files: dict[str, str]) -> tuple[str, ...]:
    """Write a script that shows the classes side by side, and one for each class that has conformations."""
    written = ["classes.cxc"]
    shown = [files[f"class-{name}"] for name in clusters.class_names]
    write_chimerax_script(folder / written[0], shown, "tile")
    for name in clusters.class_names:
        within = [c for c in clusters.conformation_names if c.startswith(f"{name}.")]
        if len(within) > 1:
            written.append(f"class-{name}_morph.cxc")
            write_chimerax_script(folder / written[-1], [files[f"class-{c}"] for c in within])
    return tuple(written)
