"""What the windows of one server share: the run, and the one long work that goes on at a time."""

import threading
from collections.abc import Callable
from typing import Any

from dualcontrast.errors import SettingError, UserError
from dualcontrast.explorer.jobs import Job
from dualcontrast.explorer.run_view import RunView
from dualcontrast.run_folder import RunFolder


class Desk:
    """The run that all windows look at.

    Parameters
    ----------
    run : RunFolder
        Trained, or still training.
    device : str
        Where images are decoded.
    """

    def __init__(self, run: RunFolder, device: str = "cpu") -> None:
        self.run, self._device = run, device
        self.job: Job | None = None
        self.version = 0
        self.problem: str | None = None
        self._view: RunView | None = None
        self._failed: int | None = None
        self._lock = threading.Lock()

    @property
    def view(self) -> RunView | None:
        """The run's codes and images; None until it has been encoded, or where `problem` says why not."""
        with self._lock:
            written = RunView.codes_written(self.run)
            # Codes that cannot be read are not read again until they have been written again.
            if self._view is None and written is not None and written != self._failed:
                try:
                    self._view, self.problem = RunView(self.run, self._device), None
                except UserError as error:
                    self._failed, self.problem = written, str(error)
            return self._view

    def start(self, title: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin long work; see `Job`.

        Raises
        ------
        SettingError
            When other work is still going on.
        """
        if self.job is not None and self.job.state == "running":
            raise SettingError(f"{self.job.title} is still going on; wait for it or cancel it")
        self.job = Job(title, function, *arguments)

    def poll(self) -> None:
        """Look how the work is; every window then sees by `version` that something has changed."""
        job = self.job
        if job is None or job.state != "running":
            return
        job.poll()
        if job.state == "done":
            self.changed()

    def changed(self) -> None:
        """Say that classes, maps or selections have changed."""
        if self._view is not None:
            self._view.refresh_columns()
        self.version += 1

    def close(self) -> None:
        """End the work that is going on."""
        if self.job is not None:
            self.job.cancel()
