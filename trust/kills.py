"""The table of kills of docs/reliability.md: jobs killed at random moments, gone on with, and compared.

python trust/kills.py                                    200 kills of train, 25 of each other verb
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
from pathlib import Path

import numpy as np
from kill_jobs import Job, assert_same_run, check_run, make_jobs
from killing import finish, kill_after, kill_in

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from toy_images import bars

KILLS = {"train": 200}
OTHER_KILLS = 25
# Besides: in phases that are too short to be hit often by chance.
IN_EACH_PHASE = 5
# Every fourth time, what goes on after a kill is killed too.
KILLED_AGAIN = 4
COMMAND_LINE_KILLS = 5


def main() -> None:
    """Kill, and print a row for each verb; exit code 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--verbs", default="train,encode,simulate,pack,fetch,table1,command-line")
    parser.add_argument("--kills", type=int, help="of each verb")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.getLogger("dualcontrast").setLevel(logging.ERROR)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="dualcontrast-kills-") as temporary:
        folder = Path(temporary)
        images, many = folder / "images.npz", folder / "many.npz"
        for path, count in ((images, 160), (many, 3_000)):
            pixels, number, angle = bars(count, (16, 16))
            np.savez(path, images=pixels, labels=number, **{"transformation:angle": angle})
        jobs = make_jobs(folder, images, many)
        print(
            "| verb | kills | it was at | seconds uninterrupted | failures |\n|---|---|---|---|---|",
            flush=True,
        )
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
    """Kill a job at so many moments of its run, and once more in each of its phases."""
    rng = np.random.default_rng([seed, *job.name.encode()])
    folder.mkdir()
    log, expected = folder / "log", folder / "expected"
    # The first is slower: it compiles and imports.
    job.begin(folder / "warm")
    began = time.monotonic()
    finish(lambda: job.begin(expected), log)
    seconds = time.monotonic() - began
    job.check_end(expected, folder / "warm")
    moments = [(None, after) for after in rng.uniform(0, seconds, kills)]
    moments += [(name, after) for name in job.phases for after in rng.exponential(0.01, IN_EACH_PHASE)]
    counted: Counter[str] = Counter()
    failures = 0
    for number, (name, after) in enumerate(moments):
        output = folder / f"output-{number}"
        try:
            old = expected if job.replaces and number % 2 else None
            while (at := attempt(job, output, old, name, after, log)) is None:
                # It was faster than the one that was measured, and had ended.
                name, after = None, rng.uniform(0, 0.9 * seconds)
            counted[at] += 1
            job.check_after_kill(output)
            if number % KILLED_AGAIN == 0:
                kill_after(rng.uniform(0, seconds), lambda output=output: job.go_on(output), log)
                job.check_after_kill(output)
            finish(lambda output=output: job.go_on(output), log)
            job.check_end(output, expected)
        except Exception as error:
            failures += 1
            print(
                f"{job.name}, kill {number} ({name}, {after:.4f} s): {error!r}", file=sys.stderr, flush=True
            )
        shutil.rmtree(output, ignore_errors=True)
        if number % 20 == 19:
            print(f"{job.name}: {number + 1} kills, {failures} failures", file=sys.stderr, flush=True)
    where = ", ".join(f"{name} {count}" for name, count in counted.most_common())
    return f"| `{job.name}` | {sum(counted.values())} | {where} | {seconds:.1f} | {failures} |", failures


def attempt(
    job: Job, output: Path, old: Path | None, name: str | None, after: float, log: Path
) -> str | None:
    """Begin a job and kill it; return what it was at, None where it had ended."""
    shutil.rmtree(output, ignore_errors=True)
    if old is not None:
        shutil.copytree(old, output)
    if name is None:
        return kill_after(after, lambda: job.begin(output), log)
    return kill_in(name, after, lambda: job.begin(output), log)


def command_line(folder: Path, images: Path, seed: int) -> tuple[str, int]:
    """Kill the true command `dualcontrast train`, each time the one that goes on after the last kill."""
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
    return (
        f"| `dualcontrast train`, the command | {COMMAND_LINE_KILLS} | | {seconds:.1f} | {failures} |",
        failures,
    )


if __name__ == "__main__":
    main()
