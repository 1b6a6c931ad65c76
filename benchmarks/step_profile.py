"""The profile of docs/speed.md: in which operations the time of a training goes.

python benchmarks/step_profile.py mnist reference
python benchmarks/step_profile.py subtomogram subtomogram --threads 2 --precision bf16-mixed
"""

import argparse

import torch
from torch.profiler import ProfilerActivity, profile

from dualcontrast.benchmark.procedures import Procedure
from dualcontrast.benchmark.speed_shapes import SHAPES, generated_images

BATCHES = 2


def main() -> None:
    """Train two epochs of two batches, the second time under the profiler, and print shares as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shape", choices=list(SHAPES))
    parser.add_argument("preset")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--operations", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    procedure = Procedure(SHAPES[arguments.shape], arguments.preset, "cpu", arguments.precision)
    images = generated_images(procedure.shape, BATCHES * procedure.batch)
    procedure.fit(images, epochs=1)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        procedure.fit(images, epochs=2)
    operations = profiler.key_averages()
    total = sum(operation.self_cpu_time_total for operation in operations)
    longest = sorted(operations, key=lambda operation: -operation.self_cpu_time_total)
    print("| operation | share of the time | calls |\n|---|---|---|")
    for operation in longest[: arguments.operations]:
        share = 100 * operation.self_cpu_time_total / total
        print(f"| `{operation.key}` | {share:.1f} % | {operation.count} |")


if __name__ == "__main__":
    main()
