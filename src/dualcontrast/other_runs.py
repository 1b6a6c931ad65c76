"""Other trainings on the same images, whose classes tell how far those of a run depend on its seed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dualcontrast.codes import BOTH_CODES, Codes
from dualcontrast.errors import RunError
from dualcontrast.run_folder import CODES, RunFolder

FEWEST_SHARED = 0.5


def codes_of_other_runs(
    run: RunFolder,
    codes: Codes,
    others: Sequence[RunFolder | str | Path],
    *,
    device: str = "auto",
    progress: bool = True,
) -> list[Codes]:
    """Read the codes of other trainings on the images of a run, and see that they are what they should be.

    Parameters
    ----------
    run : RunFolder
        The run.
    codes : Codes
        Its codes, sorted by id.
    others : sequence of RunFolder, str or Path
        Runs on the same particles, known by their ids; any method and settings. Those that are trained and
        not encoded are encoded.
    device : str
        Where images are encoded.
    progress : bool
        Show a progress bar while images are encoded.

    Returns
    -------
    list of Codes
        Of all particles of each run, in the order of their ids.

    Raises
    ------
    RunError
        When one is no run, is not trained, is the run itself or a copy, is named twice, or has less than half
        of the particles.
    DataError
        When one has to be encoded and its images are no longer where they were.
    """
    from dualcontrast.pipeline import encode_run

    seen = [(run.path, codes)]
    for other in others:
        folder = other if isinstance(other, RunFolder) else RunFolder.open(other)
        if folder.path.resolve() == run.path.resolve():
            raise RunError(f"{folder.path}: is the run itself; name one that was trained with another --seed")
        if not (folder.path / CODES).exists():
            # Complains where the run is not trained, before its images are looked for.
            _ = folder.identity
            encode_run(folder, device=device, progress=progress)
        theirs = folder.codes.sorted_by_id()
        for path, known in seen:
            if _same(known, theirs):
                raise RunError(
                    f"{folder.path}: has the same codes as {path}; name one that was trained with another "
                    "--seed"
                )
        shared = int(np.isin(codes.ids, theirs.ids).sum())
        if shared < FEWEST_SHARED * len(codes):
            raise RunError(
                f"{folder.path}: has {shared:,} of the {len(codes):,} particles of {run.path}; name a run on "
                "the same images (--limit chooses others with every --seed)"
            )
        seen.append((folder.path, theirs))
    return [theirs for _, theirs in seen[1:]]


def _same(first: Codes, second: Codes) -> bool:
    return np.array_equal(first.ids, second.ids) and all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in BOTH_CODES
    )
