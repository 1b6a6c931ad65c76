"""Checkpoints: everything that a run needs to go on as if it had never stopped."""

from pathlib import Path
from typing import Any

import torch

from dualcontrast.errors import RunError
from dualcontrast.files import atomic_path

FORMAT = 1


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
        When the file is damaged, or belongs to a run with other settings.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        stored, step, states = content["identity"], content["step"], content["states"]
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
