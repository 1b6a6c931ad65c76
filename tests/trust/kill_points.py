"""A run killed at every point where a file gets its name, and at every step: what goes on ends with the same.

`trust/kills.py` kills at random moments; here the process ends itself, without cleaning up, at marked ones.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from dualcontrast import Codes, RunFolder, encoding, packing, pipeline
from dualcontrast.benchmark.table1 import table1
from dualcontrast.data.open import open_source
from dualcontrast.data.pack import PackSource
from dualcontrast.errors import RunError
from dualcontrast.files import atomic_path, clear_leftovers
from dualcontrast.methods.simclr import SimCLR
from dualcontrast.simulate.bead_assemblies import bead_assemblies
from dualcontrast.simulate.subtomogram_spec import SubtomogramSpec
from dualcontrast.simulate.subtomograms import simulate
from toy_images import bars

CHANGES = {"epochs": 2, "batch_size": 16, "content_dim": 3}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    pixels, number, _ = bars(60, (16, 16))
    np.savez(path, images=pixels, labels=number)
    return path


def in_a_child(work: Callable[[], object]) -> int:
    """Do something in a process of its own; return how it ended."""
    process = os.fork()
    if not process:
        code = 70
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def killed_at(count: int, owner: object, name: str, work: Callable[[], object], after: bool = False) -> bool:
    """Do something until a function is called for the count-th time; whether it came to that."""
    function = getattr(owner, name)
    calls = 0

    def deadly(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == count and not after:
            os.kill(os.getpid(), 9)
        value = function(*arguments, **options)
        if calls == count:
            os.kill(os.getpid(), 9)
        return value

    def patched() -> None:
        setattr(owner, name, deadly)
        work()

    code = in_a_child(patched)
    assert code in (0, -9)
    return code == -9


def train(images: Path, run: Path, **options) -> None:
    pipeline.train(
        images,
        run,
        method="simclr",
        changes=CHANGES,
        device="cpu",
        checkpoint_seconds=0,
        resume="overwrite" not in options,
        evaluate=False,
        progress=False,
        **options,
    )
    pipeline.encode_run(RunFolder(run), device="cpu", progress=False)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(images, run)
    return run


def assert_same(run: Path, whole: Path) -> None:
    for name, values in load_file(whole / "weights.safetensors").items():
        assert np.array_equal(values, load_file(run / "weights.safetensors")[name]), name
    assert np.array_equal(Codes.load(run / "codes.npz").content, Codes.load(whole / "codes.npz").content)
    assert (run / "split.json").read_bytes() == (whole / "split.json").read_bytes()
    terms = [[row["terms"] for row in RunFolder(folder).metrics] for folder in (run, whole)]
    assert terms[0] == terms[1]
    names = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (run, whole)]
    assert names[0] == names[1]


def test_killed_at_every_renaming(images, whole, tmp_path):
    for count in range(1, 100):
        run = tmp_path / f"{count}"
        if not killed_at(count, Path, "replace", lambda run=run: train(images, run)):
            break
        train(images, run)
        assert_same(run, whole)
    # Marker, split, command, environment, configuration, metrics, two checkpoints, weights, their sum, record
    # of the pieces, the piece, codes.
    assert count == 14


def test_killed_in_every_step(images, whole, tmp_path):
    for count in range(1, 7):
        run = tmp_path / f"{count}"
        assert killed_at(count, SimCLR, "losses", lambda run=run: train(images, run))
        train(images, run)
        assert_same(run, whole)


def test_killed_while_it_replaces_another(images, whole, tmp_path):
    """Whatever is left of the old run, the same command starts the new one."""
    # Every third deletion, of files and of temporary names.
    for count in range(1, 100, 3):
        run = tmp_path / f"{count}"
        shutil.copytree(whole, run)
        if not killed_at(count, Path, "unlink", lambda run=run: train(images, run, overwrite=True)):
            break
        train(images, run, overwrite=True)
        assert_same(run, whole)
    assert count > 10


@pytest.mark.parametrize("suffix", ["npz", "zarr"])
def test_encoding_killed_at_every_renaming(images, whole, tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("dualcontrast.model.MOST_ON_CPU", 10)
    monkeypatch.setattr(encoding, "PIECE", 20)

    def encode(output: Path) -> None:
        pipeline.encode(whole, images, output, device="cpu", progress=False, resume=True)

    for place, after in (("replace", False), ("rename", False), ("rename", True)):
        for count in range(1, 30):
            folder = tmp_path / f"{place}-{after}-{count}"
            output = folder / f"codes.{suffix}"
            if not killed_at(count, Path, place, lambda output=output: encode(output), after):
                break
            with suppress(RunError):
                # It was complete, and says so.
                encode(output)
            assert len(Codes.load(output)) == 60
            assert [entry.name for entry in folder.iterdir()] == [output.name]
        assert count > 1


def test_folders_killed_at_every_renaming(images, tmp_path):
    """Before, between and after the two steps in which a folder takes the place of an old one."""
    spec = SubtomogramSpec(copies=2, box=16, voxel_size=20.0, tomograms=1)
    beads = bead_assemblies(1, 2, box=16, voxel_size=20.0)

    def pack(folder: Path, overwrite: bool) -> None:
        packing.pack(open_source(images), folder / "out.zarr", overwrite=overwrite)

    def make(folder: Path, overwrite: bool) -> None:
        simulate(spec, folder / "out", conformations=beads, overwrite=overwrite)

    for work in (pack, make):
        for after in (False, True):
            for count in (1, 2, 3):
                folder = tmp_path / f"{work.__name__}-{after}-{count}"
                work(folder, False)
                killed = killed_at(count, Path, "rename", lambda f=folder, w=work: w(f, True), after)
                assert killed == (count < 3)
                work(folder, True)
                out = next(folder.iterdir())
                assert [entry.name for entry in folder.iterdir()] == [out.name]
                source = PackSource(out) if work is pack else open_source(out / "particles.star")
                assert len(source) == (60 if work is pack else 4)


def test_only_what_dead_processes_left_is_deleted(tmp_path):
    def leave(name: str) -> None:
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), 9)

    for name in ("mine", "other"):
        assert in_a_child(lambda name=name: leave(name)) == -9
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_path(tmp_path / "mine") as living:
        clear_leftovers(tmp_path, "mine")
        assert living.exists()
        assert len([entry for entry in tmp_path.iterdir() if entry.name.startswith(".mine.")]) == 1
        (tmp_path / ".hidden.tmp").write_text("somebody's")
        clear_leftovers(tmp_path)
        assert {entry.name for entry in tmp_path.iterdir()} == {living.name, ".hidden.tmp"}


def test_a_cell_of_a_table_ends_with_the_process_that_asked_for_it(tmp_path):
    np.save(tmp_path / "bars.npy", bars(400, (16, 16))[0])

    def make() -> None:
        options = {"methods": ["simclr"], "seeds": [0], "epochs": 500, "device": "cpu"}
        table1(tmp_path / "table", datasets=[f"bars={tmp_path / 'bars.npy'}"], **options)

    process = os.fork()
    if not process:
        try:
            make()
        finally:
            os._exit(70)

    def cells() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes().decode()
                except OSError:
                    continue
                if str(tmp_path) in line and "benchmark.cells" in line:
                    found.append(entry.name)
        return found

    deadline = time.monotonic() + 120
    while not cells() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert cells()
    # It must have come to the thread that watches its parent.
    metrics = tmp_path / "table/cells/bars/simclr/seed-0/metrics.jsonl"
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert metrics.exists()
    os.kill(process, 9)
    os.waitpid(process, 0)
    deadline = time.monotonic() + 10
    while cells() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not cells()
