"""The largest memory that a training takes, measured in a process of its own."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

from dualcontrast.benchmark.procedures import Procedure
from dualcontrast.benchmark.speed_shapes import SHAPES, generated_images
from dualcontrast.errors import UserError

# A GPU's steps are recorded after the third.
STEPS = {"cpu": 2, "cuda": 5}


@dataclass(frozen=True)
class PeakMemory:
    """Largest memory of a process.

    Attributes
    ----------
    total : int
        Bytes: on a CPU, of the whole process; on a GPU, of what torch took there.
    before : int
        The same before the training was set up: interpreter, libraries and images.
    """

    total: int
    before: int


def peak_memory(procedure: Procedure, threads: int) -> PeakMemory:
    """Run a few steps of a procedure in a new process and return its peak.

    Measure before this process has grown: a new process starts with the peak of the one that made it.

    Raises
    ------
    UserError
        With the last line that the process printed, where it fails.
    """
    order = {
        "shape": procedure.shape.name,
        "name": procedure.name,
        "device": procedure.device,
        "precision": procedure.precision,
        "threads": threads,
    }
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(order)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{procedure.name} on {procedure.shape.name}: peak memory not measured ({reason})")
    return PeakMemory(**json.loads(done.stdout.strip().splitlines()[-1]))


def measure(shape: str, name: str, device: str, precision: str, threads: int) -> PeakMemory:
    """Train a few steps in this process; arguments as in `Procedure`."""
    import torch

    torch.set_num_threads(threads)
    procedure = Procedure(SHAPES[shape], name, device, precision)
    steps = STEPS[device]
    images = procedure.some(generated_images(procedure.shape, procedure.batch * steps), steps)
    before = _peak(device)
    procedure.train(images, epochs=1)
    return PeakMemory(_peak(device), before)


def _peak(device: str) -> int:
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    import resource

    # Linux counts in kilobytes, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(json.dumps(asdict(measure(**json.loads(sys.argv[1])))))
