"""Stopping between two steps when the user or a scheduler asks for it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dualcontrast import ranks


class StopRequest:
    """Remembers which signal asked the training to stop."""

    signal_number: int | None = None

    def __bool__(self) -> bool:
        return self.signal_number is not None

    def of_any_rank(self) -> int | None:
        """Return the signal that this or any other rank was sent, so that all stop after the same step."""
        return ranks.agree(self.signal_number or 0) or None


@contextmanager
def stop_between_steps() -> Iterator[StopRequest]:
    """Turn Ctrl-C and SIGTERM into a request that the training loop reads after each step.

    A second Ctrl-C stops at once. Outside the main thread, signals are left as they are.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def remember(number: int, _frame: FrameType | None) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal_number = number

    previous = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
