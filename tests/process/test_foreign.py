"""A program that knows docs/protocol.md and nothing of ours reads long answers from the daemon."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir_daemon.daemon.rooms import INDEX_FILE
from cbir_daemon.protocol.framing import MAX_LINE_BYTES
from cbir_daemon.records import FitOutcome, ResolveTask, TaskState
from cbir_daemon.store import Decision, FitBegun, NewWork, Store
from tests import pictures
from tests.manual import code, section
from tests.process.daemon import Daemon, living
from tests.rows import EXTRACTOR

ROWS = 2600
"""A row of most lists has 110 bytes at least: more than a page of 256 KiB."""

FITS = 1000
COPIES = 1200
"""Files of one picture and files that are none: their names have 200 bytes."""

LISTS = {
    "decisions": ("decisions", ROWS),
    "resolve_tasks": ("tasks", ROWS),
    "resolve_runs": ("runs", ROWS),
    "watch_list": ("works", 2 * FITS),
    "model_history": ("runs", FITS),
    "errors": ("errors", COPIES),
    "duplicates": ("groups", 2),
    "images": ("images", 1 + COPIES),
}
"""Method -> the list in its answers, and how long it is."""

UNREAD = {"map_inside": "images", "resolve_check": "tasks"}
"""As above; these need a map, or a plan, and go through the same `paged`."""

pytestmark = pytest.mark.process


def digest(number: int) -> bytes:
    """Return one SHA-256 of many."""
    return hashlib.sha256(b"%d" % number).digest()


def write_long_lists(state: Path) -> None:
    """Write lists into an index that fill several pages each."""
    store = Store(state / INDEX_FILE)
    store.open()
    try:
        pairs = [sorted((digest(2 * number), digest(2 * number + 1))) for number in range(ROWS)]
        store.decisions.put([Decision(first, second, 1.0) for first, second in pairs])
        task = ResolveTask(
            "trash", "exact", Path("/gone"), Path("/kept"), digest(0), digest(1), 1, 1, None, TaskState.SKIPPED
        )
        for number in range(ROWS):
            store.journal.start([task] * (ROWS if number == 0 else 1), 1.0)
        for _ in range(FITS):
            store.runs.end(store.runs.start(FitBegun("a test", "mean16/1", 1), 1.0), FitOutcome.FAILED, "a test", 2.0)
        for number in range(2 * FITS):
            vector = np.random.default_rng(number).integers(0, 256, 4096, np.uint8).tobytes()
            store.works.add(NewWork(digest(number), vector, EXTRACTOR, f"work {number}", b"/work"), 1.0)
    finally:
        store.close()


def write_files(album: Path) -> None:
    """Write a group of many files, a group of two, and files that are no pictures."""
    first, second = pictures.write_album(album, 2)
    for number in range(COPIES):
        name = f"{number:0200}.jpg"
        os.link(first, album / name) if number % 100 else shutil.copy(first, album / name)
        (album / f"x{number:0199}.jpg").write_bytes(b"not an image")
    shutil.copy(second, album / "second.jpg")


@pytest.fixture(scope="module")
def full() -> Iterator[Daemon]:
    """Give a daemon of which every list is long."""
    with living() as daemon:
        daemon.state.mkdir()
        write_long_lists(daemon.state)
        write_files(daemon.album)
        daemon.start()
        daemon.settle()
        yield daemon


def messages(path: Path, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask as docs/protocol.md says: a line there, lines back until one does not say that more follows."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
        found = []
        with connection.makefile("rb") as lines:
            for line in lines:
                assert len(line) <= MAX_LINE_BYTES
                found.append(json.loads(line))
                if not found[-1].get("more"):
                    break
    return found


@pytest.mark.parametrize("method", LISTS)
def test_a_long_list_comes_in_pages(full: Daemon, method: str) -> None:
    """Whoever reads until no more follows has every entry; the other fields are the same in all answers."""
    field, count = LISTS[method]
    shown = hashlib.sha256((full.album / "photo-0000.jpg").read_bytes()).hexdigest()
    params = {"digests": [shown]} if method == "images" else {"run": 1}
    answers = messages(full.state / "socket", {"v": 1, "id": 7, "method": method, "params": params})
    assert len(answers) > 1
    assert {answer["id"] for answer in answers} == {7}
    assert sum(len(answer["ok"][field]) for answer in answers) == count
    others = [{name: value for name, value in answer["ok"].items() if name != field} for answer in answers]
    assert all(rest == others[0] for rest in others)


def test_every_list_that_comes_in_pages_was_read() -> None:
    """The lists above are those of docs/protocol.md."""
    rows = section("protocol.md", "Streams").described
    paged = {code(row[0]): code(row[2]) for row in rows if re.fullmatch(r"`\w+`", row[2])}
    assert paged == {method: field for method, (field, _) in LISTS.items()} | UNREAD
