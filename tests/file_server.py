"""A web server on this machine that hands out files, and keeps what was asked for."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and keeps what was asked for."""

    def __init__(self, *args, asked, **options):
        self.asked = asked
        super().__init__(*args, **options)

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@contextmanager
def served(folder) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder; gives its address and the list of what is asked of it."""
    asked: list[str] = []
    handler = functools.partial(Handler, directory=str(folder), asked=asked)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        server.server_close()
