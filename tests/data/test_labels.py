"""Label tables: reading CSV files, and alignment by id."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualcontrast.data.labels import (
    Factor,
    LabelTable,
    align,
    parse_column,
    parse_header,
    positions_of,
    read_label_csv,
)
from dualcontrast.errors import DataError


def table_of(ids, **columns):
    return LabelTable(
        np.array(ids), tuple(Factor(name, "content", np.asarray(v)) for name, v in columns.items())
    )


@pytest.mark.parametrize(
    ("header", "name", "role"),
    [
        ("content:digit", "digit", "content"),
        ("Transformation: angle ", "angle", "transformation"),
        ("metadata:batch", "batch", "metadata"),
        ("label", "label", "content"),
        ("Class", "Class", "content"),
        ("content", "content", "content"),
        ("defocus", "defocus", "metadata"),
        ("y", "y", "metadata"),
        ("um:x", "um:x", "metadata"),
    ],
)
def test_header_gives_name_and_role(header, name, role):
    assert parse_header(header) == (name, role)


def test_misspelt_role_is_an_error_with_the_nearest():
    with pytest.raises(DataError, match="did you mean `content:digit`"):
        parse_header("contnet:digit")
    with pytest.raises(DataError, match="has no name"):
        parse_header("content:")


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["3", "-1", "0"], "i", [3, -1, 0]),
        (["3", "1.5", "-2e1"], "f", [3, 1.5, -20]),
        (["1.0", "2.0"], "f", [1, 2]),
        (["007", "012"], "U", ["007", "012"]),
        (["01.5", "2.5"], "U", ["01.5", "2.5"]),
        (["1_000", "2.5"], "U", ["1_000", "2.5"]),
        (["cat", "3"], "U", ["cat", "3"]),
        (["", ""], "U", ["", ""]),
        (["0.5", ""], "f", [0.5, np.nan]),
    ],
)
def test_column_types(cells, kind, values):
    parsed = parse_column(cells)
    assert parsed.dtype.kind == kind
    np.testing.assert_array_equal(parsed, values)


def test_csv_round_trip(tmp_path):
    path = tmp_path / "labels.csv"
    # A byte order mark, Windows line ends, quotes, spaces and an empty line, as spreadsheets write them.
    path.write_bytes(
        '﻿id, content:shape,transformation:angle,site\r\nb,"sq,uare",1.5,A\r\n\r\na,disc,-2,\r\n'.encode()
    )
    table = read_label_csv(path)
    assert table.ids.tolist() == ["b", "a"]
    shape, angle, site = table.factors
    assert (shape.name, shape.role, shape.is_continuous) == ("shape", "content", False)
    assert shape.values.tolist() == ["sq,uare", "disc"]
    assert (angle.role, angle.is_continuous, angle.values.tolist()) == ("transformation", True, [1.5, -2.0])
    assert (site.role, site.values.tolist()) == ("metadata", ["A", ""])
    assert [f.name for f in table.of_role("content")] == ["shape"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("name,label\na,1\n", "first column is 'name'"),
        ("id,label\na,1\nb\n", "line 3 has 1 cells for 2 columns"),
        ("id,label\na,1\na,2\n", "'a' is repeated"),
        ("id,label\na,\nb,2\n", "line 2 has no value in 'label'"),
        ("id,label\n,1\nb,2\n", "line 2 has no id"),
        ("id,content:x\na,nan\nb,0.5\n", "no finite number for 1 particles, first 'a'"),
        ("id,content:x,content:x\na,1,2\n", "'x' is there twice"),
        ('id,label\na,"1\n', "not a readable CSV"),
    ],
)
def test_bad_csv_names_file_and_fault(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_label_csv(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_csv_that_is_missing_or_binary(tmp_path):
    with pytest.raises(DataError, match="no such label file"):
        read_label_csv(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="not a readable CSV"):
        read_label_csv(tmp_path / "binary.csv")


@given(st.permutations([f"p{i}" for i in range(8)]))
def test_alignment_undoes_any_order_of_rows(order):
    truth = {f"p{i}": i * i for i in range(8)}
    ids = np.array(list(truth))
    aligned = align(table_of(order, square=[truth[name] for name in order]), ids, "x.csv")
    np.testing.assert_array_equal(aligned.ids, ids)
    assert aligned.factors[0].values.tolist() == list(truth.values())


def test_alignment_takes_file_names_for_ids():
    ids = np.array(["sub/a.1", "b", "c.png"])
    aligned = align(table_of(["c.png", "b.tif", "sub\\a.1.png"], k=[3, 2, 1]), ids, "x.csv")
    assert aligned.factors[0].values.tolist() == [1, 2, 3]


def test_labels_of_another_length_are_an_error_either_way():
    ids = np.array(["a", "b", "c"])
    with pytest.raises(
        DataError, match=r"x.csv: 2 rows of labels for 3 images; 1 images have no row, first 'b'"
    ):
        align(table_of(["a", "c"], k=[1, 2]), ids, "x.csv")
    with pytest.raises(DataError, match="4 rows of labels for 3 images; 1 rows name no image, first 'd'"):
        align(table_of(["a", "b", "c", "d"], k=[1, 2, 3, 4]), ids, "x.csv")


def test_two_file_names_for_one_image_are_an_error():
    with pytest.raises(DataError, match="'a' is repeated"):
        align(table_of(["a.png", "a.jpg"], k=[1, 2]), np.array(["a", "b"]), "x.csv")


def test_select_keeps_the_asked_order_and_names_what_is_missing():
    table = table_of(["a", "b", "c"], k=[1, 2, 3])
    assert table.select(np.array(["c", "a"])).factors[0].values.tolist() == [3, 1]
    assert len(table.select(np.array([], dtype=str)).ids) == 0
    with pytest.raises(DataError, match="1 particles have no label, first 'z'"):
        table.select(np.array(["a", "z"]))


def test_table_refuses_columns_of_another_length():
    with pytest.raises(DataError, match="'k' has 2 values for 3 particles"):
        table_of(["a", "b", "c"], k=[1, 2])


def test_joined_replaces_columns_of_the_same_name():
    first = table_of(["a", "b"], k=[1, 2], m=[5, 6])
    both = first.joined(table_of(["b", "a"], k=[20, 10]))
    assert {f.name: f.values.tolist() for f in both.factors} == {"m": [5, 6], "k": [10, 20]}


def test_positions_of_marks_missing_ids():
    assert positions_of(np.array(["c", "x", "a"]), np.array(["a", "b", "c"])).tolist() == [2, -1, 0]
