"""The local server of the explorer."""

import errno
import logging
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from dualcontrast.errors import SettingError
from dualcontrast.explorer.desk import Desk
from dualcontrast.explorer.exports import EXPORTS
from dualcontrast.explorer.guard import Headers, guarded, hosts_of, is_loopback
from dualcontrast.explorer.pictures import card_png, picture_of
from dualcontrast.run_folder import CLASS_SUFFIXES, CLUSTERS, EXPLORER, REPORT, RunFolder
from dualcontrast.training.engine import check_engine

ASSETS = Path(__file__).parent / "assets"
LAST_PORT, TRIED_PORTS = 65_535, 20
DOWNLOADS = (*CLASS_SUFFIXES, ".txt", ".npz")


@dataclass(frozen=True)
class Explorer:
    """A server that is ready to start.

    Attributes
    ----------
    server : panel.io.server.Server
        Listens already.
    url : str
        Of the page, with the token.
    tunnel : str
        The command that brings it to another machine.
    """

    server: Any
    url: str
    tunnel: str

    def run(self) -> None:
        """Serve until Ctrl-C."""
        self.server.run_until_shutdown()


def make_server(
    run: RunFolder, host: str, port: int, allow_host: Sequence[str], device: str, token: str | None
) -> Explorer:
    """Make the server of `open_explorer`, which says what the arguments are."""
    # Panel takes seconds to import; whoever only asks for a name of this module need not wait.
    import panel as pn
    from panel.io.server import get_server

    from dualcontrast.explorer.window import make_window

    if not 0 <= port <= LAST_PORT:
        raise SettingError(f"--port {port}: ports are 0 to {LAST_PORT}; choose another")
    check_engine(device, "32-true")
    token = token or secrets.token_urlsafe(24)
    desk = Desk(run, device)
    pn.extension()
    # It warns of the origins that we let it pass, since they have been looked at before.
    logging.getLogger("bokeh.server.util").setLevel(logging.ERROR)
    server = get_server(
        {"/": lambda: make_window(desk)},
        port=_free_port(host, port),
        address=host,
        # Origins are compared with the host that was asked, in front of this.
        websocket_origin="*",
        title={"/": f"{run.path.resolve().name} · dualcontrast"},
        static_dirs={"assets": str(ASSETS)},
        extra_patterns=[
            (r"/picture/([0-9]+)\.png", PictureHandler, {"desk": desk}),
            (r"/files/(.+)", FileHandler, {"run": run}),
        ],
        session_token_expiration=7 * 24 * 3600,
        check_unused_sessions_milliseconds=10_000,
        unused_session_lifetime_milliseconds=60_000,
        websocket_max_message_size=256 << 20,
    )
    application = server._tornado
    application.add_transform(Headers)
    server._http.request_callback = guarded(
        application, token, hosts_of(host, allow_host), any_address=not is_loopback(host)
    )
    shown = "localhost" if is_loopback(host) else socket.getfqdn() if host in ("0.0.0.0", "::") else host
    number = server.port
    return Explorer(
        server,
        f"http://{shown}:{number}/?token={token}",
        f"ssh -N -L {number}:localhost:{number} {socket.gethostname()}",
    )


class PictureHandler(RequestHandler):
    """A particle as a small picture with its name, for the pointer to rest on."""

    def initialize(self, desk: Desk) -> None:
        """Take what is shared."""
        self._desk = desk

    def get(self, row: str) -> None:
        """Draw the particle of a row."""
        view = self._desk.view
        if view is None or int(row) >= len(view):
            self.send_error(404)
            return
        number = int(row)
        image = view.image_or_reason(number)
        lines = [str(view.ids[number])] + (["image not found"] if isinstance(image, str) else [])
        self.set_header("Content-Type", "image/png")
        self.set_header("Cache-Control", "private, max-age=3600")
        self.finish(card_png(None if isinstance(image, str) else picture_of(image), lines))


class FileHandler(StaticFileHandler):
    """Files of the run that were made to be taken home, and no others."""

    def initialize(self, run: RunFolder) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take the run."""
        super().initialize(str(run.path.resolve()))
        self._run = run

    def validate_absolute_path(self, root: str, absolute_path: str) -> str:
        """Refuse what `downloadable` does not name; see `StaticFileHandler`."""
        if downloadable(self._run, Path(absolute_path)) is None:
            raise HTTPError(404)
        return absolute_path

    def set_extra_headers(self, path: str) -> None:
        """Files are saved, not opened; the report is opened, and may run nothing."""
        if path == REPORT:
            self.set_header(
                "Content-Security-Policy",
                "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'",
            )
        else:
            self.set_header("Content-Disposition", f'attachment; filename="{Path(path).name}"')


def downloadable(run: RunFolder, path: Path) -> Path | None:
    """Return a file of a run that may be sent; None for any other, and for what lies outside by a link."""
    root = run.path.resolve()
    real = path.resolve()
    if not real.is_file() or not real.is_relative_to(root):
        return None
    if real == root / REPORT:
        return real
    below = (root / EXPLORER / EXPORTS, root / CLUSTERS)
    wanted = real.suffix in DOWNLOADS and any(real.is_relative_to(folder) for folder in below)
    return real if wanted else None


def _free_port(host: str, port: int) -> int:
    """Return the port, or the next that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last = min(port + TRIED_PORTS - 1, LAST_PORT)
    for candidate in range(port, last + 1) if port else (0,):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError as error:
                if candidate == last or not port or error.errno != errno.EADDRINUSE:
                    raise SettingError(
                        f"--host {host} --port {port}: cannot listen there ({error.strerror}); choose others"
                    ) from None
                continue
            return candidate
    return port
