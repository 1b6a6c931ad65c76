"""IDX files: the format of MNIST and of the sets made after its pattern, gzipped or not.

A file is two zero bytes, the type of its values, the number of its axes, their lengths as big-endian 32-bit
integers, and the values, big-endian (http://yann.lecun.com/exdb/mnist/).
"""

import math
import re
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from dualcontrast.data.arrays import ArraySource
from dualcontrast.data.download import open_plain
from dualcontrast.data.labels import Factor, LabelTable
from dualcontrast.data.limits import check_unpacked
from dualcontrast.errors import DataError

_TYPES = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
# Of volumes in colour, with one more than any images have.
_MOST_AXES = 6
IMAGES_NAME = re.compile(r"^(?P<prefix>.*)images[-.]idx(?P<axes>\d)-ubyte(\.gz)?$")


def read_idx(path: str | Path) -> np.ndarray:
    """Read one IDX file; a file that is not gzipped is memory-mapped.

    Raises
    ------
    DataError
        When the file is missing, is no IDX file, or its size is not the one its header gives.
    """
    path = Path(path)
    try:
        with path.open("rb") as stored, open_plain(stored) as plain:
            dtype, shape = _read_header(plain, path)
            size = math.prod(shape) * dtype.itemsize
            if not size:
                raise DataError(f"{path}: shape {shape} holds no values; copy the file again")
            start = 4 + 4 * len(shape)
            if plain is not stored:
                check_unpacked(path, size, path.stat().st_size)
            # One byte more than expected tells a file that is too long.
            content = None if plain is stored else plain.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}); fetch or copy the file again") from None
    found = path.stat().st_size - start if content is None else len(content)
    if found != size:
        more = "more than that" if found > size else f"only {found:,}"
        raise DataError(f"{path}: its header promises {size:,} bytes, but it has {more}; copy the file again")
    if content is None and size:
        return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape)
    return np.frombuffer(content or b"", dtype=dtype).reshape(shape)


def _read_header(plain: IO[bytes], path: Path) -> tuple[np.dtype, tuple[int, ...]]:
    """Read type and shape from the head of an IDX file."""
    magic = plain.read(4)
    if len(magic) < 4 or magic[:2] != b"\x00\x00" or magic[2] not in _TYPES or not magic[3]:
        raise DataError(
            f"{path}: not an IDX file (it begins with {magic.hex(' ') or 'nothing'}); check the path"
        )
    if magic[3] > _MOST_AXES:
        raise DataError(f"{path}: an array of {magic[3]} axes, which is no images; copy the file again")
    lengths = plain.read(4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise DataError(f"{path}: ends inside its header; copy the file again")
    return _TYPES[magic[2]], struct.unpack(f">{magic[3]}I", lengths)


def is_idx(folder: Path) -> bool:
    """Whether a folder holds files of IDX images, going by their names."""
    return any(IMAGES_NAME.match(file.name) for file in folder.iterdir())


def has_idx_magic(path: Path) -> bool:
    """Whether a file begins like an IDX file, gzipped or not, whatever its name."""
    try:
        with path.open("rb") as handle, open_plain(handle) as plain:
            magic = plain.read(4)
    except (OSError, EOFError, zlib.error):
        # A damaged gzip file of the right name is still to be reported as such.
        return IMAGES_NAME.match(path.name) is not None
    return (len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in _TYPES) or bool(
        IMAGES_NAME.match(path.name)
    )


def open_idx(path: str | Path, *, label_name: str = "label") -> ArraySource:
    """Open one file of IDX images, or a folder with those of training and test.

    Labels are read from the file of the same name with `labels` for `images`. Ids are `train-00000`,
    `test-00000` and so on by the names of the files, or numbers alone where a name says neither. Where
    both parts are there they are the published split.

    Parameters
    ----------
    path : str or Path
        A file such as `train-images-idx3-ubyte.gz`, or a folder.
    label_name : str
        Name of the content label.

    Raises
    ------
    DataError
        When a file is not a whole IDX file, labels have another length than their images, only one part
        has labels, the parts differ in size, or a folder holds several sets.
    """
    path = Path(path)
    files = _image_files(path) if path.is_dir() else {_part(path.name): path}
    images, ids, labels, split = [], [], [], {}
    for part, file in files.items():
        images.append(read_idx(file))
        if images[-1].shape[1:] != images[0].shape[1:]:
            raise DataError(
                f"{file}: images of shape {images[-1].shape[1:]}, but those of "
                f"{next(iter(files.values()))} are {images[0].shape[1:]}; open the files one by one"
            )
        count = len(images[-1])
        prefix = f"{part}-" if part else ""
        split[part] = np.array([f"{prefix}{number:05d}" for number in range(count)], dtype=str)
        ids.append(split[part])
        labels.append(_read_labels(file, count))
    table = None
    with_labels = [values is not None for values in labels]
    if all(with_labels):
        values = np.concatenate([values for values in labels if values is not None]).astype(np.int64)
        table = LabelTable(np.concatenate(ids), (Factor(label_name, "content", values),))
    elif any(with_labels):
        lacking = list(files.values())[with_labels.index(False)]
        raise DataError(
            f"{lacking}: has no file of labels beside it, the other images have; add or remove one"
        )
    return ArraySource(
        images[0] if len(images) == 1 else np.concatenate(images),
        ids=np.concatenate(ids),
        labels=table,
        location=str(path),
        fixed_split=split if set(split) == {"train", "test"} else None,
    )


def _part(name: str) -> str:
    """Tell from a file's name whether it holds training or test images."""
    if "train" in name:
        return "train"
    return "test" if "t10k" in name or "test" in name else ""


def _image_files(folder: Path) -> dict[str, Path]:
    """Find the files of images in a folder by part; where one is there twice, the file not gzipped."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if not IMAGES_NAME.match(file.name) or not file.is_file():
            continue
        part = _part(file.name)
        if part in found and found[part].name.removesuffix(".gz") != file.name.removesuffix(".gz"):
            raise DataError(
                f"{folder}: holds both {found[part].name} and {file.name}; open one file by its path"
            )
        found.setdefault(part, file)
    return dict(sorted(found.items(), key=lambda item: item[0] != "train"))


def _read_labels(images: Path, count: int) -> np.ndarray | None:
    """Read the labels that belong to a file of images, shape (count,); None where there are none."""
    if not IMAGES_NAME.match(images.name):
        return None
    name = re.sub(r"images([-.])idx\d", r"labels\1idx1", images.name).removesuffix(".gz")
    for file in (images.with_name(name), images.with_name(f"{name}.gz")):
        if file.exists():
            labels = read_idx(file)
            if labels.shape != (count,):
                raise DataError(
                    f"{file}: {len(labels)} labels for the {count} images of {images.name}; "
                    "use the labels of these images"
                )
            return labels
    return None
