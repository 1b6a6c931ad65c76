"""The jobs that `kills.py` kills: how they are begun and gone on with, and what they must leave."""

import functools
import hashlib
import http.server
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageSequence
from safetensors.numpy import load_file

from dualcontrast import Codes, RunFolder, encoding, packing, pipeline
from dualcontrast.benchmark import table1
from dualcontrast.data import mnist
from dualcontrast.data.open import open_source
from dualcontrast.data.pack import PackSource
from dualcontrast.errors import RunError
from dualcontrast.figures import report
from dualcontrast.model import Model
from dualcontrast.simulate import subtomograms
from dualcontrast.simulate.bead_assemblies import bead_assemblies
from dualcontrast.simulate.subtomogram_spec import SubtomogramSpec
from dualcontrast.training import loop
from dualcontrast.training.checkpoint import load_checkpoint
from killing import mark

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from toy_images import bars

TRAINING = {"epochs": 6, "batch_size": 16, "content_dim": 4, "transformation_dim": 3}


class Job:
    """One verb on small data.

    Attributes
    ----------
    name : str
        As in the table.
    phases : tuple of str
        What it can be at, as marked in the package's functions.
    resumable : bool
        Whether a second call goes on where the first was killed; it starts again otherwise.
    replaces : bool
        Whether it may write over the output of an earlier call.
    """

    name: str
    phases: tuple[str, ...] = ()
    resumable = False
    replaces = False

    def __init__(self, data: Path) -> None:
        self.data = data

    def begin(self, output: Path) -> None:
        """Do the job for the first time."""
        raise NotImplementedError

    def go_on(self, output: Path) -> None:
        """Do it again as a user would after a kill; by default as for the first time."""
        self.begin(output)

    def check_after_kill(self, output: Path) -> None:
        """Raise unless every file that is there by its own name is whole."""

    def check_end(self, output: Path, expected: Path) -> None:
        """Raise unless the output is that of the job that nobody killed."""
        raise NotImplementedError


def check_no_leftovers(folder: Path) -> None:
    """Raise where a temporary name is still there."""
    left = [str(path) for path in folder.rglob("*") if path.name.startswith(".")]
    assert not left, f"left behind: {left}"


def check_run(run: Path) -> None:
    """Read every file of a run folder."""
    for path in sorted(run.rglob("*")):
        if path.is_dir() or path.name.startswith("."):
            continue
        if path.name.endswith(".npz"):
            Codes.load(path)
        elif path.suffix == ".safetensors":
            load_file(path)
        elif path.suffix == ".pt":
            load_checkpoint(path, {})
        elif path.suffix in (".png", ".gif"):
            with Image.open(path) as picture:
                for frame in ImageSequence.Iterator(picture):
                    frame.load()
        elif path.suffix == ".yaml":
            assert isinstance(yaml.safe_load(path.read_text()), dict)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".jsonl":
            for line in path.read_text().splitlines():
                json.loads(line)
        elif path.suffix == ".sha256":
            assert path.read_text().split()[0] == RunFolder(run).identity
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")
        else:
            assert path.name == "command.txt", f"{path}: unknown"


def assert_same_run(run: Path, expected: Path) -> None:
    """Compare weights, codes, split, metrics and scores bit for bit, and the names of all files."""
    weights = [load_file(folder / "weights.safetensors") for folder in (run, expected)]
    assert weights[0].keys() == weights[1].keys()
    for name in weights[0]:
        assert np.array_equal(weights[0][name], weights[1][name]), f"weights differ: {name}"
    assert_same_codes(run / "codes.npz", expected / "codes.npz")
    assert (run / "split.json").read_bytes() == (expected / "split.json").read_bytes(), "split differs"
    rows = [
        [{**json.loads(line), "images_per_second": 0} for line in (folder / "metrics.jsonl").open()]
        for folder in (run, expected)
    ]
    assert rows[0] == rows[1], "metrics differ"
    assert (run / "evaluation.json").read_bytes() == (expected / "evaluation.json").read_bytes(), "scores"
    assert names_in(run) == names_in(expected), names_in(run) ^ names_in(expected)


def names_in(folder: Path) -> set[str]:
    """Names of all files and folders below."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def assert_same_codes(found: Path, expected: Path) -> None:
    """Compare two files of codes bit for bit."""
    arrays = [Codes.load(path).arrays() for path in (found, expected)]
    assert arrays[0].keys() == arrays[1].keys()
    for name in arrays[0]:
        assert np.array_equal(arrays[0][name], arrays[1][name]), f"codes differ: {name}"


class Train(Job):
    """Training, encoding, evaluation and report of one run."""

    name = "train"
    method = "dualcontrast"
    resumable = True
    phases = ("beginning", "training", "checkpoint", "encoding", "evaluation", "report")

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        mark(RunFolder, "create", "beginning")
        mark(Model, "fit", "training")
        mark(loop, "save_checkpoint", "checkpoint")
        mark(pipeline, "encode_run", "encoding")
        mark(pipeline, "evaluate_run", "evaluation")
        mark(report, "write_report", "report")

    def begin(self, output: Path) -> None:
        """Train with a checkpoint at every logged step."""
        pipeline.train(
            self.data,
            output,
            method=self.method,
            changes=TRAINING,
            device="cpu",
            checkpoint_seconds=0,
            resume=True,
            progress=False,
        )

    def check_after_kill(self, output: Path) -> None:
        """Read every file of the run folder."""
        check_run(output)

    def check_end(self, output: Path, expected: Path) -> None:
        """Compare with the uninterrupted run."""
        check_run(output)
        assert_same_run(output, expected)
        check_no_leftovers(output)


class TrainSimCLR(Train):
    """The same by a method without a decoder, whose report takes a third of the time."""

    name = "train --method simclr"
    method = "simclr"


class Encode(Job):
    """Encoding with a trained model, in twenty pieces, into each of the formats in turn."""

    name = "encode"
    resumable = True
    phases = ("piece", "joining")

    def __init__(self, data: Path, run: Path) -> None:
        super().__init__(data)
        self.run = run
        mark(Codes, "save", "piece")
        mark(encoding, "write_arrays", "joining")

    def _file(self, output: Path) -> Path:
        # The same for both folders of a comparison needs no format in the name of the folder.
        return output / "codes.zarr"

    def begin(self, output: Path) -> None:
        """Encode, as the command line does with --resume."""
        encoding.PIECE = 128
        pipeline.encode(self.run, self.data, self._file(output), device="cpu", progress=False, resume=True)

    def go_on(self, output: Path) -> None:
        """Resume; what is complete is refused in so many words."""
        try:
            self.begin(output)
        except RunError as error:
            if "exists already" not in str(error):
                raise

    def check_after_kill(self, output: Path) -> None:
        """Read the pieces and, where it is there, the output."""
        for piece in output.glob("codes.zarr.pieces/*.npz"):
            Codes.load(piece)
        if self._file(output).exists():
            Codes.load(self._file(output))

    def check_end(self, output: Path, expected: Path) -> None:
        """Compare the codes."""
        assert_same_codes(self._file(output), self._file(expected))
        assert names_in(output) == names_in(expected), names_in(output) ^ names_in(expected)
        check_no_leftovers(output)


class Simulate(Job):
    """A simulation that replaces an older one."""

    name = "simulate subtomograms"
    phases = ("writing",)
    replaces = True

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        mark(subtomograms, "write_mrc", "writing")
        self.beads = bead_assemblies(2, 3, box=16, voxel_size=20.0)

    def _simulate(self, output: Path, seed: int) -> None:
        spec = SubtomogramSpec(copies=60, box=16, voxel_size=20.0, tomograms=2)
        subtomograms.simulate(spec, output / "particles", conformations=self.beads, seed=seed, overwrite=True)

    def begin(self, output: Path) -> None:
        """Simulate over what is there."""
        self._simulate(output, 0)

    def check_after_kill(self, output: Path) -> None:
        """Read every file of a simulation that is there."""
        folder = output / "particles"
        if folder.exists():
            source = open_source(folder / "particles.star")
            assert len(source) == 360 and source.read(np.arange(360)).shape == (360, 1, 16, 16, 16)

    def check_end(self, output: Path, expected: Path) -> None:
        """Compare all files byte for byte."""
        assert_same_files(output, expected)


def assert_same_files(output: Path, expected: Path) -> None:
    """Compare two folders byte for byte."""
    assert names_in(output) == names_in(expected), names_in(output) ^ names_in(expected)
    for name in names_in(expected):
        if (expected / name).is_file():
            assert _content(output / name) == _content(expected / name), f"{name} differs"


def _content(path: Path) -> bytes:
    # The first line of a STAR file says when it was written.
    return path.read_bytes().partition(b"\n")[2] if path.suffix == ".star" else path.read_bytes()


class Pack(Job):
    """A pack that replaces an older one."""

    name = "data pack"
    phases = ("writing",)
    replaces = True

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        mark(packing._Writer, "write_images", "writing")

    def begin(self, output: Path) -> None:
        """Pack over what is there, in ten files."""
        packing.pack(
            open_source(self.data),
            output / "images.zarr",
            normalisation="standardize",
            shard=300,
            overwrite=True,
        )

    def check_after_kill(self, output: Path) -> None:
        """Read every image of a pack that is there."""
        path = output / "images.zarr"
        if path.exists():
            source = PackSource(path)
            assert source.read(np.arange(len(source))).any(axis=(1, 2, 3)).all()

    def check_end(self, output: Path, expected: Path) -> None:
        """Compare all files byte for byte."""
        assert_same_files(output, expected)


class _Slow(http.server.SimpleHTTPRequestHandler):
    """Hands out files as a slow line does."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        with suppress(ConnectionError):
            while block := source.read(20_000):
                outputfile.write(block)
                time.sleep(0.01)

    def log_message(self, *_arguments: object) -> None:
        pass


def _serve(folder: Path, port: Any) -> None:
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Slow, directory=str(folder))
    )
    port.value = server.server_port
    server.serve_forever()


class Fetch(Job):
    """Fetching four files from a slow server on this machine."""

    name = "data fetch"
    resumable = True
    phases = ("downloading",)

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        rng = np.random.default_rng(0)
        folder = data / "server"
        folder.mkdir(parents=True)
        self.files = {}
        for name in mnist.FILES:
            content = rng.integers(0, 256, 400_000, dtype=np.uint8).tobytes()
            (folder / f"{name}.gz").write_bytes(content)
            self.files[name] = hashlib.sha256(content).hexdigest()
        port = multiprocessing.Value("i", 0)
        self.server = multiprocessing.Process(target=_serve, args=(folder, port), daemon=True)
        self.server.start()
        while not port.value:
            time.sleep(0.01)
        self.mirror = f"http://127.0.0.1:{port.value}/"
        mark(mnist, "download", "downloading")

    def begin(self, output: Path) -> None:
        """Fetch into a folder."""
        os.environ["DUALCONTRAST_DATA"] = str(output)
        mnist.fetch_mnist([self.mirror], self.files)

    def check_after_kill(self, output: Path) -> None:
        """Hash what is there by its name."""
        for name, sha256 in self.files.items():
            path = output / "mnist" / name
            assert not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() == sha256

    def check_end(self, output: Path, expected: Path) -> None:
        """Compare all files byte for byte."""
        assert_same_files(output, expected)


class Table1(Job):
    """A table of two methods, each in a process of its own, which ends with the one that is killed."""

    name = "benchmark table1"
    resumable = True
    phases = ("cells", "figures")

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        mark(table1, "_run_all", "cells")
        mark(table1, "_draw", "figures")

    def begin(self, output: Path) -> None:
        """Make the table; the same call goes on."""
        methods = ["two_latent_vae", "simclr"]
        table1.table1(
            output, methods=methods, datasets=[f"bars={self.data}"], seeds=[0], epochs=2, device="cpu"
        )

    def check_after_kill(self, output: Path) -> None:
        """Read every file of the run folders."""
        for record in output.glob("cells/*/*/*.json"):
            json.loads(record.read_text())
        for run in output.glob("cells/*/*/seed-0"):
            check_run(run)

    def check_end(self, output: Path, expected: Path) -> None:
        """Compare the runs bit for bit, and the table but for the times."""
        for run in expected.glob("cells/*/*/seed-0"):
            assert_same_run(output / run.relative_to(expected), run)
        records = [
            {
                path.relative_to(folder): {**json.loads(path.read_text()), "seconds_per_epoch": 0}
                for path in folder.glob("cells/*/*/*.json")
            }
            for folder in (output, expected)
        ]
        assert records[0] == records[1], "records differ"
        assert names_in(output) == names_in(expected), names_in(output) ^ names_in(expected)
        check_no_leftovers(output)


def make_jobs(folder: Path) -> tuple[Path, dict[str, Callable[[], Job]]]:
    """Write the images to work on into a folder, and name the jobs.

    Returns
    -------
    images : Path
        Those that are trained on.
    jobs : dict of str to callable
        Each job is made when its turn comes, as making it marks functions of the package.
    """
    images, more, many = (folder / f"{name}.npz" for name in ("images", "more", "many"))
    for path, count in ((images, 160), (more, 400), (many, 3_000)):
        pixels, number, angle = bars(count, (16, 16))
        np.savez(path, images=pixels, labels=number, **{"transformation:angle": angle})

    def encode() -> Job:
        run = folder / "model"
        changes = TRAINING | {"epochs": 1}
        pipeline.train(images, run, changes=changes, device="cpu", evaluate=False, progress=False)
        return Encode(many, run)

    return images, {
        "train": lambda: Train(images),
        "train-simclr": lambda: TrainSimCLR(images),
        "encode": encode,
        "simulate": lambda: Simulate(images),
        "pack": lambda: Pack(many),
        "fetch": lambda: Fetch(folder),
        "table1": lambda: Table1(more),
    }
