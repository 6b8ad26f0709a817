"""Child processes, real ones: talked to, timed, killed, and never left behind."""

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

from cbir_daemon.errors import ChildError, TimedOutError
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.system.child import Child
from tests.echo_child import NICENESS
from tests.leftovers import nothing_left
from tests.patience import PATIENCE_S
from tests.places import CHECKOUT

MODULE = "tests.echo_child"
ENVIRONMENT = {"PYTHONPATH": str(CHECKOUT), "CBIR_TEST_WORD": "hello"}
ORPHAN_S = 60.0
"""How soon a child must be gone after its parent: milliseconds where nothing else runs, and never while it computes."""


@pytest.fixture
def child() -> Iterator[Child]:
    """Return a running child, closed after the test."""
    running = Child.started(MODULE, env=ENVIRONMENT)
    yield running
    running.close()


def test_frames_go_there_and_back(child: Child) -> None:
    """Messages and bytes come back as they were sent."""
    blob = bytes(range(256)) * 12_000
    child.send({"do": "echo", "word": "été"}, blob)
    assert child.receive(PATIENCE_S) == Frame({"do": "echo", "word": "été", "bytes": len(blob)}, blob)


def test_no_module_of_the_present_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon may be started inside an album: a json.py that lies there is a file like any other."""
    (tmp_path / "json.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(Child.started(MODULE, env=ENVIRONMENT)) as child:
        child.send({"do": "echo", "word": "hello"})
        assert child.receive(PATIENCE_S) == Frame({"do": "echo", "word": "hello"})


def test_many_frames_at_once_stay_in_order(child: Child) -> None:
    """Frames that arrive together are handed out one by one, first come first served."""
    child.send({"do": "count", "to": 20})
    assert [child.receive(PATIENCE_S).message["number"] for _ in range(20)] == list(range(20))


def test_a_child_stands_apart(child: Child) -> None:
    """It has our environment and what was added, its own process group, and the niceness that it asked for.

    It shares our session: niceness counts inside of it only.
    """
    child.send({"do": "describe"})
    expected = {"group": child.pid, "session": os.getsid(0), "word": "hello"}
    assert child.receive(PATIENCE_S).message == {"nice": min(19, os.nice(0) + NICENESS), **expected}


def test_what_a_child_prints_is_no_data(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output of a child goes to our standard error."""
    child = Child.started(MODULE, env=ENVIRONMENT)
    child.send({"do": "print"})
    child.receive(PATIENCE_S)
    child.close()
    assert capfd.readouterr() == ("", "this is for the log")


@pytest.mark.parametrize(
    ("order", "how"),
    [
        ({"do": "die", "signal": signal.SIGKILL}, "was killed by SIGKILL"),
        ({"do": "die", "signal": signal.SIGSEGV}, "was killed by SIGSEGV"),
        ({"do": "exit", "status": 3}, "ended with status 3"),
    ],
)
def test_a_dead_child_is_an_error_that_says_how(child: Child, order: dict[str, object], how: str) -> None:
    """Whoever waits for a child that died learns module, pid and signal or status; so does who talks to it."""
    child.send(order)
    with pytest.raises(ChildError) as caught:
        child.receive(PATIENCE_S)
    assert caught.value.message == f"{MODULE} (pid {child.pid}) {how}"
    assert not child.running
    with pytest.raises(ChildError):
        child.send({"do": "echo"})


def test_a_module_that_is_not_there_is_a_dead_child(capfd: pytest.CaptureFixture[str]) -> None:
    """A child that cannot even begin is told like any other that ended."""
    child = Child.started("cbir_daemon.no_such_module")
    with pytest.raises(ChildError, match="ended with status 1"):
        child.receive(PATIENCE_S)
    child.close()
    assert "no_such_module" in capfd.readouterr().err


def test_a_child_that_talks_nonsense_is_an_error(child: Child) -> None:
    """Bytes that are no frame end the conversation."""
    child.send({"do": "talk nonsense"})
    with pytest.raises(ChildError):
        child.receive(PATIENCE_S)


def test_waiting_has_an_end(child: Child) -> None:
    """A child that says nothing is a time-out; it still runs until it is closed, and closing twice is harmless."""
    child.send({"do": "hang"})
    with pytest.raises(TimedOutError):
        child.receive(0.01)
    before = child.running
    child.close()
    assert (before, child.running) == (True, False)
    child.close()


def test_a_child_that_cannot_react_is_ended_all_the_same(child: Child) -> None:
    """Closing ends even a process that the system has stopped, which can notice nothing itself."""
    child.send({"do": "die", "signal": signal.SIGSTOP})
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    child.close()
    assert not child.running


def test_the_time_that_a_child_has_used(child: Child) -> None:
    """It only rises, and is none for a child that is gone."""
    child.send({"do": "echo"})
    child.receive(PATIENCE_S)
    before = child.cpu_s
    assert before > 0
    child.send({"do": "compute"})
    child.receive(PATIENCE_S)
    while child.cpu_s <= before:
        pass
    child.close()
    assert child.cpu_s == 0


def test_nothing_is_left_open() -> None:
    """A closed child leaves no descriptor behind."""
    with nothing_left():
        for _ in range(3):
            Child.started(MODULE, env=ENVIRONMENT).close()


@pytest.mark.parametrize("order", ["echo", "compute", "compute alone"])
def test_a_child_does_not_outlive_its_parent(order: str) -> None:
    """A parent killed with SIGKILL takes its child along: idle, in a computation, in one that no thread interrupts."""
    code = (
        "import signal\n"
        "from cbir_daemon.system.child import Child\n"
        f"child = Child.started({MODULE!r})\n"
        f"child.send({{'do': {order!r}}})\n"
        "child.receive()\n"
        "print(child.pid, flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen(  # noqa: S603 -- our own interpreter and code
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | ENVIRONMENT
    ) as parent:
        assert parent.stdout is not None
        orphan = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        # A pidfd becomes readable when its process ends.
        assert select.select([orphan], [], [], ORPHAN_S)[0], "the child lives on"
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(orphan, signal.SIGKILL)
        os.close(orphan)
