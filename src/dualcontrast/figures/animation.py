"""Small films that loop: GIF files, which browsers, editors and slides all show."""

from pathlib import Path

import numpy as np
from PIL import Image

from dualcontrast.files import atomic_path

COLOURS = 255


def write_loop(path: str | Path, frames: np.ndarray, frames_per_second: float = 8.0) -> Path:
    """Write frames as a GIF that runs to and fro without end, atomically.

    All frames share one palette of at most 255 colours, so that nothing flickers but what moves.

    Parameters
    ----------
    path : str or Path
        File to write.
    frames : numpy.ndarray of uint8, shape (K, H, W, 3)
        RGB pictures.
    frames_per_second : float
        Speed.

    Returns
    -------
    Path
        `path`.
    """
    path = Path(path)
    count, height, width, _ = frames.shape
    film = Image.fromarray(np.ascontiguousarray(frames).reshape(count * height, width, 3)).quantize(
        COLOURS, dither=Image.Dither.NONE
    )
    cut = [film.crop((0, place * height, width, (place + 1) * height)) for place in range(count)]
    first, *others = [*cut, *cut[-2:0:-1]]
    with atomic_path(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=round(1000 / frames_per_second),
            loop=0,
            optimize=False,
        )
    return path
