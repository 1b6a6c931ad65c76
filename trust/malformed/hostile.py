"""Objects whose pickles are a call: what a reader that trusts a file would run."""

from collections.abc import Callable
from typing import Any


class Calls:
    """Pickles as a call of any function.

    Parameters
    ----------
    function : callable
        What unpickling calls.
    *arguments
        What it is called with.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call
