"""Every message gets its answer, and no client, whatever it sends or leaves out, harms another one."""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cbir_daemon.client import Client
from cbir_daemon.errors import BusyError, ConfigError, ForbiddenError, InUseError, NotFoundError
from cbir_daemon.protocol.framing import MAX_LINE_BYTES, Frame, FrameReader, encode
from cbir_daemon.protocol.messages import Request
from cbir_daemon.serving.handlers import Reply
from cbir_daemon.serving.server import FRAME_TIMEOUT_S, IDLE_TIMEOUT_S, Server
from tests.patience import PATIENCE_S
from tests.rights import NOBODY, ordinary_user

SHORT_S = 0.1
CLOCK = 812
MAX_BLOB_BYTES = 100_000
NOT_TEXT = os.fsdecode(b"/album/\xff.jpg")


class Handlers:
    """What the server under test answers."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.entered = threading.Semaphore(0)

    def __call__(self, request: Request) -> Iterator[Reply[Any]]:
        """Answer by the method of the same name."""
        yield from getattr(self, request.method)(request)

    def echo(self, request: Request) -> Iterator[Reply[Any]]:
        yield Reply(request.params, request.blob)

    def count(self, request: Request) -> Iterator[Reply[Any]]:
        last = request.params["to"]
        for number in range(last + 1):
            yield Reply({"number": number}, more=number < last)

    def for_ever(self, request: Request) -> Iterator[Reply[Any]]:
        while True:
            yield Reply({}, b"x" * 65_536, more=True)

    def hold(self, request: Request) -> Iterator[Reply[Any]]:
        self.entered.release()
        self.held.wait(PATIENCE_S)
        yield Reply({})

    def refuse(self, request: Request) -> Iterator[Reply[Any]]:
        raise NotFoundError(f"{NOT_TEXT}: is not indexed", hint="name another")

    def crash(self, request: Request) -> Iterator[Reply[Any]]:
        raise LookupError("a fault of ours")

    def lose_disk(self, request: Request) -> Iterator[Reply[Any]]:
        raise PermissionError(13, "Permission denied")

    def say_too_much(self, request: Request) -> Iterator[Reply[Any]]:
        yield Reply({"text": "x" * MAX_LINE_BYTES})


@pytest.fixture
def handlers() -> Iterator[Handlers]:
    """What answers; nobody is held at the end."""
    handlers = Handlers()
    yield handlers
    handlers.held.set()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a socket; relative, because socket paths end at 107 bytes."""
    monkeypatch.chdir(tmp_path)
    return Path("run", "socket")


StartServer = Callable[..., Server]


@pytest.fixture
def start_server(path: Path, handlers: Handlers) -> Iterator[StartServer]:
    """Return a function that starts a server; all are closed, and no thread is left."""
    before = set(threading.enumerate())
    started: list[tuple[Server, threading.Thread]] = []

    def start(
        max_connections: int = 8,
        group: str = "",
        *,
        run: bool = True,
        frame_timeout_s: float = FRAME_TIMEOUT_S,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> Server:
        server = Server(
            path,
            handlers,
            lambda: CLOCK,
            max_connections=max_connections,
            max_blob_bytes=MAX_BLOB_BYTES,
            group=group,
            frame_timeout_s=frame_timeout_s,
            idle_timeout_s=idle_timeout_s,
        )
        server.open()
        thread = threading.Thread(target=server.run)
        started.append((server, thread))
        if run:
            thread.start()
        return server

    yield start
    handlers.held.set()
    for server, thread in started:
        server.close()
        if thread.ident is not None:
            thread.join(PATIENCE_S)
    assert set(threading.enumerate()) == before


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A server that runs."""
    return start_server()


class Peer:
    """A client that says what it likes, byte by byte."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._reader = FrameReader(10**8)
        self._frames: list[Frame] = []

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def ask(self, method: str, params: dict[str, Any] | None = None, blob: bytes = b"", request_id: Any = 1) -> None:  # noqa: ANN401 -- also wrong ones
        """Send a whole message."""
        self.send(encode({"v": 1, "id": request_id, "method": method, "params": params or {}}, blob))

    def frame(self) -> Frame | None:
        """Return the next frame, or None when the server hung up."""
        while not self._frames:
            try:
                data = self.socket.recv(65_536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._reader.receive(data)
            self._frames += self._reader.frames()
        return self._frames.pop(0)

    def message(self) -> dict[str, Any]:
        """Return the next message."""
        frame = self.frame()
        assert frame is not None
        return frame.message

    def refusal(self) -> tuple[str, str]:
        """Return code and message of the next message, which must be a refusal."""
        error = self.message()["error"]
        return error["code"], error["message"]


def connections_end(server: Server) -> None:
    """Return when every connection of now has ended."""
    for guest in server.guests:
        guest.thread.join(PATIENCE_S)
        assert not guest.thread.is_alive()


def works(path: Path) -> None:
    """A newcomer is served."""
    with Peer(path) as peer:
        peer.ask("echo", {"x": 1})
        assert peer.message()["ok"] == {"x": 1}


# Answers.


def test_a_message_gets_its_answer(server: Server, path: Path) -> None:
    """With its id, the version and the clock; raw bytes both ways."""
    with Peer(path) as peer:
        peer.ask("echo", {"x": [1, None, "é"]}, b"\0raw\n\xff", request_id="seven")
        frame = peer.frame()
    assert frame is not None
    assert frame.blob == b"\0raw\n\xff"
    assert frame.message == {"v": 1, "id": "seven", "ok": {"x": [1, None, "é"]}, "clock": CLOCK, "bytes": 6}


def test_messages_in_a_row_are_answered_in_order(server: Server, path: Path) -> None:
    """However they are cut."""
    stream = b"".join(
        encode({"v": 1, "id": number, "method": "echo", "params": {}}, b"b" * number) for number in range(5)
    )
    with Peer(path) as peer:
        for byte in stream:
            peer.send(bytes([byte]))
        frames = [peer.frame() for _ in range(5)]
    assert [(frame.message["id"], len(frame.blob)) for frame in frames if frame] == [(n, n) for n in range(5)]


def test_a_stream_says_that_more_comes(server: Server, path: Path) -> None:
    """On all but the last answer, and the connection goes on."""
    with Peer(path) as peer:
        peer.ask("count", {"to": 2})
        answers = [peer.message() for _ in range(3)]
        assert [(message["ok"]["number"], message.get("more")) for message in answers] == [
            (0, True),
            (1, True),
            (2, None),
        ]
        peer.ask("echo")
        assert "ok" in peer.message()


def test_clients_do_not_wait_for_each_other(server: Server, path: Path, handlers: Handlers) -> None:
    """One is held by its question, another one is answered meanwhile."""
    with Peer(path) as slow:
        slow.ask("hold")
        assert handlers.entered.acquire(timeout=PATIENCE_S)
        works(path)
        handlers.held.set()
        assert "ok" in slow.message()


def test_an_error_is_an_answer(server: Server, path: Path) -> None:
    """It may name a path that is no text, and the connection goes on."""
    with Peer(path) as peer:
        peer.ask("refuse", request_id=9)
        message = peer.message()
        assert (message["id"], message["clock"]) == (9, CLOCK)
        assert message["error"] == {
            "code": "not-found",
            "message": "/album/\\udcff.jpg: is not indexed",
            "hint": "name another",
            "retryable": False,
        }
        peer.ask("echo")
        assert "ok" in peer.message()


@pytest.mark.parametrize("method", ["crash", "lose_disk"])
def test_a_fault_of_ours_costs_one_answer(
    server: Server, path: Path, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """It is logged whole and said in a line; what the system refuses a handler is no broken connection."""
    with Peer(path) as peer:
        peer.ask(method)
        assert peer.refusal() == ("internal", "the daemon failed to answer")
        peer.ask("echo")
        assert "ok" in peer.message()
    assert f"handler failed method={method}" in caplog.text
    assert "Traceback" in caplog.text


def test_an_answer_that_is_too_long_is_an_error(server: Server, path: Path) -> None:
    """The client is told, and nothing of half a line is sent."""
    with Peer(path) as peer:
        peer.ask("say_too_much")
        code, message = peer.refusal()
        assert code == "protocol"
        assert f"longer than {MAX_LINE_BYTES}" in message


def test_the_client_of_ours_is_answered(server: Server, path: Path) -> None:
    """The class that programs use speaks to it, and raises what the daemon refuses."""
    with Client([path], timeout_s=PATIENCE_S) as client:
        assert client.ask("echo", {"x": 1}) == {"x": 1}
        assert [frame.message["ok"]["number"] for frame in client.frames("count", {"to": 3})] == [0, 1, 2, 3]
        with pytest.raises(NotFoundError, match="is not indexed: name another"):
            client.ask("refuse")


# What clients do wrong.

NONSENSE = {
    "no JSON": (b"hello\n", "protocol", "line is not JSON"),
    "no object": (b"[1,2]\n", "protocol", "message is not a JSON object"),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", "protocol", "line is not JSON"),
    "an empty line": (b"\n", "protocol", "line is not JSON"),
    "no text": (b"\xff\xfe\n", "protocol", "line is not JSON"),
    "2 MiB in a line": (b"x" * (2 * MAX_LINE_BYTES) + b"\n", "protocol", "line longer than"),
    "2 MiB without end": (b"x" * (2 * MAX_LINE_BYTES), "protocol", "line longer than"),
    "a bad length": (b'{"v":1,"bytes":-1}\n', "protocol", "'bytes' is not a length"),
    "too many bytes": (b'{"v":1,"bytes":100001}\n', "protocol", "more than the 100000 accepted"),
    "another version": (b'{"v":2,"id":1,"method":"echo"}\n', "protocol", "this daemon speaks 1"),
    "no version": (b"{}\n", "protocol", "field 'v' is None"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused_once_and_the_connection_ends(server: Server, path: Path, name: str) -> None:
    """In one sentence; where the next message would begin is not known."""
    data, code, message = NONSENSE[name]
    with Peer(path) as peer:
        peer.send(data)
        answered = peer.refusal()
        assert answered[0] == code
        assert message in answered[1]
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.frame() is None
    works(path)


def test_another_version_ends_the_connection(server: Server, path: Path) -> None:
    """What follows may mean anything: the server hangs up, whatever the client does."""
    with Peer(path) as peer:
        peer.send(b'{"v":2,"id":1,"method":"echo"}\n')
        assert peer.refusal()[0] == "protocol"
        assert peer.frame() is None


@pytest.mark.parametrize(
    "message",
    [
        b'{"v":1,"id":1}\n',
        b'{"v":1,"method":"echo"}\n',
        b'{"v":1,"id":true,"method":"echo"}\n',
        b'{"v":1,"id":1,"method":7}\n',
        b'{"v":1,"id":1,"method":"echo","params":[]}\n',
        b'{"v":1,"id":"\\ud800","method":"echo"}\n',
        b'{"v":1,"id":NaN,"method":"echo"}\n',
    ],
)
def test_a_bad_request_is_refused_and_the_connection_goes_on(server: Server, path: Path, message: bytes) -> None:
    """The field is named; what follows is read."""
    with Peer(path) as peer:
        peer.send(message)
        code, sentence = peer.refusal()
        assert (code, sentence[:7]) == ("bad-request", "field '")
        peer.ask("echo")
        assert "ok" in peer.message()


@pytest.mark.parametrize("part", [b"", b'{"v":1,"id"', encode({"v": 1, "id": 1, "method": "echo"}, b"blob")[:-2]])
def test_a_client_that_leaves_in_the_middle_is_forgotten(server: Server, path: Path, part: bytes) -> None:
    """Whatever it had said so far."""
    with Peer(path) as peer:
        peer.send(part)
        works(path)
    connections_end(server)
    assert server.guests == ()
    works(path)


def test_a_client_that_stops_in_the_middle_is_cut_off(start_server: StartServer, path: Path) -> None:
    """After a while; the daemon keeps no place for it."""
    server = start_server(frame_timeout_s=SHORT_S)
    with Peer(path) as peer:
        peer.send(b'{"v":1,')
        assert peer.frame() is None
        connections_end(server)
    works(path)


def test_a_client_that_says_nothing_is_cut_off_much_later(start_server: StartServer, path: Path) -> None:
    """Between messages there is another patience."""
    start_server(idle_timeout_s=20 * SHORT_S)
    with Peer(path) as peer:
        peer.ask("echo")
        assert "ok" in peer.message()
        assert peer.frame() is None


def test_a_client_that_never_reads_is_cut_off(start_server: StartServer, path: Path) -> None:
    """An endless answer to it does not hold its place for ever, and others are served meanwhile."""
    server = start_server(frame_timeout_s=SHORT_S)
    with Peer(path) as peer:
        peer.ask("for_ever")
        works(path)
        connections_end(server)
        assert server.guests == ()


def test_a_client_that_leaves_in_an_answer_is_forgotten(server: Server, path: Path) -> None:
    """The endless answer ends with it."""
    with Peer(path) as peer:
        peer.ask("for_ever")
        assert peer.frame() is not None
    connections_end(server)
    works(path)


def test_one_too_many_is_told_to_come_back(start_server: StartServer, path: Path) -> None:
    """At once and in a sentence; when a place is free it gets it."""
    server = start_server(max_connections=2)
    with Peer(path) as first, Peer(path) as second:
        for peer in (first, second):
            peer.ask("echo")
            peer.message()
        for _ in range(3):
            with Peer(path) as third:
                assert third.refusal() == ("busy", "2 clients are connected already")
                assert third.frame() is None
        with Client([path], timeout_s=PATIENCE_S) as client, pytest.raises(BusyError):
            client.hello()
    connections_end(server)
    works(path)


def another_process(path: Path, method: str) -> subprocess.CompletedProcess[bytes]:
    """Ask one question from another process."""
    code = (
        "import contextlib, json, socket, sys\n"
        "connection = socket.socket(socket.AF_UNIX)\n"
        "connection.connect(sys.argv[1])\n"
        # Who is refused is refused before he has said anything.
        "with contextlib.suppress(BrokenPipeError):\n"
        "    connection.sendall(json.dumps({'v': 1, 'id': 1, 'method': sys.argv[2]}).encode() + b'\\n')\n"
        "sys.stdout.write(connection.makefile().readline())\n"
    )
    command = [sys.executable, "-c", code, str(path), method]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)  # noqa: S603 -- ours


def only_ours_left(server: Server) -> None:
    """Return when the connections of other processes have ended."""
    for guest in server.guests:
        if guest.pid != os.getpid():
            guest.thread.join(PATIENCE_S)


def test_a_process_that_holds_every_place_gives_one_up(start_server: StartServer, path: Path) -> None:
    """Another one is served at once; the first loses the connection that said nothing for longest, and only that."""
    start_server(max_connections=3)
    with Peer(path) as first, Peer(path) as second, Peer(path) as third:
        for peer in (second, third, first):
            peer.ask("echo")
            peer.message()
        assert b'"ok"' in another_process(path, "echo").stdout
        assert second.frame() is None
        for peer in (first, third):
            peer.ask("echo", {"x": 1})
            assert peer.message()["ok"] == {"x": 1}


def test_places_held_in_handlers_are_given_up_too(start_server: StartServer, path: Path, handlers: Handlers) -> None:
    """As many may be shown out as there are places, so that threads stay bounded; then newcomers are told to wait."""
    server = start_server(max_connections=2)
    with Peer(path) as first, Peer(path) as second:
        for peer in (first, second):
            peer.ask("hold")
            # The one heard of longest ago is given up: the other one must be heard later.
            assert handlers.entered.acquire(timeout=PATIENCE_S)
        assert b'"ok"' in another_process(path, "echo").stdout
        assert first.frame() is None
        only_ours_left(server)
        with Peer(path) as third:
            third.ask("hold")
            assert handlers.entered.acquire(timeout=PATIENCE_S)
            assert b'"ok"' in another_process(path, "echo").stdout
            only_ours_left(server)
            with Peer(path) as fourth:
                fourth.ask("hold")
                assert handlers.entered.acquire(timeout=PATIENCE_S)
                assert b'"busy"' in another_process(path, "echo").stdout
                handlers.held.set()
    connections_end(server)
    works(path)


def test_a_newcomer_without_a_thread_is_turned_away(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel gives no more of them; it costs neither the daemon nor anybody's place."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with Peer(path) as peer:
            assert peer.refusal() == ("busy", "no thread is left for this connection")
    assert server.guests == ()
    works(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a moment")
def test_another_user_is_refused(start_server: StartServer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel's word on who connects, also when the file let it through."""
    server = start_server(run=False)
    path.chmod(0o666)
    # An ordinary user can neither walk to the folder nor into it; one who stands in it needs only the latter.
    path.parent.chmod(0o755)
    monkeypatch.chdir(path.parent)
    with ordinary_user():
        peer = Peer(Path(path.name))
    thread = threading.Thread(target=server.run)
    thread.start()
    with peer:
        assert peer.refusal() == (ForbiddenError.code, "this daemon belongs to another user")
    server.close()
    thread.join(PATIENCE_S)


# The socket file.


def test_the_socket_is_private(server: Server, path: Path) -> None:
    """For its owner alone, in a folder for its owner alone."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_group_may_be_let_in(start_server: StartServer, path: Path) -> None:
    """The file belongs to it then; a group that is not there is refused."""
    group = grp.getgrgid(os.getegid())
    start_server(group=group.gr_name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert path.stat().st_gid == group.gr_gid
    with pytest.raises(ConfigError, match="there is no group 'no-such-group'"):
        start_server(group="no-such-group")


def test_the_place_of_a_dead_socket_is_taken(path: Path, start_server: StartServer) -> None:
    """What a killed daemon left behind is in nobody's way."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    start_server()
    works(path)


@pytest.mark.parametrize("backlog_full", [False, True])
def test_a_living_socket_is_left_alone(path: Path, start_server: StartServer, backlog_full: bool) -> None:
    """Another daemon listens there, even one too busy to accept."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as living, contextlib.ExitStack() as stack:
        living.bind(str(path))
        living.listen(0)
        if backlog_full:
            stack.enter_context(Peer(path))
        with pytest.raises(InUseError, match="another daemon listens there"):
            start_server()
        assert path.is_socket()


def a_file(path: Path) -> None:
    path.write_text("precious")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link(path: Path) -> None:
    path.symlink_to("precious")


@pytest.mark.parametrize("put", [a_file, a_folder, a_link])
def test_what_is_no_socket_is_left_alone(path: Path, start_server: StartServer, put: Callable[[Path], None]) -> None:
    """The daemon does not begin, and the file stays."""
    path.parent.mkdir()
    put(path)
    before = path.lstat()
    with pytest.raises(InUseError, match="is no socket of cbir-daemon"):
        start_server()
    assert path.lstat().st_ino == before.st_ino


@pytest.mark.parametrize("name", ["s" * 120, "file/socket", "x" * 300])
def test_a_path_that_cannot_be_listened_on(tmp_path: Path, handlers: Handlers, name: str) -> None:
    """Too long, or below what is no folder: one sentence, and nothing held."""
    (tmp_path / "file").touch()
    server = Server(tmp_path / name, handlers, lambda: 0, max_connections=1, max_blob_bytes=1)
    with pytest.raises(ConfigError, match=r"cannot listen there: .*: give another path with --socket"):
        server.open()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_dead_socket_of_another_user_is_left_alone(path: Path, start_server: StartServer) -> None:
    """It may be theirs to begin again."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    os.chown(path, NOBODY, -1)
    with pytest.raises(InUseError, match="is no socket of cbir-daemon"):
        start_server()
    assert path.is_socket()


def test_closing_ends_everything(start_server: StartServer, path: Path) -> None:
    """The file is gone, clients hear the end, newcomers find nobody."""
    server = start_server()
    with Peer(path) as peer:
        peer.ask("echo")
        peer.message()
        server.close()
        assert peer.frame() is None
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        Peer(path)
    server.close()


def test_closing_leaves_the_socket_of_another(start_server: StartServer, path: Path) -> None:
    """When somebody else took the place meanwhile."""
    server = start_server()
    path.unlink()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(path))
        server.close()
        assert path.is_socket()
