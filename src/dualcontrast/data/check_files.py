"""Looking at data before a job is submitted: all headers, and if asked for all values."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast.contrast import measure_contrast
from dualcontrast.data.folder import FolderSource, image_files_of, look_at_headers
from dualcontrast.data.locate import parts_of, split_name
from dualcontrast.data.mrc import MrcHeader
from dualcontrast.data.open import holds_image_files, open_source
from dualcontrast.data.particle_table import CTF_IMAGE, ParticleTable, read_particle_table
from dualcontrast.data.published import PUBLISHED
from dualcontrast.data.skipped import find_bad, without
from dualcontrast.data.source import ImageSource
from dualcontrast.data.star import StarSource, SubtomogramFiles, Survey
from dualcontrast.errors import DataError
from dualcontrast.networks import check_image_shape

NAMED = 3
# Files that are looked at in search of one that is missing; beyond that, the search takes too long.
SEARCHED = 200_000
_SAME_SIZE = 0.01

Progress = Callable[[str, int, int], None]


@dataclass
class CheckReport:
    """What a look at some data found.

    Attributes
    ----------
    location : str
        What was looked at.
    facts : dict of str to str
        What is there: counts, box, voxel size and so on.
    problems : list of str
        What would stop a training, or leave particles out of it; one line each.
    warnings : list of str
        What is worth a thought.
    """

    location: str
    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_files(
    data: str | Path,
    *,
    datadir: str | Path | None = None,
    deep: bool = False,
    progress: Progress | None = None,
) -> CheckReport:
    """Look at the headers of all files of some data, and with `deep` at all values.

    Parameters
    ----------
    data : str or Path
        Anything that `open_source` opens.
    datadir : str or Path, optional
        Folder to look for the files of a STAR file in first.
    deep : bool
        Read the values too: NaN and constant images, and whether particles are darker or lighter than what
        surrounds them.
    progress : callable, optional
        Called with what is done, how many were looked at so far, and how many there are.

    Returns
    -------
    CheckReport
        Bad data are among its problems, and raise nothing.
    """
    report = CheckReport(str(data))
    path = Path(data).expanduser()
    named, bad = str(data) in PUBLISHED, {}
    try:
        if not named and path.suffix.lower() == ".star" and path.is_file():
            bad = _check_star(path, None if datadir is None else Path(datadir).expanduser(), report, progress)
        elif not named and path.is_dir() and holds_image_files(path):
            bad = _check_folder(path, report, progress)
        if bad is None:
            return report
        source = open_source(data, datadir=datadir, skip_bad=bool(bad), known_bad=bad)
        _describe(source, report)
        check_image_shape(source.image_shape)
        if deep:
            _check_values(source, report, progress)
    except DataError as error:
        report.problems.append(str(error))
    return report


def _check_star(
    path: Path, datadir: Path | None, report: CheckReport, progress: Progress | None
) -> dict[str, str] | None:
    """Look at all headers; returns the particles that cannot be used, None where no other is left."""
    table = read_particle_table(path)
    count = len(table.names)
    report.facts["particles"] = f"{count:,}"
    tomograms = table.tomograms
    if tomograms is not None:
        sizes = Counter(tomograms.tolist()).values()
        report.facts["tomograms"] = f"{len(sizes):,}, of {_range(sizes)} particles each"
    if table.groups:
        shown = [f"{name} ({number:,})" for name, number in table.groups.items()]
        report.facts["optics groups"] = ", ".join(shown[:6]) + (" …" if len(shown) > 6 else "")
    if CTF_IMAGE in table.columns:
        distinct = len(np.unique(table.columns[CTF_IMAGE]))
        report.facts["CTF volumes"] = f"{distinct:,} files for {count:,} particles"
    files = SubtomogramFiles(table, datadir)
    survey = files.survey(
        np.arange(count), progress and (lambda done: progress("reading headers", done, count))
    )
    _report_survey(table, survey, datadir, report)
    bad = {str(table.names[row]): reason for row, reason in survey.reasons.items()}
    return bad if len(bad) < count else None


def _report_survey(table: ParticleTable, survey: Survey, datadir: Path | None, report: CheckReport) -> None:
    count = len(table.names)
    boxes = Counter("×".join(map(str, header.shape[-3:])) for header in survey.headers.values())
    if boxes:
        report.facts["box"] = _tally(boxes)
        report.facts["MRC mode"] = _tally(Counter(header.mode for header in survey.headers.values()))
    if survey.missing:
        names = list(dict.fromkeys(survey.missing.values()))
        shown = ", ".join(f"'{name}'" for name in names[:NAMED])
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        report.problems.append(
            f"{len(names):,} files are not there: {shown}{more}; {suggest_datadir(table, names[0], datadir)}"
        )
    rest = [row for row in survey.reasons if row not in survey.missing]
    for where in ("the STAR file", "the files"):
        rows = [row for row in rest if (row in table.problems) == (where == "the STAR file")]
        if rows:
            first = f"row {rows[0] + 1} '{table.names[rows[0]]}': {survey.reasons[rows[0]]}"
            report.problems.append(
                f"{len(rows):,} of {count:,} particles cannot be used for what stands in {where}; the first, "
                f"{first}"
            )
    _compare_with_headers(table, survey.headers, report)


def _compare_with_headers(table: ParticleTable, headers: dict[int, MrcHeader], report: CheckReport) -> None:
    """Warn where STAR file and MRC headers say different things of the same volume."""
    absent, differing, boxes = [], [], []
    for row, header in headers.items():
        size = table.voxel_sizes[row]
        if header.voxel_sizes is None:
            absent.append(row)
        elif np.isfinite(size) and max(abs(edge / size - 1) for edge in header.voxel_sizes) > _SAME_SIZE:
            differing.append(row)
        if np.isfinite(table.boxes[row]) and header.shape[-1] != table.boxes[row]:
            boxes.append(row)
    known = [row for row in absent if np.isfinite(table.voxel_sizes[row])]
    if known:
        report.warnings.append(
            f"{len(known):,} MRC headers have no voxel size, first that of {headers[known[0]].path}; that of "
            "the STAR file counts"
        )
    elif absent:
        report.warnings.append(
            f"no voxel size, neither in the STAR file nor in the headers of {len(absent):,} files: filters "
            "and masks in Å cannot be used, and maps will have none"
        )
    if differing:
        row = differing[0]
        edges = headers[row].voxel_sizes
        assert edges is not None
        report.warnings.append(
            f"voxel size in {len(differing):,} MRC headers is not that of the STAR file: {headers[row].path} "
            f"has {edges[0]:.4g} Å, the STAR file {table.voxel_sizes[row]:.4g} Å, which counts"
        )
    if boxes:
        row = boxes[0]
        report.warnings.append(
            f"rlnImageSize is {table.boxes[row]:g}, but {len(boxes):,} volumes have another box: "
            f"{headers[row].path} has {headers[row].shape[-1]}"
        )


def suggest_datadir(table: ParticleTable, name: str, datadir: Path | None = None) -> str:
    """Look for a missing file by its base name, and say which `--datadir` would find it.

    Searched are `datadir` and the folder of the STAR file, with all below.
    """
    file = split_name(name)[1]
    parts = parts_of(file)
    best: tuple[int, Path] | None = None
    for root in (datadir, table.path.absolute().parent):
        if root is None:
            continue
        for found in _named(root, parts[-1]):
            common = 1
            while (
                common < min(len(parts), len(found.parts) - 1)
                and parts[-common - 1] == found.parts[-common - 1]
            ):
                common += 1
            if best is None or common > best[0]:
                best = (common, found)
    if best is None:
        return f"no file of the name {parts[-1]} lies below {datadir or table.path.parent}; give --datadir"
    folder = best[1].parents[best[0] - 1]
    wrong = "/".join(parts[: -best[0]])
    try:
        SubtomogramFiles(table, folder)
    except DataError:
        return f"a file of that name is {best[1]}; correct the names in the STAR file"
    start = f"the names begin with '{wrong}', which is not there" if wrong else "the names have another root"
    return f"{start}, but {best[1]} is; try --datadir {folder}"


def _named(root: Path, name: str) -> Iterable[Path]:
    seen = 0
    for folder, _, files in os.walk(root):
        if name in files:
            yield Path(folder, name)
        seen += len(files)
        if seen > SEARCHED:
            return


def _check_folder(path: Path, report: CheckReport, progress: Progress | None) -> dict[str, str] | None:
    """Look at all headers; returns the files that cannot be used, None where no other is left."""
    files = image_files_of(path)
    count = len(files)
    headers, reasons = look_at_headers(
        files, strict=False, progress=progress and (lambda done: progress("reading headers", done, count))
    )
    report.facts["files"] = f"{count:,}"
    if reasons:
        name, reason = next(iter(reasons.items()))
        kind = next(iter(headers.values()), None)
        shown = "" if kind is None else f" ({len(headers):,} are {kind})"
        report.problems.append(
            f"{len(reasons):,} of {count:,} files cannot be used with the others{shown}; the first, "
            f"'{name}': {reason}"
        )
    return reasons if headers else None


def _describe(source: ImageSource, report: CheckReport) -> None:
    spatial = source.image_shape[1:]
    kind = "volumes" if len(spatial) == 3 else "images"
    if not isinstance(source, StarSource | FolderSource) and "particles" not in report.facts:
        report.facts[kind] = f"{len(source):,}"
    report.facts.setdefault("box" if len(spatial) == 3 else "size", "×".join(map(str, spatial)))
    if source.image_shape[0] > 1:
        report.facts["channels"] = str(source.image_shape[0])
    report.facts["stored as"] = source.stored_type
    if source.voxel_size is not None or len(spatial) == 3:
        report.facts["voxel size"] = "unknown" if source.voxel_size is None else f"{source.voxel_size:g} Å"
    if source.voxel_size is None and len(spatial) == 3 and not isinstance(source, StarSource):
        report.warnings.append(
            "the files give no voxel size (0 or none in their headers): filters and masks in Å cannot be "
            "used, and maps will have none"
        )


def _check_values(source: ImageSource, report: CheckReport, progress: Progress | None) -> None:
    count = len(source)
    bad = find_bad(source, progress and (lambda done: progress("reading values", done, count)))
    if bad:
        name, reason = next(iter(bad.items()))
        report.problems.append(
            f"{len(bad):,} of {count:,} cannot be used for their values; the first, '{name}': {reason}"
        )
    report.facts["values read"] = f"{count:,}, of which {count - len(bad):,} are finite and not constant"
    evidence = measure_contrast(without(source, bad))
    how = "lighter" if evidence.difference > 0 else "darker"
    report.facts["contrast"] = (
        f"particles are {how} than what surrounds them ({evidence.difference:+.2g} standard deviations, "
        f"t = {evidence.t:+.1f})"
        if evidence.decisive
        else f"cannot be told ({evidence.difference:+.2g} standard deviations, t = {evidence.t:+.1f})"
    )


def _range(sizes: Iterable[int]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _tally(counts: Counter[Any]) -> str:
    """Show values with their counts, the most frequent first; the value alone where there is one."""
    if len(counts) == 1:
        return str(next(iter(counts)))
    return ", ".join(f"{value} ({count:,})" for value, count in counts.most_common(6))
