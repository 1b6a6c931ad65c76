"""Checkpoints: everything that a run needs to go on as if it had never stopped."""

import pickletools
import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from dualcontrast.errors import RunError
from dualcontrast.files import atomic_path

FORMAT = 1
# What states of methods and optimisers are made of.
_NAMES = re.compile(r"collections OrderedDict|torch \w+Storage|torch._utils _rebuild_(tensor_v2|parameter)")


def save_checkpoint(path: Path, identity: dict[str, Any], step: int, states: dict[str, Any]) -> None:
    """Write a checkpoint atomically.

    Parameters
    ----------
    path : Path
        Replaced only once the new file is complete.
    identity : dict
        What the run is (method, image shape, settings, seed); compared when the checkpoint is read.
    step : int
        Steps done. With the run's seed, it fixes the position in the epoch and all random streams.
    states : dict
        State dictionaries of the method and its optimisers.
    """
    content = {"format": FORMAT, "identity": identity, "step": step, "states": states}
    with atomic_path(path) as temporary:
        try:
            # Given the name of the file, the archive writer does not say why it could not write.
            with temporary.open("wb") as handle:
                torch.save(content, handle)
        except RuntimeError as error:
            cause = error.__context__
            raise cause if isinstance(cause, OSError) else OSError(str(error).splitlines()[0]) from error


def _check_archive(path: Path) -> None:
    """Raise `ValueError` for what no checkpoint is: packed, of an old PyTorch, or with calls besides tensors.

    `weights_only` keeps code from running, but lets a pickle ask for any amount of memory.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > path.stat().st_size:
                raise ValueError(f"'{member.filename}' is packed")
            if PurePosixPath(member.filename).name == "data.pkl":
                for opcode, argument, _ in pickletools.genops(archive.read(member)):
                    if opcode.name == "STACK_GLOBAL" or (
                        opcode.name == "GLOBAL" and not _NAMES.fullmatch(str(argument))
                    ):
                        raise ValueError(f"names {argument!r}, of which no state is made")


def load_checkpoint(path: Path, identity: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Read a checkpoint.

    Returns
    -------
    step : int
        Steps done.
    states : dict
        As given to `save_checkpoint`.

    Raises
    ------
    RunError
        When the file is damaged, holds anything but states, or belongs to a run with other settings.
    """
    try:
        _check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        stored, step, states = content["identity"], content["step"], content["states"]
        if content["format"] != FORMAT:
            raise ValueError(f"of format {content['format']!r}, but this version reads {FORMAT}")
        if not isinstance(stored, dict) or not isinstance(states, dict):
            raise ValueError("holds no state of a training")
        if not isinstance(step, int) or step < 0:
            raise ValueError(f"step is {step!r}")
    except FileNotFoundError:
        raise RunError(f"{path}: no such checkpoint; train without --resume") from None
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(
            f"{path}: not a readable checkpoint ({reason}); train again with --overwrite"
        ) from None
    for name, value in identity.items():
        if stored.get(name) != value:
            raise RunError(
                f"{path}: made with {name} = {stored.get(name)!r}, but this run has {value!r}; "
                "resume with the settings of the run, or train into another folder"
            )
    return step, states
