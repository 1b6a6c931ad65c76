"""Settings are built from plain values with checks and hints."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from pydantic import Field

from dualcontrast import settings
from dualcontrast.errors import SettingError


@dataclass(frozen=True)
class Inner:
    weight: Annotated[float, Field(ge=0)] = 1.0
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    size: Annotated[int, Field(ge=1, le=10)] = 3
    inner: Inner = field(default_factory=Inner)


def test_plain_values_and_back():
    config = Outer(size=5, inner=Inner(weight=2.5, kind="b"))
    assert settings.to_plain(config) == {"size": 5, "inner": {"weight": 2.5, "kind": "b"}}
    assert settings.from_plain(Outer, settings.to_plain(config)) == config


def test_dotted_and_nested_changes_are_the_same():
    dotted = settings.replace(Outer(), {"inner.weight": 0, "inner.kind": "b", "size": 4})
    nested = settings.replace(Outer(), {"inner": {"weight": 0, "kind": "b"}, "size": 4})
    assert dotted == nested == Outer(size=4, inner=Inner(0.0, "b"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inner.wieght": 1}, "unknown setting 'inner.wieght'; did you mean 'inner.weight'?"),
        ({"sise": 1}, "unknown setting 'sise'; did you mean 'size'?"),
        ({"size": 11}, "setting 'size': Input should be less than or equal to 10, got 11"),
        ({"inner.weight": -1}, "setting 'inner.weight': Input should be greater than or equal to 0, got -1"),
        ({"inner.kind": "c"}, "setting 'inner.kind': Input should be 'a' or 'b', got 'c'"),
        ({"size": "many"}, "got 'many'"),
    ],
)
def test_bad_values_name_the_setting_and_its_range(changes, message):
    with pytest.raises(SettingError) as error:
        settings.replace(Outer(), changes)
    assert message in str(error.value)


def test_names():
    assert settings.names_of(Outer) == ["size", "inner.weight", "inner.kind"]
