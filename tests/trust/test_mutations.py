"""Sound files changed at random: read, or refused in one line; `trust/fuzz.py` does the same for longer."""

import contextlib
import io
import shutil
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import READERS, finding
from malformed.sound import sound_files

EDITS = st.lists(
    st.tuples(
        st.sampled_from(["overwrite", "insert", "delete", "cut", "repeat"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, b"\x00" * 8, b"\n", b"-1", b"nan"]),
    ),
    min_size=1,
    max_size=4,
)


def edited(content, edits):
    for kind, share, data in edits:
        place = int(share * (len(content) + 1))
        if kind == "overwrite":
            content = content[:place] + data + content[place + len(data) :]
        elif kind == "insert":
            content = content[:place] + data + content[place:]
        elif kind == "delete":
            content = content[:place] + content[place + len(data) :]
        elif kind == "repeat":
            content = content[:place] + content[max(0, place - 64) : place] + content[place:]
        else:
            content = content[:place]
    return content


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    return folder, sound_files(folder)


@pytest.fixture
def place(sound, reader, tmp_path):
    """The path of the reader's file, in a folder with what the file refers to."""
    folder, files = sound
    if reader == "STAR":
        for name in ("a.mrc", "b.mrc"):
            shutil.copy(folder / name, tmp_path / name)
    if reader == "Zarr":
        for chunk in range(2):
            (tmp_path / f"c/{chunk}/0").mkdir(parents=True)
            (tmp_path / f"c/{chunk}/0/0").write_bytes(np.arange(128, dtype=np.float32).tobytes())
    return tmp_path / files[reader].name


@pytest.mark.parametrize("reader", READERS)
def test_the_sound_file_is_read(sound, reader, place):
    place.write_bytes(sound[1][reader].content)
    sound[1][reader].open(place)


@pytest.mark.parametrize("reader", READERS)
def test_a_changed_file_is_read_or_refused_in_one_line(sound, reader, place):
    file = sound[1][reader]

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(EDITS)
    def check(edits):
        place.write_bytes(edited(file.content, edits))
        try:
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                file.open(place)
        except BaseException as error:
            assert finding(error, place) is None

    check()


def test_what_is_a_finding(tmp_path):
    from dualcontrast.errors import DataError

    path = tmp_path / "a.npy"
    assert finding(DataError(f"{path}: damaged; copy it again"), path) is None
    assert finding(DataError(f"{path}: damaged"), path).startswith("does not say what to do")
    assert finding(DataError("damaged; copy it again"), path).startswith("does not name")
    assert finding(ZeroDivisionError("division by zero"), path).startswith("ZeroDivisionError")
