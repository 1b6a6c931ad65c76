"""Saying what to do when the memory of a device, or of the machine, is not enough."""

from collections.abc import Iterator
from contextlib import contextmanager

from dualcontrast.errors import UserError


class NotEnoughMemoryError(UserError):
    """What was asked for does not fit; the message says what needs less."""


@contextmanager
def needing_memory(what: str, instead: str) -> Iterator[None]:
    """Turn a failed allocation into `NotEnoughMemoryError`.

    Parameters
    ----------
    what : str
        What needs the memory, for the message.
    instead : str
        What needs less.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise NotEnoughMemoryError(f"not enough memory for {what}; {instead}") from error


def step_memory(batch: int, image_shape: tuple[int, ...], device: object) -> tuple[str, str]:
    """Say what a step of a training needs memory for, and what needs less."""
    return (
        f"a step of {batch} images of {'×'.join(map(str, image_shape[1:]))} on {device}",
        f"--batch-size {max(2, batch // 2)} needs about half (train anew with --overwrite); --box and "
        "--precision bf16-mixed need less too; a run that has begun can go on (--resume) on several devices "
        "(--devices)",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an allocation failed, on a device or by torch on the CPU."""
    # By name, so that torch need not be imported; it has no class for the CPU.
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "DefaultCPUAllocator" in str(error)
