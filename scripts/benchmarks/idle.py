"""What a settled daemon costs when nothing happens: processor time and wake-ups, by thread.

In: an album.  Out: seconds of processor time that an hour would take, from those that some minutes took; whole hours
contain one walk of the albums, which is timed by itself.  Never here: what is done about it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
from _daemon import children

from cbir_daemon.client import Client

COMMANDS = Path(sys.executable).parent
START_TIMEOUT_S = 60.0
SETTLE_TIMEOUT_S = 7200.0
WORKERS_LEAVE_S = 70.0
"""Decode workers leave after a minute, and the daemon looks for that every few seconds."""

GOAL_S = 1.0
HOUR_S = 3600.0
NANO = 1e9
MIB = 1024 * 1024


class Usage:
    """What the threads of a process have used so far: name -> (seconds, times scheduled)."""

    def __init__(self, pid: int) -> None:
        self.threads: dict[str, tuple[float, int]] = {}
        for task in Path(f"/proc/{pid}/task").iterdir():
            # Schedstat counts nanoseconds; stat would count hundredths of a second, and lose what is shorter.
            ran_ns, _, switches = map(int, (task / "schedstat").read_text().split())
            self.threads[f"{(task / 'comm').read_text().strip()} {task.name}"] = (ran_ns / NANO, switches)

    def since(self, before: Usage) -> Iterator[tuple[str, float, int]]:
        """Yield name, seconds and times scheduled of each thread since `before`, most first."""
        rows = []
        for name, (seconds, switches) in self.threads.items():
            seconds_before, switches_before = before.threads.get(name, (0.0, 0))
            rows.append((name, seconds - seconds_before, switches - switches_before))
        yield from sorted(rows, key=lambda row: -row[1])


@click.command()
@click.argument("album", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seconds", default=120.0, show_default=True, help="How long the daemon is left alone.")
@click.option("--map/--no-map", "with_map", default=False, show_default=True, help="Fit a map first.")
def idle(album: Path, seconds: float, with_map: bool) -> None:
    """Index ALBUM, let the daemon settle, leave it alone, and say what an hour of that costs."""
    with tempfile.TemporaryDirectory(prefix="cbir") as name:
        home = Path(name)
        process = _started(home, album.resolve(), with_map=with_map)
        try:
            _measure(process.pid, home / "state" / "socket", seconds)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _started(home: Path, album: Path, *, with_map: bool) -> subprocess.Popen[bytes]:
    config = home / "config.toml"
    config.write_text("[model]\nmodel_idle_s = 5\n" + ("" if with_map else "min_images = 100000\n"))
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "CBIR_"))}
    environ |= {"CBIR_STATE": str(home / "state"), "CBIR_CONFIG": str(config), "NOTIFY_SOCKET": str(home / "notify")}
    # As under systemd: pings cost something, too.
    environ |= {"WATCHDOG_USEC": "60000000"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(home / "notify"))
        manager.settimeout(START_TIMEOUT_S)
        with (home / "log").open("ab") as log:
            command: list[str | Path] = [COMMANDS / "cbir-daemon", "run", "--quiet", album]
            process = subprocess.Popen(command, env=environ, stderr=log)  # noqa: S603 -- ours
        try:
            while b"READY=1" not in manager.recv(4096).split(b"\n"):
                pass
        except TimeoutError as error:
            raise click.ClickException((home / "log").read_text()) from error
    return process


def _measure(pid: int, socket_path: Path, seconds: float) -> None:
    with Client([socket_path]) as client:
        answer = client.settle(SETTLE_TIMEOUT_S)
    click.echo(f"{answer['images']} images; waiting for the workers to leave")
    deadline = time.monotonic() + WORKERS_LEAVE_S
    while children(pid) and time.monotonic() < deadline:
        time.sleep(1)
    before = Usage(pid)
    time.sleep(seconds)
    rows = list(Usage(pid).since(before))
    used_s, switches = sum(row[1] for row in rows), sum(row[2] for row in rows)
    for name, thread_s, times in rows:
        if times:
            click.echo(f"  {name:<24} {1e3 * thread_s:8.2f} ms  {times:5d} wake-ups")
    walk_s = _walk_s(pid, socket_path)
    hour_s = used_s * HOUR_S / seconds + walk_s
    click.echo(f"in {seconds:.0f} s: {1e3 * used_s:.1f} ms, {switches} wake-ups, {len(children(pid))} children")
    click.echo(f"a walk of the album: {1e3 * walk_s:.1f} ms")
    click.echo(f"an hour: {hour_s:.2f} s (goal {GOAL_S:.0f})")
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    click.echo(f"resident: {pages * os.sysconf('SC_PAGE_SIZE') / MIB:.0f} MiB")


def _walk_s(pid: int, socket_path: Path) -> float:
    """Return the processor time of one walk through everything, asked for by a client."""
    before = Usage(pid)
    with Client([socket_path]) as client:
        client.settle(SETTLE_TIMEOUT_S)
    return sum(row[1] for row in Usage(pid).since(before))
