"""Long work in a process of its own, so that the page stays alive and the work can be cancelled."""

import contextlib
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Literal

from dualcontrast.errors import UserError


class Job:
    """A call that runs in another process and says how far it is.

    Parameters
    ----------
    title : str
        What it does, for the page.
    function : callable
        Of a module, called as `function(say, *arguments)`; `say(text, share)` reports progress. What it
        returns must be small: large results go to files.
    *arguments
        Picklable; they go to our own process and nowhere else.
    """

    def __init__(self, title: str, function: Callable[..., Any], *arguments: Any) -> None:
        self.title, self.text, self.share = title, title, None
        self.state: Literal["running", "done", "failed", "cancelled"] = "running"
        self.result: Any = None
        self.started = time.monotonic()
        # A fresh interpreter: torch and numba do not survive a fork of a process with threads.
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(there, function, arguments), daemon=True)
        self._process.start()
        there.close()

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self.started

    def poll(self) -> None:
        """Take in what the process has said since the last call."""
        while self.state == "running":
            try:
                if not self._here.poll():
                    return
                kind, *said = self._here.recv()
            except (EOFError, OSError):
                self._process.join()
                self._end(
                    "failed", f"{self.title}: the process was stopped (exit code {self._process.exitcode})"
                )
                return
            if kind == "progress":
                self.text, self.share = said
            else:
                self.result = said[0] if kind == "done" else None
                self._end(kind, self.title if kind == "done" else said[0])

    def cancel(self) -> None:
        """Stop it; files are written to a temporary name first, so none is left half-written."""
        if self.state != "running":
            return
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._end("cancelled", f"{self.title}: cancelled")

    def _end(self, state: Literal["done", "failed", "cancelled"], text: str) -> None:
        self.state, self.text = state, text
        self._here.close()
        self._process.join(5)


def _work(connection: Connection, function: Callable[..., Any], arguments: tuple) -> None:
    def say(text: str, share: float | None = None) -> None:
        # A page that has gone away is no reason to stop half-way.
        with contextlib.suppress(OSError):
            connection.send(("progress", text, share))

    try:
        outcome = ("done", function(say, *arguments))
    except UserError as error:
        outcome = ("failed", str(error))
    except Exception as error:
        outcome = ("failed", f"{type(error).__name__}: {error}")
    with contextlib.suppress(OSError):
        connection.send(outcome)
