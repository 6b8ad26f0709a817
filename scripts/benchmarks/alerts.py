"""Whether every alert arrives: a place that refuses half of its messages, and a daemon that is killed in between.

In: how many alerts and kills.  Out: a Markdown table, and status 1 unless each alert arrived at least once and every
repeat was what it was before, with its id.  Never here: which duplicates are found.

The daemon is killed at the worst moments: while the answer to a message is under way.  Half of the time the place has
said that it took it.
"""

from __future__ import annotations

import http.server
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from cbir_daemon.client import Client

COMMANDS = Path(sys.executable).parent
START_TIMEOUT_S = 120.0
SETTLE_TIMEOUT_S = 3600.0
QUIET_S = 600.0
"""A place that hears nothing for so long hears no more."""

ORIGINALS = 100
SEED = 7
REFUSED_IN_A_ROUND = 4
"""Of twice as many requests, in any order: a place that could refuse twenty in a row would be waited for for hours."""

MARGIN = 0.9
"""Share of the messages by which all kills have happened."""

SETTINGS = """\
[watch]
settle_s = 0.2
[model]
min_images = 100000
[alerts]
sinks = ["each", "bundled"]
bundle_s = 0.0
interval_s = 0.0
retry_s = 0.01
[[sink]]
name = "each"
type = "webhook"
url_env = "EACH"
at_once = true
[[sink]]
name = "bundled"
type = "webhook"
url_env = "BUNDLED"
"""


class Places:
    """Two addresses on this machine, `/each` and `/bundled`; both refuse half of what they are sent.

    Parameters
    ----------
    kill_at : set of int
        Numbers of those requests to `/each` in the middle of which the daemon is to be killed.
    """

    def __init__(self, kill_at: set[int]) -> None:
        self.kill_at = kill_at
        self.requests: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.bodies: dict[str, set[bytes]] = {}
        self.arrived: dict[str, Counter[int]] = {"/each": Counter(), "/bundled": Counter()}
        self.taken: dict[str, set[int]] = {"/each": set(), "/bundled": set()}
        self.changed = threading.Condition()
        self.wants_kill = threading.Event()
        self.killed = threading.Event()
        self._round: list[bool] = []
        self._random = random.Random(SEED)  # noqa: S311 -- to be the same again

    def take(self, path: str, body: bytes) -> bool:
        """Note a message, and say whether it is taken."""
        message: dict[str, Any] = json.loads(body)
        with self.changed:
            self.requests[path] += 1
            self.bodies.setdefault(f"{path} {message['id']}", set()).add(body)
            self.arrived[path].update(message["ids"])
            is_taken = self._is_next_taken()
            self.refused[path] += not is_taken
            kills = path == "/each" and self.requests[path] in self.kill_at
            if is_taken:
                self.taken[path].update(message["ids"])
            self.changed.notify_all()
        if kills:
            self.killed.clear()
            self.wants_kill.set()
            self.killed.wait(START_TIMEOUT_S)
        return is_taken

    def _is_next_taken(self) -> bool:
        if not self._round:
            self._round = [True, False] * REFUSED_IN_A_ROUND
            self._random.shuffle(self._round)
        return self._round.pop()

    def wait_for(self, ids: set[int]) -> None:
        """Return when both places have taken all alerts; raises when nothing comes any more."""
        with self.changed:
            while not all(ids <= taken for taken in self.taken.values()):
                before = sum(self.requests.values())
                self.changed.wait(QUIET_S)
                if sum(self.requests.values()) == before:
                    missing = {path: len(ids - taken) for path, taken in self.taken.items()}
                    raise click.ClickException(f"nothing came for {QUIET_S:g} s; missing: {missing}")


def handler_of(places: Places) -> type[http.server.BaseHTTPRequestHandler]:
    """Return what answers one request."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_taken = places.take(self.path, body)
            try:
                self.send_response(204 if is_taken else 503)
                self.end_headers()
            except OSError:
                # The daemon was killed: nobody hears the answer.
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    return Handler


class Daemon:
    """A daemon on an album of its own, started and killed again and again."""

    def __init__(self, home: Path, port: int) -> None:
        self.album, self.state, self.log = home / "album", home / "state", home / "log"
        self.album.mkdir()
        (home / "config.toml").write_text(SETTINGS)
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("XDG_", "CBIR_"))}
        addresses = {name: f"http://127.0.0.1:{port}/{name.lower()}" for name in ("EACH", "BUNDLED")}
        places = {"CBIR_CONFIG": str(home / "config.toml"), "CBIR_STATE": str(self.state), "no_proxy": "*"}
        self.environ = {**kept, **addresses, **places, "NOTIFY_SOCKET": str(home / "notify"), "HOME": str(home)}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return once it is ready."""
        notify = Path(self.environ["NOTIFY_SOCKET"])
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, self.log.open("ab") as log:
            manager.bind(str(notify))
            manager.settimeout(START_TIMEOUT_S)
            command: list[str | Path] = [COMMANDS / "cbir-daemon", "run", "--quiet", self.album]
            self.process = subprocess.Popen(command, env=self.environ, stderr=log)  # noqa: S603 -- ours
            try:
                while b"READY=1" not in manager.recv(4096).split(b"\n"):
                    pass
            except TimeoutError as error:
                raise click.ClickException(f"the daemon did not start:\n{self.log.read_text()}") from error

    def end(self, *, kill: bool) -> None:
        """Kill or stop it."""
        if self.process is not None:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait()
            self.process = None

    def settle(self) -> None:
        """Wait until everything is indexed and decided upon."""
        with Client([self.state / "socket"]) as client:
            client.settle(SETTLE_TIMEOUT_S)

    def alerts(self) -> dict[int, Any]:
        """Return every alert by its id."""
        with Client([self.state / "socket"]) as client:
            return {alert["id"]: alert for alert in client.alerts()}


def write_originals(album: Path) -> list[Path]:
    """Write small pictures, each of its own."""
    made = []
    for number in range(ORIGINALS):
        coarse = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        made.append(album / f"original-{number:03d}.png")
        Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(made[-1])
    return made


def feed(album: Path, originals: list[Path], count: int) -> None:
    """Copy originals into the album, each under a new name."""
    for number in range(count):
        shutil.copy(originals[number % ORIGINALS], album / f"copy-{number:06d}.png")


def killing(daemon: Daemon, places: Places, stopped: threading.Event) -> None:
    """Kill and start the daemon whenever a place wants it."""
    while not stopped.is_set():
        places.wants_kill.wait()
        places.wants_kill.clear()
        if not stopped.is_set():
            daemon.end(kill=True)
            places.killed.set()
            daemon.start()


def measured(home: Path, count: int, kills: int) -> tuple[Places, dict[int, Any], float]:
    """Run the whole, and return what the places had, the alerts of the index, and the seconds it took."""
    random_ = random.Random(SEED)  # noqa: S311 -- to be the same again
    places = Places(set(random_.sample(range(1, max(2, int(MARGIN * count))), kills)))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(places)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        daemon = Daemon(home, server.server_address[1])
        originals = write_originals(daemon.album)
        stopped = threading.Event()
        killer = threading.Thread(target=killing, args=(daemon, places, stopped))
        try:
            daemon.start()
            daemon.settle()
            killer.start()
            began = time.monotonic()
            feed(daemon.album, originals, count)
            # Ids are given one by one from 1: an alert that is missing at the end has never been written.
            places.wait_for(set(range(1, count + 1)))
            took_s = time.monotonic() - began
            stopped.set()
            places.wants_kill.set()
            killer.join()
            daemon.settle()
            return places, daemon.alerts(), took_s
        finally:
            stopped.set()
            places.wants_kill.set()
            daemon.end(kill=False)
            server.shutdown()


@click.command()
@click.option("--alerts", "count", type=click.IntRange(10), default=10_000, show_default=True, help="New duplicates.")
@click.option("--kills", type=click.IntRange(0), default=20, show_default=True, help="How often the daemon is killed.")
def alerts(count: int, kills: int) -> None:
    """Count what arrives of many alerts at places that refuse half of them, from a daemon that is killed."""
    with tempfile.TemporaryDirectory(prefix="cbir") as folder:
        places, written, took_s = measured(Path(folder), count, kills)
    faults = [
        f"{len(written)} alerts were written for {count} files" * (len(written) != count),
        "a file has two alerts" * (len({str(alert["path"]) for alert in written.values()}) != len(written)),
        "a repeat was another one" * any(len(bodies) > 1 for bodies in places.bodies.values()),
    ]
    click.echo("| place | alerts | kills | requests | refused | answers nobody heard | had more than once | lost |")
    click.echo("|---|---|---|---|---|---|---|---|")
    for path in ("/each", "/bundled"):
        lost = len(written.keys() - places.taken[path])
        repeated = sum(times > 1 for times in places.arrived[path].values())
        messages = sum(key.startswith(f"{path} ") for key in places.bodies)
        not_received = places.requests[path] - places.refused[path] - messages
        faults.append(f"{lost} alerts never came to {path}" * (lost > 0))
        click.echo(
            f"| {path[1:]} | {len(written)} | {kills} | {places.requests[path]} | {places.refused[path]} |"
            f" {not_received} | {repeated} | {lost} |"
        )
    click.echo(f"{took_s:.0f} s")
    if any(faults):
        raise click.ClickException("; ".join(filter(None, faults)))
