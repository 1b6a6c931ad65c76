"""Encoding any number of images: piece by piece, resumable, and by several processes.

While it is under way, the codes of every few thousand images are a file of their own in `OUTPUT.pieces`. A
call that is killed loses the piece it was at. Several processes may each write some of the pieces; a last
call joins them.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast.code_files import Arrays, check_suffix, write_arrays
from dualcontrast.codes import Codes
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import RunError, SettingError
from dualcontrast.files import clear_leftovers, temporary_prefix, write_text
from dualcontrast.model import Model
from dualcontrast.training.progress import track

PIECE = 8_192
RECORD = "pieces.json"


def pieces_beside(output: Path) -> Path:
    """Name the folder of the pieces of an output that is under way."""
    return output.with_name(f"{output.name}.pieces")


def clear_leftovers_of(output: Path) -> None:
    """Delete what killed calls left of an output and its pieces."""
    for name in (output.name, pieces_beside(output).name):
        clear_leftovers(output.parent, name)


def parse_part(text: str) -> tuple[int, int]:
    """Turn `3/8` into (3, 8).

    Raises
    ------
    SettingError
        When it is no such share, or beyond the last.
    """
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if match is None or int(match[1]) > int(match[2]):
        raise SettingError(f"--part {text}: write it as 3/8, for the third of eight parts")
    return int(match[1]), int(match[2])


def encode_to(
    model: Model,
    source: ImageSource,
    output: Path,
    identity: str,
    *,
    part: tuple[int, int] | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Encode images into a file of codes, in the order of the source.

    Parameters
    ----------
    model : Model
        Trained.
    source : ImageSource
        May be larger than memory.
    output : Path
        Ends in .npz, .parquet or .zarr.
    identity : str
        Of the model's weights; pieces of another one are refused.
    part : (int, int), optional
        Encode the k-th of K contiguous parts only, and do not join the pieces; those that are there are kept.
    resume : bool
        Keep the pieces of a former call, or of parts.
    overwrite : bool
        Replace the output, and what a former call left of it unless `resume` is set.

    Raises
    ------
    RunError
        When the output exists and `overwrite` is not set; when there are pieces and neither `resume`, `part`
        nor `overwrite` is set; or when they are of another model or other images.
    SettingError
        For an unknown format.
    DataError
        For images that cannot be read, or that the model does not take.
    """
    check_suffix(output)
    clear_leftovers_of(output)
    model.check_source(source)
    pieces = _Pieces(pieces_beside(output), model, source, identity)
    # Pieces that are all there beside their output: a call was killed when it had only to delete them.
    joined = resume and part is None and pieces.are_all_there()
    if output.exists() and not overwrite and not joined:
        raise RunError(f"{output}: exists already; add --overwrite or choose another --output")
    pieces.begin(keep=resume or part is not None, discard=overwrite)
    wanted = np.arange(pieces.count)
    if part is not None:
        wanted = np.array_split(wanted, part[1])[part[0] - 1]
    missing = [number for number in wanted.tolist() if not pieces.path(number).exists()]
    rows = [pieces.rows(number) for number in missing]
    batches = model.encode_batches(source, [batch for piece in rows for batch in _batches(piece, model)])
    held: list[Codes] = []
    due = iter(missing)
    images = sum(map(len, rows))
    for codes in track(batches, "encoding", enabled=model.progress, total=-(-images // model.batch_rows)):
        held.append(codes)
        if sum(map(len, held)) == len(rows[0]):
            Codes.joined(held).save(pieces.path(next(due)))
            held = []
            del rows[0]
    if part is None:
        write_arrays(output, len(source), pieces.in_order())
        pieces.remove()


def _batches(rows: np.ndarray, model: Model) -> list[np.ndarray]:
    return [rows[first : first + model.batch_rows] for first in range(0, len(rows), model.batch_rows)]


class _Pieces:
    """The pieces of one output: files of codes of so many images each, and a record of what they are of."""

    def __init__(self, folder: Path, model: Model, source: ImageSource, identity: str) -> None:
        self._folder, self._source = folder, source
        # Whole batches, so that images share a batch with the same others however they are encoded.
        self._size = max(1, PIECE // model.batch_rows) * model.batch_rows
        self.count = -(-len(source) // self._size)
        ids = hashlib.sha256()
        for first in range(0, len(source), PIECE):
            ids.update("\n".join(["", *source.ids[first : first + PIECE].tolist()]).encode())
        self._record: dict[str, Any] = {
            "weights": identity,
            "ids": ids.hexdigest(),
            "images": len(source),
            "images_a_piece": self._size,
        }

    def begin(self, keep: bool, discard: bool) -> None:
        """Look at what is there, and make the folder."""
        clear_leftovers(self._folder)
        if self._folder.exists() and not keep:
            if not discard:
                raise RunError(
                    f"{self._folder}: holds codes of a call that did not end; go on with --resume, "
                    "or start again with --overwrite"
                )
            self.remove()
        if (self._folder / RECORD).exists():
            if not self._are_ours():
                raise RunError(
                    f"{self._folder}: holds codes by another model or of other images; "
                    "start again with --overwrite"
                )
        else:
            write_text(self._folder / RECORD, json.dumps(self._record, indent=1) + "\n")

    def _are_ours(self) -> bool:
        try:
            return json.loads((self._folder / RECORD).read_text(encoding="utf-8")) == self._record
        except (OSError, ValueError):
            return False

    def are_all_there(self) -> bool:
        """Whether nothing is left to encode."""
        return self._are_ours() and all(self.path(number).exists() for number in range(self.count))

    def path(self, number: int) -> Path:
        """Name the file of a piece."""
        return self._folder / f"{number:08d}.npz"

    def rows(self, number: int) -> np.ndarray:
        """Return the positions of the images of a piece."""
        return np.arange(number * self._size, min((number + 1) * self._size, len(self._source)))

    def in_order(self) -> Iterator[Arrays]:
        """Read the pieces one after the other, and make sure that they are of the images they should be."""
        for number in range(self.count):
            codes = Codes.load(self.path(number))
            if not np.array_equal(codes.ids, self._source.ids[self.rows(number)]):
                raise RunError(
                    f"{self.path(number)}: holds other images than it should; delete it and --resume"
                )
            yield codes.arrays()

    def remove(self) -> None:
        """Delete the pieces and their folder."""
        # By another name, so that a call that is killed here leaves no pieces that seem to be wanted.
        away = self._folder.with_name(f"{temporary_prefix(self._folder)}removed.tmp")
        self._folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)
