"""Children that are forked from one that has loaded what they need: real ones, as those of `test_child`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cbir_daemon.errors import ChildError
from cbir_daemon.system.child import Child
from cbir_daemon.system.forking import ForkServer
from tests.leftovers import nothing_left
from tests.patience import PATIENCE_S
from tests.places import CHECKOUT

MODULE = "tests.fork_server"
ENVIRONMENT = {"PYTHONPATH": str(CHECKOUT)}
ORPHAN_S = 60.0


@pytest.fixture
def server() -> Iterator[ForkServer]:
    """A fork server, closed after the test; nothing of it or its children is left."""
    with nothing_left():
        running = ForkServer(Child.started(MODULE, {"do": "prepare"}, env=ENVIRONMENT))
        yield running
        running.close()


def answer_of(child: Child, order: dict[str, object]) -> dict[str, int]:
    """Return what a child answers."""
    child.send(order)
    return dict(child.receive(PATIENCE_S).message)


def is_there(pid: int) -> bool:
    """Whether there is a process of this number, be it one that ended and was not collected."""
    return Path(f"/proc/{pid}").exists()


def test_what_was_prepared_once_is_there_in_each(server: ForkServer) -> None:
    """Each is a process of its own, in which nothing was loaded again."""
    with contextlib.ExitStack() as closing:
        children = [
            closing.enter_context(contextlib.closing(Child.started("forked", start=server.start))) for _ in range(3)
        ]
        said = [answer_of(child, {"do": "describe"}) for child in children]
        assert [answer["pid"] for answer in said] == [child.pid for child in children]
        assert len({child.pid for child in children}) == 3
        assert {answer["prepared_in"] for answer in said} == {answer["parent"] for answer in said}
        assert len({answer["parent"] for answer in said}) == 1


@pytest.mark.parametrize(
    ("order", "how"),
    [
        ({"do": "die", "signal": signal.SIGKILL}, "was killed by SIGKILL"),
        ({"do": "exit", "status": 3}, "ended with status 3"),
    ],
)
def test_how_a_forked_child_ended_is_known(server: ForkServer, order: dict[str, object], how: str) -> None:
    """As of a child that was started by itself; and others live on."""
    with (
        contextlib.closing(Child.started("forked", start=server.start)) as child,
        contextlib.closing(Child.started("forked", start=server.start)) as sibling,
    ):
        child.send(order)
        with pytest.raises(ChildError) as caught:
            child.receive(PATIENCE_S)
        assert caught.value.message == f"forked (pid {child.pid}) {how}"
        assert not child.running
        assert answer_of(sibling, {"do": "describe"})["pid"] == sibling.pid


def test_a_closed_child_is_gone(server: ForkServer) -> None:
    """Even one that the system has stopped; its number is free, and closing twice does no harm."""
    child = Child.started("forked", start=server.start)
    os.kill(child.pid, signal.SIGSTOP)
    child.close()
    assert not child.running
    assert not is_there(child.pid)
    child.close()


def test_a_retired_server_ends_with_the_last_that_it_forked(server: ForkServer) -> None:
    """Not before, and at once when there is none."""
    first, second = (Child.started("forked", start=server.start) for _ in range(2))
    parent = answer_of(first, {"do": "describe"})["parent"]
    server.retire()
    first.close()
    assert answer_of(second, {"do": "describe"})["parent"] == parent
    second.close()
    assert not server.running
    assert not is_there(parent)
    childless = ForkServer(Child.started(MODULE, {"do": "prepare"}, env=ENVIRONMENT))
    childless.retire()
    assert not childless.running


def test_without_its_server_a_child_works_on_and_is_ended_all_the_same(server: ForkServer) -> None:
    """Nobody can say how it ended, and nobody waits for that."""
    child = Child.started("forked", start=server.start)
    parent = answer_of(child, {"do": "describe"})["parent"]
    os.kill(parent, signal.SIGKILL)
    assert answer_of(child, {"do": "describe"})["pid"] == child.pid
    with pytest.raises(ChildError):
        Child.started("forked", start=server.start)
    orphan = os.pidfd_open(child.pid)
    child.close()
    assert select.select([orphan], [], [], ORPHAN_S)[0], "the child lives on"
    os.close(orphan)


def test_a_server_that_cannot_prepare_says_how_it_ended() -> None:
    """Whoever asks it for a child learns of that."""
    with (
        nothing_left(),
        contextlib.closing(ForkServer(Child.started(MODULE, {"do": "fail"}, env=ENVIRONMENT))) as server,
        pytest.raises(ChildError, match="ended with status 3"),
    ):
        Child.started("forked", start=server.start)


def test_a_forked_child_does_not_outlive_the_daemon() -> None:
    """A daemon killed with SIGKILL takes server and children along, also in a computation that nothing interrupts."""
    code = (
        "import signal\n"
        "from cbir_daemon.system.child import Child\n"
        "from cbir_daemon.system.forking import ForkServer\n"
        f"server = ForkServer(Child.started({MODULE!r}, {{'do': 'prepare'}}))\n"
        "child = Child.started('forked', start=server.start)\n"
        "child.send({'do': 'describe'})\n"
        "pids = child.receive().message\n"
        "child.send({'do': 'compute alone'})\n"
        "child.receive()\n"
        "print(pids['pid'], pids['parent'], flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen(  # noqa: S603 -- our own interpreter and code
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | ENVIRONMENT
    ) as parent:
        assert parent.stdout is not None
        orphans = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
    for orphan in orphans:
        # A pidfd becomes readable when its process ends.
        assert select.select([orphan], [], [], ORPHAN_S)[0], "a child lives on"
        os.close(orphan)
