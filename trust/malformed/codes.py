"""Malformed files of codes."""

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zarr
from pyarrow import parquet

from malformed.arrays import hostile_objects, npy_of, zipped
from malformed.bombs import zip_bomb
from malformed.cases import Case, damaged


def npz_bytes(**arrays: Any) -> bytes:
    """Return an NPZ file."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def parquet_bytes(columns: dict[str, Any]) -> bytes:
    """Return a Parquet file."""
    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream)
    return stream.getvalue()


def code_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Codes as NPZ, Parquet and Zarr."""
    ids = np.array([f"p{i}" for i in range(4)])
    c, z = (rng.normal(size=(4, 2)).astype(np.float32) for _ in range(2))
    sound = npz_bytes(ids=ids, content=c, transformation=z)
    deflated = zipfile.ZIP_DEFLATED
    rows = {"id": ids.tolist(), "content_0": c[:, 0], "content_1": c[:, 1], "transformation_0": z[:, 0]}
    table = parquet_bytes(rows)
    many = pa.chunked_array([pa.array(np.zeros(1 << 20, np.float32))] * 16)
    texts = pa.chunked_array([pa.array(["a"] * (1 << 20))] * 16)
    contents: list[tuple[str, str, bytes]] = [
        *(("npz", name, content) for name, content in damaged(sound, rng)),
        *(("parquet", name, content) for name, content in damaged(table, rng)),
        ("npz", "no transformation", npz_bytes(ids=ids, content=c)),
        ("npz", "codes of another length", npz_bytes(ids=ids, content=c[:3], transformation=z)),
        ("npz", "codes in one dimension", npz_bytes(ids=ids, content=c[:, 0], transformation=z)),
        ("npz", "codes in three dimensions", npz_bytes(ids=ids, content=c[..., None], transformation=z)),
        ("npz", "codes that are text", npz_bytes(ids=ids, content=c.astype(str), transformation=z)),
        ("npz", "codes that are complex", npz_bytes(ids=ids, content=c.astype(complex), transformation=z)),
        ("npz", "codes that are not finite", npz_bytes(ids=ids, content=c * np.nan, transformation=z)),
        ("npz", "ids in two dimensions", npz_bytes(ids=ids.reshape(4, 1), content=c, transformation=z)),
        ("npz", "an id twice", npz_bytes(ids=np.array(["a", "a", "b", "c"]), content=c, transformation=z)),
        (
            "npz",
            "log-variances of another length",
            npz_bytes(ids=ids, content=c, transformation=z, content_log_variance=c[:, :1]),
        ),
        ("npz", "a single number", npz_bytes(ids=ids, content=np.float32(3), transformation=z)),
        ("npz", "objects that would run a command", zipped({"ids.npy": hostile_objects()})),
        (
            "npz",
            "10¹² rows",
            zipped({"ids.npy": npy_of("(1000000000000,)"), "content.npy": npy_of("(4, 2)")}, deflated),
        ),
        ("npz", "a bomb of 1 GB", zip_bomb({"ids.npy": (npy_of("(134217728,)", "'<f8'", b""), 1 << 30)})),
        ("parquet", "no ids", parquet_bytes({"content_0": c[:, 0], "transformation_0": z[:, 0]})),
        ("parquet", "an id twice", parquet_bytes({**rows, "id": ["a", "a", "b", "c"]})),
        ("parquet", "ids that are missing", parquet_bytes({**rows, "id": ["a", None, "b", "c"]})),
        ("parquet", "codes that are text", parquet_bytes({**rows, "content_0": list("abcd")})),
        ("parquet", "codes that are missing", parquet_bytes({**rows, "content_1": [1.0, None, 2.0, 3.0]})),
        ("parquet", "a column that is not there", parquet_bytes({**rows, "content_7": c[:, 0]})),
        (
            "parquet",
            "17 million rows of one value",
            parquet_bytes({"id": texts, "content_0": many, "transformation_0": many}),
        ),
    ]
    for number, (suffix, name, content) in enumerate(contents):
        path = folder / f"codes_{number:02d}.{suffix}"
        path.write_bytes(content)
        yield _case(f"{name} (.{suffix})", path)
    whole = folder / "sound.zarr"
    group = zarr.open_group(str(whole), mode="w", zarr_format=3)
    for name, values in (("content", c), ("transformation", z)):
        group.create_array(name, data=values)
    group.create_array("ids", shape=(4,), dtype="string")[:] = ids.astype(object)
    for name, array, change in (
        ("10¹² rows", "content", {"shape": [10**12, 2]}),
        ("10¹² ids", "ids", {"shape": [10**12]}),
        ("no type", "content", {"data_type": None}),
        ("codes of another length", "content", {"shape": [3, 2]}),
    ):
        place = folder / f"changed_{len(list(folder.iterdir())):02d}.zarr"
        shutil.copytree(whole, place)
        described = place / array / "zarr.json"
        described.write_text(json.dumps({**json.loads(described.read_text()), **change}))
        yield _case(f"{name} (.zarr)", place)
    place = folder / "without.zarr"
    shutil.copytree(whole, place)
    shutil.rmtree(place / "ids")
    yield _case("no ids (.zarr)", place)
    yield _case("nothing there (.npz)", folder / "nothing.npz")


def _case(name: str, path: Path) -> Case:
    def run() -> object:
        from dualcontrast.codes import Codes

        return Codes.load(path)

    return Case("codes", name, path, run)
