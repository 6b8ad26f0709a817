"""The page lets its own user in and nobody else: the real process, asked over real sockets."""

from __future__ import annotations

import base64
import http.client
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cbir_daemon.page.guard import HEADERS
from tests import pictures
from tests.browser import running_page
from tests.patience import PATIENCE_S
from tests.process.daemon import Daemon, living

pytestmark = pytest.mark.process

NOBODY = 65534


@dataclass(frozen=True)
class Answer:
    """What a request got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def lines(self) -> list[Any]:
        """Its documents, one a line."""
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def error(self) -> str:
        """The code of the error in it."""
        code: str = self.lines[-1]["error"]["code"]
        return code


@dataclass(frozen=True)
class Page:
    """A page that runs, as one who knows its address sees it."""

    daemon: Daemon
    address: str

    @property
    def host(self) -> str:
        """Address and port."""
        return self.address.partition("#")[0].removeprefix("http://").rstrip("/")

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.host.rpartition(":")[2])

    @property
    def key(self) -> str:
        """The secret."""
        return self.address.partition("#")[2]

    @property
    def own(self) -> dict[str, str]:
        """The headers of the page's own requests."""
        return {
            "Host": self.host,
            "Origin": f"http://{self.host}",
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self.key}",
        }

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """Send a request with these headers and no others, and return the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in ({"Host": self.host} if headers is None else headers).items():
                connection.putheader(name, value)
            if body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def api(self, name: str, params: object = None, **headers: str) -> Answer:
        """Ask a method as the page does; headers in place of its own, with `_` for `-`."""
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", f"/api/{name}", {**self.own, **changed}, json.dumps(params or {}).encode())

    def read_key(self) -> str:
        """Return the key of pictures."""
        key: str = self.api("session").lines[0]["ok"]["read_key"]
        return key

    def raw(self, data: bytes) -> bytes:
        """Send bytes and return all that comes until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return received(connection)


def received(connection: socket.socket) -> bytes:
    """Return all that comes until a connection ends."""
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
    except ConnectionError:
        pass
    return data


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Give a daemon that has indexed a few pictures and copies of them."""
    with living() as daemon:
        for original in pictures.write_album(daemon.album, 6)[:3]:
            pictures.resaved(original, daemon.album / f"small-{original.name}")
        daemon.start()
        daemon.settle()
        yield daemon


@pytest.fixture(scope="module")
def lone() -> Iterator[Daemon]:
    """Give a daemon whose page does not run: it has one at a time."""
    with living() as daemon:
        pictures.write_album(daemon.album, 1)
        daemon.start()
        daemon.settle()
        yield daemon


@pytest.fixture(scope="module")
def page(daemon: Daemon) -> Iterator[Page]:
    """Give its page."""
    with running_page(daemon) as address:
        yield Page(daemon, address)


def groups_of(page: Page) -> list[Any]:
    """Return the groups of duplicates."""
    return [group for line in page.api("duplicates").lines for group in line["ok"]["groups"]]


# -- what it answers ---------------------------------------------------------------------------------------------------


def test_the_page_passes_methods_on(page: Page) -> None:
    """What the daemon answers arrives: one document, or one a line with `more` on all but the last."""
    status = page.api("status").lines
    assert status[0]["ok"]["images"] == 9
    duplicates = page.api("duplicates")
    assert duplicates.headers["content-type"] == "application/x-ndjson"
    assert [line.get("more", False) for line in duplicates.lines] == [False]
    assert page.api("duplicates", {"kind": "nonsense"}).error == "bad-request"


def test_only_listed_methods_and_parameters_pass(page: Page) -> None:
    """What could write files, change albums or read a file by its path is not there."""
    for name in ("backup", "album_add", "album_remove", "decisions_import", "resolve_start", "resolve_note", "sheet"):
        refused = page.api(name)
        assert (refused.status, refused.error) == (404, "unknown-method")
    refused = page.api("query", {"path": "/etc/passwd"})
    assert (refused.status, refused.error) == (400, "bad-request")


def test_pictures_are_drawn_anew(page: Page) -> None:
    """A preview is a JPEG of its own, never the file's bytes; the grey one is a WebP; other sizes are not there."""
    image = groups_of(page)[0]["images"][0]
    key = page.read_key()
    preview = page.ask("GET", f"/picture/{key}/{image['digest']}/256")
    assert (preview.status, preview.headers["content-type"]) == (200, "image/jpeg")
    assert preview.body[:3] == b"\xff\xd8\xff"
    assert preview.body != Path(image["path"]).read_bytes()
    grey = page.ask("GET", f"/picture/{key}/grey/{image['digest']}")
    assert (grey.status, grey.headers["content-type"]) == (200, "image/webp")
    assert page.ask("GET", f"/picture/{key}/{image['digest']}/257").status == 404
    assert page.ask("GET", f"/picture/{key}/{'0' * 64}/256").status == 404


def test_of_files_only_unreadable_ones_are_drawn_by_path(page: Page) -> None:
    """What is there of one that `errors` lists; nothing of an image, and of no file beside the album."""
    whole = (page.daemon.album / "photo-0005.jpg").read_bytes()
    cut_off = page.daemon.album / "cut off \N{HEAVY BLACK HEART}.jpg"
    cut_off.write_bytes(whole[: len(whole) * 2 // 3])
    page.daemon.settle()
    key = page.read_key()

    def drawn(path: Path, key: str = key) -> Answer:
        name = base64.urlsafe_b64encode(os.fsencode(path)).decode().rstrip("=")
        return page.ask("GET", f"/picture/{key}/error/{name}/256")

    try:
        preview = drawn(cut_off)
        assert (preview.status, preview.body[:3]) == (200, b"\xff\xd8\xff")
        assert drawn(cut_off, page.key).status == 403
        for path in (page.daemon.album / "photo-0005.jpg", Path("/etc/passwd"), page.daemon.config):
            assert drawn(path).error == "not-found"
        assert page.ask("GET", f"/picture/{key}/error/%C3%A4/256").error == "bad-request"
    finally:
        cut_off.unlink()
        page.daemon.settle()


def test_an_image_is_asked_about_by_its_bytes(page: Page) -> None:
    """They go on to the daemon piece by piece; the parameters stand in the address."""
    body = (page.daemon.album / "small-photo-0000.jpg").read_bytes()
    headers = {**page.own, "Content-Type": "application/octet-stream"}
    answer = page.ask("POST", "/api/query?limit=1&kind=exact", headers, body)
    assert [match["kind"] for match in answer.lines[0]["ok"]["matches"]] == ["exact"]
    refused = page.ask("POST", "/api/query", headers, b"no image")
    assert (refused.status, refused.error) == (422, "unreadable-image")
    assert page.ask("POST", "/api/query?limit=many", headers, body).status == 400


def test_alerts_are_streamed_as_they_come(page: Page) -> None:
    """A follower gets an alert once its file is indexed, without asking again."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=PATIENCE_S)
    connection.request("POST", "/api/alerts", b'{"follow": true}', {**page.own, "Accept-Encoding": "identity"})
    stream = connection.getresponse()
    copy = page.daemon.album / "late.jpg"
    pictures.resaved(page.daemon.album / "photo-0004.jpg", copy)
    try:
        while not (alerts := json.loads(stream.readline())["ok"]["alerts"]):
            pass
        assert alerts[0]["path"] == str(copy)
    finally:
        connection.close()
        copy.unlink()
        page.daemon.settle()


def test_a_plan_is_shown_applied_and_taken_back(page: Page) -> None:
    """Count and bytes first; then the trash, by the journal; then one step back, then all of it."""
    groups = groups_of(page)
    decisions = [{"keep": [group["images"][0]["path"]], "trash": [group["images"][1]["path"]]} for group in groups]
    going = [Path(decision["trash"][0]) for decision in decisions]
    (plan,) = page.api("plan", {"decisions": decisions}).lines
    assert (plan["ok"]["files"], plan["ok"]["skipped"]) == (3, 0)
    assert plan["ok"]["saves"] == sum(path.stat().st_size for path in going)
    assert all(path.exists() for path in going)
    *steps, done = page.api("apply", {"plan": plan["ok"]["plan"]}).lines
    assert [step["ok"]["task"]["state"] for step in steps] == ["done"] * 3
    assert (done["ok"]["done"], done["ok"]["saves"]) == (3, plan["ok"]["saves"])
    assert not any(path.exists() for path in going)
    assert sorted((page.daemon.home / ".local/share/Trash/files").iterdir())
    assert page.api("apply", {"plan": plan["ok"]["plan"]}).error == "not-found"
    run, first = done["ok"]["run"], steps[0]["ok"]["task"]
    *_, undone = page.api("undo", {"run": run, "tasks": [first["task"]]}).lines
    assert (undone["ok"]["undone"], Path(first["path"]).exists()) == (1, True)
    *_, undone = page.api("undo", {"run": run}).lines
    assert undone["ok"]["undone"] == 3
    assert all(path.exists() for path in going)
    page.daemon.settle()


def test_a_plan_takes_only_what_is_a_verified_copy(page: Page) -> None:
    """The daemon judges each file: a stranger is left alone, whatever the page says; a path twice is refused."""
    album = page.daemon.album
    decision = {"keep": [str(album / "photo-0000.jpg")], "trash": [str(album / "photo-0005.jpg")]}
    (plan,) = page.api("plan", {"decisions": [decision]}).lines
    assert (plan["ok"]["files"], plan["ok"]["skipped"]) == (0, 1)
    assert plan["ok"]["tasks"][0]["reason"] == "stays: it is no copy of what its group keeps"
    assert page.api("plan", {"decisions": [decision, decision]}).error == "bad-request"
    assert page.api("plan", {"decisions": "all"}).error == "bad-request"
    assert page.api("plan", {"decisions": [{"delete": []}]}).error == "bad-request"


# -- who is let in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_the_page_has_three_names(page: Page, name: str) -> None:
    """Each with the port."""
    assert page.ask("GET", "/", {"Host": f"{name}:{page.port}"}).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "localhost.:{port}",
        "LOCALHOST:{port}",
        "127.0.0.1:1",
        "evil.example:{port}",
        "",
        "0:{port}",
        "127.0.0.1:{port}@evil.example",
        "127.0.0.1.nip.io:{port}",
        "127.1:{port}",
    ],
)
def test_another_host_is_refused_before_anything_else(page: Page, host: str) -> None:
    """Whatever the path, the method and the key: 403, with the name of the setting; nothing else is looked at."""
    bad = {**page.own, "Host": host.format(port=page.port)}
    for method, path in (("GET", "/"), ("DELETE", "/"), ("POST", "/api/status"), ("GET", "/nowhere")):
        refused = page.ask(method, path, bad, b"{}" if method == "POST" else b"")
        assert (refused.status, refused.error) == (403, "host")
        assert b"page.hosts" in refused.body


def test_two_hosts_are_none(page: Page) -> None:
    """A request with two Host headers, or with none, gets nothing of the page."""
    twice = page.raw(f"GET / HTTP/1.1\r\nHost: {page.host}\r\nHost: evil.example\r\n\r\n".encode())
    assert twice.startswith(b"HTTP/1.1 400 ")
    assert page.raw(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert page.raw(b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403 ")


def test_a_rebound_page_gets_nothing(page: Page) -> None:
    """A name of an attacker that leads here: its GET has no Origin, and the attacker's Host; a key is no help."""
    rebound = {"Host": f"rebound.example:{page.port}", "Sec-Fetch-Site": "same-origin"}
    for path in ("/", f"/picture/{page.read_key()}/{'0' * 64}/256"):
        assert page.ask("GET", path, rebound).error == "host"


@pytest.mark.parametrize("method", ["DELETE", "PUT", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_refused(page: Page, method: str) -> None:
    """Of HTTP there are three, and no CORS preflight is answered."""
    for path in ("/", "/api/status"):
        refused = page.ask(method, path, page.own)
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, POST")
        assert not [name for name in refused.headers if name.startswith("access-control")]


def test_head_has_no_body(page: Page) -> None:
    """The front and a picture can be asked about; a method cannot."""
    head = page.ask("HEAD", "/")
    assert (head.status, head.body) == (200, b"")
    assert page.ask("HEAD", "/api/status", page.own).status == 405
    assert page.ask("POST", "/", page.own, b"{}").status == 405


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:{port}", 200),
        ("http://localhost:{port}", 200),
        ("http://127.0.0.1:1", 403),
        ("https://127.0.0.1:{port}", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_a_post_needs_the_page_s_origin(page: Page, origin: str, status: int) -> None:
    """Of another port, another scheme, a sandboxed frame, or none at all: 403."""
    assert page.api("status", Origin=origin.format(port=page.port)).status == status
    without = {name: value for name, value in page.own.items() if name != "Origin"}
    assert page.ask("POST", "/api/status", without, b"{}").error == "origin"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_post_needs_json(page: Page, kind: str) -> None:
    """What a form of another site can send is refused; an image is taken by `query` alone."""
    assert page.api("status", Content_Type=kind).status == 415
    assert page.api("status", Content_Type="application/octet-stream").status == 415
    assert page.api("status", Content_Type="application/json; charset=utf-8").status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_another_site_is_refused(page: Page, site: str) -> None:
    """Also another port of this machine; it may open the page by a link, in a window of its own, and nothing else."""
    assert page.api("status", Sec_Fetch_Site=site).error == "site"
    link = {"Host": page.host, "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert page.ask("GET", "/", link).status == 200
    assert page.ask("GET", "/", {**link, "Sec-Fetch-Dest": "iframe"}).error == "site"
    assert page.ask("GET", "/", {**link, "Sec-Fetch-Mode": "no-cors"}).error == "site"
    assert page.ask("GET", "/static/index.html", link).error == "site"
    assert page.ask("GET", f"/picture/{page.read_key()}/{'0' * 64}/256", link).error == "site"


def test_only_the_key_opens_methods(page: Page) -> None:
    """None, a wrong one, a part of it, that of pictures, two at once, one of another scheme: 403."""
    read_key = page.read_key()
    for said in (
        "",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {page.key[:-1]}",
        f"Bearer {read_key}",
        f"Basic {page.key}",
        page.key,
    ):
        refused = page.api("status", Authorization=said)
        assert (refused.status, refused.error) == (403, "key")
    twice = "".join(
        f"{name}: {value}\r\n" for name, value in [*page.own.items(), ("Authorization", f"Bearer {page.key}")]
    )
    answer = page.raw(f"POST /api/status HTTP/1.1\r\n{twice}Content-Length: 2\r\n\r\n{{}}".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")


def test_only_the_read_key_opens_pictures(page: Page) -> None:
    """The key of the page stands in no path; nothing else stands in for that of pictures."""
    digest = groups_of(page)[0]["images"][0]["digest"]
    for said in (page.key, "wrong", "", "%00", page.read_key()[:-1]):
        refused = page.ask("GET", f"/picture/{said}/{digest}/256", {**page.own})
        assert (refused.status, refused.error) == (403, "key")


def test_keys_of_an_earlier_page_are_void(lone: Daemon) -> None:
    """A page that is started again has other keys, and the file no longer tells the old one."""
    with running_page(lone) as first:
        assert lone.run("page", "--url").stdout.decode().strip() == first
    ended = lone.run("page", "--url", "--port", "1")
    assert (ended.returncode, ended.stdout) == (69, b"")
    with running_page(lone) as second:
        later = Page(lone, second)
        assert later.key != first.partition("#")[2]
        assert later.api("status", Authorization=f"Bearer {first.partition('#')[2]}").error == "key"


def test_there_are_no_cookies_and_no_cors(page: Page) -> None:
    """No answer sets or reads any, or lets another origin read it."""
    for answer in (page.ask("GET", "/"), page.api("session"), page.api("status", Origin="http://evil.example")):
        assert not [name for name in answer.headers if name.startswith("access-control") or name == "set-cookie"]
    cookie = {name: value for name, value in page.own.items() if name != "Authorization"}
    assert page.ask("POST", "/api/status", {**cookie, "Cookie": f"key={page.key}"}, b"{}").error == "key"


def test_every_answer_has_the_headers(page: Page) -> None:
    """On 200, 400, 403, 404, 405, 413, 415, 422 and on what is no HTTP."""
    image = {**page.own, "Content-Type": "application/octet-stream"}
    answers = {
        200: page.ask("GET", "/"),
        400: page.api("duplicates", [1]),
        403: page.ask("GET", "/", {"Host": "evil.example"}),
        404: page.ask("GET", "/nowhere"),
        405: page.ask("PUT", "/"),
        413: page.ask("POST", "/api/status", {**page.own, "Content-Length": str(2**30)}),
        415: page.api("status", Content_Type="text/plain"),
        422: page.ask("POST", "/api/query", image, b"x"),
    }
    for status, answer in answers.items():
        assert answer.status == status
        for name, value in HEADERS:
            assert answer.headers[name.decode()] == value.decode(), (status, name)
    nonsense = page.raw(b"nonsense\r\n\r\n").lower()
    assert nonsense.startswith(b"http/1.1 400 ")
    assert all(b"%s: %s\r\n" % (name, value.lower()) in nonsense for name, value in HEADERS)


def test_the_policy_begins_with_nothing(page: Page) -> None:
    """No inline script, no other origin, no frame; Trusted Types."""
    policy = page.ask("GET", "/").headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert {"frame-ancestors 'none'", "require-trusted-types-for 'script'", "base-uri 'none'"} <= set(policy)
    assert not [rule for rule in policy if "unsafe" in rule or "*" in rule]


def test_nothing_outside_of_the_page_s_folder_is_a_file(page: Page) -> None:
    """Dots, their escapes and absolute paths lead nowhere."""
    for path in (
        "/static/../keys.py",
        "/static/%2e%2e/keys.py",
        "/static//etc/passwd",
        "/static/..%2fkeys.py",
        "/keys.py",
    ):
        assert page.ask("GET", path).status == 404


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_body_of_a_gibibyte_is_refused_at_once(page: Page) -> None:
    """By its announced length, before a byte of it is read; one without a length, when it has gone too far."""
    for path, kind in (("/api/status", "application/json"), ("/api/query", "application/octet-stream")):
        refused = page.ask("POST", path, {**page.own, "Content-Type": kind, "Content-Length": str(2**30)})
        assert (refused.status, refused.error, refused.headers["connection"]) == (413, "too-large", "close")
    head = "".join(f"{name}: {value}\r\n" for name, value in page.own.items())
    with socket.create_connection(("127.0.0.1", page.port), PATIENCE_S) as connection:
        connection.sendall(f"POST /api/status HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"100000\r\n" + b" " * 2**20 + b"\r\n"
        assert sent_until_refused(connection, piece, 1024) < 64
    assert page.api("status").status == 200
    assert memory_mib(page) < 120


def sent_until_refused(connection: socket.socket, piece: bytes, most: int) -> int:
    """Send a piece again and again, and return how often it went out before the connection was ended."""
    for number in range(most):
        try:
            connection.sendall(piece)
        except ConnectionError:
            return number
    return most


def memory_mib(page: Page) -> float:
    """Return the largest resident memory that the page's process has had."""
    status = Path(f"/proc/{pid_of(page)}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def pid_of(page: Page) -> int:
    """Return the process of a page."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids_of(page.daemon.home)}
    (pid,) = (pid for pid, command in commands.items() if b"page\0--port" in command)
    return pid


def pids_of(home: Path) -> list[int]:
    """Return the processes that have `home` in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(home) in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # Gone meanwhile, or another user's.
    return found


def test_long_headers_are_refused(page: Page) -> None:
    """Of more than 16 KiB nothing is kept."""
    answer = page.raw(f"GET / HTTP/1.1\r\nHost: {page.host}\r\nX: {'x' * 100_000}\r\n\r\n".encode())
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))


def test_a_slow_head_is_cut_off(page: Page) -> None:
    """Slow loris: what does not end its headers in ten seconds loses its connection, however it dribbles."""
    with socket.create_connection(("127.0.0.1", page.port), PATIENCE_S) as silent:
        with socket.create_connection(("127.0.0.1", page.port), PATIENCE_S) as slow:
            slow.sendall(f"GET / HTTP/1.1\r\nHost: {page.host}\r\n".encode())
            slow.settimeout(1.0)
            before = time.monotonic()
            while True:
                try:
                    if slow.recv(1) == b"":
                        break
                except TimeoutError:
                    slow.sendall(b"X: y\r\n")
                except ConnectionError:
                    break
                assert time.monotonic() - before < PATIENCE_S
        assert received(silent) == b""
    assert page.ask("GET", "/").status == 200


def test_a_slow_body_is_cut_off(page: Page) -> None:
    """A body that stops coming is answered, and its connection ended."""
    head = "".join(f"{name}: {value}\r\n" for name, value in page.own.items())
    with socket.create_connection(("127.0.0.1", page.port), PATIENCE_S) as slow:
        slow.sendall(f"POST /api/status HTTP/1.1\r\n{head}Content-Length: 100\r\n\r\n{{".encode())
        answer = received(slow)
    assert answer.startswith(b"HTTP/1.1 504 ")


def test_connections_are_counted(page: Page) -> None:
    """More than 64 at a time are not taken; those that are there go on, and leave room when they end."""
    opened = [socket.create_connection(("127.0.0.1", page.port), PATIENCE_S) for _ in range(80)]
    try:
        turned_away = 0
        for connection in opened[64:]:
            turned_away += received(connection) == b""
        assert turned_away == 16
        opened[0].sendall(f"GET / HTTP/1.1\r\nHost: {page.host}\r\n\r\n".encode())
        assert opened[0].recv(15) == b"HTTP/1.1 200 OK"
    finally:
        for connection in opened:
            connection.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_gets_nothing(page: Page) -> None:
    """The kernel says whose connection it is; another user's is cut before a byte is answered, key or not."""
    program = (
        "import socket, sys\n"
        "connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 60)\n"
        "try:\n"
        "    connection.sendall(sys.stdin.buffer.read())\n"
        "    print(connection.recv(100))\n"
        "except ConnectionError as error:\n"
        "    print(b'')\n"
    )
    request = f"GET / HTTP/1.1\r\nHost: {page.host}\r\n\r\n".encode()
    for user, expected in ((NOBODY, b"b''\n"), (0, b"b'HTTP/1.1 200 OK")):
        done = subprocess.run(  # noqa: S603 -- our own program
            ["/usr/bin/python3", "-c", program, str(page.port)],
            input=request,
            capture_output=True,
            timeout=PATIENCE_S,
            user=user,
            cwd="/",
            check=True,
        )
        assert done.stdout.startswith(expected), done.stdout


def test_only_the_loopback_is_bound(page: Page) -> None:
    """The port is bound on 127.0.0.1 and ::1, and not on the machine's other addresses."""
    bound = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            address, _, port = row.split()[1].partition(":")
            if int(port, 16) == page.port and row.split()[3] == "0A":
                bound.add(address)
    assert bound <= {"0100007F", "00000000000000000000000001000000"}
    assert "0100007F" in bound


# -- the process -------------------------------------------------------------------------------------------------------


def test_the_secret_is_in_no_process_list(page: Page) -> None:
    """No command line and no environment of any process has it; the file that tells it is for its user alone."""
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                said = (folder / name).read_bytes()
            except OSError:
                continue  # Gone meanwhile, or another user's.
            assert page.key.encode() not in said
    holders = [path for path in page.daemon.home.rglob("page-*") if page.key.encode() in path.read_bytes()]
    assert [oct(path.stat().st_mode & 0o777) for path in holders] == ["0o600"]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no table of system calls")
def test_the_process_is_confined(page: Page) -> None:
    """It has no new privileges and a filter of system calls; `tests/test_sandbox.py` tries what that leaves it."""
    status = Path(f"/proc/{pid_of(page)}/status").read_text()
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)


def test_the_opener_keeps_the_secret_from_the_command_line(lone: Daemon) -> None:
    """`--open` starts a browser with the name of a file of mode 0600, which leads to the page."""
    browser = lone.home / "browser"
    browser.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {lone.home}/opened\n")
    browser.chmod(0o755)
    lone.environ["BROWSER"] = str(browser)
    try:
        with running_page(lone, "--open") as address:
            said = lone.home / "opened"
            while not (said.exists() and said.read_text().endswith("\n")):
                assert Page(lone, address).ask("GET", "/").status == 200
            opener = Path(said.read_text().strip().removeprefix("file://"))
            assert address.partition("#")[2] not in said.read_text()
            assert address in opener.read_text()
            assert oct(opener.stat().st_mode & 0o777) == "0o600"
            # Again: the page that runs is opened, and none is started.
            said.unlink()
            again = lone.run("page", "--open")
            assert (again.returncode, again.stdout.decode().strip()) == (0, address)
            assert said.read_text().strip() == opener.as_uri()
    finally:
        del lone.environ["BROWSER"]


def test_one_page_runs_for_a_daemon(page: Page) -> None:
    """A second one ends with 73 and says how to find the first; so does one on a port that is taken."""
    second = page.daemon.run("page")
    assert second.returncode == 73
    assert b"cbir page --url" in second.stderr
    assert second.stderr.count(b"\n") == 1


def test_a_port_that_is_taken(lone: Daemon) -> None:
    """Status 73, in one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = lone.run("page", "--port", str(port))
    assert (done.returncode, done.stdout) == (73, b"")
    assert f"127.0.0.1:{port}".encode() in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(lone: Daemon, number: signal.Signals) -> None:
    """Status 0, also while a stream without end is open; its child is gone, too."""
    process = lone.popen("page", "--port", "0")
    assert process.stdout is not None
    with process.stdout as output:
        page = Page(lone, output.readline().decode().strip())
        connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=PATIENCE_S)
        connection.request("POST", "/api/alerts", b'{"follow": true}', page.own)
        connection.getresponse()
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0
        connection.close()
    assert not [pid for pid in pids_of(lone.home) if b"page.applier" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_the_page_goes_on_when_the_daemon_comes_back(lone: Daemon) -> None:
    """Without a daemon methods are `unavailable`, and the page itself is still there."""
    with running_page(lone) as address:
        page = Page(lone, address)
        assert lone.stop() == 0
        assert page.api("status").error == "unavailable"
        assert page.api("session").lines[0]["ok"]["daemon"] is False
        assert page.ask("GET", "/").status == 200
        lone.start()
        assert page.api("status").status == 200


def test_a_page_without_a_daemon_is_not_started(tmp_path: Path) -> None:
    """Status 69, as for every other command."""
    with living() as daemon:
        done = daemon.run("page", "--port", "0")
    assert done.returncode == 69


def test_a_missing_extra_is_one_clear_line(lone: Daemon, tmp_path: Path) -> None:
    """Without uvicorn: what is missing, and the command that installs it."""
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('gone', name='uvicorn')")
    lone.environ["PYTHONPATH"] = str(tmp_path)
    try:
        done = lone.run("page", "--port", "0")
    finally:
        del lone.environ["PYTHONPATH"]
    assert done.returncode == 69
    assert done.stderr == b"cbir: the page needs uvicorn, which is not installed: pip install 'cbir-daemon[page]'\n"


ACTIVATED = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], [*sys.argv[2:], "page"])
"""


def test_a_service_manager_hands_the_port_over(lone: Daemon) -> None:
    """As the socket unit does: the page answers there, and `--url` wakes it where nobody has looked before."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", ACTIVATED, str(port), str(lone.commands / "cbir")]
    with subprocess.Popen(command, cwd=lone.home, env=lone.environ, stdout=subprocess.PIPE) as process:  # noqa: S603 -- ours
        try:
            assert process.stdout is not None
            address = process.stdout.readline().decode().strip()
            assert address.startswith(f"http://127.0.0.1:{port}/#")
            assert Page(lone, address).api("status").status == 200
            assert lone.run("page", "--url", "--port", str(port)).stdout.decode().strip() == address
        finally:
            process.terminate()
        assert process.wait(PATIENCE_S) == 0


# -- behind a proxy ----------------------------------------------------------------------------------------------------


def ask_unix(path: Path, host: str, headers: str = "") -> bytes:
    """Ask for the front over a Unix socket, and return what comes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(path))
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n".encode())
        return received(connection)


def test_behind_a_proxy_there_is_a_socket_for_its_user_alone(lone: Daemon) -> None:
    """Of mode 0600; it answers to the hosts of the setting, and to those of the loopback no more."""
    path = lone.home / "p.sock"
    before = lone.config.read_text()
    lone.config.write_text(f'{before}[page]\nhosts = ["photos.example.org"]\n')
    process = lone.popen("page", "--unix", path)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"https://photos.example.org/#")
        assert oct(path.stat().st_mode & 0o777) == "0o600"
        assert ask_unix(path, "photos.example.org").startswith(b"HTTP/1.1 200 ")
        forwarded = "X-Forwarded-Host: 127.0.0.1\r\nForwarded: host=127.0.0.1\r\n"
        for host in ("localhost", "127.0.0.1", "evil.example", "photos.example.org:8417"):
            assert ask_unix(path, host, forwarded).startswith(b"HTTP/1.1 403 ")
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout is not None
        process.stdout.close()
        lone.config.write_text(before)


def test_a_proxy_needs_its_host_named(lone: Daemon) -> None:
    """Without `page.hosts` a Unix socket is refused, with the name of the setting; so is one with a port."""
    done = lone.run("page", "--unix", lone.home / "p.sock")
    assert done.returncode == 78
    assert b"page.hosts" in done.stderr
    assert lone.run("page", "--unix", lone.home / "p.sock", "--port", "0").returncode == 64
