"""Bit rot in photographs: bytes that changed under an unchanged time are found, said once, and never taken for news."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from tests import pictures
from tests.process.daemon import Daemon

pytestmark = pytest.mark.process


def flip_a_bit(path: Path) -> None:
    """Change one bit in the middle of a file, as a failing disk does: neither its size nor its time tells."""
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(times.st_size // 2)
        byte = file.read(1)[0]
        file.seek(times.st_size // 2)
        file.write(bytes([byte ^ 0x10]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def deep(daemon: Daemon, *argv: str) -> tuple[int, Any]:
    """Return the status and the document of `doctor --deep`."""
    done = daemon.run("doctor", "--deep", "--json", *argv, command="cbir-daemon")
    return done.returncode, json.loads(done.stdout)


def furnished(daemon: Daemon) -> list[Path]:
    """Return three indexed pictures, of which the last is a twin of the first."""
    paths = [daemon.album / f"{number}.jpg" for number in range(3)]
    for seed, path in enumerate(paths[:2]):
        pictures.save(pictures.photograph(seed, (160, 112)), path, quality=90)
    shutil.copyfile(paths[0], paths[2])
    daemon.start()
    daemon.settle()
    return paths


def test_a_flipped_bit_is_found_and_told_once(daemon: Daemon) -> None:
    """Beside a running daemon, which raises the alert; what is sound is no finding, and the row stays as it was."""
    first, second, twin = furnished(daemon)
    status, document = deep(daemon)
    assert (status, document["findings"], document["files"], document["changed"]) == (0, [], 3, 0)
    assert document["bytes"] == sum(path.stat().st_size for path in (first, second, twin))

    flip_a_bit(first)
    for _ in range(2):
        status, document = deep(daemon)
        assert status == 1
        (finding,) = document["findings"]
        assert finding.startswith(f"files: {first} is damaged: its bytes changed and its time did not (SHA-256 ")
    (alert,) = daemon.alerts()
    assert (alert["path"], alert["kind"]) == (str(first), "damaged")
    assert alert["text"].startswith(f"{first} is damaged: its bytes changed")
    assert alert["text"].endswith(f"; {twin} had the same bytes")
    assert [match["path"] for match in alert["matches"]] == [str(twin)]
    daemon.settled_until_log_says("damaged")
    # The digest that was indexed leads to the copy that is sound.
    found = daemon.json("query", twin, "--kind", "exact")["matches"]
    assert [match["path"] for match in found] == [str(first), str(twin)]


def test_without_a_daemon_the_command_raises_the_alert(daemon: Daemon) -> None:
    """The next daemon shows it; what was edited or is away in the meantime is no damage."""
    first, second, twin = furnished(daemon)
    assert daemon.stop() == 0
    flip_a_bit(first)
    pictures.save(pictures.photograph(7, (160, 112)), second, quality=90)
    twin.unlink()
    status, document = deep(daemon)
    assert (status, document["files"], document["changed"]) == (1, 1, 2)
    daemon.start()
    daemon.settle()
    assert [alert["path"] for alert in daemon.alerts() if alert["kind"] == "damaged"] == [str(first)]
    # The walk has read what was edited, and has not taken the damaged file for a new one.
    status, document = deep(daemon)
    assert (status, document["files"], document["changed"]) == (1, 2, 0)


def test_a_vector_that_the_file_does_not_give_is_found(daemon: Daemon) -> None:
    """The bytes are the same: the index is wrong, and no alert is raised."""
    first, *_ = furnished(daemon)
    assert daemon.stop() == 0
    with closing(sqlite3.connect(daemon.state / "index.sqlite")) as connection, connection:
        (vector,) = connection.execute("SELECT vector FROM content ORDER BY id LIMIT 1").fetchone()
        changed = bytes(255 - level for level in vector)
        connection.execute("UPDATE content SET vector = ?, checksum = ? WHERE id = 1", (changed, crc32(changed)))
    status, document = deep(daemon)
    assert status == 1
    assert any("has another vector now" in finding and str(daemon.album) in finding for finding in document["findings"])
    assert first.exists()
    daemon.start()
    assert daemon.alerts() == []


def test_a_sample_is_as_large_as_asked(daemon: Daemon) -> None:
    """`--files 1` reads one of three, and text says how much was read."""
    furnished(daemon)
    done = daemon.run("doctor", "--deep", "--files", "1", command="cbir-daemon")
    assert (done.returncode, done.stdout) == (0, b"sound\n")
    assert done.stderr.decode().startswith("read 1 file again, ")
