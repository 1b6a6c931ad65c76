"""Rows and data sets by name, and how cells are trained."""

import pytest

from dualcontrast.benchmark.rows import (
    PUBLISHED,
    ROWS,
    DataSet,
    Row,
    choose_datasets,
    choose_rows,
    settings_of,
)
from dualcontrast.errors import SettingError
from dualcontrast.methods.registry import all_methods

MNIST = DataSet("mnist", "mnist")


def test_every_row_of_the_table_is_a_method_with_a_preset():
    methods = all_methods()
    for row in ROWS:
        assert row.preset in methods[row.method].presets, row
    for published in PUBLISHED.values():
        assert list(published) == [row.name for row in ROWS[:9]]


def test_rows_by_name():
    assert choose_rows(None) == choose_rows(["all"]) == list(ROWS)
    assert choose_rows(["harmony", "dualcontrast:paper", "harmony"]) == [
        Row("harmony", "Harmony"),
        Row("dualcontrast:paper", "dualcontrast:paper"),
    ]
    with pytest.raises(SettingError, match="did you mean 'harmony'"):
        choose_rows(["harmoni"])
    with pytest.raises(SettingError, match="did you mean 'reference'"):
        choose_rows(["dualcontrast:referense"])


def test_datasets_by_name_and_path():
    first, second = choose_datasets(["mnist", "linemod=/data/views.npz"])
    assert (first.location, first.code_size) == ("mnist", 10)
    assert (second.name, second.location, second.code_size) == ("linemod", "/data/views.npz", 16)
    for bad in (["../x"], ["=a.npz"], ["mnist", "mnist=other.npz"]):
        with pytest.raises(SettingError, match="--datasets"):
            choose_datasets(bad)


def test_code_lengths_are_the_same_where_a_method_leaves_them_open():
    _, free = settings_of(Row("simclr", ""), DataSet("linemod", "linemod"), short=False, epochs=None)
    assert free == {"content_dim": 16, "transformation_dim": 16}
    _, explicit = settings_of(Row("harmony", ""), MNIST, short=False, epochs=7)
    assert explicit == {"content_dim": 10, "epochs": 7}


def test_short_trainings_have_one_cycle():
    preset, changes = settings_of(Row("harmony", ""), MNIST, short=True, epochs=3)
    assert preset == "short" and "learning_rate" not in changes
    preset, changes = settings_of(Row("dualcontrast:reference", ""), MNIST, short=True, epochs=3)
    assert preset == "reference"
    assert changes["schedule"] == "one_cycle" and changes["learning_rate"] == pytest.approx(1e-3)
    # Only learning rates change: presets `short` are shorter, too.
    for row in ROWS:
        _, published = settings_of(row, MNIST, short=False, epochs=None)
        _, short = settings_of(row, MNIST, short=True, epochs=None)
        recipe = all_methods()[row.method].presets[row.preset].recipe
        assert short["epochs"] == published.get("epochs", recipe.epochs) == recipe.epochs
    # What is one cycle already stays as it is.
    preset, changes = settings_of(Row("dualcontrast:subtomogram", ""), MNIST, short=True, epochs=3)
    assert preset == "subtomogram" and "schedule" not in changes
