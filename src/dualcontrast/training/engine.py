"""Which devices a training may run on, and the network it starts from."""

import os
from typing import Any

import torch

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


def lacks_bf16(device: torch.device) -> bool:
    """Whether a device is a CPU that is known to have no instructions for bf16."""
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    found = torch.cpu.get_capabilities()
    if found.get("architecture") != "x86_64":
        return False
    return not (found.get("avx512_bf16") or found.get("amx_bf16"))


def check_devices(device: str, devices: int | str | None, nodes: int | None) -> tuple[int, int]:
    """Find out on how many devices and nodes a training runs.

    Parameters
    ----------
    device : str
        See `check_engine`.
    devices : int, 'auto' or None
        Processes a node, of which each has a GPU or, on the CPU, its share of the cores. `auto`: one for
        every GPU, and one on the CPU. None: as many as torchrun or srun has started, and one without them.
    nodes : int or None
        Machines; None as for `devices`.

    Returns
    -------
    tuple of int
        Devices a node, and nodes.

    Raises
    ------
    SettingError
        For numbers that this machine, torchrun or SLURM does not agree with.
    """
    started = started_processes()
    on_cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    if devices == "auto":
        devices = started[0] if started else torch.cuda.device_count() if on_cuda else 1
    for name, number in (("devices", devices), ("nodes", nodes)):
        if number is not None and not (str(number).isdecimal() and int(number) > 0):
            raise SettingError(
                f"--{name} {number}: give a number, at least 1{' or auto' * (name == 'devices')}"
            )
    asked = (None if devices is None else int(devices), nodes)
    if asked == (1, 1) and started and started[2] == "srun":
        # Tasks of srun that are trainings by themselves.
        return 1, 1
    if started:
        for name, number, is_so in zip(("devices", "nodes"), asked, started[:2], strict=True):
            if number not in (None, is_so):
                raise SettingError(
                    f"--{name} {number}: {started[2]} has started {started[0]} processes on each of "
                    f"{started[1]} nodes; leave --{name} out, or start it otherwise"
                )
    found = started[:2] if started else (asked[0] or 1, asked[1] or 1)
    if found == (1, 1):
        return found
    if not started and found[1] > 1 and not {"MASTER_ADDR", "NODE_RANK"} <= set(os.environ):
        raise SettingError(f"--nodes {nodes}: start it with torchrun or srun, which reach the other nodes")
    if on_cuda and found[0] > torch.cuda.device_count():
        raise SettingError(
            f"--devices {found[0]}: this machine has {torch.cuda.device_count()} CUDA devices; "
            "give no more than those, or train with --device cpu"
        )
    if not on_cuda and (device == "mps" or (device == "auto" and torch.backends.mps.is_available())):
        raise SettingError(f"--devices {found[0]}: several devices are CUDA devices or --device cpu")
    return found


def started_processes() -> tuple[int, int, str] | None:
    """Processes a node, nodes, and by what they were started; None without torchrun or srun."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        here = int(environment["LOCAL_WORLD_SIZE"])
        return here, int(environment["WORLD_SIZE"]) // here, "torchrun"
    # The number of the step's tasks: it is not there in the batch script itself.
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    if tasks > 1:
        nodes = int(environment.get("SLURM_STEP_NUM_NODES", environment.get("SLURM_NNODES", 1)))
        if tasks % nodes or "SLURM_NTASKS_PER_NODE" not in environment:
            raise SettingError(
                f"SLURM has started {tasks} tasks on {nodes} nodes: "
                "give it as many for every node, by --ntasks-per-node"
            )
        return tasks // nodes, nodes, "srun"
    return None


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
