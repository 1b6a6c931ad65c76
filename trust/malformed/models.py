"""Malformed checkpoints and weights."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from malformed.bombs import zip_bomb
from malformed.cases import Case, damaged
from malformed.hostile import Calls

IDENTITY = {"method": "dualcontrast", "seed": 0}


def torch_bytes(value: Any) -> bytes:
    """Return what `torch.save` writes."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def sound_checkpoint() -> dict[str, Any]:
    """Return what a checkpoint holds."""
    states = {"method": {"w": torch.ones(4, 4)}, "optimisers": [], "sums": {}, "steps_seen": 0}
    return {"format": 1, "identity": IDENTITY, "step": 3, "states": states}


def repacked(content: bytes, method: int, replaced: dict[str, bytes] | None = None) -> bytes:
    """Return an archive with its members packed by another method, and some of them replaced."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", method) as new:
        for name in old.namelist():
            given = next((data for end, data in (replaced or {}).items() if name.endswith(end)), None)
            new.writestr(name, old.read(name) if given is None else given)
    return stream.getvalue()


def _bombed(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: (archive.read(name), 0) for name in archive.namelist()}
    return zip_bomb(
        {name: (b"", 1 << 30) if name.endswith("data/0") else what for name, what in members.items()}
    )


def checkpoint_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Checkpoints, read as `train --resume` does."""
    value = sound_checkpoint()
    sound = torch_bytes(value)
    legacy = io.BytesIO()
    torch.save(value, legacy, _use_new_zipfile_serialization=False)
    allocating = io.BytesIO()
    pickle.dump({**value, "states": Calls(bytearray, 1 << 33)}, allocating, protocol=2)
    program = b"\x80\x02" + pickle.dumps(Calls(os.system, "touch hostile_checkpoint_ran"), protocol=2)[2:]
    contents = {
        **dict(damaged(sound, rng)),
        "os.system": repacked(sound, zipfile.ZIP_STORED, {"data.pkl": program}),
        "os.system, of an old PyTorch": pickle.dumps(
            Calls(os.system, "touch hostile_legacy_ran"), protocol=2
        ),
        "of an old PyTorch": legacy.getvalue(),
        "8 GB of nothing": repacked(sound, zipfile.ZIP_STORED, {"data.pkl": allocating.getvalue()}),
        "a bomb of 1 GB": _bombed(sound),
        "a tensor that is cut": repacked(sound, zipfile.ZIP_STORED, {"data/0": bytes(8)}),
        "no program": zipfile_of({"archive/version": b"3\n"}),
        "a path out of the folder": zipfile_of({"../../data.pkl": pickle.dumps(1), "/etc/version": b"3"}),
        "a list": torch_bytes([1, 2]),
        "no states": torch_bytes({"format": 1, "identity": IDENTITY, "step": 3}),
        "an identity that is a list": torch_bytes({**value, "identity": [1]}),
        "of another method": torch_bytes({**value, "identity": {"method": "harmony", "seed": 0}}),
        "a step that is a text": torch_bytes({**value, "step": "three"}),
        "a negative step": torch_bytes({**value, "step": -3}),
        "states that are a text": torch_bytes({**value, "states": "none"}),
        "of a later format": torch_bytes({**value, "format": 99}),
        "a list that holds itself": torch_bytes({**value, "states": _loop()}),
    }
    for number, (name, content) in enumerate(contents.items()):
        path = folder / f"checkpoint_{number:02d}.pt"
        path.write_bytes(content)

        def run(path: Path = path) -> object:
            from dualcontrast.training.checkpoint import load_checkpoint

            return load_checkpoint(path, IDENTITY)

        yield Case("checkpoint", name, path, run)


def _loop() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


def zipfile_of(members: dict[str, bytes]) -> bytes:
    """Return a zip archive of files as named."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def safetensors_of(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a safetensors file with a header as it stands."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def weight_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Weights of a small model, read as `encode` does."""
    from dualcontrast.model import DualContrast

    model = DualContrast(content_dim=2, transformation_dim=2, epochs=1, batch_size=8, progress=False)
    path = folder / "sound.safetensors"
    model.fit(rng.random((16, 16, 16), dtype=np.float32)).save(path)
    sound = path.read_bytes()
    path.unlink()
    (length,) = struct.unpack("<Q", sound[:8])
    header = json.loads(sound[8 : 8 + length])
    description = json.loads(header["__metadata__"]["dualcontrast"])
    tensor = {"w": torch.ones(2)}

    def described(**changes: Any) -> bytes:
        metadata = {"dualcontrast": json.dumps({**description, **changes})}
        changed = json.dumps({**header, "__metadata__": metadata}).encode()
        return safetensors_of(changed, sound[8 + length :])

    def prepared(**changes: Any) -> bytes:
        return described(preparation={**description["preparation"], **changes})

    def offsets(begin: int, end: int) -> bytes:
        entry = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [begin, end]}}
        return safetensors_of(json.dumps(entry).encode(), bytes(8))

    contents = {
        **dict(damaged(sound, rng)),
        "a header of 2⁶³ bytes": safetensors_of(b"{}", length=2**63),
        "a header of 100 MB": safetensors_of(b"{}", length=100_000_000),
        "a header nested without end": safetensors_of(b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
        "a tensor beyond the end": offsets(0, 2**40),
        "a tensor that ends before it begins": offsets(8, 0),
        "2⁶⁰ values": safetensors_of(
            b'{"w":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,8]}}', bytes(8)
        ),
        "a type that there is not": safetensors_of(
            b'{"w":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}', bytes(8)
        ),
        "no description": save(tensor),
        "a description that is no JSON": save(tensor, {"dualcontrast": "{"}),
        "a description that is a list": save(tensor, {"dualcontrast": "[]"}),
        "a description nested without end": save(tensor, {"dualcontrast": "[" * 100_000}),
        "tensors of another model": save(tensor, {"dualcontrast": json.dumps(description)}),
        "an unknown method": described(method="nonsense"),
        "a method that is a list": described(method=["dualcontrast"]),
        "settings that are a list": described(settings=[]),
        "an unknown setting": described(settings={"colour": 3}),
        "a recipe that is a text": described(recipe="fast"),
        "a seed that is a text": described(seed="zero"),
        "a precision that there is not": described(precision="7-bit"),
        "no preparation": described(preparation=None),
        "a shape of one number": prepared(image_shape=[1]),
        "a shape of text": prepared(image_shape="1616"),
        "images of 10⁶ pixels a side": prepared(
            image_shape=[1, 10**6, 10**6], source_shape=[1, 10**6, 10**6]
        ),
        "codes of 4,096 numbers": described(settings={**description["settings"], "content_dim": 4096}),
        "channels by the billion": described(
            settings={**description["settings"], **_wide(description["settings"])}
        ),
        "a range of NaN": prepared(low=float("nan")),
        "NaN among the weights": sound[:-64] + struct.pack("<16f", *[float("nan")] * 16),
    }
    for number, (name, content) in enumerate(contents.items()):
        path = folder / f"weights_{number:02d}.safetensors"
        path.write_bytes(content)

        def run(path: Path = path) -> object:
            from dualcontrast.model import Model

            return Model.load(path, device="cpu", progress=False)

        yield Case("weights", name, path, run)


def _wide(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that say how wide networks are, each far too large."""
    return {
        name: [10**9] * len(value) if isinstance(value, list) else 10**9
        for name, value in settings.items()
        if any(part in name for part in ("channels", "width", "hidden", "features"))
    }
