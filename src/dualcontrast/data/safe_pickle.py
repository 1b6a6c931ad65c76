"""Arrays in a pickle, read without running anything that is in it.

A pickle is a small program: it may name any function of any module and call it. Here nothing is called. The
opcodes are read one by one (`pickletools` of the standard library decodes them), and the few patterns that
stand for NumPy arrays are recognised by name; plain containers, texts and numbers are built as they are. All
else is refused, arrays of objects too.
"""

import math
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np

from dualcontrast.errors import DataError

# Stretches of bytes longer than this, of the opcodes BINBYTES and BINBYTES8, stay in the file until an array
# maps them.
_LONG = 1 << 16
_BYTES_OPCODES = (b"B", b"\x8e")
# Numbers, and texts of fixed width, which hold no objects.
_TYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c(?:8|16)|[SU]\d{1,6})|\?")
_NDARRAY = ("numpy", "ndarray")
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


class _Stored:
    """Bytes that are still in the file."""

    def __init__(self, start: int, length: int) -> None:
        self.start, self.length = start, length

    def __len__(self) -> int:
        return self.length


class _Name(NamedTuple):
    """A function or class that a pickle names; it stands for itself and is never looked up."""

    module: str
    name: str


class _Type:
    """A data type on its way: its code, then its byte order."""

    def __init__(self, code: str) -> None:
        self.code = code

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.code)


class _Array:
    """An array on its way: empty until its state follows."""

    def __init__(self) -> None:
        self.values: np.ndarray | None = None


_MARK = object()
# Containers in containers.
_DEEPEST = 16


class _Refused(Exception):
    """Something that is no array of numbers."""


class _File:
    """The file as `pickletools.genops` reads it, with long stretches of bytes left where they are.

    genops reads one byte, the opcode, and then what belongs to it; after that it hands over to whoever
    listens, who calls `next_opcode`.
    """

    def __init__(self, handle: IO[bytes], size: int) -> None:
        self._handle, self._size = handle, size
        self._opcode: bytes | None = None
        self.readline, self.tell = handle.readline, handle.tell

    def next_opcode(self) -> None:
        self._opcode = None

    def read(self, count: int) -> Any:
        if self._opcode is None:
            self._opcode = self._handle.read(count)
            return self._opcode
        if count < _LONG:
            return self._handle.read(count)
        start = self._handle.tell()
        if self._opcode not in _BYTES_OPCODES or count > self._size - start:
            return self._handle.read(min(count, self._size - start))
        self._handle.seek(count, 1)
        return _Stored(start, count)

    def read_stored(self, stored: _Stored) -> bytes:
        place = self._handle.tell()
        self._handle.seek(stored.start)
        content = self._handle.read(stored.length)
        self._handle.seek(place)
        return content


def read_pickle(path: str | Path) -> Any:
    """Read a pickle of arrays and plain containers; nothing in it is called, whatever it names.

    Parameters
    ----------
    path : str or Path
        A file that `pickle.dump` of Python 2 or 3 wrote, of any protocol.

    Returns
    -------
    object
        Arrays of numbers or of texts, lists, tuples, dicts, texts, bytes, numbers, booleans and None. Arrays
        are memory-mapped where the pickle stores them byte by byte (protocol 3 and later), else in memory.

    Raises
    ------
    DataError
        When the file is damaged, or holds anything else; names what that is.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            return _Reader(path, _File(handle, size)).run()
    except _Refused as error:
        raise DataError(
            f"{path}: holds {error}, which is not read, as it could run code; save the arrays with numpy.save"
        ) from None
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError) as error:
        raise DataError(f"{path}: not a whole pickle ({_short(error)}); copy the file again") from None
    except (OSError, MemoryError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({_short(error)})") from None


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


class _Reader:
    """The stack of a pickle, and what each opcode does to it."""

    def __init__(self, path: Path, file: _File) -> None:
        self._path, self._file = path, file
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        for opcode, argument, _ in pickletools.genops(cast(IO[bytes], self._file)):
            self._file.next_opcode()
            name = opcode.name
            if name in _NOTHING:
                continue
            if name == "STOP":
                (value,) = self._stack
                return _finished(value, {})
            if name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _VALUES:
                self._stack.append(argument)
            elif (action := _ACTIONS.get(name)) is not None:
                action(self, argument)
            else:
                raise _Refused(f"the operation {name}")
        raise ValueError("ends early")

    def bytes_of(self, value: Any) -> bytes | bytearray:
        """Bytes of any form in which pickles hold them; Python 2 has them as text."""
        if isinstance(value, _Stored):
            return self._file.read_stored(value)
        if isinstance(value, str):
            return value.encode("latin-1")
        if isinstance(value, bytes | bytearray):
            return value
        raise _Refused("an array of objects")

    def pop_to_mark(self) -> list[Any]:
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("has no mark")
        items = self._stack[place + 1 :]
        del self._stack[place:]
        return items

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        return self._stack.pop()

    def top(self) -> Any:
        return self._stack[-1]

    def memoize(self, key: int | None) -> None:
        self._memo[len(self._memo) if key is None else int(key)] = self._stack[-1]

    def recall(self, key: int) -> None:
        self._stack.append(self._memo[int(key)])

    def take(self, count: int) -> tuple[Any, ...]:
        items = tuple(self._stack[len(self._stack) - count :])
        if len(items) != count:
            raise ValueError("has too few values")
        del self._stack[len(self._stack) - count :]
        return items

    def set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("sets items of no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.text(key)] = value

    def new_dict(self, items: list[Any]) -> None:
        self._stack.append({})
        self.set_items(items)

    def append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise ValueError("appends to no list")
        target.extend(items)

    def text(self, key: Any) -> Any:
        if not isinstance(key, str | bytes | int | float | bool):
            raise _Refused(f"a key of type {type(key).__name__.strip('_')}")
        return key

    def name(self, module: Any, name: Any) -> None:
        """Put the name of a function or class on the stack, if it is one of those that arrays need."""
        named = _Name(str(module), str(name))
        if named not in _CALLS and named != _NDARRAY:
            raise _Refused(f"'{named.module}.{named.name}'")
        self._stack.append(named)

    def reduce(self) -> None:
        """What would be a call: of one of the functions that make arrays, with values of the right form."""
        named, arguments = self.take(2)
        call = _CALLS.get(named) if isinstance(named, _Name) else None
        if call is None or not isinstance(arguments, tuple):
            raise _Refused("a call of something else than NumPy's arrays")
        self._stack.append(call(self, arguments))

    def build(self) -> None:
        """Give an array or a data type its state."""
        target, state = self.take(2)
        if isinstance(target, _Type):
            self._set_type(target, state)
        elif isinstance(target, _Array):
            _, shape, dtype, fortran, content = state if len(state) == 5 else (0, *state)
            target.values = self.array(content, dtype, shape, "F" if fortran else "C")
        else:
            raise _Refused(f"an object with a state ({type(target).__name__.strip('_')})")
        self._stack.append(target)

    def _set_type(self, target: _Type, state: Any) -> None:
        _, order, subtype, names, fields, *_ = state
        if (subtype, names, fields) != (None, None, None) or order not in ("<", ">", "|", "="):
            raise _Refused("an array with fields")
        target.code = f"{order if order in '<>' else ''}{target.code.lstrip('<>|=')}"

    def array(self, content: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
        """Make an array of its bytes; memory-mapped where they are in the file as they are."""
        if not isinstance(dtype, _Type):
            raise _Refused("an array of unknown type")
        shape = tuple(int(length) for length in shape)
        if min(shape, default=0) < 0:
            raise ValueError("an array of negative length")
        size = math.prod(shape) * dtype.dtype.itemsize
        along = "F" if order == "F" else "C"
        if isinstance(content, _Stored) and content.length == size:
            return np.memmap(
                self._path, dtype.dtype, mode="r", offset=content.start, shape=shape, order=along
            )
        plain = self.bytes_of(content)
        if len(plain) != size:
            raise ValueError(f"an array of {size:,} bytes has {len(plain):,}")
        return np.frombuffer(plain, dtype=dtype.dtype).reshape(shape, order=along)


def _finished(value: Any, seen: dict[int, Any], depth: int = 0) -> Any:
    """Replace stand-ins by what they stand for; `seen` has what was finished before, by its identity."""
    if depth > _DEEPEST:
        raise ValueError("containers in containers without end")
    if isinstance(value, _Array):
        if value.values is None:
            raise ValueError("an array without values")
        return value.values
    if isinstance(value, _Name | _Type | _Stored) or value is _MARK:
        raise _Refused("bytes or types that are part of no array")
    if not isinstance(value, list | tuple | dict):
        return value
    if id(value) not in seen:
        if isinstance(value, dict):
            seen[id(value)] = {key: _finished(item, seen, depth + 1) for key, item in value.items()}
        else:
            seen[id(value)] = type(value)(_finished(item, seen, depth + 1) for item in value)
    return seen[id(value)]


def _call_reconstruct(reader: _Reader, arguments: tuple[Any, ...]) -> _Array:
    if arguments[0] != _NDARRAY:
        raise _Refused("an array of a class of its own")
    return _Array()


def _call_dtype(reader: _Reader, arguments: tuple[Any, ...]) -> _Type:
    code = arguments[0]
    if isinstance(code, bytes):
        code = code.decode("ascii")
    if not isinstance(code, str) or _TYPE.fullmatch(code) is None:
        raise _Refused(f"an array of type {code!r}"[:60])
    return _Type(code)


def _call_frombuffer(reader: _Reader, arguments: tuple[Any, ...]) -> np.ndarray:
    content, dtype, shape, order, *axes = arguments
    # NumPy 2 writes an array with its axes in another order as it lies in memory, and then that order.
    values = reader.array(content, dtype, shape, order)
    return values.transpose(axes[0]) if axes and order == "K" else values


def _call_scalar(reader: _Reader, arguments: tuple[Any, ...]) -> Any:
    dtype, content = arguments
    return reader.array(content, dtype, (), "C")[()]


def _call_encode(reader: _Reader, arguments: tuple[Any, ...]) -> bytes:
    """Bytes in protocols 0 to 2, which Python 3 writes as text."""
    text, encoding = arguments
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused("bytes in an unknown encoding")
    return text.encode("latin-1")


def _call_bytes(reader: _Reader, arguments: tuple[Any, ...]) -> bytes:
    if arguments:
        raise _Refused("a call of bytes")
    return b""


_CALLS: dict[tuple[str, str], Callable[[_Reader, tuple[Any, ...]], Any]] = {
    ("numpy", "dtype"): _call_dtype,
    ("_codecs", "encode"): _call_encode,
    ("builtins", "bytes"): _call_bytes,
    ("__builtin__", "bytes"): _call_bytes,
    **{(module, "_reconstruct"): _call_reconstruct for module in _MULTIARRAY},
    **{(module, "scalar"): _call_scalar for module in _MULTIARRAY},
    **{(module, "_frombuffer"): _call_frombuffer for module in _NUMERIC},
}

_NOTHING = {"PROTO", "FRAME"}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": _MARK}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}


_ACTIONS: dict[str, Callable[[_Reader, Any], Any]] = {
    "POP": lambda reader, _: reader.pop(),
    "POP_MARK": lambda reader, _: reader.pop_to_mark(),
    "DUP": lambda reader, _: reader.push(reader.top()),
    "EMPTY_LIST": lambda reader, _: reader.push([]),
    "LIST": lambda reader, _: reader.push(reader.pop_to_mark()),
    "APPEND": lambda reader, _: reader.append(list(reader.take(1))),
    "APPENDS": lambda reader, _: reader.append(reader.pop_to_mark()),
    "EMPTY_TUPLE": lambda reader, _: reader.push(()),
    "TUPLE": lambda reader, _: reader.push(tuple(reader.pop_to_mark())),
    "TUPLE1": lambda reader, _: reader.push(reader.take(1)),
    "TUPLE2": lambda reader, _: reader.push(reader.take(2)),
    "TUPLE3": lambda reader, _: reader.push(reader.take(3)),
    "EMPTY_DICT": lambda reader, _: reader.push({}),
    "DICT": lambda reader, _: reader.new_dict(reader.pop_to_mark()),
    "SETITEM": lambda reader, _: reader.set_items(list(reader.take(2))),
    "SETITEMS": lambda reader, _: reader.set_items(reader.pop_to_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), lambda reader, key: reader.memoize(key)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda reader, key: reader.recall(key)),
    "GLOBAL": lambda reader, names: reader.name(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda reader, _: reader.name(*reader.take(2)),
    "REDUCE": lambda reader, _: reader.reduce(),
    "BUILD": lambda reader, _: reader.build(),
}
