"""Settings in YAML: plain values, no more of them than anybody writes, and nothing that is run."""

import re
from pathlib import Path
from typing import Any

import yaml

from dualcontrast.data.limits import check_file

# The longest honest settings are lists of structures: some ten kilobytes.
MOST_BYTES = 256 << 10
MOST_VALUES = 100_000
MOST_DEEP = 100


class _Loader(yaml.SafeLoader):
    """The safe loader, without merge keys: in a few lines they can make more values than memory holds."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "merge keys (<<) are not read")


def parse_yaml(text: str) -> Any:
    """Turn YAML into plain values.

    Raises
    ------
    ValueError
        With the reason in one line: when it is no YAML, names Python objects, nests too deep, or its anchors
        make it hold itself or more values than `MOST_VALUES`.
    """
    _check_depth(text)
    loader = None
    try:
        loader = _Loader(text)
        value = loader.get_single_data()
    except RecursionError:
        raise ValueError("brackets in brackets without end") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    finally:
        if loader is not None:
            loader.dispose()
    _check_count(value)
    return value


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file; see `parse_yaml`.

    Raises
    ------
    ValueError
        As `parse_yaml`, and when the file cannot be read, is no UTF-8, or larger than `MOST_BYTES`.
    DataError
        When it is a pipe or a device.
    """
    check_file(path)
    try:
        with Path(path).open("rb") as handle:
            content = handle.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    if len(content) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes are no settings")
    try:
        return parse_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"no UTF-8 text: {error.reason} at byte {error.start}") from None


def _check_depth(text: str) -> None:
    """Count brackets first, as the parser takes seconds for some thousand of them."""
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        if depth > MOST_DEEP:
            raise ValueError("brackets in brackets without end")


def _check_count(value: Any) -> None:
    """Count values as often as they occur; an anchor in itself occurs without end."""
    left, count = [value], 0
    while left:
        count += 1
        if count > MOST_VALUES:
            raise ValueError(f"its anchors make more than {MOST_VALUES:,} values")
        item = left.pop()
        if isinstance(item, dict):
            left.extend(item.values())
        elif isinstance(item, list | tuple | set):
            left.extend(item)
