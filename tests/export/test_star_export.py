"""Class STAR files: read by starfile, they equal the rows they were made from."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import starfile

from dualcontrast.errors import DataError
from dualcontrast.export.star import StarText, write_star_subset

STRINGS = ["rlnTomoName", "rlnOpticsGroupName"]

RELION5 = """
# version 50001

data_general

_rlnTomoSubTomosAre2DStacks                       0


# version 50001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnImagePixelSize #3
_rlnVoltage #4
           1  opticsGroup1    10.000000   300.000000
           2  "group two"     10.000000   300.000000
           3  opticsGroup3    10.000000   300.000000


# version 50001

data_particles

loop_
_rlnTomoName #1
_rlnImageName #2
_rlnOpticsGroup #3
_rlnAngleRot #4
_rlnComment #5
01 Extract/job003/01/1_data.mrc 1 -12.500000 ""
01 Extract/job003/01/2_data.mrc 3 0.1000000000000000055 'two words'
02 Extract/job003/02/1_data.mrc 1 1e-03 "a # b"
02 Extract/job003/02/2_data.mrc 2 007.50 plain

# a comment among the rows
03 Extract/job003/03/1_data.mrc 3 90 x

data_after

_rlnNote kept

"""

RELION30 = "\n".join(
    [
        "",
        "data_",
        "",
        "loop_ ",
        "_rlnMicrographName #1",
        "_rlnCtfImage #2",
        "_rlnImageName #3",
        "_rlnMagnification #4",
        "_rlnDetectorPixelSize #5",
        *[f"tomo{i % 2}.mrc ctf{i}.mrc sub/{i:06d}.mrc 10000.0000 10.0000 " for i in range(6)],
        " ",
        "",
    ]
)


@pytest.fixture
def relion5(tmp_path):
    path = tmp_path / "particles.star"
    path.write_text(RELION5)
    return path


def names(*numbers):
    return [f"Extract/job003/{tomogram}/{number}_data.mrc" for tomogram, number in numbers]


def read(path) -> Any:
    return starfile.read(path, always_dict=True, parse_as_string=STRINGS)


def test_rows_of_a_class_equal_those_of_the_whole_file(relion5, tmp_path):
    wanted = names(("01", 2), ("03", 1))
    output = write_star_subset(relion5, reversed(wanted), tmp_path / "class-1.star")
    whole, part = read(relion5), read(output)
    assert list(part) == ["general", "optics", "particles", "after"]
    assert part["general"] == whole["general"] and part["after"] == whole["after"]
    expected = whole["particles"][whole["particles"]["rlnImageName"].isin(wanted)].reset_index(drop=True)
    pd.testing.assert_frame_equal(part["particles"], expected, check_dtype=False)
    assert part["particles"]["rlnTomoName"].tolist() == ["01", "03"]
    assert part["optics"]["rlnOpticsGroup"].tolist() == [3]
    expected = whole["optics"][whole["optics"]["rlnOpticsGroup"] == 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(part["optics"], expected)


def test_nothing_but_rows_is_taken_out(relion5, tmp_path):
    output = write_star_subset(relion5, names(("01", 1), ("02", 1)), tmp_path / "class.star")
    gone = (
        "           2  ",
        "           3  ",
        "01 Extract/job003/01/2",
        "02 Extract/job003/02/2",
        "03 Extract",
    )
    expected = [line for line in RELION5.splitlines(keepends=True) if not line.startswith(gone)]
    assert output.read_text() == "".join(expected)


def test_all_particles_give_the_file_byte_by_byte(relion5, tmp_path):
    star = StarText(relion5)
    assert len(star.image_names) == 5
    assert (
        write_star_subset(star, star.image_names, tmp_path / "all.star").read_bytes() == relion5.read_bytes()
    )


def test_one_block_files_of_relion_3_stay_so(tmp_path):
    path = tmp_path / "old.star"
    path.write_text(RELION30)
    output = write_star_subset(path, ["sub/000004.mrc", "sub/000001.mrc"], tmp_path / "class.star")
    whole, part = read(path), read(output)
    assert list(part) == [""]
    pd.testing.assert_frame_equal(part[""], whole[""].iloc[[1, 4]].reset_index(drop=True))
    assert "10000.0000 10.0000 \n" in output.read_text()


def test_windows_line_ends_and_odd_bytes_stay(tmp_path):
    path = tmp_path / "windows.star"
    content = RELION30.encode().replace(b"\n", b"\r\n").replace(b"ctf0", b"ctf\xe9\x85")
    path.write_bytes(content)
    output = write_star_subset(path, [f"sub/{i:06d}.mrc" for i in range(6)], tmp_path / "class.star")
    assert output.read_bytes() == content


def test_quotes_and_comments_in_rows(tmp_path):
    path = tmp_path / "quotes.star"
    rows = ["'it''s 1' a.mrc # first", '"say \'x\'" "b c.mrc"', "x'y d#1.mrc"]
    path.write_text("data_particles\nloop_\n_rlnNote\n_rlnImageName\n" + "\n".join(rows) + "\n")
    star = StarText(path)
    assert star.image_names.tolist() == ["a.mrc", "b c.mrc", "d#1.mrc"]
    assert star.subset(["b c.mrc"]).endswith("_rlnImageName\n" + rows[1] + "\n")


def test_classes_divide_a_large_file(tmp_path):
    rows = [f"{i:07d}@stack.mrcs {i % 7 + 1} {i / 3:.9f}" for i in range(20_000)]
    path = tmp_path / "large.star"
    path.write_text("data_images\n\nloop_\n_rlnImageName\n_rlnGroupNumber\n_rlnAngleTilt\n" + "\n".join(rows))
    star = StarText(path)
    labels = np.random.default_rng(0).integers(4, size=len(rows))
    parts: list[Any] = [
        starfile.read(write_star_subset(star, star.image_names[labels == k], tmp_path / f"class-{k}.star"))
        for k in range(4)
    ]
    whole: Any = starfile.read(path)
    back = pd.concat(parts).sort_values("rlnImageName").reset_index(drop=True)
    pd.testing.assert_frame_equal(back, whole)


def test_new_values_reach_their_rows_and_nothing_else(relion5, tmp_path):
    wanted = names(("01", 2), ("02", 2), ("03", 1))
    angles = {name: f"{i}.500000" for i, name in enumerate(wanted)}
    tilts = {name: f"-{i}.25" for i, name in enumerate(wanted)}
    output = write_star_subset(
        relion5, wanted, tmp_path / "posed.star", {"_rlnAngleRot": angles, "_rlnAngleTilt": tilts}
    )
    whole, part = read(relion5)["particles"], read(output)["particles"]
    expected = whole[whole["rlnImageName"].isin(wanted)].reset_index(drop=True)
    assert part["rlnAngleRot"].tolist() == [0.5, 1.5, 2.5]
    assert part["rlnAngleTilt"].tolist() == [-0.25, -1.25, -2.25]
    assert part.columns.tolist() == [*expected.columns, "rlnAngleTilt"]
    kept = ["rlnTomoName", "rlnImageName", "rlnOpticsGroup", "rlnComment"]
    pd.testing.assert_frame_equal(part[kept], expected[kept], check_dtype=False)
    # The quotes of the row with two words, and the block behind, are as they were.
    assert "'two words' -0.25" in output.read_text()
    assert read(output)["after"] == read(relion5)["after"]


def test_new_values_keep_windows_line_ends(tmp_path):
    path = tmp_path / "windows.star"
    path.write_bytes(RELION30.encode().replace(b"\n", b"\r\n"))
    image_names = [f"sub/{i:06d}.mrc" for i in range(6)]
    values = {"_rlnAngleRot": dict.fromkeys(image_names, "1.0")}
    output = write_star_subset(path, image_names, tmp_path / "posed.star", values)
    assert output.read_bytes().count(b"\n") == output.read_bytes().count(b"\r\n")
    assert read(output)[""]["rlnAngleRot"].tolist() == [1.0] * 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RELION5.replace("_rlnImageName", "_rlnOtherName"), "no table with _rlnImageName"),
        (RELION5 + RELION30, "2 tables with _rlnImageName"),
        (RELION5.replace("1 -12.500000", "1"), "line 33 has 4 values for 5 columns"),
        (
            RELION5.replace("           3  opticsGroup3", "           4  opticsGroup3"),
            "optics group 3 is not defined",
        ),
        (RELION5.replace("01/2_data", "01/1_data"), "'Extract/job003/01/1_data.mrc' twice"),
        (RELION5.replace("03/1_data", "04/1_data"), "no particle 'Extract/job003/03/1_data.mrc'"),
    ],
)
def test_files_that_cannot_be_divided(tmp_path, text, message):
    path = tmp_path / "bad.star"
    path.write_text(text)
    with pytest.raises(DataError, match=r"bad\.star") as error:
        write_star_subset(path, names(("01", 1), ("03", 1)), tmp_path / "class.star")
    assert message in str(error.value)
    assert not (tmp_path / "class.star").exists()


def test_no_file_and_no_particles(relion5, tmp_path):
    with pytest.raises(DataError, match=r"missing\.star"):
        StarText(tmp_path / "missing.star")
    with pytest.raises(DataError, match="no particles"):
        write_star_subset(relion5, [], tmp_path / "class.star")
