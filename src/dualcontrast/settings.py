"""Configuration dataclasses: built from plain values with checks, and written back as plain values."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_type_hints

import pydantic

from dualcontrast.errors import SettingError

T = TypeVar("T")


def to_plain(config: Any) -> dict[str, Any]:
    """Turn a configuration dataclass into nested dictionaries of numbers, strings and lists."""
    return pydantic.TypeAdapter(type(config)).dump_python(config, mode="json")


def from_plain(config_class: type[T], values: Mapping[str, Any]) -> T:
    """Build a configuration dataclass from nested dictionaries, checking names, types and ranges.

    Raises
    ------
    SettingError
        For an unknown name (with the nearest valid one) or a value that is outside its range.
    """
    _check_names(config_class, values, "")
    try:
        return pydantic.TypeAdapter(config_class).validate_python(dict(values))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or config_class.__name__
        raise SettingError(
            f"setting '{where}': {first['msg'].removeprefix('Value error, ')}, got {first['input']!r}"
        ) from None


def replace(config: T, changes: Mapping[str, Any]) -> T:
    """Return a configuration with some values changed.

    Parameters
    ----------
    config : dataclass
        The settings to start from.
    changes : mapping
        Nested, or with dotted names such as `{"weights.con_c_positive": 0}`.

    Raises
    ------
    SettingError
        As `from_plain`.
    """
    values = to_plain(config)
    merge(values, nest(changes))
    return from_plain(type(config), values)


def nest(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted names into nested dictionaries."""
    nested: dict[str, Any] = {}
    for name, value in changes.items():
        *parents, last = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise SettingError(f"setting '{name}': '{parent}' is given both a value and parts")
        new = nest(value) if isinstance(value, Mapping) else value
        if isinstance(new, dict) and isinstance(place.get(last), dict):
            merge(place[last], new)
        else:
            place[last] = new
    return nested


def merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Write nested changes into nested values, in place."""
    for name, value in changes.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = value


def names_of(config_class: type, prefix: str = "") -> list[str]:
    """List the dotted names of every setting of a configuration dataclass."""
    names = []
    for name, part in _parts(config_class).items():
        names += names_of(part, f"{prefix}{name}.") if part else [prefix + name]
    return names


def unknown_name(name: str, known: list[str], what: str = "setting") -> SettingError:
    """Make the error for a name that does not exist, with the nearest one that does.

    A name that was only begun is nearest to one that goes on from there.
    """
    begun = [other for other in known if name and other.startswith(name)]
    close = begun or difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
    return SettingError(f"unknown {what} '{name}'; {hint}")


def _parts(config_class: type) -> dict[str, type | None]:
    """Map field names to the dataclass they hold, or to None where they hold a value."""
    hints = get_type_hints(config_class)
    parts: dict[str, type | None] = {}
    for field in dataclasses.fields(config_class):
        candidates = (hints[field.name], *get_args(hints[field.name]))
        parts[field.name] = next((c for c in candidates if dataclasses.is_dataclass(c)), None)  # pyright: ignore[reportArgumentType]
    return parts


def _check_names(config_class: type, values: Mapping[str, Any], prefix: str) -> None:
    parts = _parts(config_class)
    for name, value in values.items():
        if name not in parts:
            raise unknown_name(prefix + name, [prefix + known for known in parts])
        part = parts[name]
        if part is not None and isinstance(value, Mapping):
            _check_names(part, value, f"{prefix}{name}.")
