"""What looking through an album costs that nothing tells of: a round of polling, and a whole walk, of unchanged files.

Times are processor time of this process, which the daemon's own thread would take; on a network file system the
server's answers come on top.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from cbir_daemon.config import WatchConfig
from cbir_daemon.indexing.schedule import WALK_SHARE
from cbir_daemon.pictures import PICTURES
from cbir_daemon.records import FileState
from cbir_daemon.watching import walk
from cbir_daemon.watching.walk import YOUNG_NS, Filter

MILLISECONDS = 1_000.0


def _filled(album: Path, files: int, folders: int) -> None:
    for number in range(files):
        folder = album / f"{number % folders % 40:02}" / f"{number % folders:05}"
        if number < folders:
            folder.mkdir(parents=True)
        (folder / f"IMG_{number:06}.jpg").touch()


def _processor_s(work: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        before = time.process_time()
        work()
        taken.append(time.process_time() - before)
    return statistics.median(taken)


@click.command()
@click.option("--files", default=100_000, show_default=True, help="Image files in the album.")
@click.option("--folders", default=1_000, show_default=True, help="Folders that they lie in.")
@click.option("--rounds", default=5, show_default=True, help="The median of so many is shown.")
@click.option("--at", type=click.Path(file_okay=False, exists=True), help="Folder on the file system to measure.")
def poll(files: int, folders: int, rounds: int, at: str | None) -> None:
    """Measure a round of polling over unchanged files."""
    rules, watch = Filter(WatchConfig().exclude, PICTURES.suffixes), WatchConfig()
    with tempfile.TemporaryDirectory(dir=at) as name:
        root = name.encode()
        _filled(Path(name), files, folders)
        # As if all of it had been written long ago.
        now_ns = time.time_ns() + 10 * YOUNG_NS
        walked = walk.walk(root, b"", rules, now_ns=now_ns)
        look_s = _processor_s(lambda: walk.look(root, walked.folders, rules, now_ns=now_ns), rounds)
        walk_s = _processor_s(lambda: walk.walk(root, b"", rules, now_ns=now_ns), rounds)
        rows = {path: FileState(*state_of) for path, state_of in _as_rows(walked)}
        compare_s = _processor_s(lambda: [path for path, state in walked.files.items() if rows[path] != state], rounds)
    whole_s = walk_s + compare_s
    pause_s = min(watch.rescan_s, max(watch.poll_s, WALK_SHARE * whole_s))
    hour_s = 3600 / watch.poll_s * look_s + 3600 / pause_s * whole_s
    click.echo(f"{files} files in {len(walked.folders)} folders, nothing changed; processor time, median of {rounds}")
    click.echo(f"look, each poll_s ({watch.poll_s:g} s):        {MILLISECONDS * look_s:8.1f} ms")
    click.echo(f"walk and compare, each {pause_s:6.0f} s: {MILLISECONDS * whole_s:8.1f} ms")
    click.echo(f"in an hour:                      {hour_s:8.1f} s, {hour_s / 36:.2f} % of a core")
    click.echo(f"largest memory of this process:  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MiB")


def _as_rows(walked: walk.Found) -> list[tuple[bytes, tuple[int, int, int]]]:
    return [(path, (state.size_bytes, state.mtime_ns, state.inode)) for path, state in walked.files.items()]
