"""Answering widgets while the lock of the session is held.

Panel calls back without the lock. It knows how to change its own models then, but a change of a Bokeh model,
such as a figure, fails when it meets another one that is being written.
"""

from collections.abc import Callable, Sequence
from typing import Any

import panel as pn


def locked(action: Callable[[], object]) -> None:
    """Do something as soon as the lock is free; at once where there is no session."""
    document = pn.state.curdoc

    def act() -> None:
        action()

    if document is None or document.session_context is None:
        act()
    else:
        document.add_next_tick_callback(act)


def watch(watched: Any, names: str | Sequence[str], action: Callable[[], object]) -> None:
    """Do something, under the lock, whenever a parameter of a widget or of the state has changed."""
    watched.param.watch(lambda _: locked(action), [names] if isinstance(names, str) else list(names))
