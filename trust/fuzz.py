"""Coverage-guided fuzzing of every reader: whatever bytes a file holds, it is read or refused in one line.

Run `python trust/fuzz.py --minutes 10` (needs `pip install atheris`, which has wheels for Linux). The minutes
are shared by the readers, each in a process of its own that begins with one small sound file. A finding is an
error that is no `UserError`, or one that is no clear line; more than 2 GB of memory or 25 s for one file are
findings, too. The files stay in the folder `--findings`, and the exit code is 1 where there are any.
"""

import argparse
import contextlib
import hashlib
import io
import logging
import os
import re
import shutil
import sys
import tempfile
import traceback
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bad_input import fault_of
from malformed.cases import Case

READERS = (
    *("MRC", "MRC, packed", "STAR", "NPY", "NPZ", "NPZ, packed", "IDX", "IDX, packed", "PNG", "JPEG", "TIFF"),
    *("HDF5", "Zarr", "pickle", "YAML", "run record", "split", "checkpoint", "codes, NPZ", "codes, Parquet"),
    *("labels", "PDB", "mmCIF", "zip"),
)

# With other modules of the package or of its dependencies, loading takes minutes.
INSTRUMENTED = ["dualcontrast.data", "dualcontrast.code_files", "dualcontrast.yaml_files"]


def finding(error: BaseException, path: Path) -> str | None:
    """Say in one line what is wrong with how a file was refused; None where nothing is."""
    from dualcontrast.errors import UserError

    if isinstance(error, UserError):
        # The name alone, or that of the folder where all images of a folder are refused.
        case = Case("", "", path if path.name in str(error) else path.parent, lambda: None)
        fault = fault_of(str(error), case)
        return f"{fault}: {error}" if fault else None
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "dualcontrast" in frame.filename
    ]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    return f"{type(error).__name__} at {place}: {' '.join(str(error).split())[:200]}"


def load() -> None:
    """Load the readers with what counts the branches that are reached."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        import dualcontrast.cli.train
        import dualcontrast.pipeline  # noqa: F401
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)


def fuzz_one(reader: str, seconds: int, findings: Path, place: Path) -> None:
    """Fuzz one reader for some seconds in the folder `place`; libFuzzer ends the process."""
    import atheris

    from malformed.sound import sound_files

    sound = sound_files(place)[reader]
    beside = {file.name: file.read_bytes() for file in place.iterdir()} if reader == "STAR" else {}
    (place / "corpus").mkdir()
    (place / "corpus" / "sound").write_bytes(sound.content)
    work = place / "work"
    work.mkdir()
    for name, content in beside.items():
        (work / name).write_bytes(content)
    path = work / sound.name
    if reader == "Zarr":
        for chunk in range(2):
            (work / f"c/{chunk}/0").mkdir(parents=True)
            (work / f"c/{chunk}/0/0").write_bytes(np.arange(128, dtype=np.float32).tobytes())
    seen: set[str] = set()

    def test_one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                sound.open(path)
        except BaseException as error:
            found = finding(error, path)
            if found is None:
                return
            kind = re.sub(r"\d+|'.*?'", "", found)[:60]
            if kind not in seen:
                seen.add(kind)
                name = (
                    f"{re.sub(r'[^a-zA-Z0-9]+', '_', reader)}_{hashlib.sha256(kind.encode()).hexdigest()[:8]}"
                )
                (findings / f"{name}{path.suffix}").write_bytes(content)
                print(f"FINDING {reader}: {found[:400]}", flush=True)

    # The sound file must be taken, or there would be nothing to guide the fuzzing.
    path.write_bytes(sound.content)
    sound.open(path)
    artifacts = f"-artifact_prefix={findings}/{re.sub(r'[^a-zA-Z0-9]+', '_', reader)}_"
    limits = [f"-max_total_time={seconds}", "-rss_limit_mb=2048", "-timeout=25", "-seed=1", "-max_len=20000"]
    atheris.Setup([sys.argv[0], str(place / "corpus"), artifacts, *limits], test_one)
    atheris.Fuzz()


def in_child(reader: str, seconds: int, findings: Path) -> tuple[str, int]:
    """Fuzz one reader in a process of its own; return what it said, and its exit code."""
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as output:
        pid = os.fork()
        if pid == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            try:
                fuzz_one(reader, seconds, findings, Path(scratch))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        output.seek(0)
        return output.read().decode("utf-8", "replace"), os.waitstatus_to_exitcode(status)


def main() -> int:
    """Fuzz all readers, one after the other; print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--reader", choices=READERS, help="only this reader")
    asked = parser.parse_args()
    if find_spec("atheris") is None:
        print("atheris is not installed: nothing was fuzzed")
        return 0
    asked.findings.mkdir(parents=True, exist_ok=True)
    load()
    readers = [asked.reader] if asked.reader else READERS
    seconds = max(1, round(60 * asked.minutes / len(readers)))
    print(
        "| reader | seconds | files tried | edges reached | findings |\n|---|---:|---:|---:|---:|", flush=True
    )
    said_of_findings: list[str] = []
    total, count = 0, 0
    for reader in readers:
        said, code = in_child(reader, seconds, asked.findings.resolve())
        found = [line for line in said.splitlines() if line.startswith("FINDING")]
        tried = [int(number) for number in re.findall(r"^#(\d+)", said, re.MULTILINE)] or [0]
        edges = [int(number) for number in re.findall(r"cov: (\d+)", said)] or [0]
        if code:
            found.append(f"FINDING {reader}: ended with {code}: {said[-600:]}")
        said_of_findings += found
        print(f"| {reader} | {seconds} | {max(tried):,} | {max(edges):,} | {len(found)} |", flush=True)
        total, count = total + max(tried), count + len(found)
    print(f"| all | {seconds * len(readers):,} | {total:,} | | {count} |")
    print("\n".join(said_of_findings))
    if not any(asked.findings.iterdir()):
        shutil.rmtree(asked.findings)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
