"""Memory that is freed and taken again, in `dualcontrast.training.kept_memory`."""

import ctypes
import os
import subprocess
import sys

import pytest

MEGABYTES = 100
SCRIPT = f"""
import resource
from pathlib import Path
import torch
from dualcontrast.training.kept_memory import memory_kept

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros({MEGABYTES * 2**18})
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

new_pages()
outside, at_first = new_pages(), resident()
with memory_kept():
    new_pages()
    print(new_pages(), outside, {MEGABYTES * 2**20} / resource.getpagesize(), sep="\\n")
print(resident() - at_first)
"""
HAS_GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim")


def measured(**environment: str) -> list[float]:
    unset = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_T"))}
    outcome = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=unset | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in outcome.stdout.split()]


@pytest.mark.skipif(not HAS_GLIBC, reason="glibc's malloc is what is told")
def test_freed_memory_is_used_again_and_given_back_at_the_end():
    inside, outside, pages, left = measured()
    assert outside > 0.9 * pages, "glibc keeps such blocks by itself: nothing is tested"
    assert inside < 0.05 * pages
    assert left < 0.1 * pages


@pytest.mark.skipif(not HAS_GLIBC, reason="glibc's malloc is what is told")
def test_what_the_environment_says_stands():
    inside, outside, *_ = measured(MALLOC_TRIM_THRESHOLD_="131072")
    assert inside == pytest.approx(outside, rel=0.1)
