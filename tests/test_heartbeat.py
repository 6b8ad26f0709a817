"""Promises of threads: kept, broken, and on whose account."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from cbir_daemon.store import Store
from cbir_daemon.system import heartbeat
from cbir_daemon.watching import walk
from cbir_daemon.watching.mailbox import Mailbox


def names(now: float) -> list[str]:
    """Return who is late at a moment."""
    return [thread.name for thread in heartbeat.late(now)]


def test_a_thread_is_late_when_its_promise_is_over() -> None:
    """A registered thread is late once its time is over, is not after its next beat, and is gone after its end."""
    now = time.monotonic()
    with heartbeat.of("one"):
        heartbeat.beat(10)
        assert names(now + 9) == []
        assert names(now + 11) == ["one"]
        heartbeat.beat(100)
        assert names(now + 99) == []
    assert names(now + 1e9) == []


def test_who_waits_for_work_is_never_late() -> None:
    """A thread that rests for ever is not late; what refused its work before is over."""
    with heartbeat.of("one") as own:
        heartbeat.refused("the disk is full", 30)
        assert own.trouble == "the disk is full"
        heartbeat.beat()
        assert own.trouble == "the disk is full"
        heartbeat.idle(heartbeat.FOREVER_S)
        assert own.trouble == ""
        assert names(time.monotonic() + 1e9) == []


def test_other_threads_promise_nothing() -> None:
    """In a thread that never registered a promise does nothing, and two threads do not share one."""
    with heartbeat.of("one"):
        heartbeat.beat(10)
        stranger = threading.Thread(target=lambda: heartbeat.beat(1e6))
        stranger.start()
        stranger.join()
        assert names(time.monotonic() + 11) == ["one"]
    heartbeat.beat()
    assert heartbeat.all_now() == []


def test_a_walk_waits_for_the_file_system(tmp_path: Path) -> None:
    """While a walk is at a folder, the thread is at the mercy of that file system; afterwards it is not."""
    (tmp_path / "inner").mkdir()
    seen: list[str] = []

    class Looking(walk.Filter):
        def excludes_entry(self, path: bytes) -> bool:
            seen.append(own.waits_for)
            return super().excludes_entry(path)

    with heartbeat.of("ingest") as own:
        walk.walk(bytes(tmp_path), b"", Looking((), frozenset({".jpg"})))
        assert seen == [f"the file system of {tmp_path}"]
        assert own.waits_for == ""


def test_rooms_that_wait_say_so(tmp_path: Path) -> None:
    """Waiting for a change, or for a path, promises to be back within its time-out; the writer waits for ever."""
    store = Store(tmp_path / "index.sqlite")
    store.open()
    try:
        store.albums.add(b"/album")
        (writer,) = heartbeat.all_now()
        assert writer.name == "writer"
        mailbox = Mailbox()
        waits: list[Callable[[], None]] = [
            lambda: store.wait_for_change(store.moment, 0.0),
            lambda: mailbox.wait(0.0),
        ]
        for wait in waits:
            with heartbeat.of("one") as own:
                heartbeat.refused("the disk is full", 1e6)
                wait()
                assert own.trouble == ""
                assert own.due <= time.monotonic() + heartbeat.STALLED_S
        assert "writer" not in names(time.monotonic() + heartbeat.STALLED_S / 2)
    finally:
        store.close()
    assert heartbeat.all_now() == []
