"""Index, restart, query: the whole daemon against a plain loop, in one run.

The peer is what one would write in an evening: ImageHash's phash over the same files, in the same number of processes.
Ratios hold on a noisy machine; seconds are shown beside them.  Indexing is measured from the start of the daemon, and
once its workers run (`_steady`), for the files of the album and for photographs of 12 megapixels made of some.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import imagehash
from _daemon import Daemon
from _large import written_large
from _steady import show_steady
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png")


def _phash(path: Path) -> str:
    with Image.open(path) as image:
        return str(imagehash.phash(image))


def _peer_s(files: list[Path], workers: int) -> float:
    before = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_phash, files, chunksize=16))
    return time.perf_counter() - before


def _median_s(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        before = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - before)
    return statistics.median(seconds)


def _indexing(files: list[Path], album: Path, workers: int, rounds: int) -> None:
    ratios, processor_ms = [], []
    for _ in range(rounds):
        peer_s = _peer_s(files, workers)
        with tempfile.TemporaryDirectory(prefix="cbir") as home:
            daemon = Daemon(Path(home), album, "min_images = 100000")
            ours_s = daemon.start() + daemon.wait_indexed(len(files))
            processor_ms.append(1e3 * daemon.family_cpu_s() / len(files))
            daemon.stop()
        ratios.append(peer_s / ours_s)
        click.echo(f"  phash loop {len(files) / peer_s:7.1f}/s   cbir {len(files) / ours_s:7.1f}/s")
    click.echo(
        f"indexing, from start to last commit: {statistics.median(ratios):.2f} x the phash loop by the clock,"
        f" {statistics.median(processor_ms):.2f} ms of processor time a file, the daemon's start among them"
    )


@click.command()
@click.argument("album", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", default=3, show_default=True, help="Index and peer, in turn.")
@click.option("--large", default=40, show_default=True, help="Photographs of 12 megapixels; 0 leaves them out.")
@click.option("--queries", default=40, show_default=True, help="Queries timed; 0 ends after indexing.")
@click.option("--idle", "idle_s", default=20.0, show_default=True, help="Seconds over which idleness is measured.")
def index(album: Path, rounds: int, large: int, queries: int, idle_s: float) -> None:
    """Index ALBUM from nothing, restart, ask for status, query, and sit idle."""
    album = album.resolve()
    files = sorted(path for path in album.rglob("*") if path.suffix.lower() in SUFFIXES)
    workers = len(os.sched_getaffinity(0))
    click.echo(f"{len(files)} files, {workers} processes")
    _indexing(files, album, workers, rounds)
    show_steady("files of the album", files, rounds, goal=1.7)
    if large:
        with tempfile.TemporaryDirectory(prefix="cbir") as name:
            show_steady("JPEG of 12 megapixels", written_large(files[:large], Path(name, "large")), rounds, goal=4.2)
    if not queries:
        return
    with tempfile.TemporaryDirectory(prefix="cbir") as name:
        daemon = Daemon(Path(name), album, "model_idle_s = 5")
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


def _queries(daemon: Daemon, files: list[Path], count: int, folder: Path) -> None:
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


def _idleness(daemon: Daemon, idle_s: float) -> None:
    # The model worker leaves after model_idle_s, and the daemon looks for that every few seconds.
    while daemon.ask("status")["model_worker_running"]:
        time.sleep(1)
    before = daemon.cpu_s()
    time.sleep(idle_s)
    used = daemon.cpu_s() - before
    click.echo(f"idle: {daemon.resident_mib():.0f} MiB in the daemon (goal 200), {used / idle_s:.2%} of one core")
