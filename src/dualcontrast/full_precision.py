"""Functions that mixed precision leaves alone."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from dualcontrast.spread import Spread

Function = TypeVar("Function", bound=Callable[..., Any])


def full_precision(function: Function) -> Function:
    """Mark a function whose products must not be rounded to half precision, as mixed precision does.

    Positions would be off by a fifth of a pixel, and sums over many voxels or images by what matters in them.
    What comes in as half precision stays so, until the function turns it into more.

    Parameters
    ----------
    function : callable
        One of its positional arguments is a tensor; the first one says on which device the work is done.
    """

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        device = next(value for value in args if isinstance(value, (Tensor, Spread))).device
        with torch.autocast(device.type, enabled=False):
            return function(*args, **kwargs)

    return wrapped  # pyright: ignore[reportReturnType]
