"""What all windows that look at one run share: its codes, images, columns and networks."""

import threading
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from dualcontrast.codes import Codes
from dualcontrast.data.labels import positions_of
from dualcontrast.data.source import ImageSource
from dualcontrast.errors import SettingError, UserError
from dualcontrast.evaluation.inference import decode_codes
from dualcontrast.explorer.columns import Column, columns_of
from dualcontrast.explorer.history import History
from dualcontrast.explorer.kept import read_kept
from dualcontrast.explorer.places import PRINCIPAL, SLOW, dimensions_of, quick_places, stored_places
from dualcontrast.explorer.selections import Selections
from dualcontrast.methods.base import Method
from dualcontrast.run_folder import CODES, EXPLORER, RunFolder
from dualcontrast.training.batches import read_prepared

MOST_KEPT = 256


class RunView:
    """One run as the pages see it; only `RUN/explorer` and `RUN/clusters` are ever written.

    Parameters
    ----------
    run : RunFolder
        A run that has its codes.
    device : str
        Where images are decoded.

    Raises
    ------
    UserError
        When its files cannot be read.
    """

    def __init__(self, run: RunFolder, device: str = "cpu") -> None:
        self.run, self._device = run, device
        self.codes: Codes = run.codes
        self.source: ImageSource | None = None
        self.no_images: str | None = None
        try:
            source = run.open_source()
            # Once: it reads many images, and a picture must be there before the pointer has moved on.
            run.preparation.check_source(source)
            self.source = source
            rows = positions_of(self.codes.ids, source.ids)
        except UserError as error:
            # The codes can still be looked at; the page says what is missing.
            self.no_images = str(error)
            rows = np.full(len(self.codes), -1)
        self._image_rows, self._preparation = rows, run.preparation
        self.row_of = {particle: row for row, particle in enumerate(self.codes.ids.tolist())}
        self.history = History()
        self.selections = Selections(self.folder, self.codes.ids, self.history)
        self.columns: dict[str, Column] = {}
        self.refresh_columns()
        self._lock = threading.Lock()
        self._kept: dict[int, np.ndarray] = {}

    @staticmethod
    def codes_written(run: RunFolder) -> int | None:
        """When the codes of a run were written, in nanoseconds; None where there are none to look at yet."""
        try:
            return (run.path / CODES).stat().st_mtime_ns
        except OSError:
            return None

    @property
    def folder(self) -> Path:
        """Where the explorer keeps what is done in it."""
        return self.run.path / EXPLORER

    @property
    def ids(self) -> np.ndarray:
        """Particle ids, shape (N,)."""
        return self.codes.ids

    def __len__(self) -> int:
        return len(self.codes)

    def refresh_columns(self) -> None:
        """Read the classes and labels again."""
        labels = None if self.source is None else self.source.labels
        self.columns = columns_of(self.run, self.codes, labels)

    def code(self, name: str) -> np.ndarray:
        """Return the `content` or the `transformation` codes, shape (N, d)."""
        return getattr(self.codes, name)

    def places(self, code: str, way: str) -> np.ndarray | None:
        """Place the particles by a code, float32 of shape (N, 2); None where UMAP or t-SNE is still to do.

        Raises
        ------
        SettingError
            For a way that the code does not have.
        """
        codes = self.code(code)
        if way not in SLOW:
            return quick_places(codes, way)
        places = read_kept(self.places_file(code, way)).get("array")
        usable = (
            places is not None
            and places.shape == (len(codes), 2)
            and places.dtype == np.float32
            and np.isfinite(places).all()
        )
        return places if usable else None

    def places_file(self, code: str, way: str) -> Path:
        """Name the file in which the places by UMAP or t-SNE are kept."""
        return stored_places(self.folder / "maps" / code, self.code(code), way, self.seed)

    def usable_way(self, code: str, way: str) -> str:
        """Return a way as it is, or the principal axes for one that the code does not have."""
        try:
            dimensions_of(way, self.code(code).shape[1])
        except SettingError:
            return PRINCIPAL
        return way

    @cached_property
    def seed(self) -> int:
        """Of the run."""
        return int(self.run.config["seed"])

    @cached_property
    def method(self) -> Method:
        """The trained networks."""
        return self.run.load_method(self._device)

    @cached_property
    def no_decoder(self) -> str | None:
        """Why nothing can be decoded; None where it can."""
        try:
            method = self.method
        except UserError as error:
            return str(error)
        return (
            None if method.generative else f"the method {method.name} has no decoder, so it draws no images"
        )

    def image(self, row: int) -> np.ndarray | None:
        """Read the prepared image of a particle, shape (C, *spatial); None where it is not there.

        Raises
        ------
        UserError
            When its file cannot be read.
        """
        if self.source is None or self._image_rows[row] < 0:
            return None
        with self._lock:
            found = self._kept.pop(row, None)
            if found is None:
                found = read_prepared(self.source, self._preparation, self._image_rows[[row]])[0].numpy()
            self._kept[row] = found
            while len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return found

    def image_or_reason(self, row: int) -> np.ndarray | str:
        """Read the prepared image of a particle, or say why there is none."""
        try:
            image = self.image(row)
        except UserError as error:
            return str(error)
        return image if image is not None else self.no_images or "not among the images"

    def decode(self, content: np.ndarray, transformation: np.ndarray) -> np.ndarray:
        """Decode codes, shapes (n, d), to images, shape (n, C, *spatial).

        Raises
        ------
        SettingError
            When there is no decoder.
        """
        if self.no_decoder is not None:
            raise SettingError(self.no_decoder)
        with self._lock:
            # One image does not pay for threads, and the server needs a core.
            return decode_codes(
                self.method,
                torch.from_numpy(np.ascontiguousarray(content, dtype=np.float32)),
                torch.from_numpy(np.ascontiguousarray(transformation, dtype=np.float32)),
            ).numpy()
