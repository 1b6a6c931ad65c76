"""Codes of any number of images: the same in every format, in parts, and after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

from dualcontrast import Codes, Model, encoding, pipeline
from dualcontrast.cli import main
from dualcontrast.data.arrays import ArraySource
from dualcontrast.errors import DataError, RunError, SettingError
from toy_images import bars

COUNT = 130


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, images=bars(COUNT, (16, 16))[0], ids=np.array([f"TS_{i % 3}/é{i}" for i in range(COUNT)]))
    return path


@pytest.fixture(scope="module")
def run(images, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    changes = {"epochs": 1, "batch_size": 20, "content_dim": 3, "transformation_dim": 2}
    pipeline.train(images, path, changes=changes, device="cpu", evaluate=False, progress=False)
    return path


@pytest.fixture(scope="module")
def expected(run, images) -> Codes:
    """All images as one batch."""
    with np.load(images) as arrays:
        source = ArraySource(arrays["images"], ids=arrays["ids"])
    return Model.load(run, device="cpu", progress=False).encode(source)


@pytest.fixture
def small_pieces(monkeypatch):
    """Four pieces of 40 images, in batches of 20."""
    monkeypatch.setattr("dualcontrast.model.MOST_ON_CPU", 20)
    monkeypatch.setattr(encoding, "PIECE", 40)


def assert_same(path, expected):
    found = Codes.load(path)
    assert found.ids.tolist() == expected.ids.tolist()
    for name, values in expected.arrays().items():
        if name != "ids":
            assert getattr(found, name).dtype == np.float32
            # Sums of other batches may differ in the last bits.
            np.testing.assert_allclose(getattr(found, name), values, atol=1e-5)


def encode(run, images, output, **options):
    return pipeline.encode(run, images, output, device="cpu", progress=False, **options)


@pytest.mark.parametrize("name", ["c.npz", "c.parquet", "c.zarr"])
def test_every_format_holds_the_codes_of_one_batch(
    run, images, expected, tmp_path, name, small_pieces, monkeypatch
):
    monkeypatch.setattr("dualcontrast.code_files.ROWS_A_CHUNK", 50)
    assert encode(run, images, tmp_path / name) == tmp_path / name
    assert_same(tmp_path / name, expected)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    with pytest.raises(RunError, match="--overwrite"):
        encode(run, images, tmp_path / name)
    encode(run, images, tmp_path / name, overwrite=True)
    assert_same(tmp_path / name, expected)


def test_other_programs_read_the_files(run, images, expected, tmp_path):
    encode(run, images, tmp_path / "c.parquet")
    table = pd.read_parquet(tmp_path / "c.parquet")
    assert table.columns[:4].tolist() == ["id", "content_0", "content_1", "content_2"]
    np.testing.assert_allclose(table["content_1"], expected.content[:, 1], atol=1e-5)
    encode(run, images, tmp_path / "c.zarr")
    group = zarr.open_group(str(tmp_path / "c.zarr"), mode="r")
    np.testing.assert_allclose(group["transformation"][:], expected.transformation, atol=1e-5)
    assert group["ids"][2] == "TS_2/é2"


def test_more_than_ten_dimensions_keep_their_order_in_parquet(tmp_path, rng):
    codes = Codes(np.array(["a", "b"]), rng.random((2, 12)).astype(np.float32), np.zeros((2, 1), np.float32))
    codes.save(tmp_path / "c.parquet")
    assert np.array_equal(Codes.load(tmp_path / "c.parquet").content, codes.content)


def test_parts_are_joined_in_any_order(run, images, expected, tmp_path, small_pieces):
    output = tmp_path / "c.zarr"
    for part in ((3, 3), (1, 3)):
        assert encode(run, images, output, part=part) == tmp_path / "c.zarr.pieces"
    assert not output.exists()
    with pytest.raises(RunError, match="--resume"):
        encode(run, images, output)
    # The last call encodes what no part did, the second of three.
    encode(run, images, output, resume=True)
    assert_same(output, expected)


def test_what_is_there_is_not_encoded_again(run, images, tmp_path, small_pieces, monkeypatch):
    encode(run, images, tmp_path / "c.npz", part=(1, 2))
    done = []
    whole = Model.encode_batches
    monkeypatch.setattr(
        Model,
        "encode_batches",
        lambda self, source, batches: (
            done.extend(np.concatenate(batches).tolist()),
            whole(self, source, batches),
        )[1],
    )
    encode(run, images, tmp_path / "c.npz", resume=True)
    assert done == list(range(80, COUNT))


def test_pieces_of_others_are_refused(run, images, expected, tmp_path, small_pieces):
    output = tmp_path / "c.npz"
    encode(run, images, output, part=(1, 4))
    with np.load(images) as arrays:
        np.savez(tmp_path / "other.npz", images=arrays["images"][::-1], ids=arrays["ids"][::-1])
    with pytest.raises(RunError, match="other images"):
        encode(run, tmp_path / "other.npz", output, resume=True)
    piece = tmp_path / "c.npz.pieces/00000000.npz"
    codes = Codes.load(piece)
    codes.select(codes.ids[::-1]).save(piece)
    with pytest.raises(RunError, match="other images than it should"):
        encode(run, images, output, resume=True)
    encode(run, images, output, overwrite=True)
    assert_same(output, expected)


def test_what_cannot_be_asked_for(run, images, tmp_path):
    with pytest.raises(SettingError, match=r"\.npz, \.parquet or \.zarr"):
        encode(run, images, tmp_path / "c.csv")
    for text in ("0/3", "4/3", "3", "1/2/3"):
        with pytest.raises(SettingError, match="3/8"):
            encoding.parse_part(text)
    with pytest.raises(SettingError, match="--skip-bad"):
        encode(run, images, tmp_path / "c.npz", skip_bad=True, part=(1, 2))
    np.save(tmp_path / "large.npy", bars(5, (20, 20))[0])
    with pytest.raises(DataError, match="the model takes"):
        encode(run, tmp_path / "large.npy", tmp_path / "c.npz")
    assert [entry.name for entry in tmp_path.iterdir()] == ["large.npy"]
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a file of codes"):
        Codes.load(tmp_path / "bad.parquet")


def test_killed_and_resumed_and_in_parts_from_the_command_line(run, images, tmp_path):
    """The pieces are those of the program as it is: of 8,192 small images each, 4 of them."""
    many = tmp_path / "many.npy"
    with np.load(images) as arrays:
        np.save(many, np.tile(arrays["images"], (200, 1, 1, 1)))
    whole = Model.load(run, device="cpu", progress=False).encode(ArraySource(np.load(many, mmap_mode="r")))
    command = ["encode", str(run), str(many), "--output", str(tmp_path / "c.zarr"), "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dualcontrast", *command, "--no-progress"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("c.zarr.pieces/*[0-9].npz"))) < 1:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "c.zarr").exists()
    main([*command, "--no-progress", "--part", "2/2"])
    main([*command, "--no-progress", "--resume"])
    found = Codes.load(tmp_path / "c.zarr")
    assert found.ids.tolist() == [str(i) for i in range(26_000)]
    assert np.array_equal(found.content, whole.content)
    assert np.array_equal(found.transformation, whole.transformation)
    assert not (tmp_path / "c.zarr.pieces").exists()
