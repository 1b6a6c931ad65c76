"""The bill of materials and the licences, as far as they can be told without a network."""

import json
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import dependencies


def test_every_licence_is_known_and_goes_with_ours():
    table, open_questions = dependencies.licence_table()
    assert open_questions == []
    assert table.count("\n") > 40 and "| numpy |" in table


@pytest.mark.parametrize(
    "found", ["unknown", "GPLv3", "AGPL-3.0-only OR Commercial", "LGPL-2.1", "Proprietary"]
)
def test_other_licences_are_told(found):
    assert not dependencies.COMPATIBLE.search(found) or dependencies.FORBIDDEN.search(found)


def test_the_bill_of_materials_lists_what_is_installed():
    bill = dependencies.bill_of_materials()
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    packages = {component["name"].lower(): component for component in bill["components"]}
    assert packages["numpy"]["version"] == version("numpy")
    assert packages["numpy"]["purl"] == f"pkg:pypi/numpy@{version('numpy')}"
    # Not asked for by name: zarr needs it.
    assert "numcodecs" in packages
    # Extras are no part of what runs.
    assert "pytest" not in packages


def test_the_lowest_versions_are_those_of_pyproject():
    asked = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "dependencies"
    ]
    lowest = dependencies.lowest()
    assert len(lowest) == len(asked)
    assert "numpy==1.26" in lowest and all(line.count("==") == 1 for line in lowest)


def test_holes_are_looked_up_by_version(tmp_path):
    parts = [int(part) for part in version("numpy").split(".")[:2]]
    file = tmp_path / "insecure.json"
    # As the Safety database writes it, with a word about itself, and names in any spelling.
    listed = {"$meta": {"timestamp": 0}, "NumPy": [f"<{parts[0]}.{parts[1]}"], "nobody-installs-this": [">0"]}
    file.write_text(json.dumps(listed))
    said, fine = dependencies.audit_by_file(file)
    assert fine and "1 of" in said
    file.write_text(json.dumps(listed | {"NumPy": ["<1", f">={parts[0]}.{parts[1]},<{parts[0] + 1}"]}))
    said, fine = dependencies.audit_by_file(file)
    assert not fine
    assert f"known hole: numpy {version('numpy')} (>={parts[0]}.{parts[1]},<{parts[0] + 1})" in said
