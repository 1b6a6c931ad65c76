"""Who may talk to the explorer, and what its pages may load.

Every request needs the token that was printed at the start, on loopback too, since login nodes are shared.
The name it was sent to must be one of ours (or a web page could reach us through a name that it points here),
and a request that a page of another origin makes is refused.
"""

import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tornado.httputil import HTTPHeaders, HTTPServerConnectionDelegate, HTTPServerRequest
from tornado.routing import AnyMatches, Matcher, Rule, RuleRouter
from tornado.web import Application, OutputTransform, RequestHandler

COOKIE, TOKEN = "dualcontrast_token", "token"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_SCRIPT = re.compile(rb"<script(?=[\s>])")


def hosts_of(address: str, allowed: Sequence[str] = ()) -> frozenset[str]:
    """Name the hosts to which requests may be sent, beside literal addresses where not on loopback.

    Parameters
    ----------
    address : str
        The address that is listened on.
    allowed : sequence of str
        Further names, such as that of a proxy.
    """
    own = () if is_loopback(address) else (address, socket.gethostname(), socket.getfqdn())
    return frozenset(name.lower() for name in (*LOOPBACK_NAMES, *own, *allowed))


def is_loopback(address: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def guarded(
    application: HTTPServerConnectionDelegate, token: str, hosts: frozenset[str], any_address: bool
) -> RuleRouter:
    """Put the checks in front of an application.

    Parameters
    ----------
    application : HTTPServerConnectionDelegate
        Gets what passes.
    token : str
        Comes as a query argument once, and as a cookie from then on.
    hosts : frozenset of str
        Names that a request may be sent to.
    any_address : bool
        Whether it may also be sent to an address in digits; a name is needed to mislead a browser.
    """

    def known_host(request: HTTPServerRequest) -> bool:
        name = urlsplit(f"//{request.host}").hostname or ""
        return name in hosts or (any_address and _is_address(name))

    def own_origin(request: HTTPServerRequest) -> bool:
        origin = request.headers.get("Origin")
        return origin is None or urlsplit(origin).netloc.lower() == request.host.lower()

    def right_cookie(request: HTTPServerRequest) -> bool:
        cookie = request.cookies.get(COOKIE)
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), token.encode())

    def right_query(request: HTTPServerRequest) -> bool:
        given = request.query_arguments.get(TOKEN, [b""])[-1]
        return hmac.compare_digest(given, token.encode())

    def refusal(status: int, text: str) -> Application:
        return Application([(r".*", _Refusal, {"status": status, "text": text})])

    return RuleRouter(
        [
            Rule(
                _If(lambda request: not known_host(request)),
                refusal(403, "this host name is not served here"),
            ),
            Rule(
                _If(lambda request: not own_origin(request)), refusal(403, "a page of another origin asked")
            ),
            Rule(_If(right_query), Application([(r".*", _TakeToken, {"token": token})])),
            Rule(
                _If(lambda request: not right_cookie(request)),
                refusal(403, "open the link that `dualcontrast explore` printed: it holds the token"),
            ),
            Rule(AnyMatches(), application),
        ]
    )


class Headers(OutputTransform):
    """Gives every answer headers that keep pages to what comes from here, and scripts of pages a nonce."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self._nonce = secrets.token_urlsafe(16)

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Add the headers; see `OutputTransform`."""
        if (
            headers.get("Content-Type", "").startswith("text/html")
            and "Content-Security-Policy" not in headers
        ):
            chunk = _SCRIPT.sub(b'<script nonce="%s"' % self._nonce.encode(), chunk)
            if "Content-Length" in headers:
                headers["Content-Length"] = str(len(chunk))
        for name, value in _headers(self._nonce).items():
            if name not in headers:
                headers[name] = value
        return status_code, headers, chunk


def _headers(nonce: str) -> dict[str, str]:
    policy = {
        "default-src": "'none'",
        "script-src": f"'self' 'nonce-{nonce}'",
        # Bokeh sets styles of elements; no style can run anything.
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


class _If(Matcher):
    """Matches requests of which a condition holds."""

    def __init__(self, condition: Callable[[HTTPServerRequest], bool]) -> None:
        self._condition = condition

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return a mapping where the condition holds, as `Matcher` asks."""
        return {} if self._condition(request) else None


class _Refusal(RequestHandler):
    """Says no, and why."""

    def initialize(self, status: int, text: str) -> None:
        """Take the answer."""
        self._answer = status, text

    def prepare(self) -> None:
        """Answer whatever the method."""
        status, text = self._answer
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{text}\n")


class _TakeToken(RequestHandler):
    """Turns the token of the link into a cookie, so that it does not stay in the address bar."""

    def initialize(self, token: str) -> None:
        """Take the token."""
        self._token = token

    def get(self) -> None:
        """Go on to the same page."""
        self.set_cookie(COOKIE, self._token, httponly=True, samesite="Strict", path="/")
        query = [(name, value) for name, value in parse_qsl(self.request.query) if name != TOKEN]
        self.set_header("Referrer-Policy", "no-referrer")
        self.redirect(self.request.path + (f"?{urlencode(query)}" if query else ""))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
