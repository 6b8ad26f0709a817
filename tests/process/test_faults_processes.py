"""Processes that are killed or hang: the daemon starts others, says why in one line, and leaves none behind."""

from __future__ import annotations

import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from cbir_daemon.client import Client
from cbir_daemon.indexing.batches import BATCH_FILES
from tests import pictures
from tests.patience import PATIENCE_S
from tests.process.daemon import Daemon, living

pytestmark = pytest.mark.process

SIZE_PX = (160, 112)
IMAGES = 24
WITH_MAPS = "min_images = 20\nn_components = 4\nrefit_min_interval_s = 0\n"
FITTING = "cbir_daemon.map.fit_child"
FORKING = "cbir_daemon.decode.fork_server"


@pytest.fixture
def fitting() -> Iterator[Daemon]:
    """Give a running daemon that fits its first map: umap is being loaded, which takes seconds."""
    with living(WITH_MAPS) as daemon:
        for seed in range(IMAGES):
            pictures.save(pictures.photograph(seed, SIZE_PX), daemon.album / f"{seed}.jpg", quality=90)
        daemon.start()
        while not children(daemon, FITTING):
            assert daemon.json("status")["model"] is None
        yield daemon


def children(daemon: Daemon, module: str) -> list[int]:
    """Return the ids of the daemon's children that run a module."""
    assert daemon.process is not None
    return [child for child in children_of(daemon.process.pid) if module.encode() in command_line(child)]


def workers(daemon: Daemon) -> list[int]:
    """Return the ids of the decode workers: what the fork server forked."""
    return [worker for server in children(daemon, FORKING) for worker in children_of(server)]


def children_of(process_id: int) -> list[int]:
    """Return the ids of the children of a process, those among them that ended and are not collected."""
    listed = Path(f"/proc/{process_id}/task").glob("*/children")
    return [int(word) for path in listed for word in path.read_text().split()]


def command_line(process_id: int) -> list[bytes]:
    """Return the arguments of a process; none when it is gone."""
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def all_gone(process_ids: list[int], within_s: float) -> bool:
    """Whether processes end within some seconds; those that do not are killed."""
    deadline = time.monotonic() + within_s
    with ExitStack() as stack:
        alive = []
        for process_id in process_ids:
            try:
                alive.append(os.pidfd_open(process_id))
            except ProcessLookupError:
                continue
            stack.callback(os.close, alive[-1])
        ended = [bool(select.select([process], [], [], max(0.0, deadline - time.monotonic()))[0]) for process in alive]
        for process, gone in zip(alive, ended, strict=True):
            if not gone:
                signal.pidfd_send_signal(process, signal.SIGKILL)
    return all(ended)


def test_a_killed_daemon_takes_its_children_along(fitting: Daemon) -> None:
    """Those that decode and the one that fits; the next daemon records the fit as cut short."""
    fitting.matches(fitting.album / "0.jpg")
    running = children(fitting, FITTING) + children(fitting, FORKING) + workers(fitting)
    assert len(running) >= 3
    fitting.kill()
    assert all_gone(running, PATIENCE_S)
    fitting.start()
    assert [run["outcome"] for run in fitting.json("model", "history")["runs"]][-1] == "cancelled"


def test_a_daemon_stops_in_the_middle_of_a_fit(fitting: Daemon) -> None:
    """With all its children, and without a map: it does not wait for the fit, of which nothing is left."""
    running = children(fitting, FITTING) + children(fitting, FORKING) + workers(fitting)
    assert fitting.stop() == 0
    assert all_gone(running, 0.0)
    assert [path.name for path in (fitting.state / "models").glob("*map*")] == []


def test_a_killed_fit_is_recorded_and_not_tried_at_once(fitting: Daemon) -> None:
    """As when memory is out: the reason is told, answers go on, and the next fit waits."""
    (fit,) = children(fitting, FITTING)
    os.kill(fit, signal.SIGKILL)
    status = fitting.settle()
    (run,) = fitting.json("model", "history")["runs"]
    assert run["outcome"] == "failed"
    assert "was killed by SIGKILL: the kernel does that when memory is out" in run["message"]
    assert run["message"] == status["model_reason"]
    assert not status["refit"]["running"]
    assert children(fitting, FITTING) == []
    assert fitting.matches(fitting.album / "0.jpg")[0]["kind"] == "exact"


def test_killed_decode_workers_cost_nothing(daemon: Daemon) -> None:
    """Killed again and again while a folder is read: every file is read in the end, and none is blamed."""
    outside = daemon.home / "outside"
    outside.mkdir()
    for number in range(IMAGES):
        # No JPEG: it would be read at a fraction of its size, and all of them before the second worker was killed.
        large = pictures.photograph(number, (160, 120)).repeat(10, axis=0).repeat(10, axis=1)
        pictures.save(large, outside / f"{number}.png", compress_level=1)
    daemon.start()
    shutil.move(outside, daemon.album / "inside")
    killed: set[int] = set()
    with Client([daemon.state / "socket"]) as client:
        for _ in range(2):
            while not (fresh := set(workers(daemon)) - killed):
                assert client.status()["images"] < IMAGES
            os.kill(min(fresh), signal.SIGKILL)
            killed.add(min(fresh))
    status = daemon.settle()
    assert (status["images"], status["errors"]) == (IMAGES, 0)


def test_a_killed_fork_server_is_started_anew(daemon: Daemon) -> None:
    """What it had forked goes on; a file and a question that need new workers have them."""
    daemon.start()
    (server,) = children(daemon, FORKING)
    os.kill(server, signal.SIGKILL)
    pictures.save(pictures.photograph(1, SIZE_PX), daemon.album / "1.jpg")
    assert daemon.settle()["errors"] == 0
    assert daemon.matches(daemon.album / "1.jpg")[0]["kind"] == "exact"
    (successor,) = children(daemon, FORKING)
    assert successor != server
    assert len(workers(daemon)) == 2


def test_a_plug_pulled_in_a_first_index_costs_one_batch(daemon: Daemon) -> None:
    """What was committed is not read again; what was decoded and not committed fits into one batch."""
    generator = np.random.default_rng(1)
    count = 3 * BATCH_FILES
    for number in range(count):
        # No two alike, and large enough that they are not all read at once.
        tones = generator.integers(0, 255, (15, 20, 3), np.uint8)
        pictures.save(tones.repeat(40, axis=0).repeat(40, axis=1), daemon.album / f"{number}.jpg")
    daemon.start()
    with Client([daemon.state / "socket"]) as client:
        while (seen := client.status())["images"] < BATCH_FILES:
            pass
    daemon.kill()
    assert seen["images"] < count, "all were read before the plug was pulled"
    daemon.start()
    # Not settled: copies need not be looked up here.
    with Client([daemon.state / "socket"]) as client:
        while (status := client.status())["images"] < count:
            assert status["errors"] == 0
    kept = count - status["decoded"]
    assert kept >= seen["images"]
    assert kept % BATCH_FILES == 0
    assert seen["decoded"] - kept <= BATCH_FILES
