"""A short record of a set of images, by which a later run can tell that they changed."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dualcontrast.data.source import ImageSource

_SAMPLE = 64


def fingerprint(source: ImageSource) -> dict[str, Any]:
    """Hash the ids of a source and the pixels of 64 of its images.

    Neither depends on the order of the images. The 64 are those whose ids have the lowest hashes, so the
    same ids always give the same 64.

    Returns
    -------
    dict
        `count`, `image_shape`, `ids` (SHA-256 of all ids) and `pixels` (SHA-256 of the images sampled);
        made of what JSON and YAML hold.
    """
    ids = sorted(source.ids.tolist())
    chosen = set(sorted(ids, key=lambda particle: hashlib.sha256(particle.encode()).digest())[:_SAMPLE])
    positions = [position for position, particle in enumerate(source.ids.tolist()) if particle in chosen]
    pixels = hashlib.sha256()
    # One at a time, by id: images may be large volumes.
    for position in sorted(positions, key=lambda position: source.ids[position]):
        pixels.update(np.ascontiguousarray(source.read([position]), dtype="<f4").tobytes())
    return {
        "count": len(ids),
        "image_shape": list(source.image_shape),
        "ids": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
        "pixels": pixels.hexdigest(),
    }


def describe_change(recorded: Mapping[str, Any], source: ImageSource) -> str | None:
    """Say in one line how a source differs from a recorded fingerprint; None where it does not."""
    now = fingerprint(source)
    if now == dict(recorded):
        return None
    if now["image_shape"] != recorded.get("image_shape"):
        return (
            f"{source.location}: images of shape {now['image_shape']}, formerly {recorded.get('image_shape')}"
        )
    if now["count"] != recorded.get("count"):
        return f"{source.location}: {now['count']:,} images, formerly {recorded.get('count'):,}"
    if now["ids"] != recorded.get("ids"):
        return f"{source.location}: as many images as formerly, but their ids have changed"
    return f"{source.location}: the pixels have changed, the ids are the same"
