"""The table of kills of docs/reliability.md: jobs killed at random moments, gone on with, and compared.

python trust/kills.py                                 200 kills of train, 25 of each other verb
python trust/kills.py --verbs pack,fetch --kills 10
"""

import os

# One thread, here and in all that is started: the order of sums is then the same for all.
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
# Numba's other layers do not survive a fork.
os.environ["NUMBA_THREADING_LAYER"] = "workqueue"

import argparse
import logging
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kill_jobs import Job, assert_same_run, check_run, make_jobs
from killing import finish, kill_after, kill_in

KILLS = {"train": 60, "train-simclr": 140}
OTHER_KILLS = 25
# Besides: in phases that are too short to be hit often by chance.
IN_EACH_PHASE = 3
# What can be gone on with is killed again and again, each time a little later at the latest, so that it ends.
PATIENCE = 1.2
COMMAND_LINE_KILLS = 5


def main() -> None:
    """Kill, and print a row for each verb; exit code 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--verbs", default="train,train-simclr,encode,simulate,pack,fetch,table1,command-line"
    )
    parser.add_argument("--kills", type=int, help="of each verb")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.getLogger("dualcontrast").setLevel(logging.ERROR)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="dualcontrast-kills-") as temporary:
        folder = Path(temporary)
        images, jobs = make_jobs(folder)
        print("| verb | kills | it was at | outputs compared | seconds uninterrupted | failures |")
        print("|---|---|---|---|---|---|", flush=True)
        for verb in arguments.verbs.split(","):
            if verb == "command-line":
                row, failed = command_line(folder, images, arguments.seed)
            else:
                kills = arguments.kills or KILLS.get(verb, OTHER_KILLS)
                row, failed = kill(jobs[verb](), folder / verb, kills, arguments.seed)
            print(row, flush=True)
            failures += failed
    sys.exit(failures > 0)


def kill(job: Job, folder: Path, kills: int, seed: int) -> tuple[str, int]:
    """Kill a job at so many moments of its run, and a few times more in each of its phases."""
    rng = np.random.default_rng([seed, *job.name.encode()])
    folder.mkdir()
    log, expected = folder / "log", folder / "expected"
    # The first is slower: it compiles and imports.
    job.begin(folder / "warm")
    began = time.monotonic()
    finish(lambda: job.begin(expected), log)
    seconds = time.monotonic() - began
    job.check_end(expected, folder / "warm")
    counted: Counter[str] = Counter()
    failures = trials = 0

    def trial(first: Callable[[Path], str | None]) -> None:
        """Kill it, and what goes on, until it ends; then look at what came of it."""
        nonlocal failures, trials
        output = folder / f"output-{trials}"
        trials += 1
        if job.replaces and trials % 2:
            shutil.copytree(expected, output)
        before, latest = counted.total(), seconds
        try:
            at = first(output)
            while at is not None:
                counted[at] += 1
                job.check_after_kill(output)
                if not job.resumable:
                    break
                latest *= PATIENCE
                at = kill_after(rng.uniform(0, latest), lambda: job.go_on(output), log)
            finish(lambda: job.go_on(output), log)
            job.check_end(output, expected)
        except Exception as error:
            failures += 1
            said = f"{job.name}, kills {before} to {counted.total()}: {error!r}"
            print(said, file=sys.stderr, flush=True)
        shutil.rmtree(output, ignore_errors=True)
        if counted.total() // 20 > before // 20:
            print(f"{job.name}: {dict(counted)} in {trials}, {failures} failed", file=sys.stderr, flush=True)

    while counted.total() < kills:
        trial(lambda output: kill_after(rng.uniform(0, seconds), lambda: job.begin(output), log))
    for name in job.phases:
        for after in rng.exponential(0.01, IN_EACH_PHASE):
            trial(lambda output, n=name, a=after: kill_in(n, a, lambda: job.begin(output), log))
    where = ", ".join(f"{name} {count}" for name, count in counted.most_common())
    return f"| `{job.name}` | {counted.total()} | {where} | {trials} | {seconds:.1f} | {failures} |", failures


def command_line(folder: Path, images: Path, seed: int) -> tuple[str, int]:
    """Kill the true command `dualcontrast train`, once in each of a few runs."""
    options = ["--epochs", "10", "--batch-size", "16", "--device", "cpu", "--no-progress"]
    options += ["--checkpoint-seconds", "0", "--resume"]

    def started(run: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "dualcontrast", "train", str(images), "--output", str(run), *options]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    whole, killed = folder / "cli-whole", folder / "cli-killed"
    began = time.monotonic()
    assert started(whole).wait() == 0
    seconds = time.monotonic() - began
    rng = np.random.default_rng(seed)
    failures = 0
    for _ in range(COMMAND_LINE_KILLS):
        shutil.rmtree(killed, ignore_errors=True)
        process = started(killed)
        time.sleep(rng.uniform(0.2, 0.95) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        try:
            check_run(killed)
            assert started(killed).wait() == 0
            assert_same_run(killed, whole)
        except Exception as error:
            failures += 1
            print(f"command line: {error!r}", file=sys.stderr, flush=True)
    count = COMMAND_LINE_KILLS
    row = f"| `dualcontrast train`, the command | {count} | | {count} | {seconds:.1f} | {failures} |"
    return row, failures


if __name__ == "__main__":
    main()
