"""Images a second on a GPU, of one training and one encoding by each procedure of `benchmark speed`.

    python benchmarks/gpu_once.py                # with recorded steps, and with steps that are not recorded
    python benchmarks/gpu_once.py --profile mnist reference --precision bf16-mixed

The whole benchmark repeats, counts operations and measures memory, which takes some ten minutes; this takes
one. With `--profile`, the kernels of a recorded step and their time.
"""

import argparse

import torch
from torch.profiler import ProfilerActivity, profile

from dualcontrast.benchmark.procedures import AUTHORS, Procedure
from dualcontrast.benchmark.speed_shapes import SHAPES, generated_images
from dualcontrast.training import recording

NEVER = 10**9
TIMED = {
    "mnist": (
        (AUTHORS, "32-true", True),
        ("reference", "32-true", True),
        ("reference", "32-true", False),
        ("default", "32-true", True),
        ("default", "32-true", False),
    ),
    "subtomogram": (
        (AUTHORS, "32-true", True),
        ("reference", "32-true", True),
        ("reference", "bf16-mixed", True),
        ("subtomogram", "32-true", True),
    ),
}
BATCHES, EPOCHS = 20, 2


def time_all() -> None:
    """Print a line for every procedure."""
    recorded_after = recording.BEFORE
    for name, procedures in TIMED.items():
        shape = SHAPES[name]
        images = generated_images(shape, shape.images_on("cuda"))
        for procedure, precision, recorded in procedures:
            recording.BEFORE = recorded_after if recorded else NEVER
            speeds = Procedure(shape, procedure, "cuda", precision).speeds(images)
            how = "" if recorded else ", not recorded"
            print(
                f"{name}, {procedure}, {precision}{how}: training {speeds.training:,.0f}, "
                f"encoding {speeds.encoding:,.0f} images/s",
                flush=True,
            )


def show_kernels(name: str, preset: str, precision: str) -> None:
    """Print how many kernels a recorded step has, and those that take longest."""
    procedure = Procedure(SHAPES[name], preset, "cuda", precision)
    images = generated_images(procedure.shape, procedure.batch * BATCHES)
    # The first training loads libraries and chooses kernels.
    procedure.fit(images, EPOCHS)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        procedure.fit(images, EPOCHS)
        torch.cuda.synchronize()
    kernels = [e for e in profiled.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    steps = BATCHES * EPOCHS
    milliseconds = sum(kernel.self_device_time_total for kernel in kernels) / 1000 / steps
    print(f"{len(kernels) / steps:.0f} kernels a step, {milliseconds:.2f} ms")
    print(profiled.key_averages().table(sort_by="self_device_time_total", row_limit=15))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--profile", nargs=2, metavar=("SHAPE", "PRESET"))
    parser.add_argument("--precision", default="32-true")
    arguments = parser.parse_args()
    if arguments.profile:
        show_kernels(*arguments.profile, arguments.precision)
    else:
        time_all()


if __name__ == "__main__":
    main()
