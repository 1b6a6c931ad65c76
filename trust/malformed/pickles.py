"""Malformed and hostile pickles."""

import builtins
import os
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from malformed.cases import Case, damaged, image_case
from malformed.hostile import Calls


def pickle_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Pickles that are cut, lie about lengths, hold objects, or would run code."""
    images = rng.random((4, 16, 16), dtype=np.float32)
    sound = pickle.dumps(images, protocol=4)
    itself: list[object] = []
    itself.append(itself)
    contents = {
        **dict(damaged(sound, rng, head=100)),
        "os.system": pickle.dumps(Calls(os.system, "touch hostile_pickle_ran")),
        "eval": pickle.dumps(Calls(builtins.eval, "open('hostile_eval_ran', 'w')")),
        "a list that holds itself": pickle.dumps(itself),
        "containers 500 deep": b"\x80\x04" + b"]" * 500 + b"a" * 499 + b".",
        "marks without end": b"\x80\x04" + b"(" * 100_000 + b".",
        "lists in tuples without end": b"\x80\x04" + b"]" + b"\x85" * 200_000 + b".",
        "bytes of 2⁶³": b"\x80\x04\x8e" + struct.pack("<Q", 2**63) + b"x" * 100 + b".",
        "a text of 4 GB": b"\x80\x04X" + struct.pack("<I", 2**32 - 1) + b"x" * 100 + b".",
        "a number of 1 MB": b"\x80\x04\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20) + b".",
        "a number of 100,000 digits": b"L" + b"9" * 100_000 + b"L\n.",
        "a shape of 10¹²": sound.replace(
            b"K\x04K\x10K\x10\x87", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7fK\x10\x87"
        ),
        "a type of 1 TB": sound.replace(b"\x8c\x02f4", b"\x8c\x07S999999"),
        "a memo that is not there": b"\x80\x04h\x63.",
        "a memo at 2³²": b"\x80\x04]r\xff\xff\xff\xffj\xff\xff\xff\xfe.",
        "an extension": b"\x80\x04\x82\x01.",
        "a persistent id": b"\x80\x02X\x01\x00\x00\x00xQ.",
        "two values": b"\x80\x04K\x01K\x02.",
        "no end": b"\x80\x04K\x01",
        "a set": pickle.dumps({1, 2, 3}),
        "objects in an array": pickle.dumps(np.array([{}, []], dtype=object)),
        "a class of its own": pickle.dumps(Path("/etc/passwd")),
        "no images": pickle.dumps({"label": np.arange(3)}),
        "images of two sizes": pickle.dumps([images[0], images[0, :4]]),
        "labels of another length": pickle.dumps({"images": images, "label": np.arange(9)}),
        "complex values": pickle.dumps(images.astype(np.complex64)),
        "a key that is a list": b"\x80\x04}]K\x01s.",
    }
    for number, (name, content) in enumerate(contents.items()):
        yield image_case("pickle", name, folder / f"images_{number:02d}.pkl", content)
