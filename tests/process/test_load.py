"""Many at once, and some who mean no good: everybody is answered, nobody starves, memory stays where it is.

A small version of `scripts/bench load`.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from cbir_daemon.client import Client
from tests import pictures
from tests.patience import PATIENCE_S
from tests.process.daemon import Daemon, living

pytestmark = pytest.mark.process

SIZE_PX = (160, 112)
BEFORE = 24
ARRIVING = 120
CLIENTS = 16
MOST_GROWTH_MIB = 200.0
STATUSES = 200
CROWD = 500
HOLDING = (b'{"v":1,"id":1,"method":"alerts","params":{"follow":true}}\n', b'{"v":1,', b"")
"""One waits for an answer that has no end, one stops in a message, one says nothing."""

WITH_MAPS = "min_images = 20\nn_components = 4\nrefit_min_changes = 1000000\n"


def write(folder: Path, seeds: range) -> list[Path]:
    """Write small pictures."""
    folder.mkdir(exist_ok=True)
    return [pictures.save(pictures.photograph(seed, SIZE_PX), folder / f"{seed}.jpg", quality=90) for seed in seeds]


@pytest.fixture
def busy() -> Iterator[Daemon]:
    """Give a running daemon that fits its first map."""
    with living(WITH_MAPS) as daemon:
        write(daemon.album, range(BEFORE))
        daemon.start()
        while not daemon.json("status")["refit"]["running"]:
            pass
        yield daemon


def resident_mib(daemon: Daemon) -> float:
    """Return the memory of the daemon itself."""
    assert daemon.process is not None
    pages = int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def served(path: Path, query: Path, together: threading.Barrier, ended: threading.Event) -> int:
    """Ask one question after the other, as soon as all may, until the end; return how many were answered."""
    count = 0
    with Client([path], timeout_s=PATIENCE_S) as client:
        together.wait(PATIENCE_S)
        while not count or not ended.is_set():
            assert client.query(query)["matches"][0]["path"] == str(query)
            count += 1
    return count


def test_many_ask_while_files_arrive_and_a_map_is_fitted(busy: Daemon) -> None:
    """Every question is answered right, every client as often as the others, and the files come in meanwhile."""
    queries = sorted(busy.album.iterdir())[:CLIENTS]
    outside = busy.home / "outside"
    write(outside, range(100, 100 + ARRIVING))
    before_mib = resident_mib(busy)
    together, ended = threading.Barrier(CLIENTS), threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool, Client([busy.state / "socket"]) as client:
        asking = [pool.submit(served, busy.state / "socket", query, together, ended) for query in queries]
        try:
            shutil.move(outside, busy.album / "arrived")
            while client.status()["images"] < BEFORE + ARRIVING:
                assert not any(asker.done() for asker in asking)
            # Some more for a share to mean something, however fast the files came in.
            for _ in range(STATUSES):
                client.status()
        finally:
            ended.set()
        counts = [asker.result() for asker in asking]
    assert min(counts) >= max(counts) / 8, counts
    assert resident_mib(busy) - before_mib < MOST_GROWTH_MIB


def test_who_holds_connections_stops_nobody(daemon: Daemon) -> None:
    """One process opens hundreds, leaves half messages in them, never reads: others are served at once."""
    (query,) = write(daemon.album, range(1))
    daemon.start()
    daemon.settle()
    with ExitStack() as stack:
        for number in range(CROWD):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(daemon.state / "socket"))
            with suppress(BrokenPipeError):
                connection.sendall(HOLDING[number % len(HOLDING)])
        for _ in range(3):
            assert daemon.matches(query)[0]["kind"] == "exact"
        assert daemon.json("status")["images"] == 1
    assert daemon.settle()["images"] == 1
