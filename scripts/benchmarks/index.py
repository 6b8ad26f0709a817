"""Index, restart, query: the whole daemon against a plain loop, in one run.

The peer is what one would write in an evening: ImageHash's phash over the same files, in the same number of processes.
Ratios hold on a noisy machine; seconds are shown beside them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import imagehash
from PIL import Image

from cbir_daemon.client import Client

COMMANDS = Path(sys.executable).parent
SUFFIXES = (".jpg", ".jpeg", ".png")
START_TIMEOUT_S = 30.0
POLL_S = 0.05
MIB = 1024 * 1024


def _phash(path: Path) -> str:
    with Image.open(path) as image:
        return str(imagehash.phash(image))


def _peer_s(files: list[Path], workers: int) -> float:
    before = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_phash, files, chunksize=16))
    return time.perf_counter() - before


class _Daemon:
    """A daemon on a state of its own."""

    def __init__(self, home: Path, album: Path, model: str) -> None:
        self._home = home
        self._album = album
        config = home / "config.toml"
        config.write_text(f"[model]\n{model}\n")
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "CBIR_"))},
            "CBIR_STATE": str(home / "state"),
            "CBIR_CONFIG": str(config),
            "NOTIFY_SOCKET": str(home / "notify"),
        }

    def start(self) -> float:
        """Start and return the seconds until READY."""
        (self._home / "notify").unlink(missing_ok=True)
        before = time.perf_counter()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(self._home / "notify"))
            manager.settimeout(START_TIMEOUT_S)
            with (self._home / "log").open("ab") as log:
                command: list[str | Path] = [COMMANDS / "cbir-daemon", "run", "--quiet", self._album]
                self._process = subprocess.Popen(command, env=self._environ, stderr=log)  # noqa: S603 -- ours
            self._wait_ready(manager)
        return time.perf_counter() - before

    def _wait_ready(self, manager: socket.socket) -> None:
        try:
            while b"READY=1" not in manager.recv(4096).split(b"\n"):
                pass
        except TimeoutError as error:
            raise click.ClickException((self._home / "log").read_text()) from error

    def stop(self) -> None:
        """Stop in order."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def ask(self, *argv: str | Path) -> Any:  # noqa: ANN401 -- JSON
        """Run `cbir` and return its document."""
        done = subprocess.run(  # noqa: S603 -- ours
            [COMMANDS / "cbir", *argv, "--json"], env=self._environ, capture_output=True, check=False
        )
        if done.returncode > 1:
            raise click.ClickException(done.stderr.decode())
        return json.loads(done.stdout)

    def wait_indexed(self, count: int) -> float:
        """Return the seconds until `count` files are read."""
        before = time.perf_counter()
        # One connection: starting `cbir` again and again would take a core from what is measured.
        with Client([self._home / "state" / "socket"]) as client:
            while True:
                status = client.status()
                if status["images"] + status["errors"] >= count:
                    return time.perf_counter() - before
                time.sleep(POLL_S)

    def resident_mib(self) -> float:
        """Return the resident memory of the daemon itself, without its children."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MIB

    def cpu_s(self) -> float:
        """Return the processor time that the daemon itself has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _median_s(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        before = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - before)
    return statistics.median(seconds)


def _indexing(files: list[Path], album: Path, workers: int, rounds: int) -> None:
    ratios = []
    for _ in range(rounds):
        peer_s = _peer_s(files, workers)
        with tempfile.TemporaryDirectory(prefix="cbir") as home:
            daemon = _Daemon(Path(home), album, "min_images = 100000")
            ours_s = daemon.start() + daemon.wait_indexed(len(files))
            daemon.stop()
        ratios.append(peer_s / ours_s)
        click.echo(f"  phash loop {len(files) / peer_s:7.1f}/s   cbir {len(files) / ours_s:7.1f}/s")
    click.echo(f"indexing, from start to last commit: {statistics.median(ratios):.2f} x the phash loop (goal 1.3)")


@click.command()
@click.argument("album", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", default=3, show_default=True, help="Index and peer, in turn.")
@click.option("--queries", default=40, show_default=True, help="Queries timed.")
@click.option("--idle", "idle_s", default=20.0, show_default=True, help="Seconds over which idleness is measured.")
def index(album: Path, rounds: int, queries: int, idle_s: float) -> None:
    """Index ALBUM from nothing, restart, ask for status, query, and sit idle."""
    album = album.resolve()
    files = sorted(path for path in album.rglob("*") if path.suffix.lower() in SUFFIXES)
    workers = len(os.sched_getaffinity(0))
    click.echo(f"{len(files)} files, {workers} processes")
    _indexing(files, album, workers, rounds)
    with tempfile.TemporaryDirectory(prefix="cbir") as name:
        daemon = _Daemon(Path(name), album, "model_idle_s = 5")
        daemon.start()
        daemon.ask("settle", "--timeout", "7200")
        model = daemon.ask("model", "show")
        click.echo(f"map: {model['fitted_images']} images in {model['duration_s']:.1f} s, {model['peak_mib']:.0f} MiB")
        daemon.stop()
        click.echo(f"restart to READY: {daemon.start():.2f} s (goal 2)")
        daemon.ask("settle")
        click.echo(f"cbir status, whole process: {_median_s(lambda: daemon.ask('status'), 15) * 1e3:.0f} ms (goal 150)")
        _queries(daemon, files, queries, Path(name))
        _idleness(daemon, idle_s)
        daemon.stop()


def _queries(daemon: _Daemon, files: list[Path], count: int, folder: Path) -> None:
    step = max(1, len(files) // count)
    edited = []
    for number, path in enumerate(files[::step][:count]):
        with Image.open(path) as image:
            small = image.convert("RGB").resize((max(8, image.width // 2), max(8, image.height // 2)))
        small.save(folder / f"query-{number}.jpg", quality=30)
        edited.append(folder / f"query-{number}.jpg")
    daemon.ask("query", edited[0])
    inside_ms: list[float] = []
    whole_s: list[float] = []
    found = 0
    for path, original in zip(edited, files[::step], strict=False):
        before = time.perf_counter()
        answer = daemon.ask("query", path)
        whole_s.append(time.perf_counter() - before)
        inside_ms.append(answer["took_ms"])
        best = answer["matches"][0]
        found += best["path"] == str(original) and best["kind"] == "copy"
    click.echo(
        f"query, warm: whole process median {statistics.median(whole_s) * 1e3:.0f} ms (goal 150),"
        f" inside median {statistics.median(inside_ms):.0f} ms (goal 60), slowest {max(inside_ms):.0f} ms"
    )
    click.echo(f"half-size quality-30 copies found first as `copy`: {found} of {len(edited)}")


def _idleness(daemon: _Daemon, idle_s: float) -> None:
    # The model worker leaves after model_idle_s, and the daemon looks for that every few seconds.
    while daemon.ask("status")["model_worker_running"]:
        time.sleep(1)
    before = daemon.cpu_s()
    time.sleep(idle_s)
    used = daemon.cpu_s() - before
    click.echo(f"idle: {daemon.resident_mib():.0f} MiB in the daemon (goal 200), {used / idle_s:.2%} of one core")
