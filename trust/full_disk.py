"""The table of full disks of docs/reliability.md: jobs on a disk of memory that runs full ever later.

Needs the right to mount (root on Linux); says so and ends with 0 where there is none.

python trust/full_disk.py
python trust/full_disk.py --verbs train --disks 5
"""

import os

# As in kills.py.
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
os.environ["NUMBA_THREADING_LAYER"] = "workqueue"

import argparse
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dualcontrast.cli import fail
from dualcontrast.errors import UserError
from dualcontrast.verify import verify_run
from kill_jobs import Job, check_no_leftovers, make_jobs
from killing import finish, start

DISKS = 12
# Some look at the free space before they begin.
FULL = ("could not be written (No space left on device)", "are free; ask for fewer copies")


def main() -> None:
    """Fill disks, and print a row for each verb; exit code 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--verbs", default="train,encode,simulate,pack,fetch")
    parser.add_argument("--disks", type=int, default=DISKS, help="for each verb")
    arguments = parser.parse_args()
    logging.getLogger("dualcontrast").setLevel(logging.ERROR)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="dualcontrast-disks-") as temporary:
        folder = Path(temporary)
        if not may_mount(folder):
            print("not tried: mounting a file system is not allowed here")
            return
        _, jobs = make_jobs(folder)
        print("| verb | bytes it writes | full disks | went through | read-only | failures |")
        print("|---|---|---|---|---|---|", flush=True)
        for verb in arguments.verbs.split(","):
            row, failed = fill(jobs[verb](), folder / verb, arguments.disks)
            print(row, flush=True)
            failures += failed
    sys.exit(failures > 0)


def fill(job: Job, folder: Path, disks: int) -> tuple[str, int]:
    """Do a job on disks from one that holds next to nothing to one that holds nearly all it writes."""
    folder.mkdir()
    log, expected, disk = folder / "log", folder / "expected", folder / "disk"
    disk.mkdir()
    job.begin(folder / "warm")
    finish(lambda: job.begin(expected), log)
    with mounted(disk, 1 << 30):
        finish(lambda: job.begin(disk / "output"), log)
        size = used(disk)
    full = through = 0
    failures: list[str] = []
    for share in np.linspace(0.02, 1.2, disks):
        space = int(size * share)
        with mounted(disk, space):
            output = disk / "output"
            try:
                ended = one_line(lambda output=output: job.begin(output), log, *FULL)
                full, through = full + ended, through + (not ended)
                job.check_after_kill(output)
                remount(disk, f"size={1 << 30}")
                finish(lambda output=output: job.go_on(output), log)
                job.check_end(output, expected)
                check_no_leftovers(disk)
            except Exception as error:
                failures.append(f"{job.name}, a disk of {space:,} bytes: {error!r}")
    try:
        read_only(job, disk, log)
        said = "one line"
    except Exception as error:
        failures.append(f"{job.name}, read-only: {error!r}")
        said = "failed"
    for failure in failures:
        print(failure, file=sys.stderr, flush=True)
    return f"| `{job.name}` | {size:,} | {full} | {through} | {said} | {len(failures)} |", len(failures)


def read_only(job: Job, disk: Path, log: Path) -> None:
    """Do a job where nothing can be written; verify a run there, which writes nothing."""
    with mounted(disk, 1 << 30):
        remount(disk, "ro")
        assert one_line(lambda: job.begin(disk / "output"), log, "(Read-only file system)"), "no error"
        remount(disk, "rw")
        finish(lambda: job.begin(disk / "run"), log)
        remount(disk, "ro")
        if (disk / "run" / "config.yaml").exists():
            assert verify_run(disk / "run", device="cpu").matches


def one_line(work: Callable[[], object], log: Path, *expected: str) -> bool:
    """Do a job as the command line does; whether it ended with one line that says one of these."""

    def as_the_command_line() -> None:
        try:
            work()
        except UserError as error:
            fail(str(error))

    _, status = os.waitpid(start(as_the_command_line, log), 0)
    code, said = os.waitstatus_to_exitcode(status), log.read_text()
    if code == 0:
        return False
    assert code == 2 and said.startswith("error: ") and said.count("\n") == 1, f"{code}: {said[-1500:]}"
    assert any(words in said for words in expected), said
    return True


def may_mount(folder: Path) -> bool:
    """Whether this process may mount file systems."""
    try:
        with mounted(folder, 1 << 20):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """Mount a file system in memory of so many bytes."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={max(size, 4096)}", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change the size of a mounted file system, or whether it may be written."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def used(folder: Path) -> int:
    """Bytes that are in use on the file system of a folder."""
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


if __name__ == "__main__":
    main()
