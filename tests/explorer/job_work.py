"""What the tests of jobs let them do; a job imports nothing else, which would take seconds each time."""

import os
import time

from dualcontrast.errors import UserError


def count_to(say, last: int, seconds: float) -> int:
    for number in range(last):
        say(f"at {number}", number / last)
        time.sleep(seconds)
    return last


def fail(say) -> None:
    raise UserError("no such thing")


def vanish(say) -> None:
    os._exit(7)
