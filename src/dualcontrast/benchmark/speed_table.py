"""How fast training and encoding are, beside the authors' procedure and the limit of the machine."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dualcontrast.benchmark.machine_limit import matrix_rate
from dualcontrast.benchmark.peak_memory import PeakMemory, peak_memory
from dualcontrast.benchmark.procedures import AUTHORS, Procedure, Speeds
from dualcontrast.benchmark.quality_time import QualityTime, time_to_quality
from dualcontrast.benchmark.speed_shapes import Target, choose_shapes, generated_images
from dualcontrast.errors import SettingError
from dualcontrast.files import write_text
from dualcontrast.training.engine import check_engine

REPEATS = 5
QUICK_BATCHES = 1


@dataclass(frozen=True)
class Measured:
    """One procedure on images of one shape.

    Attributes
    ----------
    procedure : Procedure
        What was timed.
    repeats : list of Speeds
        One entry a repeat; entries of the same place, of all procedures, were made one after the other.
    operations, encoding_operations : float or None
        Floating-point operations an image that a training step and an encoding must do.
    memory : PeakMemory
        Of a few training steps.
    """

    procedure: Procedure
    repeats: list[Speeds]
    operations: float
    encoding_operations: float
    memory: PeakMemory


@dataclass(frozen=True)
class SpeedTable:
    """What the benchmark has found.

    Attributes
    ----------
    machine : dict
        Date, processor, threads, versions and options.
    rates : dict of str to float
        Floating-point operations a second of matrix products, by type.
    measured : list of Measured
        Every shape: the authors' procedure, `reference`, and the best preset.
    quality : QualityTime or None
        Where it was asked for.
    """

    machine: dict[str, Any]
    rates: dict[str, float]
    measured: list[Measured]
    quality: QualityTime | None = None


def speed(
    output: Path | None = None,
    *,
    shapes: Sequence[str] = ("all",),
    repeats: int = REPEATS,
    quick: bool = False,
    device: str = "auto",
    threads: int | None = None,
    precision: str = "32-true",
    quality: bool = False,
    on_progress: Callable[[str], None] = lambda doing: None,
) -> SpeedTable:
    """Measure the speed of training and encoding; write `speed.md` and `speed.json`.

    Parameters
    ----------
    output : Path, optional
        Folder for the two files.
    shapes : sequence of str
        Names of `SHAPES`, or `all`.
    repeats : int
        Trainings and encodings of each procedure.
    quick : bool
        One repeat of one batch: shows that everything works, and measures little.
    device, precision : str
        See `Model`.
    threads : int, optional
        Of the CPU; all unless given.
    quality : bool
        Also train `default` on MNIST and see how long it takes to the paper's scores.
    on_progress : callable
        Told what is done next.

    Raises
    ------
    SettingError
        For an unknown shape, device or precision, or a number below 1.
    DataError
        When MNIST is asked for and not there.
    """
    chosen = choose_shapes(list(shapes))
    check_engine(device, precision)
    for name, value in (("threads", threads), ("repeats", repeats)):
        if value is not None and value < 1:
            raise SettingError(f"--{name} {value}: give a number above 0")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "mps":
        raise SettingError("--device mps: the benchmark measures cpu and cuda only")
    with _threads(threads):
        machine = _machine(device, precision, quick)
        procedures = [
            Procedure(shape, name, device, precision)
            for shape in chosen
            for name in (AUTHORS, "reference", shape.best_preset)
        ]
        # First, see `peak_memory`.
        memories = []
        for procedure in procedures:
            on_progress(f"memory: {procedure.name}, {procedure.shape.name}")
            memories.append(peak_memory(procedure, torch.get_num_threads()))
        on_progress("matrix rate")
        seconds = 0.2 if quick else 3.0
        rates = {
            name: matrix_rate(torch.device(device), dtype, seconds)
            for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
        }
        measured = []
        for shape in chosen:
            of_shape = [procedure for procedure in procedures if procedure.shape == shape]
            measured += _measure(of_shape, memories[len(measured) :], repeats, quick, on_progress)
        table = SpeedTable(
            machine, rates, measured, time_to_quality(device, precision, on_progress) if quality else None
        )
    if output is not None:
        write_text(output / "speed.md", as_markdown(table))
        write_text(output / "speed.json", as_json(table))
    return table


def _measure(
    procedures: Sequence[Procedure],
    memories: Sequence[PeakMemory],
    repeats: int,
    quick: bool,
    on_progress: Callable[[str], None],
) -> list[Measured]:
    """Time the procedures of one shape in turn, so that what else the machine does disturbs all of them."""
    shape = procedures[0].shape
    largest = max(procedure.batch for procedure in procedures)
    # Two batches at least: operations are those of the second.
    count = 2 * largest if quick else max(shape.images_on(procedures[0].device), 2 * largest)
    images = generated_images(shape, count)
    speeds: dict[str, list[Speeds]] = {procedure.name: [] for procedure in procedures}
    for repeat in range(1 if quick else repeats):
        for procedure in procedures:
            on_progress(f"{shape.name}: {procedure.name}, repeat {repeat + 1}")
            batches = QUICK_BATCHES if quick else None
            speeds[procedure.name].append(procedure.speeds(procedure.some(images, batches)))
    on_progress(f"{shape.name}: operations")
    # The authors' procedure is held against what `reference`, the same arithmetic, must do.
    must = {procedure.name: procedure.operations_an_image(images) for procedure in procedures[1:]}
    must[AUTHORS] = must["reference"]
    return [
        Measured(procedure, speeds[procedure.name], *must[procedure.name], memory)
        for procedure, memory in zip(procedures, memories, strict=False)
    ]


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _machine(device: str, precision: str, quick: bool) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "device": device,
        "precision": precision,
        "quick": quick,
        "torch": torch.__version__,
        "dualcontrast": version("dualcontrast"),
        "platform": platform.platform(),
    }


def _processor() -> str:
    """Name the CPU; Linux keeps the name in a file of its own."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def as_json(table: SpeedTable) -> str:
    """Write everything that was measured."""
    return json.dumps(asdict(table), indent=2) + "\n"


def as_markdown(table: SpeedTable) -> str:
    """Write the tables, as docs/speed.md shows them."""
    machine = table.machine
    where = machine["gpu"] or f"{machine['cpu']} ({machine['instructions']})"
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    rates = ", ".join(
        f"{rate / 1e9:,.{1 if rate < 1e10 else 0}f} GFLOP/s in {name}" for name, rate in table.rates.items()
    )
    count = len(table.measured[0].repeats)
    of_repeats = (
        f"medians of {count} repeats, smallest and largest in brackets" if count > 1 else "one repeat"
    )
    parts = [
        f"{machine['date']}, {where}, {threads}, torch {machine['torch']}, "
        f"{machine['precision']}. Matrix products: {rates}. Images a second are {of_repeats}.",
        "",
    ]
    for part, title in (("training", "Training"), ("encoding", "Encoding")):
        head = [title, "images/s", "× authors'", "of the limit", "× authors' at the limit"]
        if part == "training":
            head.append("peak memory")
        parts += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for measured in table.measured:
            parts.append(f"| {' | '.join(_cells(table, measured, part))} |")
        parts.append("")
    if table.quality is not None:
        parts += [table.quality.sentence, ""]
    return "\n".join(parts)


def _cells(table: SpeedTable, measured: Measured, part: str) -> list[str]:
    procedure = measured.procedure
    theirs = next(
        other
        for other in table.measured
        if other.procedure.shape == procedure.shape and other.procedure.name == AUTHORS
    )
    ours, their = _values(measured, part), _values(theirs, part)
    ratio = statistics.median(a / b for a, b in zip(ours, their, strict=True))
    must = measured.operations if part == "training" else measured.encoding_operations
    limit = _limit(table) / must
    is_authors = procedure.name == AUTHORS
    name = procedure.name if is_authors else f"`{procedure.name}`"
    share = statistics.median(ours) / limit
    # What is asked for is asked of the same arithmetic.
    target = Target()
    if procedure.name == "reference":
        target = procedure.shape.targets.get(procedure.device, Target())
    cells = [
        f"{procedure.shape.title}: {name}",
        _with_spread(ours),
        "1" if is_authors else _against(ratio, target.training if part == "training" else target.encoding),
        _against(
            100 * share, target.of_limit and 100 * target.of_limit if part == "training" else None, " %"
        ),
        f"{limit / statistics.median(their):.1f}",
    ]
    if part == "training":
        cells.append(f"{measured.memory.total / 2**20:,.0f} MiB")
    return cells


def _limit(table: SpeedTable) -> float:
    """Return the rate that no procedure can pass: that of the fastest type that the precision may use."""
    if table.machine["precision"] == "32-true":
        return table.rates["float32"]
    return max(table.rates.values())


def _values(measured: Measured, part: str) -> list[float]:
    return [getattr(repeat, part) for repeat in measured.repeats]


def _with_spread(values: Sequence[float]) -> str:
    digits = 0 if min(values) >= 100 else 1
    middle = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def _against(value: float, target: float | None, unit: str = "") -> str:
    """Write a number and, where a target is set for it, by how much it is missed."""
    digits = 0 if unit else 1
    text = f"{value:.{digits}f}{unit}"
    if target is None:
        return text
    if value >= target:
        return f"{text} (target {target:g}{unit}: met)"
    return f"{text} (target {target:g}{unit}: {100 * (1 - value / target):.0f} % short)"
