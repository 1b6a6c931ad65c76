"""Every reader on files that are broken, that lie, or that attack: each refused in one line, fast and lean.

Run `python trust/bad_input.py`; it takes about four minutes on one core, ends with exit code 1 where one file
is not refused clearly, and prints a table by reader. Each file is opened in a process of its own, forked from
one that has imported the package, of which peak memory and time are measured; for some files of each reader,
the command line is run as a user runs it, imports and all.
"""

import argparse
import io
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from malformed import all_cases
from malformed.cases import Case

# Of processor time, so that a busy machine is no fault; who waits is ended after MOST_SECONDS of the clock.
SECONDS, BYTES = 5.0, 1 << 30
# A process that takes this much is ended, so that a reader that fails does not take the machine with it.
MOST_SECONDS, MOST_BYTES = 120.0, 3 << 30
COMMANDS_A_READER = 3


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes
    ----------
    fault : str
        Why it was not refused clearly; empty where it was.
    message : str
        What was said.
    seconds, peak : float
        Processor time, and largest resident memory in bytes.
    """

    fault: str
    message: str
    seconds: float
    peak: float


def fault_of(message: str, case: Case) -> str:
    """Say what a message lacks: one line, of printable characters, the name of the file, and what to do."""
    if len(message.splitlines()) != 1 or any(
        unicodedata.category(character) == "Cc" for character in message
    ):
        return "not one line of printable characters"
    if case.path.name not in message:
        return f"does not name {case.path.name}"
    if len(message) > 1000:
        return f"a line of {len(message):,} characters"
    return "" if re.search(r"[;,?] \S.*\w", message.split(": ", 1)[-1]) else "does not say what to do"


def in_process(case: Case) -> str:
    """Open an input, and return the message of the error, or what else happened after a line break."""
    from dualcontrast.errors import UserError

    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            case.open()
    except UserError as error:
        return str(error)
    except BaseException as error:
        return f"\n{type(error).__name__}: {str(error)[:300]}"
    return "\nwas taken"


def forked(case: Case) -> Outcome:
    """Open an input in a child of this process."""
    return _watched(case, lambda write: os.write(write, in_process(case).encode("utf-8", "replace")[:60_000]))


def by_command(case: Case) -> Outcome:
    """Run the command line on an input."""
    assert case.command is not None
    arguments = [sys.executable, "-m", "dualcontrast", *case.command]

    def run(write: int) -> None:
        # A line that is no error, or a second line, is a fault, so all that is said is kept.
        found = subprocess.run(arguments, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        said = found.stderr.decode("utf-8", "replace").rstrip("\n")
        if found.returncode != 2 or not said.startswith("error: "):
            said = f"\nexit code {found.returncode}: {said[-300:]}"
        os.write(write, said.removeprefix("error: ").encode()[:60_000])

    return _watched(case, run, children=True)


def _watched(case: Case, task: Callable[[int], object], children: bool = False) -> Outcome:
    read, write = os.pipe()
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.close(read)
        try:
            task(write)
            who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
            # Linux counts in KiB, macOS in bytes.
            used = resource.getrusage(who)
            peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            os.write(write, f"\0{peak} {used.ru_utime + used.ru_stime}".encode())
        finally:
            os._exit(0)
    os.close(write)
    ended = ""
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() - begun > MOST_SECONDS:
            ended = f"still busy after {MOST_SECONDS:.0f} s"
        elif _resident(pid) > MOST_BYTES:
            ended = f"took more than {MOST_BYTES / 2**30:.0f} GiB"
        if ended:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            break
        time.sleep(0.002)
    with os.fdopen(read, "rb") as pipe:
        message, _, measured = pipe.read().decode("utf-8", "replace").rpartition("\0")
    used, seconds = map(float, measured.split() or (MOST_BYTES, time.monotonic() - begun))
    fault = ended or (message.strip() if message.startswith("\n") else fault_of(message, case))
    if not message and not fault:
        fault = "the process died"
    if not fault and seconds > SECONDS:
        fault = f"took {seconds:.1f} s"
    if not fault and used > BYTES:
        fault = f"took {used / 2**20:.0f} MiB"
    return Outcome(fault, message, seconds, used)


def _resident(pid: int) -> int:
    """Resident memory of a process in bytes; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def table(outcomes: dict[tuple[str, str], list[Outcome]]) -> str:
    """Return the table by reader, in Markdown."""
    lines = [
        "| reader | opened by | inputs | refused clearly | slowest, s of processor | largest memory, MiB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for (reader, how), found in outcomes.items():
        good = sum(not outcome.fault for outcome in found)
        slowest = max(outcome.seconds for outcome in found)
        largest = max(outcome.peak for outcome in found) / 2**20
        lines.append(f"| {reader} | {how} | {len(found)} | {good} | {slowest:.2f} | {largest:.0f} |")
    everything = [outcome for found in outcomes.values() for outcome in found]
    good = sum(not outcome.fault for outcome in everything)
    lines.append(f"| all | | {len(everything)} | {good} | | |")
    return "\n".join(lines)


def main() -> int:
    """Make the corpus, open every file, print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", help="only this reader")
    parser.add_argument("--show", action="store_true", help="print every message")
    parser.add_argument("--no-commands", action="store_true", help="leave the command line out")
    asked = parser.parse_args()
    logging.getLogger("dualcontrast").setLevel(logging.ERROR)

    import torch

    import dualcontrast.pipeline  # noqa: F401 - loaded before forking, so that times are those of reading

    torch.set_num_threads(1)
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name) / "corpus"
        cases = [case for case in all_cases(corpus, asked.seed) if asked.reader in (None, case.reader)]
        # What a hostile file would make, it would make here.
        os.chdir(name)
        for case in cases:
            runs = [("Python", forked)]
            with_command = outcomes.get((case.reader, "command line"), ())
            if case.command and not asked.no_commands and len(with_command) < COMMANDS_A_READER:
                runs.append(("command line", by_command))
            for how, run in runs:
                outcome = run(case)
                outcomes.setdefault((case.reader, how), []).append(outcome)
                if outcome.fault:
                    print(f"FAULT {case.reader} ({how}): {case.name}: {outcome.fault}", flush=True)
                if outcome.fault or asked.show:
                    print(f"      {case.reader}: {case.name}: {outcome.message[:400]!r}", flush=True)
        ran = sorted(str(file) for file in Path(name).rglob("hostile_*_ran"))
        if ran:
            print(f"FAULT something was run: {', '.join(ran)}")
    print(table(outcomes))
    failed = any(outcome.fault for found in outcomes.values() for outcome in found)
    return 1 if failed or ran else 0


if __name__ == "__main__":
    sys.exit(main())
