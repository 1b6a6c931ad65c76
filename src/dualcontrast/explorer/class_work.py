"""What a `Job` does with classes; the page is not imported where it is done."""

from typing import Any

from dualcontrast.class_finding import cluster_run
from dualcontrast.class_maps import decode_classes
from dualcontrast.explorer.places import Say


def cluster_in_background(
    say: Say, run: str, on: Any, count: tuple[int, int], method: Any, name: str
) -> None:
    """Cluster a run; the work of a `Job`."""
    low, high = count
    numbers = f"{low}" if low == high else f"{low} to {high}"
    say(f"{'mixtures' if method == 'gmm' else 'k-means'} of {numbers} classes", None)
    cluster_run(run, on, low if low == high else count, method, name=name, progress=False)


def decode_in_background(say: Say, run: str, name: str) -> None:
    """Decode the classes of a run; the work of a `Job`."""
    say(f"decoding the classes '{name}'", None)
    decode_classes(run, name, overwrite=True, device="cpu")
