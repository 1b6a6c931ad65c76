"""Killing a job at a moment of its run, and knowing what it was at."""

import mmap
import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A byte that the killed process and this one share: the number of the phase.
_shared = mmap.mmap(-1, 1)
_names: list[str] = ["opening"]


def phase() -> str:
    """Say what the last job was at when it was last heard of."""
    return _names[_shared[0]]


def mark(owner: Any, name: str, called: str) -> None:
    """Have a function of a module or class say that it runs; what ran before runs again when it ends."""
    function = getattr(owner, name)
    if called not in _names:
        _names.append(called)
    number = _names.index(called)

    def marked(*args: Any, **options: Any) -> Any:
        before, _shared[0] = _shared[0], number
        try:
            return function(*args, **options)
        finally:
            _shared[0] = before

    setattr(owner, name, marked)


def start(work: Callable[[], object], log: Path) -> int:
    """Begin a job in a process and session of its own; return its number.

    The process is a fork of this one, which has imported the package already: that saves seconds for every
    kill. From there on it does what the command line does.
    """
    _shared[0] = 0
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        os.setsid()
        printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(work: Callable[[], object], log: Path) -> None:
    """Run a job to its end; raise what it printed where it failed."""
    _, status = os.waitpid(start(work, log), 0)
    if status:
        raise AssertionError(f"ended with {os.waitstatus_to_exitcode(status)}: {log.read_text()[-2000:]}")


def kill_after(seconds: float, work: Callable[[], object], log: Path) -> str | None:
    """Begin a job and kill it after so many seconds; return what it was at, None where it had ended."""
    process = start(work, log)
    time.sleep(seconds)
    return _kill(process)


def kill_in(wanted: str, seconds: float, work: Callable[[], object], log: Path) -> str | None:
    """Begin a job and kill it so many seconds after it has come to a phase."""
    process = start(work, log)
    while phase() != wanted:
        if os.waitpid(process, os.WNOHANG)[0]:
            return None
        time.sleep(0.0002)
    time.sleep(seconds)
    return _kill(process)


def _kill(process: int) -> str | None:
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    _wait_for_session(process)
    return phase() if killed else None


def _wait_for_session(leader: int) -> None:
    """Wait until the processes that the killed one had started have noticed that they are alone."""
    deadline = time.monotonic() + 10
    while others := _members(leader):
        if time.monotonic() > deadline:
            raise AssertionError(f"processes {others} go on after their parent was killed")
        time.sleep(0.01)


def _members(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found
