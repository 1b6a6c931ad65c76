import ast

import pytest

from dualcontrast.errors import SettingError
from dualcontrast.export.chimerax import chimerax_script, quoted, write_chimerax_script


def commands(script: str) -> list[str]:
    return [line for line in script.splitlines() if not line.startswith("#")]


def test_a_morph_opens_every_map_in_order_and_names_them_all():
    script = commands(chimerax_script(["a.mrc", "b.mrc", "c.mrc"]))
    assert script[:3] == ['open "a.mrc" id #1', 'open "b.mrc" id #2', 'open "c.mrc" id #3']
    assert script[3] == "volume #1-3 style surface step 1 sdLevel 3"
    # 200 frames of a hundredth each: once to the end and once back.
    assert script[4] == "volume morph #1-3 frames 200 playStep 0.01"


def test_classes_lie_side_by_side_and_one_map_is_only_opened():
    assert "tile #1-2" in commands(chimerax_script(["a.mrc", "b.mrc"], "tile"))
    single = commands(chimerax_script(["a.mrc"]))
    assert not any(line.startswith(("tile", "volume morph")) for line in single)
    assert 'open "a.mrc" id #1' in single


@pytest.mark.parametrize(
    "name", ["a b.mrc", 'say "x".mrc', "back\\slash.mrc", "semi;close.mrc", "it's.mrc", "é.mrc"]
)
def test_names_are_quoted_so_that_they_are_read_back(name):
    # ChimeraX unescapes quoted text as Python does.
    assert ast.literal_eval(quoted(name)) == name


@pytest.mark.parametrize("name", ["a\nclose all", "a\r.mrc", "*.mrc", "a?.mrc", "[ab].mrc", "a\x00"])
def test_names_that_would_be_more_than_a_name_are_refused(name):
    with pytest.raises(SettingError, match="no file name"):
        chimerax_script([name])


def test_a_script_without_maps_is_refused(tmp_path):
    with pytest.raises(SettingError, match="without maps"):
        write_chimerax_script(tmp_path / "none.cxc", [])
    assert not list(tmp_path.iterdir())
