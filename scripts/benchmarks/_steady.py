"""How fast files are indexed once workers run, beside ImageHash's phash in a loop.

In: files.  Out: rates by the clock and by processor time.  Never here: starts, queries.

The daemon has indexed some files, and its workers wait, when a folder with all others is moved into the album.  The
peer's processes have hashed the same some files.  Ratios by the clock hold where nothing else wants the cores, those by
processor time hold everywhere.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import imagehash
from _daemon import Daemon
from PIL import Image

WARMING_FILES = 8
POLL_S = 0.2
SEARCHING = "cbir_daemon.search.process"
"""The pass for copies begins when few files are left to read; the processes that it starts are not counted."""

CHUNK_FILES = 8


@dataclass(frozen=True)
class Rate:
    """What a file takes.

    Parameters
    ----------
    clock_ms : float
        Milliseconds on the wall.
    processor_ms : float
        Milliseconds of processor time, of all processes.
    daemon_ms : float
        Of these the daemon's own.
    """

    clock_ms: float
    processor_ms: float
    daemon_ms: float = 0.0


def hashed_ms(path: Path) -> float:
    """Return the milliseconds of processor time in which phash hashes a file."""
    before = time.process_time()
    with Image.open(path) as image:
        imagehash.phash(image)
    return 1e3 * (time.process_time() - before)


def rate_of_peer(files: Sequence[Path], workers: int) -> Rate:
    """Return what phash takes a file, in processes that run already.

    Parameters
    ----------
    files : sequence of Path
    workers : int
        Processes.
    """
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(hashed_ms, files[:WARMING_FILES]))
        before = time.perf_counter()
        processor_ms = list(pool.map(hashed_ms, files[WARMING_FILES:], chunksize=CHUNK_FILES))
        return Rate(1e3 * (time.perf_counter() - before) / len(processor_ms), statistics.mean(processor_ms))


def rate_of_daemon(files: Sequence[Path]) -> Rate:
    """Return what a daemon takes a file, from the walk to the last commit, with workers that run already.

    Parameters
    ----------
    files : sequence of Path
        They are copied into an album.
    """
    with tempfile.TemporaryDirectory(prefix="cbir") as name:
        home = Path(name)
        copied(files[:WARMING_FILES], home / "album" / "first")
        copied(files[WARMING_FILES:], home / "rest")
        daemon = Daemon(home, home / "album", "min_images = 100000")
        daemon.start()
        try:
            daemon.ask("settle")
            own, family, before = daemon.cpu_s(), daemon.family_cpu_s(SEARCHING), time.perf_counter()
            (home / "rest").rename(home / "album" / "rest")
            daemon.ask("scan")
            daemon.wait_indexed(len(files), POLL_S)
            took = time.perf_counter() - before, daemon.family_cpu_s(SEARCHING) - family, daemon.cpu_s() - own
        finally:
            daemon.stop()
    return Rate(*(1e3 * seconds / (len(files) - WARMING_FILES) for seconds in took))


def copied(files: Sequence[Path], folder: Path) -> None:
    """Copy files into a new folder; each gets a name of its own and keeps its time, so that it is read at once.

    Parameters
    ----------
    files : sequence of Path
    folder : Path
    """
    folder.mkdir(parents=True)
    for number, path in enumerate(files):
        shutil.copy2(path, folder / f"{number:06d}{path.suffix}")


def show_steady(title: str, files: Sequence[Path], rounds: int, goal: float) -> None:
    """Measure daemon and peer in turn, and print the medians.

    Parameters
    ----------
    title : str
    files : sequence of Path
        More than `WARMING_FILES`.
    rounds : int
    goal : float
        Of the ratio.

    Raises
    ------
    click.ClickException
        When there are too few files.
    """
    if len(files) <= WARMING_FILES:
        raise click.ClickException(f"{len(files)} {title}: give more than {WARMING_FILES}, which only warm the workers")
    workers = len(os.sched_getaffinity(0))
    pairs = [(rate_of_peer(files, workers), rate_of_daemon(files)) for _ in range(rounds)]
    peer_ms = statistics.median(peer.processor_ms for peer, _ in pairs)
    ours_ms = statistics.median(ours.processor_ms for _, ours in pairs)
    daemon_ms = statistics.median(ours.daemon_ms for _, ours in pairs)
    clock = statistics.median(peer.clock_ms / ours.clock_ms for peer, ours in pairs)
    processor = statistics.median(peer.processor_ms / ours.processor_ms for peer, ours in pairs)
    click.echo(
        f"steady, {len(files)} {title}: phash {peer_ms:.2f} ms of processor time a file, cbir {ours_ms:.2f} ms"
        f" ({daemon_ms:.2f} in the daemon): {processor:.2f} x by processor time, {clock:.2f} x by the clock"
        f" (goal {goal})"
    )
