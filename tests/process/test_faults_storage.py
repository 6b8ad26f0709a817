"""A disk that is full, read-only or has lost a page: one clear line, nothing lost, and on it goes afterwards."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import pictures
from tests.process.daemon import Daemon
from tests.process.disks import filled, make_read_only, small_disk

pytestmark = pytest.mark.process

MIB = 1024 * 1024
STATE_BYTES = 8 * MIB
IMAGES = 6
SIZE_PX = (160, 112)
BACKUP = "index.sqlite.backup"
PAGE_BYTES = 4096


def write(folder: Path, seeds: range) -> None:
    """Write small pictures."""
    folder.mkdir(exist_ok=True)
    for seed in seeds:
        pictures.save(pictures.photograph(seed, SIZE_PX), folder / f"{seed}.jpg", quality=90)


@pytest.fixture
def indexed(daemon: Daemon) -> Daemon:
    """Give a running daemon that has indexed some images and made its first backup."""
    write(daemon.album, range(IMAGES))
    daemon.start()
    daemon.settled_until_log_says("backup path=")
    return daemon


@pytest.fixture
def on_a_small_disk(daemon: Daemon) -> Iterator[Daemon]:
    """Give a daemon whose state lies on a small disk."""
    with small_disk(daemon.state, STATE_BYTES):
        yield daemon


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the one line that a command said of its own; above it may stand lines of the log."""
    lines = done.stderr.decode().splitlines()
    (line,) = [line for line in lines if line.startswith("cbir-daemon: ")]
    assert line == lines[-1]
    assert "Traceback" not in lines
    return line


def sound(daemon: Daemon) -> bool:
    """Whether the doctor finds nothing."""
    return daemon.run("doctor", command="cbir-daemon").stdout == b"sound\n"


# -- full -------------------------------------------------------------------------------------------------------------


def test_a_full_disk_while_images_come_in(on_a_small_disk: Daemon) -> None:
    """What is committed answers on, `cbir status` says what to do, and with room again the rest is taken in."""
    daemon = on_a_small_disk
    write(daemon.album, range(IMAGES))
    daemon.start()
    daemon.settle()
    with filled(daemon.state):
        write(daemon.album, range(100, 150))
        status = daemon.json("status")
        while not any("full" in problem["what"] and "ingest" in problem["what"] for problem in status["problems"]):
            status = daemon.json("status")
        assert status["images"] == IMAGES
        assert daemon.matches(daemon.album / "0.jpg")[0]["kind"] == "exact"
    assert daemon.settle()["images"] == IMAGES + 50
    assert sound(daemon)


def test_a_full_disk_during_a_backup(indexed: Daemon) -> None:
    """It is refused, nothing half-made is left, and the daemon knows nothing of it."""
    elsewhere = indexed.home / "other"
    with small_disk(elsewhere, 16 * PAGE_BYTES):
        done = indexed.run("backup", elsewhere / "copy", command="cbir-daemon")
        assert done.returncode == 74
        assert "other/copy: " in said(done)
        assert list(elsewhere.iterdir()) == []
    assert indexed.json("status")["images"] == IMAGES


def test_a_full_disk_at_the_start(on_a_small_disk: Daemon) -> None:
    """The daemon does not start, and with room it does."""
    daemon = on_a_small_disk
    with filled(daemon.state):
        done = daemon.run("run", "--quiet", daemon.album, command="cbir-daemon")
        assert done.returncode == 74
        assert "full" in said(done) or "No space left" in said(done)
    daemon.start()
    daemon.settle()


# -- read-only --------------------------------------------------------------------------------------------------------


def test_a_state_that_turned_read_only(on_a_small_disk: Daemon) -> None:
    """No daemon starts on it; the doctor looks at it and a backup is made from it all the same."""
    daemon = on_a_small_disk
    write(daemon.album, range(IMAGES))
    daemon.start()
    daemon.settle()
    daemon.stop()
    make_read_only(daemon.state)
    done = daemon.run("run", "--quiet", daemon.album, command="cbir-daemon")
    assert done.returncode == 74
    assert "Read-only file system" in said(done)
    assert sound(daemon)
    saved = daemon.home / "saved"
    assert daemon.run("backup", saved, command="cbir-daemon").returncode == 0
    with closing(sqlite3.connect(saved)) as connection:
        assert connection.execute("SELECT count(*) FROM file").fetchone() == (IMAGES,)


# -- damaged ----------------------------------------------------------------------------------------------------------


def lose_a_page(index: Path) -> bytes:
    """Put zeros in the place of a page of contents, and return the whole file then."""
    with closing(sqlite3.connect(index)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'content'").fetchone()
    data = bytearray(index.read_bytes())
    start = (page - 1) * PAGE_BYTES
    data[start : start + PAGE_BYTES] = bytes(PAGE_BYTES)
    index.write_bytes(data)
    return bytes(data)


def test_a_damaged_index_is_restored_by_one_command(indexed: Daemon) -> None:
    """The daemon does not start and does not touch it; what it names brings the backup back, and nothing is read."""
    indexed.stop()
    index = indexed.state / "index.sqlite"
    damaged = lose_a_page(index)
    done = indexed.run("run", "--quiet", indexed.album, command="cbir-daemon")
    assert done.returncode == 74
    assert f"`cbir-daemon restore --state {indexed.state}` puts {index}.backup back" in said(done)
    assert index.read_bytes() == damaged
    checked = indexed.run("doctor", command="cbir-daemon")
    assert checked.returncode == 1
    assert b"index: " in checked.stdout
    assert b"cbir-daemon restore" in checked.stdout
    assert indexed.run("restore", "--state", indexed.state, command="cbir-daemon").returncode == 0
    indexed.start()
    status = indexed.settle()
    assert (status["images"], status["decoded"]) == (IMAGES, 0)
    assert sound(indexed)


def test_a_damaged_index_without_a_backup_is_begun_anew(indexed: Daemon) -> None:
    """With its albums and decisions; every file is read again, and none of them raises an alert."""
    shutil.copy(indexed.album / "0.jpg", indexed.album / "again.jpg")
    pictures.resaved(indexed.album / "1.jpg", indexed.album / "copy.jpg", quality=60)
    indexed.settle()
    alerts = indexed.alerts()
    assert len(alerts) == 2
    assert indexed.run("dismiss", indexed.album / "1.jpg", indexed.album / "copy.jpg").returncode == 0
    indexed.stop()
    (indexed.state / BACKUP).unlink()
    lose_a_page(indexed.state / "index.sqlite")
    done = indexed.run("run", "--quiet", command="cbir-daemon")
    assert done.returncode == 74
    assert f"`cbir-daemon reindex --state {indexed.state}` begins a new one" in said(done)
    assert indexed.run("reindex", "--state", indexed.state, command="cbir-daemon").returncode == 0
    indexed.start("--state", str(indexed.state))
    status = indexed.settle()
    # Two files have the same bytes.
    assert status["images"] == IMAGES + 2
    assert status["decoded"] > IMAGES
    assert indexed.alerts() == alerts
    assert [group["kind"] for group in indexed.json("duplicates")["groups"]] == ["exact"]


def test_an_index_of_a_newer_release(indexed: Daemon) -> None:
    """It is named and not touched."""
    indexed.stop()
    index = indexed.state / "index.sqlite"
    with closing(sqlite3.connect(index)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = index.read_bytes()
    done = indexed.run("run", "--quiet", indexed.album, command="cbir-daemon")
    assert done.returncode == 74
    assert "schema 99" in said(done)
    assert index.read_bytes() == before
