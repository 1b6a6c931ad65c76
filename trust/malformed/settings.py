"""Malformed YAML settings, and the JSON and YAML records of a run folder."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import yaml

from malformed.cases import Case

# A billion of the same text, in nine lines.
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{last}'] * 10)}]\n"
    for last, this in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{this}: &{this} {{<<: [{', '.join([f'*{last}'] * 10)}]}}\n"
    for last, this in zip("abcdefgh", "bcdefghi", strict=True)
)


def yaml_texts(rng: np.random.Generator) -> dict[str, bytes]:
    """Return settings that cannot be settings, by what is wrong with them."""
    texts = {
        "a Python object": "settings: !!python/object/apply:os.system ['touch hostile_yaml_ran']",
        "a Python name": "settings: !!python/name:os.system ''",
        "a tag of its own": "settings: !secret x",
        "a billion laughs": LAUGHS.replace("i: &i", "settings: &i"),
        "a billion merges": MERGES,
        "an anchor in itself": "settings: &a [*a]",
        "an anchor in itself, as names": "settings: &a {content_dim: *a}",
        "an anchor that is not there": "epochs: *nowhere",
        "brackets without end": "settings: " + "[" * 20_000,
        "brackets 3,000 deep": "settings: " + "[" * 3000 + "]" * 3000,
        "a date that there is not": "epochs: 2001-99-99",
        "a number of 5,000 digits": "epochs: " + "9" * 5000,
        "a key that is a list": "? [1, 2]\n: 3",
        "a tab": "settings:\n\tepochs: 3",
        "a list": "- epochs: 3",
        "a text": "epochs",
        "two documents": "epochs: 3\n---\nepochs: 4",
        "a name that does not exist": "epoch: 3",
        "a name that is a number": "3: 4",
        "a value out of its range": "epochs: -1",
        "a value of another type": "epochs: [1, 2]",
        "an infinite value": "learning_rate: .inf",
        "a value that is not a number": "learning_rate: .nan",
        "a code of 10⁹ numbers": "content_dim: 1000000000",
        "settings that are a text": "settings: many",
        "a zero byte": "epochs: 3\0",
        "a million keys": "".join(f"k{i}: {i}\n" for i in range(1_000_000)),
    }
    return {
        **{name: text.encode() for name, text in texts.items()},
        "no text": b"epochs: \xff\xfe" + rng.bytes(100),
        "zeros": bytes(1 << 20),
    }


def yaml_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Options of `train --config`, and specifications of `simulate subtomograms`."""
    images = folder / "images.npy"
    np.save(images, rng.random((400, 16, 16), dtype=np.float32))

    def training(path: Path) -> Case:
        arguments = (
            "train",
            str(images),
            "--output",
            str(folder / "run"),
            "--config",
            str(path),
            "--no-progress",
        )

        def run() -> object:
            from dualcontrast.cli.train import train

            return train(str(images), output=folder / "run", config=path, progress=False)

        return Case("YAML", "", path, run, arguments)

    def simulation(path: Path) -> Case:
        def run() -> object:
            from dualcontrast.simulate.subtomogram_spec import read_spec

            return read_spec(path)

        arguments = ("simulate", "subtomograms", str(path), "--output", str(folder / "simulated"))
        return Case("YAML", "", path, run, arguments)

    for number, (name, content) in enumerate(yaml_texts(rng).items()):
        for kind, make in (("train", training), ("simulate", simulation)):
            path = folder / f"{kind}_{number:02d}.yaml"
            path.write_bytes(content)
            made = make(path)
            yield Case("YAML", f"{name} ({kind})", path, made.open, made.command)


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def record_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Run folders with one record that is damaged."""
    settings = {
        "data": {"location": "digits", "labels": None, "folder_labels": False},
        "method": "dualcontrast",
        "preset": "default",
        "seed": 0,
        "precision": "32-true",
        "settings": {},
        "recipe": {},
        "preparation": {
            "normalisation": "unit",
            "low": 0.0,
            "high": 1.0,
            "image_shape": [1, 16, 16],
        },
    }

    def run_folder(name: str, file: str, content: bytes) -> Path:
        place = folder / name
        place.mkdir()
        (place / "config.yaml").write_text(yaml.safe_dump(settings))
        (place / "split.json").write_text(json.dumps({"train": ["0"], "test": ["1"]}))
        (place / file).write_bytes(content)
        return place / file

    def read(file: str) -> Callable[[Path], object]:
        def run(place: Path) -> object:
            from dualcontrast.run_folder import RunFolder

            opened = RunFolder.open(place)
            if file == "config.yaml":
                return opened.preparation, opened.open_source()
            return {
                "split.json": lambda: opened.split,
                "evaluation.json": lambda: opened.evaluation,
                "metrics.jsonl": lambda: opened.metrics,
            }[file]()

        return run

    def without(key: str) -> bytes:
        return yaml.safe_dump({name: value for name, value in settings.items() if name != key}).encode()

    def other(**changes: object) -> bytes:
        return yaml.safe_dump({**settings, **changes}).encode()

    records: list[tuple[str, str, bytes]] = [
        ("config.yaml", "empty", b""),
        ("config.yaml", "a list", b"[1, 2]"),
        (
            "config.yaml",
            "a Python object",
            b"method: !!python/object/apply:os.system ['touch hostile_config_ran']",
        ),
        ("config.yaml", "a billion laughs", LAUGHS.encode()),
        ("config.yaml", "an anchor in itself", b"data: &a {location: *a}"),
        ("config.yaml", "brackets without end", b"data: " + b"[" * 20_000),
        ("config.yaml", "a date that there is not", b"seed: 2001-99-99"),
        ("config.yaml", "no data", without("data")),
        ("config.yaml", "no preparation", without("preparation")),
        ("config.yaml", "data that are a text", other(data="digits")),
        ("config.yaml", "a preparation that is a text", other(preparation="unit")),
        (
            "config.yaml",
            "a location that is a list",
            other(data={"location": ["a"], "labels": None, "folder_labels": False}),
        ),
        ("config.yaml", "a range upside down", other(preparation={**settings["preparation"], "low": 2.0})),  # pyright: ignore[reportGeneralTypeIssues]
        ("split.json", "empty", b""),
        ("split.json", "cut", b'{"train": ["0", "1"], "te'),
        ("split.json", "a list", b"[]"),
        ("split.json", "brackets without end", _nested(100_000)),
        ("split.json", "one id on both sides", b'{"train": ["0"], "test": ["0"]}'),
        ("split.json", "ids that are numbers", b'{"train": [0], "test": [1]}'),
        ("split.json", "an id twice", b'{"train": ["0", "0"], "test": ["1"]}'),
        ("split.json", "no text", rng.bytes(100)),
        ("evaluation.json", "cut", b'{"d_score": {'),
        ("evaluation.json", "a list", b"[]"),
        ("evaluation.json", "brackets without end", _nested(100_000)),
        ("metrics.jsonl", "a line that is no JSON", b'{"step": 1, "epoch": 1, "terms": {}}\n{"st\n{}\n'),
        ("metrics.jsonl", "a line that is a number", b"17\n"),
        ("metrics.jsonl", "brackets without end", _nested(100_000) + b"\n"),
        ("metrics.jsonl", "no text", rng.bytes(100)),
    ]
    for number, (file, name, content) in enumerate(records):
        path = run_folder(f"run_{number:02d}", file, content)
        yield Case(
            "run records",
            f"{name} ({file})",
            path,
            lambda path=path, file=file: read(file)(path.parent),
            ("report", str(path.parent), "--overwrite") if file == "config.yaml" else None,
        )
