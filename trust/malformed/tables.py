"""Malformed CSV files of labels."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from malformed.cases import Case


def label_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Labels of three images."""
    images = folder / "images.npy"
    np.save(images, rng.random((3, 16, 16), dtype=np.float32))
    texts = {
        "empty": b"",
        "a header alone": b"id,label\n",
        "no ids": b"label\n1\n2\n3\n",
        "a row too few": b"id,label\n0,1\n1,2\n",
        "a row too many": b"id,label\n0,1\n1,2\n2,3\n3,4\n",
        "an id twice": b"id,label\n0,1\n1,2\n1,3\n",
        "an id of another image": b"id,label\n0,1\n1,2\nx,3\n",
        "an empty id": b"id,label\n0,1\n,2\n2,3\n",
        "an empty label": b"id,label\n0,1\n1,\n2,3\n",
        "a cell too many": b"id,label\n0,1\n1,2,9\n2,3\n",
        "a cell too few": b"id,label\n0,1\n1\n2,3\n",
        "a quote that does not end": b'id,label\n0,"1\n1,2\n2,3\n',
        "a column twice": b"id,content:a,content:a\n0,1,1\n1,2,2\n2,3,3\n",
        "a role that is nearly one": b"id,contnet:a\n0,1\n1,2\n2,3\n",
        "a role without a name": b"id,content:\n0,1\n1,2\n2,3\n",
        "a label that is not finite": b"id,content:a\n0,1.5\n1,nan\n2,inf\n",
        "a label beyond any number": b"id,content:a\n0,1.5\n1,1e999\n2,3.5\n",
        "no UTF-8": b"id,label\n0,\xff\xfe\n1,2\n2,3\n",
        "UTF-16": "id,label\n0,1\n1,2\n2,3\n".encode("utf-16"),
        "zeros": bytes(1 << 20),
        "noise": rng.bytes(1000),
        "a cell of 1 MB": b"id,label\n0," + b"x" * (1 << 20) + b"\n1,2\n2,3\n",
        "semicolons": b"id;label\n0;1\n1;2\n2;3\n",
    }
    for number, (name, content) in enumerate(texts.items()):
        path = folder / f"labels_{number:02d}.csv"
        path.write_bytes(content)
        yield _case(name, images, path)
    yield _case("nothing there", images, folder / "nothing.csv")
    (folder / "folder.csv").mkdir()
    yield _case("a folder", images, folder / "folder.csv")
    (folder / "zero.csv").symlink_to("/dev/zero")
    yield _case("an endless device", images, folder / "zero.csv")
    os.mkfifo(folder / "pipe.csv")
    yield _case("a pipe that nobody writes to", images, folder / "pipe.csv")


def _case(name: str, images: Path, path: Path) -> Case:
    def run() -> object:
        from dualcontrast.data.open import open_source

        return open_source(images, labels=path)

    return Case("labels", name, path, run, ("data", "info", str(images), "--labels", str(path)))
