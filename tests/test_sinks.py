"""Programs, webhooks and services get what they are sent, failures are told, and no secret ever is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cbir_daemon.alerts import Message
from cbir_daemon.alerts.command import Command
from cbir_daemon.alerts.secret import Secret
from cbir_daemon.alerts.services import Services, without
from cbir_daemon.alerts.sinks import AT_ONCE, BUNDLED, log_sink, sink_of
from cbir_daemon.alerts.webhook import Webhook, signature
from cbir_daemon.config import SinkConfig
from cbir_daemon.errors import SinkError
from cbir_daemon.store import AlertMatch, AlertRecord
from tests.patience import PATIENCE_S

NOW = 1_700_000_000.0
LATE_S = 3.0
"""More than a program of the shell needs to begin while others have the processors."""
TOKEN = "t0ken-of-mine"  # noqa: S105 -- of a test
NOWHERE = Secret(None, "")

RECORD = AlertRecord(7, NOW, b"/album/new.jpg", "copy", (AlertMatch(b"/album/old.jpg", "copy", 0.95),))
MESSAGE = Message((7,), (RECORD,))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing come between a test and its own server."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str], Secret]:
    """Give what writes a secret into a file."""

    def write(text: str) -> Secret:
        path = tmp_path / f"secret-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        path.write_text(f"{text}\n")
        return Secret(path, "")

    return write


# Secrets.


def test_a_secret_is_read_anew_for_each_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its file or its variable, without white space around it."""
    file = Secret(tmp_path / "s", "")
    for text in ("one", "two"):
        (tmp_path / "s").write_text(f" {text}\n\n")
        assert file.read() == text
    monkeypatch.setenv("CBIR_TEST_SECRET", "three")
    assert Secret(None, "CBIR_TEST_SECRET").read() == "three"
    assert not NOWHERE.is_set


def test_a_secret_that_is_not_there_is_named_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never by what else stands there."""
    monkeypatch.delenv("CBIR_TEST_SECRET", raising=False)
    with pytest.raises(SinkError, match="variable CBIR_TEST_SECRET: is empty"):
        Secret(None, "CBIR_TEST_SECRET").read()
    with pytest.raises(SinkError, match=r"/s: cannot be read: No such file"):
        Secret(tmp_path / "s", "").read()
    (tmp_path / "s").write_bytes(b"\xff" + TOKEN.encode())
    with pytest.raises(SinkError, match=r"/s: is not text") as caught:
        Secret(tmp_path / "s", "").read()
    assert TOKEN not in repr(caught.value.__cause__)


# Programs.


def program(folder: Path, lines: str) -> list[str]:
    """Write a program of the shell and return its command, with the folder as its argument."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return [str(path), str(folder)]


def run(argv: list[str], timeout_s: float = PATIENCE_S, stopping: threading.Event | None = None) -> None:
    """Send the message to a program."""
    Command(argv, timeout_s, stopping or threading.Event())(MESSAGE)


def test_a_program_has_the_message_on_its_standard_input(tmp_path: Path) -> None:
    """As one line of JSON."""
    run(program(tmp_path, 'cat > "$1/had"'))
    had = (tmp_path / "had").read_text()
    assert json.loads(had) == MESSAGE.to_json()
    assert had.count("\n") == 1


def test_a_program_that_reads_nothing_may_be_content(tmp_path: Path) -> None:
    """Its exit status is what counts."""
    run(program(tmp_path, "exec <&-; exit 0"))


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("echo first >&2; echo 'no paper' >&2; exit 3", "ended with status 3: no paper"),
        ("exit 1", "ended with status 1"),
        ("kill -9 $$", "was killed by SIGKILL"),
    ],
)
def test_a_program_that_fails_says_why(tmp_path: Path, lines: str, why: str) -> None:
    """By its status, and by what it said last."""
    with pytest.raises(SinkError) as caught:
        run(program(tmp_path, lines))
    assert caught.value.message == f"{tmp_path}/program: {why}"


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """It cannot be run, and the hint says by whom."""
    with pytest.raises(SinkError, match="cannot be run: No such file") as caught:
        run([str(tmp_path / "absent")])
    assert caught.value.hint == "the daemon's user must be able to run it"


@pytest.mark.parametrize("stops", [True, False])
def test_a_program_that_hangs_is_killed_with_all_it_started(tmp_path: Path, stops: bool) -> None:
    """When its time is over, and when the daemon stops."""
    os.mkfifo(tmp_path / "pid")
    argv = program(tmp_path, 'sleep 1000 & echo $! > "$1/pid"; wait')
    stopping = threading.Event()
    failed: list[SinkError] = []

    def tell() -> None:
        try:
            run(argv, 600.0 if stops else LATE_S, stopping)
        except SinkError as error:
            failed.append(error)

    thread = threading.Thread(target=tell)
    thread.start()
    started = int((tmp_path / "pid").read_text())
    if stops:
        stopping.set()
    thread.join(PATIENCE_S)
    assert (
        "was ended: the daemon stops" in str(failed[0])
        if stops
        else f"did not end within {LATE_S:g} s" in str(failed[0])
    )
    assert is_gone(started)


def is_gone(process_id: int) -> bool:
    """Whether a process has ended within some time; its parent may collect it a moment later."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
    os.kill(process_id, signal.SIGKILL)
    return False


# Webhooks.


@dataclass
class Asked:
    """A request that a server had."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answers:
    """A real server on this machine; answers with `status` and `headers`, and keeps what it is asked."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    def url(self, path: str = "/hook", login: str = "") -> str:
        """Return an address of this server."""
        return f"http://{login}127.0.0.1:{self.port}{path}"


@pytest.fixture
def server() -> Iterator[Answers]:
    """A server that runs while the test does."""
    answers = Answers()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answers.asked.append(Asked(self.path, {name.lower(): text for name, text in self.headers.items()}, body))
            self.send_response(answers.status)
            for name, text in answers.headers.items():
                self.send_header(name, text)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        answers.port = made.server_address[1]
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield answers
        made.shutdown()
        thread.join()


def hook(address: Secret, key: Secret = NOWHERE, timeout_s: float = PATIENCE_S) -> Webhook:
    """Return a webhook at a fixed time."""
    return Webhook(address, key, timeout_s, lambda: NOW)


Writes = Callable[[str], Secret]


def test_a_webhook_is_posted_and_signed(server: Answers, secret: Writes) -> None:
    """By the recipe of Standard Webhooks, worked out here by hand, over the very bytes that are sent."""
    hook(secret(server.url(f"/hook?key={TOKEN}#here")), secret("a key"))(MESSAGE)
    (asked,) = server.asked
    assert json.loads(asked.body) == MESSAGE.to_json()
    assert asked.path == f"/hook?key={TOKEN}"
    assert asked.headers["content-type"] == "application/json"
    assert (asked.headers["webhook-id"], asked.headers["webhook-timestamp"]) == ("7", "1700000000")
    signed = b"7.1700000000." + asked.body
    signature = base64.b64encode(hmac.new(b"a key", signed, hashlib.sha256).digest()).decode()
    assert asked.headers["webhook-signature"] == f"v1,{signature}"


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of Standard Webhooks' own libraries."""
    body = b'{"test": 2432232314}'
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    moment = "1614265330"
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", moment, body) == expected
    with pytest.raises(SinkError, match="what follows is not Base64"):
        signature("whsec_%", "1", moment, body)


def test_a_login_in_the_address_is_sent_as_one(server: Answers, secret: Writes) -> None:
    """As HTTP has it, and without a secret there is no signature."""
    hook(secret(server.url(login="ana:p%40ss@")))(MESSAGE)
    (asked,) = server.asked
    assert asked.headers["authorization"] == f"Basic {base64.b64encode(b'ana:p@ss').decode()}"
    assert "webhook-signature" not in asked.headers


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_status_from_200_is_delivered(server: Answers, secret: Writes, status: int) -> None:
    """2xx."""
    server.status = status
    hook(secret(server.url()))(MESSAGE)


@pytest.mark.parametrize(("status", "words"), [(401, "401 Unauthorized"), (410, "410 Gone"), (500, "500 Internal")])
def test_every_other_status_is_a_refusal(server: Answers, secret: Writes, status: int, words: str) -> None:
    """It is named with the host, and without the address."""
    server.status = status
    with pytest.raises(SinkError) as caught:
        hook(secret(server.url(f"/{TOKEN}")))(MESSAGE)
    assert caught.value.message.startswith(f"127.0.0.1: answered {words}")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(("text", "seconds"), [("120", 120.0), ("9999999", 86_400.0), ("soon", 0.0), ("", 0.0)])
def test_who_is_too_busy_says_for_how_long(server: Answers, secret: Writes, text: str, seconds: float) -> None:
    """`Retry-After` in seconds is kept, a day at most; anything else is passed over."""
    server.status, server.headers = 429, {"Retry-After": text}
    with pytest.raises(SinkError) as caught:
        hook(secret(server.url()))(MESSAGE)
    assert caught.value.retry_s == seconds


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: Answers, secret: Writes, status: int) -> None:
    """Whoever answers cannot lead a message to another host, nor to another path."""
    server.status, server.headers = status, {"Location": server.url("/other")}
    with pytest.raises(SinkError, match=f"answered {status}") as caught:
        hook(secret(server.url()))(MESSAGE)
    assert "put the address that it leads to in its place" in caught.value.hint
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "address",
    [
        f"file:///etc/{TOKEN}",
        f"ftp://host/{TOKEN}",
        TOKEN,
        f"http:///{TOKEN}",
        f"http://host/a {TOKEN}",
        f"http://host:port/{TOKEN}",
        f"http://[{TOKEN}/",
        f"http://host/é{TOKEN}",
    ],
)
def test_what_is_no_address_of_http_is_refused(secret: Writes, address: str) -> None:
    """Without a word of it."""
    with pytest.raises(SinkError, match="the address is no HTTP address") as caught:
        hook(secret(address))(MESSAGE)
    assert TOKEN not in f"{caught.value}{caught.value.__cause__}"


def test_a_server_that_does_not_answer_is_given_up(secret: Writes) -> None:
    """After its time; a port on which nobody listens, at once; one that speaks no HTTP, too."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        address = secret(f"http://127.0.0.1:{port}/{TOKEN}")
        with pytest.raises(SinkError, match=r"^127\.0\.0\.1: did not answer in time$"):
            hook(address, timeout_s=0.05)(MESSAGE)
    with pytest.raises(SinkError, match=r"^127\.0\.0\.1: Connection refused$"):
        hook(address)(MESSAGE)


def test_a_server_that_speaks_no_http(secret: Writes) -> None:
    """Is told from one that refuses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SinkError, match="the answer is not HTTP"):
            hook(secret(f"http://127.0.0.1:{listener.getsockname()[1]}/"))(MESSAGE)
        thread.join()


def test_without_a_network_the_hint_says_where_there_is_one(secret: Writes) -> None:
    """A name that cannot be resolved is what the system unit's daemon meets."""
    with pytest.raises(SinkError) as caught:
        hook(secret("http://nowhere.invalid/"))(MESSAGE)
    assert caught.value.message.startswith("nowhere.invalid: ")
    assert "docs/alerts.md" in caught.value.hint


# Services.


@pytest.fixture
def apprise() -> None:
    """Skip where the extra is not installed."""
    pytest.importorskip("apprise")


@pytest.mark.usefixtures("apprise")
def test_a_service_of_apprise_has_title_and_text(server: Answers, secret: Writes) -> None:
    """Delivered by a child process, to several addresses."""
    server.status = 200
    address = f"127.0.0.1:{server.port}"
    Services(secret(f"json://{address}/one\njson://{address}/two"), PATIENCE_S)(MESSAGE)
    assert sorted(asked.path.rstrip("/") for asked in server.asked) == ["/one", "/two"]
    for asked in server.asked:
        had: dict[str, Any] = json.loads(asked.body)
        assert (had["title"], had["message"]) == (MESSAGE.title, MESSAGE.text)


@pytest.mark.usefixtures("apprise")
def test_a_service_that_refuses_is_told_without_its_address(server: Answers, secret: Writes) -> None:
    """Neither tokens nor passwords come out, whatever apprise says."""
    server.status = 403
    with pytest.raises(SinkError, match=r"^apprise: ") as caught:
        Services(secret(f"json://ana:{TOKEN}@127.0.0.1:{server.port}/{TOKEN}"), PATIENCE_S)(MESSAGE)
    assert TOKEN not in str(caught.value)
    with pytest.raises(SinkError, match="an address is of no kind that apprise knows"):
        Services(secret(f"no-such-service://{TOKEN}"), PATIENCE_S)(MESSAGE)


def test_what_apprise_says_is_cleaned() -> None:
    """Of every part of the address that may be a token."""
    said = without(f"tgram://123456:{TOKEN}/chat-id?format=text", f"Failed {TOKEN} at chat-id: 123456 text")
    assert said == "Failed *** at ***: *** ***"


# From the configuration.


def test_every_type_has_its_sender(tmp_path: Path) -> None:
    """Made of the keys that belong to it, patient unless it says otherwise."""
    stopping = threading.Event()
    made = {
        name: sink_of(SinkConfig("x", name, ("/bin/true",), tmp_path / "u", timeout_s=5.0), stopping)
        for name in ("command", "webhook", "apprise")
    }
    assert [type(sink.send) for sink in made.values()] == [Command, Webhook, Services]
    assert {(sink.name, sink.timeout_s, sink.bundling) for sink in made.values()} == {("x", 5.0, BUNDLED)}
    assert sink_of(SinkConfig("x", "command", at_once=True), stopping).bundling is AT_ONCE


def test_the_log_takes_a_test(caplog: pytest.LogCaptureFixture) -> None:
    """As a line of its own."""
    log_sink().send(Message((), ()))
    assert caplog.messages == ["alert test"]
