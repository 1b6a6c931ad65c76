"""The folder that holds everything of one run, and the names of its files."""

import contextlib
import hashlib
import json
import math
import platform
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from dualcontrast import ranks
from dualcontrast.codes import Codes
from dualcontrast.data.fingerprint import describe_change
from dualcontrast.data.open import open_source
from dualcontrast.data.skipped import read_skipped
from dualcontrast.data.source import ImageSource
from dualcontrast.data.split import Split
from dualcontrast.errors import DataError, RunError, SettingError
from dualcontrast.files import clear_leftovers, not_written, write_text
from dualcontrast.methods.base import Method
from dualcontrast.model import Model
from dualcontrast.prepare import Preparation
from dualcontrast.yaml_files import read_yaml

CONFIG, COMMAND, ENVIRONMENT, SPLIT = "config.yaml", "command.txt", "environment.json", "split.json"
METRICS, WEIGHTS, CODES, EVALUATION = "metrics.jsonl", "weights.safetensors", "codes.npz", "evaluation.json"
WEIGHTS_SUM = "weights.sha256"
UNFINISHED = ".unfinished"
CHECKPOINTS, FIGURES, REPORT = "checkpoints", "figures", "report.html"
CODE_PIECES = f"{CODES}.pieces"
CLUSTERS, TRAVERSALS, EXPLORER = "clusters", "traversals", "explorer"
# What the package writes below them.
CLASS_SUFFIXES = (".csv", ".json", ".star", ".mrc", ".npy", ".png", ".gif", ".cxc")
SKIPPED = "skipped.csv"
# In a folder of several runs: which is the best.
SELECTION = "selection.json"
# All but the configuration.
WHOLE_FILES = (
    *(COMMAND, ENVIRONMENT, SPLIT, SKIPPED, METRICS),
    *(WEIGHTS, WEIGHTS_SUM, CODES, EVALUATION, REPORT),
)
# What a run cannot be opened without.
_CONFIG_KINDS: dict[str, type] = {
    "data": dict,
    "method": str,
    "seed": int,
    "settings": dict,
    "recipe": dict,
    "preparation": dict,
}
RECORDED_PACKAGES = ("dualcontrast", "torch", "lightning-fabric", "numpy", "scipy", "scikit-learn")


class RunFolder:
    """One run: what was asked, on what it ran, and everything that came of it.

    Parameters
    ----------
    path : Path
        The folder; use `create` for a new run and `open` for one that exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = False

    @classmethod
    def create(
        cls, path: str | Path, config: dict[str, Any], split: Split, overwrite: bool = False
    ) -> "RunFolder":
        """Start a run folder and write what is known before the training.

        Parameters
        ----------
        path : str or Path
            Where; must not hold a run unless `overwrite` is set.
        config : dict
            Resolved settings, of plain values.
        split : Split
            Which particles train and which test.
        overwrite : bool
            Delete the files of an existing run first, and no others.

        Raises
        ------
        RunError
            When the folder holds a run, or anything else.
        UserError
            When it cannot be written.
        """
        run = cls(Path(path))
        run.check_free(overwrite)
        run._delete_results()
        write_text(run.path / SPLIT, json.dumps(split.to_dict()))
        write_text(run.path / COMMAND, shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) + "\n")
        write_text(run.path / ENVIRONMENT, json.dumps(environment(), indent=2) + "\n")
        # Last, because a folder with a configuration counts as a run.
        write_text(run.path / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        (run.path / UNFINISHED).unlink()
        return run

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """Open an existing run folder.

        Raises
        ------
        RunError
            When the folder does not exist or holds no run.
        """
        run = cls(Path(path))
        if not run.exists() and (run.path / SELECTION).is_file():
            best = run._read_json(SELECTION).get("best")
            which = f"; the best is {run.path / best}" if isinstance(best, str) else ""
            raise RunError(f"{run.path}: holds several runs, name one of them{which}")
        if not run.exists():
            raise RunError(f"{run.path}: not a run folder (no {CONFIG}); make one with `dualcontrast train`")
        return run

    def exists(self) -> bool:
        """Whether the folder holds a run."""
        return (self.path / CONFIG).is_file()

    def check_free(self, overwrite: bool = False) -> None:
        """Raise `RunError` when a new run may not be written here."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise RunError(f"{self.path}: is a file; choose another --output")
        if (self.path / CONFIG).exists():
            if not overwrite:
                raise RunError(
                    f"{self.path}: holds a run already; go on with --resume, replace it with --overwrite, "
                    "or choose another --output"
                )
        elif not (self.path / UNFINISHED).exists() and any(
            not entry.name.startswith(".") for entry in self.path.iterdir()
        ):
            raise RunError(f"{self.path}: holds files that are no run; choose another --output")

    @property
    def config(self) -> dict[str, Any]:
        """Resolved settings: `data`, `method`, `preset`, `seed`, `settings`, `recipe`, `preparation`, ..."""
        try:
            config = read_yaml(self.path / CONFIG)
        except ValueError as error:
            raise RunError(
                f"{self.path / CONFIG}: cannot be read ({error}); restore it or train again"
            ) from None
        if not isinstance(config, dict):
            raise RunError(f"{self.path / CONFIG}: holds no settings; restore it or train again")
        for name, kind in _CONFIG_KINDS.items():
            if not isinstance(config.get(name), kind):
                raise RunError(
                    f"{self.path / CONFIG}: `{name}` is missing or of another kind; restore it or train again"
                )
        if not isinstance(config["data"].get("location"), str):
            raise RunError(f"{self.path / CONFIG}: `data` has no location; restore it or train again")
        return config

    @property
    def checkpoint(self) -> Path:
        """The checkpoint from which the training is resumed."""
        return self.path / CHECKPOINTS / "last.pt"

    @property
    def preparation(self) -> Preparation:
        """How the images of the run are prepared."""
        try:
            return Preparation.from_dict(self.config["preparation"])
        except SettingError as error:
            raise RunError(f"{self.path / CONFIG}: {error}") from None

    @property
    def identity(self) -> str:
        """Hash of the trained weights.

        Raises
        ------
        RunError
            When the run is not trained.
        """
        try:
            return hashlib.sha256((self.path / WEIGHTS).read_bytes()).hexdigest()
        except OSError:
            raise RunError(
                f"{self.path / WEIGHTS}: not there yet; finish the run with `dualcontrast train --resume`"
            ) from None

    @property
    def recorded_identity(self) -> str | None:
        """Hash of the weights as the training left them; None in a run of an earlier version."""
        path = self.path / WEIGHTS_SUM
        try:
            return path.read_text(encoding="utf-8").split()[0] if path.exists() else None
        except (OSError, UnicodeDecodeError, IndexError):
            raise RunError(f"{path}: cannot be read; restore it") from None

    def record_identity(self) -> None:
        """Write down the hash of the weights, for `verify` and for `sha256sum --check`."""
        write_text(self.path / WEIGHTS_SUM, f"{self.identity}  {WEIGHTS}\n")

    @property
    def environment(self) -> dict[str, Any]:
        """On what the run was begun; see `environment`."""
        return self._read_json(ENVIRONMENT)

    @property
    def split(self) -> Split:
        """Which particles trained and which test."""
        try:
            return Split.from_dict(self._read_json(SPLIT))
        except DataError as error:
            raise RunError(f"{self.path / SPLIT}: {error}") from None

    @property
    def codes(self) -> Codes:
        """Codes of all particles, train and test."""
        return Codes.load(self.path / CODES)

    @property
    def evaluation(self) -> dict[str, Any]:
        """What `evaluate` measured."""
        return self._read_json(EVALUATION)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Rows of metrics in the order of the steps."""
        path = self.path / METRICS
        if not path.exists():
            return []
        try:
            # A last line without its end was cut short, by a full disk or a loss of power.
            lines = path.read_text(encoding="utf-8").split("\n")[:-1]
            rows = [json.loads(line) for line in lines if line]
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{path}: cannot be read ({error}); restore it or train again") from None
        if not all(isinstance(row, dict) for row in rows):
            raise RunError(f"{path}: has lines that are no metrics; restore it or train again")
        return rows

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add a row of metrics.

        Raises
        ------
        UserError
            When the disk is full, or the folder cannot be written.
        """
        path = self.path / METRICS
        try:
            with path.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(row) + "\n")
        except OSError as error:
            raise not_written(path, error) from error

    def forget_metrics_after(self, step: int) -> None:
        """Drop the rows that a resumed training will write again, and a last line that was cut short."""
        path = self.path / METRICS
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                break
            if isinstance(row, dict) and row.get("step", math.inf) <= step:
                kept.append(line + "\n")
        write_text(path, "".join(kept))

    def load_model(self, device: str = "auto", progress: bool = True) -> Model:
        """Load the trained model of the run."""
        return Model.load(self.path, device=device, progress=progress)

    def load_method(self, device: str = "cpu") -> Method:
        """Load the trained networks of the run, in evaluation mode."""
        network = self.load_model(device, progress=False).network
        assert network is not None
        return network

    def open_source(
        self, location: str | Path | None = None, *, labels: str | Path | None = None
    ) -> ImageSource:
        """Open the images that the run was trained on.

        Parameters
        ----------
        location : str or Path, optional
            Where they are now, if no longer where they were.
        labels : str or Path, optional
            CSV file of labels instead of the one that the run began with.

        Raises
        ------
        DataError
            When they are no longer where they were, or are others than the run began with.
        """
        config = self.config
        data = config["data"]
        # Runs of earlier versions have no `datadir`, `skip_bad` or `tilt_range`.
        skip_bad = data.get("skip_bad", False)
        recorded = self.path / SKIPPED
        source = open_source(
            data["location"] if location is None else location,
            labels=data["labels"] if labels is None else labels,
            folder_labels=data["folder_labels"],
            datadir=data.get("datadir"),
            skip_bad=skip_bad,
            known_bad=read_skipped(recorded) if skip_bad and recorded.is_file() else None,
            tilt_range=tuple(data["tilt_range"]) if data.get("tilt_range") else None,
        )
        # Ids of arrays are their positions: codes of other images under the same ids would go unnoticed.
        if location is None and not self._seen and "fingerprint" in config:
            change = describe_change(config["fingerprint"], source)
            if change:
                raise DataError(f"{change}; restore the images the run began with, or train a new run")
            self._seen = True
        return source

    def clear_leftovers(self) -> None:
        """Delete what a killed process left of files that it had not finished."""
        for folder in (self.path, *(self.path / name for name in (CHECKPOINTS, FIGURES, CODE_PIECES))):
            clear_leftovers(folder)
        if self.exists():
            (self.path / UNFINISHED).unlink(missing_ok=True)
        if (self.path / CODES).exists():
            shutil.rmtree(self.path / CODE_PIECES, ignore_errors=True)

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(
                f"{path}: not there yet; finish the run with `dualcontrast train --resume`"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{path}: cannot be read ({error}); restore it or make it again") from None
        if not isinstance(found, dict):
            raise RunError(f"{path}: holds no record; restore it or make it again")
        return found

    def _delete_results(self) -> None:
        self.clear_leftovers()
        # While it is there and no configuration, the files beside it are of a run that is no more or not yet.
        write_text(self.path / UNFINISHED, "")
        # The configuration goes first: what is left of an interrupted deletion is then no run.
        (self.path / CONFIG).unlink(missing_ok=True)
        for name in WHOLE_FILES:
            (self.path / name).unlink(missing_ok=True)
        for folder, pattern in (
            (CHECKPOINTS, "*.pt"),
            (FIGURES, "*.png"),
            (FIGURES, "*.gif"),
            (CODE_PIECES, "*.*"),
        ):
            for file in (self.path / folder).glob(pattern):
                file.unlink()
        with contextlib.suppress(OSError):
            (self.path / CODE_PIECES).rmdir()
        for folder in (CLUSTERS, TRAVERSALS):
            top = self.path / folder
            for file in [*sorted(top.rglob("*"), reverse=True), top]:
                if file.is_dir() and not file.is_symlink():
                    # A folder in which somebody keeps files of their own stays.
                    with contextlib.suppress(OSError):
                        file.rmdir()
                elif file.suffix in CLASS_SUFFIXES and file != top:
                    file.unlink()


def environment() -> dict[str, Any]:
    """Say what runs here: Python, platform, versions of packages, threads, processes, GPU."""
    import torch

    packages = {}
    for name in RECORDED_PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "torch_threads": torch.get_num_threads(),
        "processes": ranks.world_size(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
