"""`dualcontrast explore`: a local web page to look at a run, pick particles, and take them home."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dualcontrast.errors import SettingError

if TYPE_CHECKING:
    from dualcontrast.explorer.server import Explorer
    from dualcontrast.run_folder import RunFolder


def open_explorer(
    run: "RunFolder | str | Path",
    *,
    host: str = "127.0.0.1",
    port: int = 5006,
    allow_host: Sequence[str] = (),
    device: str = "cpu",
    token: str | None = None,
) -> "Explorer":
    """Make the server that shows a run; it listens, and answers from its `run()` on.

    Parameters
    ----------
    run : RunFolder, str or Path
        A run, trained or still training.
    host : str
        Address to listen on; the default can be reached from this machine only.
    port : int
        Port; the next free one is taken where it is in use. 0 takes any.
    allow_host : sequence of str
        Host names, beside this machine's own, under which browsers may reach it.
    device : str
        Where images are decoded.
    token : str, optional
        Random unless given.

    Returns
    -------
    Explorer
        With the address to open.

    Raises
    ------
    RunError
        When the folder holds no run.
    SettingError
        When the extra `explore` is not installed, or the port cannot be listened on.
    """
    # Not above: the work of a `Job` begins sooner where torch is not needed.
    from dualcontrast.run_folder import RunFolder

    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    if find_spec("panel") is None or find_spec("bokeh") is None:
        raise SettingError("the explorer needs panel; install it with `pip install '.[explore]'`")
    from dualcontrast.explorer.server import make_server

    return make_server(run, host, port, allow_host, device, token)
