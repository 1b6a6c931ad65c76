"""`dualcontrast explore`: a run in the browser."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

EXAMPLES = """**Examples**

- On this machine: `dualcontrast explore runs/first`
- On a cluster: the same there, and on the laptop the `ssh` command that it prints
- For others on the network, who need the link with the token:
  `dualcontrast explore runs/first --host 0.0.0.0 --port 8080`
"""


def explore(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 5006,
    allow_host: list[str] | None = None,
    device: str = "cpu",
    open_browser: Annotated[bool, Parameter(name="--open", negative=())] = False,
) -> None:
    """Look at a run in the browser: maps of both codes, particles, mixtures, classes, selections, health.

    Nothing is loaded from the network. What is chosen is kept in RUN/explorer.

    Parameters
    ----------
    run
        A run folder; of a run that is still training, its curves are shown.
    host
        Address to listen on. The default can be reached from this machine only.
    port
        Port, or the next one that is free.
    allow_host
        Further host names under which browsers may reach it, such as that of a proxy.
    device
        Where images are decoded: cpu, cuda or mps.
    open_browser
        Open the page in the browser of this machine.
    """
    from dualcontrast.explorer import open_explorer

    explorer = open_explorer(run, host=host, port=port, allow_host=allow_host or (), device=device)
    print(f"Open {explorer.url}")
    print(f"From another machine, first: {explorer.tunnel}")
    print("Ctrl-C ends it; selections stay in the run folder.", flush=True)
    if open_browser:
        import webbrowser

        webbrowser.open(explorer.url)
    explorer.run()
