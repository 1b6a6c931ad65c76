"""What is done to every page before Markdown reads it.

Equations become MathML, which browsers draw without scripts, and the presets of a method become a table that
cannot fall behind the code.
"""

import re
from typing import Any

from latex2mathml.converter import convert

from dualcontrast import settings
from dualcontrast.methods.base import Preset
from dualcontrast.methods.registry import method_class

EQUATION = re.compile(r"^\$\$\n(?P<tex>.+?)\n\$\$$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\\tag\{(.+?)\}")
PRESETS = re.compile(r"^<!-- presets of (?P<method>\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace `$$` blocks and `<!-- presets of METHOD -->` lines."""
    markdown = EQUATION.sub(lambda match: equation(match["tex"]), markdown)
    return PRESETS.sub(lambda match: preset_table(match["method"]), markdown)


def equation(tex: str) -> str:
    """Turn TeX into MathML, with its number (`tag`) at the right."""
    number = NUMBER.search(tex)
    mathml = convert(NUMBER.sub("", tex).strip(), display="block")
    label = f"<span>({number[1]})</span>" if number else ""
    return f'<div class="equation">{mathml}{label}</div>'


def preset_table(method: str) -> str:
    """Write every setting of a method as a Markdown table with one column a preset, `default` last."""
    presets = method_class(method).presets
    names = sorted(presets, key=lambda name: (name == "default", name))
    columns = [flat(presets[name]) for name in names]
    lines = [f"| setting | {' | '.join(f'`{name}`' for name in names)} |", "|---" * (len(names) + 1) + "|"]
    for setting in columns[0]:
        values = [column[setting] for column in columns]
        shown = [f"**{value}**" if value != values[0] else str(value) for value in values]
        lines.append(f"| `{setting}` | {' | '.join(shown)} |")
    return "\n".join(lines)


def flat(preset: Preset) -> dict[str, Any]:
    """List the settings of a preset by their dotted names: those of the method, then of the recipe."""
    values: dict[str, Any] = {}
    for part in (preset.config, preset.recipe):
        plain = settings.to_plain(part)
        for name in settings.names_of(type(part)):
            value: Any = plain
            for key in name.split("."):
                value = value[key]
            values[name] = value
    return values
