"""Widgets and pieces of HTML that wear the style of the pages."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import panel as pn

from dualcontrast.explorer.locked import locked

ASSETS = Path(__file__).parent / "assets"


@cache
def style_sheet(name: str) -> str:
    """Read a style sheet of the package."""
    return (ASSETS / name).read_text(encoding="utf-8")


def html(text: str, mark: str, **settings) -> pn.pane.HTML:
    """Make a piece of HTML that wears the style of the pages; `text` must be escaped."""
    return pn.pane.HTML(
        text,
        css_classes=[mark],
        stylesheets=[style_sheet("pieces.css")],
        **({"sizing_mode": "stretch_width"} | settings),
    )


def button(
    name: str,
    mark: str,
    action: Callable[[], object],
    width: int = 90,
    margin: tuple[int, ...] = (5, 4, 5, 10),
) -> pn.widgets.Button:
    """Make a button; its element has the class `do-MARK`, by which the keyboard and tests find it."""
    made = pn.widgets.Button(
        name=name,
        css_classes=[f"do-{mark}"],
        stylesheets=[style_sheet("widgets.css")],
        width=width,
        margin=margin,
    )

    def pressed(_: object) -> None:
        locked(action)

    made.on_click(pressed)
    return made


def choice(options: dict[str, str], mark: str, width: int) -> pn.widgets.RadioButtonGroup:
    """Make a row of buttons of which one is chosen, the first to begin with."""
    return pn.widgets.RadioButtonGroup(
        options=options,
        value=next(iter(options.values())),
        css_classes=[mark],
        stylesheets=[style_sheet("widgets.css")],
        width=width,
    )
