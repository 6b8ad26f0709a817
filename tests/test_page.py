"""Parts of the page that its process hides: faults, odd sockets, a daemon that talks nonsense, files of the address."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from cbir_daemon.errors import BusyError, ConfigError, InUseError, ProtocolError, UnavailableError
from cbir_daemon.page.address import AddressFile, address_file, running_address
from cbir_daemon.page.applying import Applying
from cbir_daemon.page.files import FRONT, TYPES, read_files
from cbir_daemon.page.guard import HEADERS, Guard, Message, Receive, Scope, Send
from cbir_daemon.page.keys import Keys
from cbir_daemon.page.link import MOST_LONG, Link
from cbir_daemon.page.listening import handed_over, on_loopback, on_unix_socket
from cbir_daemon.page.peers import Peers, written
from cbir_daemon.page.routes import Routes

HOSTS = ("photos.example.org",)


async def answered(application: Callable[..., Any], scope: Scope) -> list[Message]:
    """Return the messages that an application sends for a request without a body; its faults go no further."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    with suppress(ZeroDivisionError):
        await application(scope, receive, send)
    return sent


def scope_of(path: str, host: bytes, method: str = "GET") -> Scope:
    """Return a request of the page itself."""
    return {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""} | {
        "headers": [(b"host", host)],
        "root_path": "",
    }


class Broken(Routes):
    """An application whose front fails."""

    async def _front(self, _: Any) -> Any:  # noqa: ANN401 -- Starlette's own
        raise ZeroDivisionError


def test_a_fault_is_answered_with_the_headers(tmp_path: Path) -> None:
    """500, in JSON, without a word of what went wrong, and with what stands on every answer."""
    doors = on_loopback(0)
    try:
        keys = Keys()
        routes = Broken(keys, Link([tmp_path / "none"]), {}, Applying(), asyncio.Event())
        guard = Guard(routes.application(), doors, keys)
        (start, *bodies) = asyncio.run(answered(guard, scope_of("/", min(doors.hosts))))
    finally:
        for listener in doors.sockets:
            listener.close()
    assert start["status"] == 500
    assert set(HEADERS) <= set(start["headers"])
    assert b"ZeroDivision" not in b"".join(body["body"] for body in bodies)


def test_who_does_not_read_is_not_waited_for() -> None:
    """A browser that takes no byte of an answer loses it after a while."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def stuck(_: Message) -> None:
        await asyncio.Event().wait()

    async def asked() -> None:
        await Guard(application, doors, Keys(), send_timeout_s=0.01)(scope_of("/", host), stuck_receive, stuck)

    async def stuck_receive() -> Message:
        return {}

    doors = on_loopback(0)
    host = min(doors.hosts)
    try:
        with pytest.raises(TimeoutError):
            asyncio.run(asked())
    finally:
        for listener in doors.sockets:
            listener.close()


# -- the daemon's socket -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"nonsense\n", b'{"v":9,"id":1,"ok":{}}\n', b"[]\n"])
def test_nonsense_of_a_daemon_is_an_error_of_the_protocol(tmp_path: Path, said: bytes) -> None:
    """Whatever listens there: no frame of it is passed on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        writer.close()

    async def asked() -> None:
        async with await asyncio.start_unix_server(serve, tmp_path / "s"):
            await Link([tmp_path / "s"]).ask("status", {})

    with pytest.raises(ProtocolError):
        asyncio.run(asked())


def test_a_daemon_that_hangs_up_is_unavailable(tmp_path: Path) -> None:
    """In the middle of a frame, or before one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"v":1,')
        writer.close()

    async def asked() -> None:
        async with await asyncio.start_unix_server(serve, tmp_path / "s"):
            await Link([tmp_path / "none", tmp_path / "s"]).ask("status", {})

    with pytest.raises(UnavailableError):
        asyncio.run(asked())


def test_streams_without_end_leave_room(tmp_path: Path) -> None:
    """As many as are allowed take no turn of other requests; one more is told that it is too many."""
    serving: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        line = await reader.readline()
        writer.write(b'{"v":1,"id":1,"ok":{},"clock":1%s}\n' % (b',"more":true' if b"alerts" in line else b""))
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async def asked() -> None:
        link = Link([tmp_path / "s"], most_requests=1)
        async with await asyncio.start_unix_server(serve, tmp_path / "s"):
            streams = [link.long_frames("alerts", {"follow": True}) for _ in range(MOST_LONG + 1)]
            for stream in streams[:-1]:
                await anext(stream)
            assert (await link.ask("status", {})).message["ok"] == {}
            with pytest.raises(BusyError):
                await anext(streams[-1])
            await streams[0].aclose()
            again = link.long_frames("alerts", {"follow": True})
            await anext(again)
            for stream in (*streams, again):
                await stream.aclose()
            await asyncio.gather(*(task for task in serving if task is not None))

    asyncio.run(asked())


# -- sockets -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """Give what closes sockets at the end."""
    with ExitStack() as stack:
        yield stack


def bound(closing: ExitStack, host: str) -> socket.socket:
    """Return a socket as a service manager hands it over."""
    return closing.enter_context(socket.create_server((host, 0)))


def test_a_socket_that_others_reach_is_refused(closing: ExitStack) -> None:
    """On every address of the machine: which setting to change; on the loopback it is taken."""
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0"):
        handed_over([bound(closing, "0.0.0.0")], ())  # noqa: S104 -- to be refused
    doors = handed_over([listener := bound(closing, "127.0.0.1")], ())
    port = listener.getsockname()[1]
    assert doors.address == f"http://127.0.0.1:{port}/"
    assert doors.hosts == {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost", "[::1]")}


def test_a_unix_socket_of_others_is_refused(closing: ExitStack, tmp_path: Path) -> None:
    """Of another mode than 0600, or together with a port; without a host it is of no use."""
    listener = closing.enter_context(socket.socket(socket.AF_UNIX))
    path = tmp_path / "s"
    listener.bind(str(path))
    listener.listen()
    path.chmod(0o660)
    with pytest.raises(ConfigError, match="0660"):
        handed_over([listener], HOSTS)
    path.chmod(0o600)
    assert handed_over([listener], HOSTS).origins == {b"https://photos.example.org"}
    with pytest.raises(ConfigError, match="several kinds"):
        handed_over([listener, bound(closing, "127.0.0.1")], HOSTS)
    with pytest.raises(ConfigError, match=r"page\.hosts"):
        handed_over([listener], ())


def test_a_dead_socket_is_replaced_and_nothing_else(closing: ExitStack, tmp_path: Path) -> None:
    """A file, or a socket on which somebody listens, stays."""
    path = tmp_path / "s"
    for _ in range(2):
        # Closed without being removed, as after a kill.
        on_unix_socket(path, HOSTS).sockets[0].close()
    living = on_unix_socket(path, HOSTS).sockets[0]
    closing.callback(living.close)
    living.listen()
    with pytest.raises(InUseError):
        on_unix_socket(path, HOSTS)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InUseError):
        on_unix_socket(tmp_path / "file", HOSTS)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_kernel_tells_who_connects(closing: ExitStack, tmp_path: Path) -> None:
    """By TCP of both kinds, and by a Unix socket; of a connection that is gone it tells nothing of this user."""
    peers = Peers()
    closing.callback(peers.close)
    for listener in on_loopback(0).sockets:
        closing.callback(listener.close)
        listener.listen()
        with socket.create_connection(listener.getsockname()[:2]), listener.accept()[0] as accepted:
            assert peers.user_of(accepted) == os.geteuid()
    first, second = socket.socketpair()
    with first, second:
        assert peers.user_of(first) == os.geteuid()


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("127.0.0.1", 80, b"0100007F:0050"),
        ("::1", 8417, b"00000000000000000000000001000000:20E1"),
        ("::ffff:10.0.0.2", 1, b"0000000000000000FFFF00000200000A:0001"),
    ],
)
def test_addresses_are_written_as_the_kernel_does(host: str, port: int, expected: bytes) -> None:
    """As in proc(5), on this little-endian machine."""
    assert written(host, port) == expected


# -- files -------------------------------------------------------------------------------------------------------------


def test_each_daemon_s_page_has_an_address_of_its_own(tmp_path: Path) -> None:
    """In the run-time folder, else in the cache, else below the home."""
    sockets = [tmp_path / "socket"]
    found = {
        address_file(sockets, {"XDG_RUNTIME_DIR": "/run/user/1", "HOME": "/home/ana"}),
        address_file(sockets, {"XDG_RUNTIME_DIR": "relative", "XDG_CACHE_HOME": "/cache"}),
        address_file(sockets, {"HOME": "/home/ana"}),
        address_file([tmp_path / "other"], {"HOME": "/home/ana"}),
    }
    assert len(found) == 4
    assert {path.parent for path in found} == {
        *map(Path, ("/run/user/1/cbir", "/cache/cbir", "/home/ana/.cache/cbir")),
    }
    with pytest.raises(ConfigError, match="HOME"):
        address_file(sockets, {})


def test_an_address_is_true_while_its_page_runs(tmp_path: Path) -> None:
    """It can be read while the file is held; afterwards there is none, and the file is empty."""
    path = tmp_path / "cbir" / "page"
    with pytest.raises(UnavailableError):
        running_address(path)
    file = AddressFile(path)
    file.open()
    file.write("http://127.0.0.1:1/#long-secret")
    file.write("http://127.0.0.1:1/#secret")
    assert running_address(path) == "http://127.0.0.1:1/#secret"
    with pytest.raises(InUseError):
        AddressFile(path).open()
    file.close()
    with pytest.raises(UnavailableError):
        running_address(path)
    assert path.read_bytes() == b""


def test_an_address_that_others_could_read_is_not_written(tmp_path: Path) -> None:
    """A file of another mode, or a link in its place, is refused."""
    path = tmp_path / "page"
    path.touch(mode=0o644)
    with pytest.raises(ConfigError):
        AddressFile(path).open()


def test_every_shipped_file_of_the_page_is_served() -> None:
    """None but licences has an ending that is not known; the front is there."""
    files = read_files()
    folder = Path(__file__).parents[1] / "cbir_daemon" / "page" / "static"
    unknown = {path.suffix for path in folder.rglob("*") if path.is_file() and path.stem != "LICENSE"} - TYPES.keys()
    assert FRONT in files
    assert not unknown


def test_keys_do_not_show_in_messages() -> None:
    """Neither of them stands in what a log would say of them; each opens its own."""
    keys = Keys()
    assert keys.page not in repr(keys)
    assert keys.pictures not in repr(keys)
    assert (keys.opens_page(keys.page), keys.opens_page(keys.pictures)) == (True, False)
    assert (keys.opens_pictures(keys.pictures), keys.opens_pictures("\udcff")) == (True, False)
