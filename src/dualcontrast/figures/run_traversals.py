"""The traversals of a run: sheets of every step, and films of the strongest directions."""

from pathlib import Path

import numpy as np
from torch import Tensor

from dualcontrast.codes import BOTH_CODES, Codes
from dualcontrast.figures.animation import write_loop
from dualcontrast.figures.moving_traversals import (
    FRAMES_PER_SECOND,
    IMAGE_STEPS,
    STILL_STEPS,
    SURFACE_CAPTION,
    VOLUME_AXES,
    VOLUME_STEPS,
    traversal_frames,
    traversal_surfaces,
)
from dualcontrast.figures.run_figure import RunFigure
from dualcontrast.figures.style import as_pictures, display_limits, save_figure
from dualcontrast.figures.traversals import (
    CAPTIONS,
    STEPS,
    traversal_figure,
    traversal_images,
    traversal_sheet,
)
from dualcontrast.figures.volumes import TAIL
from dualcontrast.methods.base import Encoding, Method


def traversal_figures(
    method: Method, images: Tensor, encoding: Encoding, codes: Codes, folder: Path
) -> list[RunFigure]:
    """Move either code of a few images and draw what is decoded, as a sheet and as a film.

    Parameters
    ----------
    method : Method
        A generative method.
    images : Tensor, shape (M, C, *spatial)
        The starting images, prepared.
    encoding : Encoding
        Their codes.
    codes : Codes
        Of the whole run; give the directions.
    folder : Path
        Where the files go: `traversal_CODE.png` and `.gif`, and of volumes `traversal_surfaces_CODE.png`.
    """
    content, transformation = encoding.content.mean, encoding.transformation.mean
    originals = images.numpy()
    volumes = originals.ndim == 5
    figures = []
    for code in BOTH_CODES:
        population = getattr(codes, code)
        start = (method, code, content, transformation, population)
        moved, shares = traversal_images(*start)
        sheet = save_figure(
            traversal_figure(code, originals, moved, shares), folder / f"traversal_{code}.png"
        )
        film = folder / f"traversal_{code}.gif"
        what = (
            f"{len(shares)} directions by {len(originals)} starting {'volumes' if volumes else 'images'}; "
            f"in each row, {len(STEPS)} decoded {'central sections' if volumes else 'images'} from minus two "
            f"to plus two standard deviations of the {code} code."
        )
        sections = RunFigure(
            sheet,
            f"Traversal of the {code} code" + (": sections" if volumes else ""),
            CAPTIONS[code],
            what,
            "traversals",
            None if volumes else film,
        )
        if volumes:
            walked, shares = traversal_images(*start, VOLUME_STEPS, VOLUME_AXES)
            surfaces = traversal_surfaces(code, walked)
            rows = {"surface": surfaces, "section": _sections(walked)}
            write_loop(film, traversal_frames(code, rows, shares, VOLUME_STEPS), FRAMES_PER_SECOND)
            still = traversal_sheet(
                code,
                as_pictures(originals),
                surfaces[:, :, STILL_STEPS],
                shares,
                VOLUME_STEPS[STILL_STEPS],
            )
            figures.append(
                RunFigure(
                    save_figure(still, folder / f"traversal_surfaces_{code}.png"),
                    f"Traversal of the {code} code: surfaces",
                    SURFACE_CAPTION + CAPTIONS[code],
                    f"Surfaces decoded along {len(shares)} directions of the {code} code from "
                    f"{len(originals)} starting volumes, at five steps from minus two to plus two standard "
                    "deviations.",
                    "traversals",
                    film,
                )
            )
        else:
            walked, shares = traversal_images(*start, IMAGE_STEPS)
            pictures = as_pictures(walked.reshape(-1, *walked.shape[3:]), display_limits(originals))
            rows = {"image": pictures.reshape(*walked.shape[:3], *pictures.shape[1:])}
            write_loop(film, traversal_frames(code, rows, shares, IMAGE_STEPS), FRAMES_PER_SECOND)
        figures.append(sections)
    return figures


def _sections(walked: np.ndarray) -> np.ndarray:
    """Central sections of decoded volumes, on a grey scale of their own, since noise is not decoded."""
    flat = walked.reshape(-1, *walked.shape[3:])
    pictures = as_pictures(flat, display_limits(flat, TAIL))
    return pictures.reshape(*walked.shape[:3], *pictures.shape[1:])
