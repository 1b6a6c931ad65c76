"""Where data sets are kept that are downloaded or generated once."""

import os
from pathlib import Path

import pooch

VARIABLE = "DUALCONTRAST_DATA"


def cache_folder() -> Path:
    """Return the folder of downloaded and generated data sets; it need not exist yet.

    It is the environment variable `DUALCONTRAST_DATA` where that is set, else the user's cache folder, for
    example `~/.cache/dualcontrast` on Linux.
    """
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(pooch.os_cache("dualcontrast"))
