"""Leaving out particles that cannot be used, and the file that lists them."""

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from dualcontrast.data.source import ImageSource
from dualcontrast.data.subset import SubsetSource
from dualcontrast.errors import DataError
from dualcontrast.files import write_text

HEADER = ("id", "reason")


def find_bad(source: ImageSource, progress: Callable[[int], None] | None = None) -> dict[str, str]:
    """Read every image once, and find those that cannot be read, are not finite, or are constant.

    Parameters
    ----------
    source : ImageSource
        Read one image at a time.
    progress : callable, optional
        Called with the number of images read so far.

    Returns
    -------
    dict of str to str
        Why an image cannot be used, by id, in the order of the source.
    """
    reasons = {}
    for row, name in enumerate(source.ids.tolist()):
        try:
            image = source.read([row])
            if image.min() == image.max():
                reasons[name] = "all pixels are equal"
        except DataError as error:
            reasons[name] = str(error)
        if progress is not None:
            progress(row + 1)
    return reasons


def without_bad(source: ImageSource, progress: Callable[[int], None] | None = None) -> ImageSource:
    """Leave out what `find_bad` finds; `skipped` of the result lists all that was ever left out.

    Raises
    ------
    DataError
        When nothing is left.
    """
    return _without(source, find_bad(source, progress))


def without(source: ImageSource, known: Mapping[str, str]) -> ImageSource:
    """Leave out particles known to be bad, without looking at any; `known` may hold others too."""
    present = set(source.ids.tolist())
    return _without(source, {name: reason for name, reason in known.items() if name in present})


def _without(source: ImageSource, reasons: Mapping[str, str]) -> ImageSource:
    if not reasons:
        return source
    kept = source.ids[~np.isin(source.ids, np.array(list(reasons), dtype=str))]
    if not len(kept):
        raise DataError(
            f"{source.location}: no image can be used, the first because {next(iter(reasons.values()))}"
        )
    rest = SubsetSource(source, kept)
    rest.skipped = {**source.skipped, **reasons}
    return rest


def write_skipped(path: str | Path, skipped: Mapping[str, str]) -> None:
    """Write ids and reasons as a CSV file, which has a header even where nothing was skipped."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(HEADER)
    rows.writerows((name, " ".join(reason.split())) for name, reason in skipped.items())
    write_text(path, text.getvalue())


def read_skipped(path: str | Path) -> dict[str, str]:
    """Read what `write_skipped` wrote.

    Raises
    ------
    DataError
        When the file is missing or no such list.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as handle:
            rows = list(csv.reader(handle, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); restore it or train again") from None
    if not rows or tuple(rows[0]) != HEADER or any(len(row) != 2 for row in rows):
        raise DataError(f"{path}: is no list of skipped particles; restore it or train again")
    return {row[0]: row[1] for row in rows[1:]}
