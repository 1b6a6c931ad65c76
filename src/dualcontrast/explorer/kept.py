"""Reading what the explorer keeps for itself in the run folder."""

from pathlib import Path

import numpy as np


def read_kept(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a `.npz` file, or that of a `.npy` file, which is called `array`.

    Returns
    -------
    dict of str to numpy.ndarray
        Empty where the file is missing or damaged: nothing that the explorer keeps for itself may keep it
        from opening.
    """
    try:
        with path.open("rb") as handle:
            found = np.load(handle, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return {"array": found}
            return {name: found[name] for name in found.files}
    # Damaged files raise nearly anything: of zip archives, of compression, of headers, of shapes.
    except Exception:
        return {}
