"""Where a training runs, and the network it starts from."""

from typing import Any

import torch
from lightning_fabric import Fabric

from dualcontrast.errors import DataError, SettingError
from dualcontrast.methods.base import Method
from dualcontrast.networks import check_image_shape
from dualcontrast.random_streams import stream_seed

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("32-true", "bf16-mixed")


def check_engine(device: str, precision: str) -> None:
    """Refuse a device or a precision that is unknown, or that this machine does not have.

    Raises
    ------
    SettingError
        With the names that can be chosen.
    """
    if device not in DEVICES:
        raise SettingError(f"--device {device}: choose one of {', '.join(DEVICES)}")
    if precision not in PRECISIONS:
        raise SettingError(f"--precision {precision}: choose one of {', '.join(PRECISIONS)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingError(
            "--device cuda: torch finds no CUDA device; use --device cpu or a CUDA build of torch"
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise SettingError("--device mps: this machine has no Metal device; use --device cpu")


def make_fabric(device: str = "auto", precision: str = "32-true") -> Fabric:
    """Choose the device and the precision; raises as `check_engine`."""
    check_engine(device, precision)
    return Fabric(accelerator=device, devices=1, precision=precision)  # pyright: ignore[reportArgumentType]


def build_method(
    method_class: type[Method], config: Any, image_shape: tuple[int, ...], bounded: bool, seed: int
) -> Method:
    """Build a method's networks with the initial weights that belong to a seed.

    Raises
    ------
    DataError
        When the method or its networks cannot take images of this shape.
    """
    check_image_shape(image_shape)
    dimension = len(image_shape) - 1
    if dimension not in method_class.spatial_dims:
        defined = " and ".join(f"{number}-D" for number in method_class.spatial_dims)
        raise DataError(
            f"{method_class.name} takes {defined} images only, these have {dimension} dimensions: "
            f"{method_class.other_dimensions}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "initial weights"))
        return method_class(config, image_shape, bounded)
