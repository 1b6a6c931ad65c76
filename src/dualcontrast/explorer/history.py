"""Undo."""

from collections.abc import Callable

MOST_STEPS = 100


class History:
    """The last changes, each with the way back."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], None]]] = []

    def add(self, text: str, back: Callable[[], None]) -> None:
        """Remember a change: what it was, in words, and what undoes it."""
        self._steps.append((text, back))
        del self._steps[:-MOST_STEPS]

    @property
    def last(self) -> str | None:
        """The change that `undo` takes back, in words; None where there is none."""
        return self._steps[-1][0] if self._steps else None

    def undo(self) -> str | None:
        """Take the last change back; return what it was."""
        if not self._steps:
            return None
        text, back = self._steps.pop()
        back()
        return text
