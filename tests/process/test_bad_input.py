"""Mistakes: each gets one clear line and the right exit status, no traceback, and nothing is lost."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import pictures
from tests.process.daemon import Daemon, living

pytestmark = pytest.mark.process


def started(daemon: Daemon) -> Daemon:
    """Have a daemon index three images, and return it."""
    pictures.write_album(daemon.album, 3)
    daemon.start()
    daemon.settle()
    return daemon


@pytest.fixture
def running(daemon: Daemon) -> Daemon:
    """Give a running daemon with an index of a test's own."""
    return started(daemon)


@pytest.fixture(scope="module")
def asked() -> Iterator[Daemon]:
    """Give a running daemon that tests only ask: nothing changes its album."""
    with living() as daemon:
        yield started(daemon)


def refused(daemon: Daemon, status: int, words: str, *argv: str | Path, command: str = "cbir-daemon") -> None:
    """Check that a command says one line that holds `words` and exits with `status`."""
    done = daemon.run(*argv, command=command)
    said = done.stderr.decode()
    assert done.returncode == status, said
    assert words in said
    assert said.startswith(f"{command}: ")
    assert len(said.splitlines()) == 1
    assert done.stdout == b""


def test_albums_that_cannot_be_watched(daemon: Daemon) -> None:
    """No album, a missing one, a file and a nested one are refused, each with its own words."""
    inner = daemon.album / "inner"
    inner.mkdir()
    file = daemon.home / "file"
    file.write_text("text")
    refused(daemon, 64, "no album is given", "run", "--quiet")
    refused(daemon, 66, "no such folder", "run", "--quiet", daemon.home / "nowhere")
    refused(daemon, 64, "is not a folder", "run", "--quiet", file)
    refused(daemon, 78, "lies inside", "run", "--quiet", daemon.album, inner)


def test_an_album_inside_an_album_is_refused(running: Daemon) -> None:
    """A folder inside a watched one, or around it, cannot be added; the same one again is no error."""
    inner = running.album / "inner"
    inner.mkdir()
    refused(running, 64, "lies in, or holds", "album", "add", inner, command="cbir")
    refused(running, 64, "lies in, or holds", "album", "add", running.home, command="cbir")
    assert running.json("album", "add", running.album)["added"] is False


def test_a_missing_album_that_is_known_is_no_error(running: Daemon) -> None:
    """A remembered album whose disk is away at the start is missing; nothing is forgotten."""
    running.stop()
    away = running.home / "away"
    running.album.rename(away)
    running.start()
    status = running.settle()
    assert (status["albums"][0]["state"], status["images"]) == ("missing", 3)
    away.rename(running.album)


def test_queries_of_what_is_no_picture(asked: Daemon) -> None:
    """A text, an empty file, a folder, a single pixel, a plain picture and a missing file are refused by their kind."""
    text = asked.home / "text.jpg"
    text.write_text("this is text")
    empty = asked.home / "empty.jpg"
    empty.touch()
    pixel = pictures.save(np.full((1, 1, 3), 90, np.uint8), asked.home / "pixel.png")
    plain = pictures.save(np.full((300, 400, 3), 255, np.uint8), asked.home / "plain.png")
    refused(asked, 65, "no image", "query", text, command="cbir")
    refused(asked, 65, "empty", "query", empty, command="cbir")
    refused(asked, 65, "folder", "query", asked.album, command="cbir")
    refused(asked, 65, "too plain to match", "query", pixel, command="cbir")
    refused(asked, 65, "too plain to match", "query", plain, command="cbir")
    refused(asked, 66, "no such file", "query", asked.home / "nowhere.jpg", command="cbir")
    assert asked.run("query", "-", stdin=b"").returncode == 64
    assert asked.run("query", "-", stdin=b"text").returncode == 65


def test_a_plain_picture_in_the_album_is_found_by_its_bytes(running: Daemon) -> None:
    """A plain picture matches nothing but its own bytes."""
    plain = pictures.save(np.full((300, 400, 3), 255, np.uint8), running.album / "plain.png")
    running.settle()
    assert [(match["path"], match["kind"]) for match in running.matches(plain)] == [(str(plain), "exact")]


def test_numbers_that_are_none(asked: Daemon) -> None:
    """Not-a-number is refused as any other wrong argument is."""
    refused(asked, 64, "not a number", "query", "x.jpg", "--min-score", "nan", command="cbir")
    refused(asked, 64, "not in the range", "settle", "--timeout", "inf", command="cbir")


def test_nobody_listens(daemon: Daemon) -> None:
    """Without a daemon every command of `cbir` says so and exits 69."""
    refused(daemon, 69, "no daemon listens", "status", command="cbir")
    refused(daemon, 69, "no daemon listens", "--socket", daemon.home / "none", "status", command="cbir")


def test_a_second_daemon(asked: Daemon) -> None:
    """A second daemon on one state exits 73 and names the process; on another state it leaves the socket alone."""
    assert asked.process is not None
    refused(asked, 73, f"process {asked.process.pid}", "run", "--quiet", asked.album)
    elsewhere = ("--state", asked.home / "other", "--socket", asked.state / "socket")
    refused(asked, 73, "another daemon listens", "run", "--quiet", *elsewhere, asked.album)
    assert asked.json("status")["state"] == "ready"


def test_a_broken_configuration_names_every_fault(daemon: Daemon) -> None:
    """Every fault is named at once, with the likely key, and the status is 78."""
    daemon.config.write_text("[watch]\nsetle_s = 2\nrescan_s = 'often'\n")
    done = daemon.run("config", "check", command="cbir-daemon")
    said = done.stderr.decode()
    assert done.returncode == 78
    assert "settle_s" in said
    assert "rescan_s" in said
    assert "Traceback" not in said


def test_a_long_socket_path_is_refused(daemon: Daemon) -> None:
    """A socket path that the kernel cannot hold is refused with its limit."""
    refused(daemon, 78, "107", "run", "--quiet", "--socket", daemon.home / ("x" * 120), daemon.album)


def talk(daemon: Daemon, data: bytes) -> list[dict[str, object]]:
    """Send raw bytes to the socket and return the answers until the daemon has no more."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(daemon.state / "socket"))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65536):
            received += part
    return [json.loads(line) for line in received.splitlines()]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"x" * (2 * 1024 * 1024), "protocol"),
        (b"nonsense\n", "protocol"),
        (b"[1, 2]\n", "protocol"),
        (b'{"v":99,"id":1,"method":"status"}\n', "protocol"),
        (b'{"v":1,"id":1,"method":"stauts"}\n', "unknown-method"),
        (b'{"v":1,"id":1,"method":"query","params":{"path":"relative"}}\n', "bad-request"),
        (b'{"v":1,"id":1,"method":"query","params":{"path":"/x","limit":-1}}\n', "bad-request"),
        (b'{"v":1,"id":1,"method":"query","bytes":99999999999}\n', "protocol"),
    ],
)
def test_messages_that_are_none(asked: Daemon, data: bytes, code: str) -> None:
    """A message that is too long, nonsense, of another version or with bad fields is answered by its code."""
    answers = talk(asked, data)
    assert [answer["error"]["code"] for answer in answers] == [code]  # type: ignore[index]  # JSON
    assert asked.json("status")["images"] == 3


def test_half_a_message_stops_nobody(asked: Daemon) -> None:
    """A client that stops in the middle of a message is dropped without an answer; others go on meanwhile."""
    with socket.socket(socket.AF_UNIX) as half:
        half.connect(str(asked.state / "socket"))
        half.sendall(b'{"v":1,"id":1,"meth')
        assert asked.json("status")["images"] == 3
    assert talk(asked, b'{"v":1,"id":1,"meth') == []


def test_the_state_belongs_to_its_user(running: Daemon) -> None:
    """Socket, index, its backup and all else in the state can be used by their user only."""
    running.settled_until_log_says("backup path=")
    assert [path for path in running.state.rglob("*") if path.stat().st_mode & 0o077] == []
    assert (running.state / "index.sqlite.backup").is_file()
    assert (running.state / "socket").stat().st_mode & 0o777 == 0o600
    assert (running.state / "index.sqlite").stat().st_mode & 0o777 == 0o600
    assert running.state.stat().st_mode & 0o777 == 0o700


def test_a_name_that_is_no_text_travels_whole(running: Daemon) -> None:
    """A file name that is not UTF-8, with a newline in it, is indexed, found and printed byte for byte."""
    name = b"odd-\xff\n-name.jpg"
    target = bytes(running.album) + b"/" + name
    Path(running.home / "new.jpg").write_bytes((running.album / "photo-0000.jpg").read_bytes())
    (running.home / "new.jpg").rename(target.decode(errors="surrogateescape"))
    running.settle()
    done = running.run("query", running.album / "photo-0000.jpg", "--kind", "exact", "--paths0")
    assert target in done.stdout.split(b"\0")
    assert running.run("query", target.decode(errors="surrogateescape")).returncode == 0
    assert b"\n-name" not in running.run("duplicates").stdout
