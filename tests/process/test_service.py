"""The daemon as a service manager sees it: what it is told, how it hands over a socket, how it confines and kills."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cbir_daemon import installing
from cbir_daemon.client import Client
from cbir_daemon.errors import ForbiddenError
from tests import pictures
from tests.patience import PATIENCE_S
from tests.places import CHECKOUT
from tests.process import under_filter
from tests.process.daemon import COMMANDS, Daemon
from tests.rights import ordinary_user

pytestmark = pytest.mark.process

UNITS = [installing.unit_folder(scope) / "cbir-daemon.service" for scope in ("user", "system")]
IMAGES = 5
FILES = 400
"""So many that reading them takes longer than the manager waits between two looks."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or shutil.which("systemd-socket-activate") is None,
    reason="systemd's tools are not installed",
)


class Manager:
    """What a service manager hears from the daemon.

    Parameters
    ----------
    listener : socket.socket
        Bound to the daemon's NOTIFY_SOCKET.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.heard: list[str] = []

    def wait_for(self, pattern: str) -> str:
        """Return the first line from now on that matches, whole."""
        while True:
            lines = self._listener.recv(4096).decode().split("\n")
            self.heard += lines
            found = next((line for line in lines if re.fullmatch(pattern, line)), None)
            if found is not None:
                return found


@contextmanager
def listening_to(daemon: Daemon) -> Iterator[Manager]:
    """Be the service manager of a daemon that is started in the block."""
    path = daemon.home / "notify"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(PATIENCE_S)
        yield Manager(listener)


@contextmanager
def started(daemon: Daemon, *command: str | Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command that becomes the daemon, and end it if the block did not."""
    with daemon.log.open("ab") as log:
        process = subprocess.Popen(command, env=daemon.environ | environ, stderr=log, stdout=log)  # noqa: S603 -- ours
    daemon.process = process
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE_S)
        daemon.process = None


def run_command(daemon: Daemon) -> list[str | Path]:
    """Return the command line of the units."""
    return [COMMANDS / "cbir-daemon", "run", "--quiet", daemon.album]


def client(daemon: Daemon) -> Client:
    """Return a client of the daemon's socket."""
    return Client([daemon.state / "socket"], timeout_s=PATIENCE_S)


# -- what the manager is told ------------------------------------------------------------------------------------------


def test_the_manager_hears_of_the_whole_life(daemon: Daemon) -> None:
    """READY when the socket answers, then what it is at, pings, a reload that begins and ends, and the end."""
    pictures.write_album(daemon.album, IMAGES)
    with listening_to(daemon) as manager, started(daemon, *run_command(daemon), WATCHDOG_USEC="1000000") as process:
        manager.wait_for("READY=1")
        with client(daemon) as asker:
            assert asker.hello()["pid"] == process.pid
        assert "STATUS=loading the vectors" in manager.heard
        manager.wait_for("WATCHDOG=1")
        daemon.settle()
        manager.wait_for(f"STATUS={IMAGES} images, 0 errors, no map")
        (daemon.album / "broken.jpg").write_text("no image")
        daemon.settle()
        manager.wait_for(f"STATUS={IMAGES} images, 1 error, no map; 1 problem, see `cbir status`")
        process.send_signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")
        process.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        assert process.wait(PATIENCE_S) == 0


def test_a_first_index_shows_how_far_it_is(daemon: Daemon) -> None:
    """While files are read the status line has found, done, errors and rate."""
    first = pictures.save(pictures.photograph(1), daemon.album / "photo.png")
    for number in range(FILES - 1):
        shutil.copy(first, daemon.album / f"copy-{number:04d}.png")
    with listening_to(daemon) as manager, started(daemon, *run_command(daemon), WATCHDOG_USEC="100000"):
        manager.wait_for("READY=1")
        line = manager.wait_for(r"STATUS=indexing: \d+ of \d+ files, 0 errors, \d+/s.*")
        assert f" of {FILES} files" in line
        daemon.settle()


def test_a_reload_never_ends_the_daemon(daemon: Daemon) -> None:
    """SIGHUP while the daemon starts is kept until it runs; any number of them while it stops change nothing."""
    with listening_to(daemon) as manager, started(daemon, *run_command(daemon)) as process:
        manager.wait_for("STATUS=opening the index")
        process.send_signal(signal.SIGHUP)
        manager.wait_for("READY=1")
        manager.wait_for("RELOADING=1")
        process.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        # Faster than Python could send them, or handle them.
        command = f"while kill -HUP {process.pid}; do :; done"
        floods = [subprocess.Popen(["sh", "-c", command], stderr=subprocess.DEVNULL) for _ in range(2)]  # noqa: S603, S607
        assert process.wait(PATIENCE_S) == 0
        for flood in floods:
            flood.wait(PATIENCE_S)
    # CPython says so of a signal that came while its handler was replaced, after the last line of ours.
    log = daemon.log.read_text()
    assert log.count("Traceback") == log.count("OSError: Signal 1 ignored due to race condition"), log
    daemon.log.unlink()


def test_an_aborted_daemon_says_where_its_threads_were(daemon: Daemon) -> None:
    """The watchdog's SIGABRT ends it at once, children too, and the log has the stack of every thread."""
    daemon.start()
    daemon.settle()
    daemon.signal(signal.SIGABRT)
    assert daemon.wait() == -signal.SIGABRT
    log = daemon.log.read_text()
    assert "Fatal Python error: Aborted" in log
    assert log.count("most recent call first") >= 5
    assert "in wait_for_change" in log


def test_the_journal_gets_priorities(daemon: Daemon) -> None:
    """With standard error in the journal each line begins with its priority, and none with a time."""
    daemon.log.touch()
    status = daemon.log.stat()
    daemon.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
    daemon.start()
    daemon.settle()
    assert daemon.stop() == 0
    lines = daemon.log.read_text().splitlines()
    assert any(line.startswith("<6>ready socket=") for line in lines)
    assert all(re.match("<[2-7]>[a-z]", line) for line in lines), lines


# -- the socket --------------------------------------------------------------------------------------------------------


@needs_systemd
def test_systemd_hands_the_socket_over(daemon: Daemon) -> None:
    """Under systemd's own activation the first client starts the daemon and is answered; the socket is not removed."""
    pictures.write_album(daemon.album, IMAGES)
    path = daemon.home / "given" / "socket"
    path.parent.mkdir()
    activate = ["systemd-socket-activate", "--listen", str(path), "--fdname=cbir"]
    # It passes on nothing but what it is told to.
    kept = [f"--setenv={name}" for name in daemon.environ if name not in ("PATH", "LANG", "TERM", "HOME", "USER")]
    with listening_to(daemon) as manager, started(daemon, *activate, *kept, *run_command(daemon)) as process:
        daemon.environ["CBIR_SOCKET"] = str(path)
        wait_for_log(daemon, f"Listening on {path}")
        inode = path.stat().st_ino
        with Client([path], timeout_s=PATIENCE_S) as asker:
            assert asker.hello()["pid"] == process.pid
            asker.settle()
            assert asker.status()["images"] == IMAGES
        manager.wait_for("READY=1")
        assert not (daemon.state / "socket").exists()
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert path.stat().st_ino == inode
    assert f"ready socket={path} " in daemon.log.read_text()


def wait_for_log(daemon: Daemon, words: str) -> None:
    """Return when the log holds `words`: systemd's helper tells nobody else that it listens."""
    deadline = time.monotonic() + PATIENCE_S
    while words not in daemon.log.read_text():
        assert time.monotonic() < deadline, daemon.log.read_text()
        os.sched_yield()


def test_no_client_is_refused_over_a_restart(daemon: Daemon) -> None:
    """The manager's socket takes a client while no daemon runs; the next daemon answers it."""
    pictures.write_album(daemon.album, IMAGES)
    path = daemon.home / "socket"
    # What systemd does: listen, put the descriptor in its place, and say whom it is meant for.
    become = 'exec 3<&"$0"; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        for _ in range(2):
            with (
                listening_to(daemon) as manager,
                Client([path], timeout_s=PATIENCE_S) as early,
                daemon.log.open("ab") as log,
            ):
                command = ["bash", "-c", become, str(listener.fileno()), *run_command(daemon)]
                process = subprocess.Popen(  # noqa: S603 -- ours
                    command, env=daemon.environ, stderr=log, stdout=log, pass_fds=[listener.fileno()]
                )
                daemon.process = process
                assert early.hello()["pid"] == process.pid
                manager.wait_for("READY=1")
                assert daemon.stop() == 0
            assert path.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_user_who_may_not_connect_is_told_so(daemon: Daemon) -> None:
    """A socket that is there and not for this user is named, with whom it is for; none is told to start a daemon."""
    daemon.start()
    daemon.home.chmod(0o755)
    daemon.state.chmod(0o755)
    with ordinary_user(), pytest.raises(ForbiddenError, match="may not connect"):
        Client([daemon.home / "none", daemon.state / "socket"])


# -- confinement -------------------------------------------------------------------------------------------------------


def filtered(unit: Path, *command: str | Path) -> list[str | Path]:
    """Return a command that runs another one under the filter of a unit."""
    return [sys.executable, "-m", "tests.process.under_filter", unit, *command]


CONFINE = "from cbir_daemon.system.sandbox import confine; print(confine(2**32))"


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.parent.name)
def test_the_whole_loop_works_under_the_filter_of_the_unit(daemon: Daemon, unit: Path) -> None:
    """Under the unit's own filter of system calls the daemon indexes, answers and draws, and logs nothing worse."""
    pictures.write_album(daemon.album, IMAGES)
    command = [*filtered(unit, *run_command(daemon))]
    with listening_to(daemon) as manager, started(daemon, *command, PYTHONPATH=str(CHECKOUT)) as process:
        manager.wait_for("READY=1")
        status = daemon.settle()
        assert (status["images"], status["errors"], status["problems"]) == (IMAGES, 0, [])
        sheet = daemon.home / "sheet.png"
        assert daemon.run("query", daemon.album / "photo-0001.jpg", "--sheet", sheet).returncode == 0
        assert sheet.read_bytes().startswith(b"\x89PNG")
        assert filters_of(process.pid) == 1
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert not re.search("WARNING|ERROR|Traceback", daemon.log.read_text())


def filters_of(pid: int) -> int:
    """Return how many system call filters a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Seccomp_filters")).split()[1])


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.parent.name)
def test_decode_workers_confine_themselves_under_the_filter_of_the_unit(unit: Path) -> None:
    """What the kernel grants a worker, Landlock and a filter of its own, it grants under the unit's filter too."""
    plain = subprocess.run([sys.executable, "-c", CONFINE], capture_output=True, text=True, check=True)  # noqa: S603 -- ours
    confined = subprocess.run(  # noqa: S603 -- ours
        filtered(unit, sys.executable, "-c", CONFINE), capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert "seccomp" in confined.stdout
    assert confined.stdout == plain.stdout


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.parent.name)
def test_the_filter_of_the_unit_refuses(unit: Path) -> None:
    """Mounting and the network are refused with an error: the filter of these tests is one."""
    program = (
        "import ctypes, socket\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), ctypes.get_errno())\n"
        "try:\n    socket.socket(socket.AF_INET)\nexcept PermissionError as error:\n    print('no network')\n"
    )
    done = subprocess.run(  # noqa: S603 -- ours
        filtered(unit, sys.executable, "-c", program), capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert done.stdout == "-1 1\nno network\n"
    assert "landlock_restrict_self" in under_filter.allowed(unit)


# -- status ------------------------------------------------------------------------------------------------------------


def test_metrics_of_a_running_daemon(daemon: Daemon) -> None:
    """`--prometheus` prints what a collector reads; when the daemon is down it says so, and exits 69."""
    pictures.write_album(daemon.album, IMAGES)
    daemon.start()
    daemon.settle()
    text = daemon.run("status", "--prometheus").stdout.decode()
    values = {family.name: family.samples[0].value for family in text_string_to_metric_families(text)}
    assert (values["cbir_up"], values["cbir_images"], values["cbir_problems"]) == (1, IMAGES, 0)
    assert daemon.run("status", "--prometheus", "--json").returncode == 64
    daemon.stop()
    down = daemon.run("status", "--prometheus")
    assert down.returncode == 69
    assert down.stdout == b"# HELP cbir_up Whether the daemon answered.\n# TYPE cbir_up gauge\ncbir_up 0\n"
    assert b"no daemon listens" in down.stderr


def test_status_says_what_is_wrong_and_what_to_do(daemon: Daemon) -> None:
    """A file that is no image and an album that is away are problems, each with its remedy; a sound daemon has none."""
    pictures.write_album(daemon.album, IMAGES)
    second = daemon.home / "other"
    pictures.write_album(second, 2, first_seed=50)
    daemon.start(daemon.album, second)
    assert daemon.settle()["problems"] == []
    (daemon.album / "broken.jpg").write_text("no image")
    second.rename(daemon.home / "away")
    missing, unreadable = daemon.settle()["problems"]
    assert missing["what"].startswith(f"album {second} is missing")
    assert "cbir scan --accept-losses" in missing["do"]
    assert unreadable == {
        "what": "1 file could not be read: 1 not-an-image",
        "do": "`cbir errors` lists them, with reasons",
    }
    lines = daemon.run("status").stdout.decode().splitlines()
    assert lines[1] == f"! {missing['what']}"
    assert lines[2] == f"  -> {missing['do']}"
