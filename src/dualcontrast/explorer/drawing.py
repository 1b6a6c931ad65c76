"""How images and volumes are looked at: sections with a slider, or a surface that can be turned."""

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import panel as pn

from dualcontrast.explorer.locked import watch
from dualcontrast.explorer.pictures import (
    PLANES,
    Plane,
    depth_of,
    is_volume,
    picture_of,
    section,
    surface_picture,
    to_png,
)
from dualcontrast.figures.isosurfaces import BRIGHTEST_PERCENTILE, FRONT, LEVEL_SHARE

THREE, ONE, SURFACE = "three sections", "one section", "surface"


class Drawing:
    """Draws images; for volumes with controls of its own.

    Parameters
    ----------
    shape : tuple of int
        `(C, H, W)` or `(C, D, H, W)`.
    changed : callable
        Called when a control has changed, to draw again.
    """

    def __init__(self, shape: tuple[int, ...], changed: Callable[[], None]) -> None:
        self._volume = len(shape) == 4
        empty = np.zeros(shape, dtype=np.uint8)
        self._how = pn.widgets.Select(name="Draw", options=[THREE, ONE, SURFACE], value=THREE, width=120)
        self._plane = pn.widgets.Select(name="Plane", options=list(PLANES), value="xy", width=80)
        depth = depth_of(empty, "xy") if self._volume else 2
        self._place = pn.widgets.IntSlider(
            name="Section", start=0, end=depth - 1, value=depth // 2, width=330
        )
        self._level = pn.widgets.FloatSlider(
            name="Level: share of the way from background to brightest",
            start=0.05,
            end=0.95,
            step=0.05,
            value=LEVEL_SHARE,
            width=330,
        )
        self._turn = pn.widgets.IntSlider(
            name="Turn (°)", start=-180, end=180, step=10, value=int(FRONT[1]), width=160
        )
        self._tip = pn.widgets.IntSlider(
            name="Tilt (°)", start=-90, end=90, step=5, value=int(FRONT[0]), width=160
        )
        self._of_one = pn.Column(self._place)
        self._of_surface = pn.Column(self._level, pn.Row(self._turn, self._tip))
        self._empty = empty
        self._changed = changed
        for control in (self._how, self._plane):
            watch(control, "value", self._on_change)
        for slider in (self._place, self._level, self._turn, self._tip):
            watch(slider, "value_throttled", self._on_change)
        self._show_controls()

    def controls(self) -> pn.viewable.Viewable:
        """Return the controls; nothing for 2-D images."""
        if not self._volume:
            return pn.Column(height=0, margin=0)
        return pn.Column(
            pn.Row(self._how, self._plane), self._of_one, self._of_surface, css_classes=["drawing"]
        )

    def draw(self, images: Mapping[str, np.ndarray | str]) -> dict[str, bytes | str]:
        """Draw images, shape (C, *spatial), by title; texts stay texts."""
        return {
            title: image if isinstance(image, str) else self._one(image) for title, image in images.items()
        }

    def _one(self, image: np.ndarray) -> bytes:
        if not is_volume(image) or self._how.value == THREE:
            return to_png(picture_of(image), 110 if is_volume(image) else 150)
        if self._how.value == ONE:
            return to_png(section(image, cast(Plane, self._plane.value), self._place.value))
        volume = image.mean(axis=0)
        background, brightest = np.percentile(volume, (50, BRIGHTEST_PERCENTILE))
        level = float(background + self._level.value * (brightest - background))
        return to_png(surface_picture(image, level, (float(self._tip.value), float(self._turn.value))))

    def _on_change(self) -> None:
        depth = depth_of(self._empty, cast(Plane, self._plane.value)) if self._volume else 2
        if self._place.end != depth - 1:
            self._place.param.update(end=depth - 1, value=min(self._place.value, depth - 1))
        self._show_controls()
        self._changed()

    def _show_controls(self) -> None:
        self._plane.disabled = self._how.value != ONE
        self._of_one.visible = self._how.value == ONE
        self._of_surface.visible = self._how.value == SURFACE
