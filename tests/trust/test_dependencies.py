"""The bill of materials and the licences, as far as they can be told without a network."""

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
