"""Who is let in: token, host, origin, and the files that may be taken."""

import http.client
import os
import shutil
from urllib.parse import parse_qs, urlsplit

import pytest

from blobs import make_run
from dualcontrast import RunFolder
from dualcontrast.errors import RunError, SettingError
from dualcontrast.explorer import open_explorer
from dualcontrast.explorer.desk import Desk
from dualcontrast.explorer.guard import hosts_of, is_loopback
from dualcontrast.explorer.server import downloadable
from explored_runs import serving


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("guarded") / "run", count=30)


@pytest.fixture(scope="module")
def address(run):
    with serving(run.path) as address:
        yield urlsplit(address)


def ask(address, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers=names)
    answer = connection.getresponse()
    answer.body = answer.read()
    return answer


def cookie(address) -> str:
    token = parse_qs(address.query)["token"][0]
    return f"dualcontrast_token={token}"


def test_nothing_is_given_without_the_token(address):
    for path in (
        "/",
        "/picture/0.png",
        "/files/report.html",
        "/assets/page.css",
        "/ws",
        "/static/js/bokeh.min.js",
    ):
        assert ask(address, path).status == 403, path
    assert ask(address, "/", Cookie="dualcontrast_token=wrong").status == 403
    assert ask(address, "/?token=wrong").status == 403


def test_the_token_of_the_link_becomes_a_cookie_and_leaves_the_address(address):
    answer = ask(address, f"/?{address.query}&tab=mix")
    assert answer.status == 302
    assert answer.headers["Location"] == "/?tab=mix"
    kept = answer.headers["Set-Cookie"]
    assert "HttpOnly" in kept
    assert "SameSite=Strict" in kept
    page = ask(address, "/", Cookie=cookie(address))
    assert page.status == 200


def test_other_hosts_and_origins_are_refused(address):
    known = {"Cookie": cookie(address)}
    assert ask(address, "/", Host="evil.example", **known).status == 403
    assert ask(address, "/", Host=f"127.0.0.1:{address.port}", **known).status == 200
    # A tunnel may end at another port.
    assert ask(address, "/", Host="localhost:9999", **known).status == 200
    assert ask(address, "/", Origin="http://evil.example", **known).status == 403
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    assert ask(address, "/ws", Origin="http://localhost:1", **upgrade, **known).status == 403


def test_pages_say_what_they_may_load(address):
    page = ask(address, "/", Cookie=cookie(address))
    policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in policy["script-src"]
    nonce = policy["script-src"].split("'nonce-")[1].rstrip("'")
    assert page.body.count(b"<script") == page.body.count(f'<script nonce="{nonce}"'.encode())
    assert (
        nonce
        != ask(address, "/", Cookie=cookie(address)).headers["Content-Security-Policy"].split("'nonce-")[1]
    )
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert b"http://" not in page.body.replace(b"http://www.w3.org", b"")
    assert b"https://" not in page.body


def test_only_files_made_for_taking_home_are_sent(run, address):
    exports = run.path / "explorer/exports"
    exports.mkdir(parents=True)
    (exports / "mine.txt").write_text("p0000\n")
    (exports / "link.txt").symlink_to("/etc/hostname")
    known = {"Cookie": cookie(address)}
    answer = ask(address, "/files/explorer/exports/mine.txt", **known)
    assert (answer.status, answer.body) == (200, b"p0000\n")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="mine.txt"'
    for path in (
        "config.yaml",
        "codes.npz",
        "explorer/exports/link.txt",
        "explorer/exports/../../config.yaml",
        "explorer/exports/%2e%2e/%2e%2e/config.yaml",
        "..%2f..%2fetc%2fhostname",
        "%2fetc%2fhostname",
        "explorer/exports/none.txt",
    ):
        assert ask(address, f"/files/{path}", **known).status in (403, 404), path
    assert downloadable(run, run.path / "weights.safetensors") is None
    assert ask(address, "/picture/999999.png", **known).status == 404


def test_addresses_are_known_for_what_they_are():
    assert is_loopback("localhost")
    assert is_loopback("127.0.0.7")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("example.org")
    assert hosts_of("127.0.0.1") == {"localhost", "127.0.0.1", "::1"}
    assert {"10.0.0.5", "proxy.lab"} <= hosts_of("10.0.0.5", ["Proxy.Lab"])


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        open_explorer(tmp_path)


def test_without_the_extra_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr("dualcontrast.explorer.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"\.\[explore\]"):
        open_explorer(run)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"port": 99_999}, "--port 99999"),
        ({"port": -1}, "--port -1"),
        ({"host": "203.0.113.9"}, "--host 203.0.113.9"),
        ({"device": "warp"}, "warp"),
    ],
)
def test_where_it_cannot_listen_or_decode_is_refused(run, options, why):
    with pytest.raises(SettingError, match=why):
        open_explorer(run, **options)


def test_codes_that_cannot_be_read_are_a_message_and_read_again_when_mended(run, tmp_path):
    other = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    whole = (other.path / "codes.npz").read_bytes()
    (other.path / "codes.npz").write_bytes(whole[:500])
    desk = Desk(other)
    for _ in range(2):
        assert desk.view is None
        assert "not a file of codes" in desk.problem
    (other.path / "codes.npz").write_bytes(whole)
    os.utime(other.path / "codes.npz", (1, 1))
    assert len(desk.view) == 30
    assert desk.problem is None
