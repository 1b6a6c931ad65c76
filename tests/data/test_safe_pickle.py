"""Pickles: arrays come out as they went in, and nothing in the file is run."""

import builtins
import io
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from dualcontrast.data.open import open_source
from dualcontrast.data.safe_pickle import read_pickle
from dualcontrast.errors import DataError

RNG = np.random.default_rng(0)
VOLUMES = RNG.random((20, 16, 16, 16), dtype=np.float32)

VALUES = {
    "array": VOLUMES,
    "small": np.arange(6, dtype=np.int16).reshape(2, 3),
    "big-endian": VOLUMES[:3].astype(">f8"),
    "fortran": np.asfortranarray(VOLUMES[:2]),
    "axes moved": np.moveaxis(VOLUMES[:2], 1, 3),
    "strided": VOLUMES[::3],
    "booleans": VOLUMES > 0.5,
    "texts": np.array(["spike", "å"]),
    "scalar": np.float64(2.5),
    "zero-dimensional": np.array(7),
    "empty": np.zeros((0, 4), np.float32),
    "dict": {"images": VOLUMES, "labels": np.arange(20), "note": "µ"},
    "pair": (VOLUMES, [1, 2.5, None, True, False, 2**70, -5, b"raw", "text"]),
    "shared": [[VOLUMES[0]] * 3, {"a": (1, (2, [3]))}, {}, [], ()],
}


def same(found, expected):
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list | tuple):
        return (
            type(found) is type(expected) and len(found) == len(expected) and all(map(same, found, expected))
        )
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(np.asarray(found), expected)
        return found.dtype == expected.dtype
    return found == expected and type(found) is type(expected)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_what_went_in_comes_out(tmp_path, value, protocol):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    assert same(read_pickle(tmp_path / "x.pkl"), value)


@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_names_of_either_numpy(tmp_path, module, protocol):
    content = pickle.dumps({"a": VOLUMES, "b": np.float32(3)}, protocol=protocol)
    here = b"numpy._core" if b"numpy._core" in content else b"numpy.core"
    # A text of protocol 4 has its length before it.
    for part in (b"multiarray", b"numeric"):
        old, new = here + b"." + part, module + b"." + part
        content = content.replace(bytes([len(old)]) + old, bytes([len(new)]) + new).replace(old, new)
    assert module + b"." in content
    # Frames have lengths, too, which have changed.
    content = content.replace(content[2:11], b"", 1) if content[2:3] == b"\x95" else content
    (tmp_path / "x.pkl").write_bytes(content)
    found = read_pickle(tmp_path / "x.pkl")
    np.testing.assert_array_equal(found["a"], VOLUMES)
    assert found["b"] == 3


def test_python_2(tmp_path):
    # As Python 2.7 and NumPy 1.16 write np.arange(3, dtype='<i2') with protocol 2: bytes are texts there.
    content = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
        b"(K\x01K\x03\x85cnumpy\ndtype\nq\x04U\x02i2K\x00K\x01\x87Rq\x05(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x06\x00\x00\x01\x00\x02\x00tb."
    )
    (tmp_path / "x.pkl").write_bytes(content)
    np.testing.assert_array_equal(read_pickle(tmp_path / "x.pkl"), np.arange(3, dtype="<i2"))


def test_large_arrays_stay_in_the_file(tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([VOLUMES, VOLUMES.T], protocol=4))
    found = read_pickle(tmp_path / "x.pkl")
    assert all(isinstance(array, np.memmap) and not array.flags.writeable for array in found)


# ---- Hostile files. Each would leave a file behind if anything in it ran.


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Subclass(np.ndarray):
    pass


def hostile_values(canary):
    touch = f"touch {canary}"
    python = f"open({str(canary)!r}, 'w').close()"
    objects = np.empty(2, dtype=object)
    objects[:] = Calls(os.system, touch)
    return {
        "os.system": Calls(os.system, touch),
        "builtins.eval": Calls(builtins.eval, python),
        "builtins.exec": Calls(builtins.exec, python),
        "subprocess": Calls(subprocess.Popen, ["touch", str(canary)]),
        "open": Calls(builtins.open, str(canary), "w"),
        "getattr": Calls(builtins.getattr, 1, "real"),
        "import": Calls(builtins.__import__, "os"),
        "as a label": (VOLUMES, Calls(os.system, touch)),
        "as an item": {"images": VOLUMES, "more": [Calls(os.system, touch)]},
        "objects": np.array([1, "a", None], dtype=object),
        "objects that call": objects,
        "fields": np.zeros(2, dtype=[("a", "f4"), ("b", "O")]),
        "dates": np.array(["2020-01-01"], dtype="M8[D]"),
        "numpy.load": Calls(np.load, str(canary), None, True),
        "numpy.fromfile": Calls(np.fromfile, str(canary)),
        "numpy.save": Calls(np.save, str(canary), 1),
        "numpy.array": Calls(np.array, [1, 2]),
        "ndarray": Calls(np.ndarray, (2,), "O"),
        "dtype of a call": Calls(np.dtype, Calls(os.system, touch)),
        "dtype of objects": Calls(np.dtype, "O"),
        "dtype of a text of many": Calls(np.dtype, "f4,O"),
        "subclass": np.zeros(3).view(Subclass),
        "masked": np.ma.masked_array([1, 2], [0, 1]),
        "type": np.dtype("f4"),
        "module": Calls(os.getcwd),
        "set": {1, 2},
        "complex": 1j,
        "path": Calls(os.path.join, "a", "b"),
    }


NAMES = list(hostile_values("x"))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("name", NAMES)
def test_all_else_is_refused_and_not_run(tmp_path, name, protocol):
    canary = tmp_path / "canary"
    content = pickle.dumps(hostile_values(canary)[name], protocol=protocol)
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pkl: holds .*could run code") as caught:
        open_source(tmp_path / "x.pkl")
    assert "\n" not in str(caught.value)
    assert not canary.exists()


def test_the_hostile_files_do_run_when_unpickled(tmp_path):
    # Else the test above would show nothing.
    for name in ("os.system", "builtins.eval", "objects that call", "as a label", "dtype of a call"):
        canary = tmp_path / name.replace(" ", "-")
        content = pickle.dumps(hostile_values(canary)[name])
        code = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
        subprocess.run(
            [sys.executable, "-c", code], input=content, capture_output=True, timeout=60, check=False
        )
        assert canary.exists(), name


@pytest.mark.parametrize(
    "program",
    [
        # Names are compared whole: no dotted way from an allowed name to another.
        b"\x80\x04\x8c\x16numpy._core.multiarray\x8c\x18_reconstruct.__globals__\x93.",
        b"\x80\x04\x8c\x05numpy\x8c\x15core.multiarray.dtype\x93.",
        b"cposix\nsystem\n(S'touch CANARY'\ntR.",
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"(S'touch CANARY'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch CANARY'\no.",
        b"cnumpy\nndarray\n)\x81.",
        b"cnumpy\nndarray\n(I2\ntR.",
        b"\x80\x02\x82\x01.",
        b"Ppersistent\n.",
        b"\x80\x05\x97.",
        # A state given to a list, and to the class of arrays itself.
        b"](S'a'\nI1\ndb.",
        b"cnumpy\nndarray\n(S'__reduce__'\nI1\ndb.",
        # A call of an array, and of a text.
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(tR.",
        b"S'os.system'\n(S'touch CANARY'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.",
        b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.",
        b"c__builtin__\nbytes\n(I99\ntR.",
    ],
)
def test_programs_written_by_hand(tmp_path, program):
    canary = tmp_path / "canary"
    (tmp_path / "x.pkl").write_bytes(program.replace(b"CANARY", str(canary).encode()))
    with pytest.raises(DataError, match="could run code"):
        read_pickle(tmp_path / "x.pkl")
    assert not canary.exists()


def array_program(shape, code, content, order=b"<"):
    """A pickle of one array that says what it is told."""
    output = io.BytesIO()
    output.write(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(")
    output.write(b"".join(b"I%d\n" % length for length in shape))
    output.write(
        b"tcnumpy\ndtype\n(S'" + code + b"'\nI0\nI1\ntR(I3\nS'" + order + b"'\nNNNI-1\nI-1\nI0\ntbI00\n"
    )
    output.write(b"B" + struct.pack("<I", len(content)) + content + b"tb.")
    return output.getvalue()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (array_program((2,), b"f4", b"x" * 7), "an array of 8 bytes has 7"),
        (array_program((10**9, 10**9), b"f8", b"x" * 8), "not a whole pickle"),
        (array_program((-1, -8), b"f1", b"x" * 8), "holds an array of type 'f1'"),
        (array_program((-1, -2), b"f4", b"x" * 8), "negative length"),
        (array_program((20_000,), b"f4", b"x" * 80_001), "an array of 80,000 bytes has 80,001"),
        (b"", "not a whole pickle"),
        (b"hello", "not a whole pickle"),
        (pickle.dumps(VOLUMES, 4)[:-50_000], "not a whole pickle"),
        (pickle.dumps(VOLUMES, 4)[:-1], "not a whole pickle"),
        (b"].a", "of no form"),
        (b"]a.", "not a whole pickle"),
        (b"t.", "not a whole pickle"),
        (b"00.", "not a whole pickle"),
        (b"g5\n.", "not a whole pickle"),
        (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR.",
            "an array without values",
        ),
        # A list that holds itself.
        (b"]q\x00h\x00a.", "without end"),
    ],
)
def test_damaged_files(tmp_path, program, message):
    (tmp_path / "x.pkl").write_bytes(program)
    with pytest.raises(DataError, match=message) as caught:
        open_source(tmp_path / "x.pkl")
    assert str(tmp_path / "x.pkl") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_doubles_at_every_level_is_read_once(tmp_path):
    # Ten levels of lists, each of which holds the one below a hundred times: 10²⁰ items if they were copied.
    value = [1]
    for _ in range(10):
        value = [value] * 100
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value))
    assert len(read_pickle(tmp_path / "x.pkl")) == 100
