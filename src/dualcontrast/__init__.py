"""Separate what images show (content) from the state it is in (transformation), without labels.

>>> from dualcontrast import DualContrast
>>> model = DualContrast(content_dim=10, transformation_dim=10)
>>> codes = model.fit(images).encode(images)  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualcontrast.codes import Codes
    from dualcontrast.data.open import open_source
    from dualcontrast.model import DualContrast, Model
    from dualcontrast.pipeline import encode, train
    from dualcontrast.run_folder import RunFolder

_HOMES = {
    "Codes": "codes",
    "DualContrast": "model",
    "Model": "model",
    "RunFolder": "run_folder",
    "encode": "pipeline",
    "open_source": "data.open",
    "train": "pipeline",
}

__all__ = ["Codes", "DualContrast", "Model", "RunFolder", "encode", "open_source", "train"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package stays fast."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
