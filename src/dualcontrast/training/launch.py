"""Start a training on a device, or on several together.

Imported by what trains or computes only: Lightning Fabric brings PyTorch's compiler along, which takes longer
to import than everything else.
"""

import atexit
import logging
from functools import cache

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn

from dualcontrast import ranks
from dualcontrast.errors import SettingError
from dualcontrast.training.engine import check_devices, check_engine, started_processes

logger = logging.getLogger(__name__)


class _OneModelEach(DDPStrategy):
    """Processes and their connections; what they compute together is told by `spread.Spread`."""

    def setup_module(self, module: nn.Module) -> nn.Module:  # pyright: ignore[reportIncompatibleMethodOverride]
        return module


def make_fabric(
    device: str = "auto",
    precision: str = "32-true",
    devices: int | str | None = 1,
    nodes: int | None = 1,
) -> Fabric:
    """Choose the device and the precision, and start or join the other processes where there are several.

    Raises
    ------
    SettingError
        As `check_engine` and `check_devices`.
    """
    check_engine(device, precision)
    found = check_devices(device, devices, nodes)
    if found == (1, 1):
        # Told so, it does not look for other processes that torchrun or SLURM may have started.
        alone = [LightningEnvironment()]
        return Fabric(accelerator=device, devices=1, precision=precision, plugins=alone)  # pyright: ignore[reportArgumentType]
    return _launched(device, precision, *found)


@cache
def _launched(device: str, precision: str, devices: int, nodes: int) -> Fabric:
    if ranks.world_size() > 1:
        raise SettingError("trainings on several devices that follow each other need the same devices")
    # One line when they are there is enough.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    started = started_processes()
    environment: type[ClusterEnvironment] = LightningEnvironment
    if started:
        environment = TorchElasticEnvironment if started[2] == "torchrun" else SLURMEnvironment
    fabric = Fabric(
        accelerator="cuda" if device == "auto" and torch.cuda.is_available() else device,
        devices=devices,
        num_nodes=nodes,
        precision=precision,  # pyright: ignore[reportArgumentType]
        strategy=_OneModelEach(timeout=ranks.TIMEOUT),
        plugins=[environment()],
    )
    fabric.launch()
    # Threads of connections that are still there would abort a process that is stopped while Python ends.
    atexit.register(ranks.leave)
    if ranks.first():
        logger.info(f"training on {devices} devices" + f" of each of {nodes} nodes" * (nodes > 1))
    return fabric
