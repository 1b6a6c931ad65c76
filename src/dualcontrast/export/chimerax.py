"""ChimeraX command scripts (.cxc) that open maps.

ChimeraX runs a script in the folder where it lies, so maps are named relative to it and the folder can be
moved.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dualcontrast.errors import SettingError
from dualcontrast.files import write_text

Show = Literal["morph", "tile"]
LEVEL = 3.0
MORPH_FRAMES = 200


def quoted(name: str) -> str:
    """Put a name in double quotes as ChimeraX reads them: backslashes and double quotes are escaped.

    Raises
    ------
    SettingError
        For a name with a line break or another control character, which would end the command, or with one
        of the wildcards `*`, `?` and `[`, which `open` would expand.
    """
    if any(not character.isprintable() for character in name) or set(name) & set("*?["):
        raise SettingError(
            f"{name!r}: no file name for a ChimeraX script; leave out control characters, * ? ["
        )
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def chimerax_script(maps: Sequence[str], show: Show = "morph", level: float = LEVEL) -> str:
    """Return the commands that open maps.

    Parameters
    ----------
    maps : sequence of str
        File names relative to the script, in order.
    show : {'morph', 'tile'}
        `morph` runs through the maps to and fro (`volume morph`); `tile` lays them out side by side. A single
        map is only opened.
    level : float
        Contour level in standard deviations of each map.

    Raises
    ------
    SettingError
        Without maps, or for a name that cannot be put into a script.
    """
    if not maps:
        raise SettingError("a ChimeraX script without maps; give at least one")
    lines = ["# Open this file with ChimeraX; the contour level is in standard deviations of each map."]
    lines += [f"open {quoted(name)} id #{number}" for number, name in enumerate(maps, start=1)]
    models = f"#1-{len(maps)}" if len(maps) > 1 else "#1"
    lines.append(f"volume {models} style surface step 1 sdLevel {level:g}")
    if len(maps) > 1 and show == "morph":
        lines += [
            f"volume morph {models} frames {MORPH_FRAMES} playStep {2 / MORPH_FRAMES:g}",
            "# The maps one after the other instead, without what lies between them:",
            f"# mseries slider {models}",
        ]
    elif len(maps) > 1:
        lines.append(f"tile {models}")
    lines.append("view")
    return "\n".join(lines) + "\n"


def write_chimerax_script(
    path: str | Path, maps: Sequence[str], show: Show = "morph", level: float = LEVEL
) -> Path:
    """Write the script of `chimerax_script` beside the maps; the file is replaced where it exists."""
    path = Path(path)
    write_text(path, chimerax_script(maps, show, level))
    return path
