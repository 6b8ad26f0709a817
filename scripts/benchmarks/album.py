"""The whole daemon on albums of real size, from nothing: what each step costs, and how that grows from size to size.

In: photographs (by default those beside the checkout).  Out: a Markdown table of sizes, and another of peers on the
same files.  Never here: accuracy on whole photographs (`accuracy`, `duplicates`), the search alone (`scale`).

A picture is a quarter of a photograph, or, when these run out, a blend of two quarters; 2 in 100 files are edited
copies of another.  A number makes the same file each time, so a smaller album is the beginning of a larger one.  Index
and pass are measured without a map, then the map alone, then a restart and queries by edited copies.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import click
import numpy as np
from _album import PHOTOS, SUFFIXES
from _daemon import MIB, Daemon
from _edits import EDITS
from _finders import (
    FINDIMAGEDUPES_LIKENESS,
    NO_MAP,
    PHASH_BITS,
    Cost,
    Finder,
    by_czkawka,
    by_findimagedupes,
    by_phash,
    has_findimagedupes,
    measured,
)
from _planted import Planted, pairs_of
from duplicates import SAME
from PIL import Image

from cbir_daemon.client import Client
from cbir_daemon.protocol.answers import Status

SEED = 20_261_129
EDIT_EVERY = 50
LONGER_SIDE_PX = 480
QUALITY = 88
QUERIES = 2 * len(EDITS)
PEERS_UP_TO = 10_000
POLL_S = 0.2
EDIT_NAMES = tuple(EDITS)


# -- pictures ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Maker:
    """Makes the file of each number.

    Parameters
    ----------
    photographs : tuple of Path
    """

    photographs: tuple[Path, ...]

    def name(self, number: int) -> str:
        """Return the name of a file."""
        return f"{number:06d}{'-edit' if self.is_edit(number) else ''}.jpg"

    def is_edit(self, number: int) -> bool:
        """Return whether a file is an edited copy of another."""
        return number % EDIT_EVERY == EDIT_EVERY - 1

    def source(self, number: int) -> int:
        """Return the number of the file of which another is an edited copy: one of the `EDIT_EVERY` around it."""
        return number - 1 - int(_random(number).integers(EDIT_EVERY - 1))

    def edit(self, number: int) -> str:
        """Return how an edited copy is made."""
        return EDIT_NAMES[number // EDIT_EVERY % len(EDIT_NAMES)]

    def image(self, number: int) -> Image.Image:
        """Return a picture that is no edited copy."""
        quarters = 4 * len(self.photographs)
        if number < quarters:
            return self._quarter(_order(quarters)[number])
        pair = [self._quarter(int(quarter)) for quarter in _random(number).integers(quarters, size=2)]
        below = pair[1].transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize(pair[0].size)
        return Image.blend(pair[0], below, 0.5)

    def _quarter(self, quarter: int) -> Image.Image:
        with Image.open(self.photographs[quarter // 4]) as photograph:
            width, height = (side // 2 for side in photograph.size)
            left, top = (quarter % 2) * width, (quarter % 4 // 2) * height
            part = photograph.convert("RGB").crop((left, top, left + width, top + height))
        scale = LONGER_SIDE_PX / max(part.size)
        return part.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)

    def write(self, folder: Path, number: int) -> None:
        """Write a file, unless it is there."""
        path = folder / self.name(number)
        if path.exists():
            return
        if self.is_edit(number):
            image = edited(self.image(self.source(number)), self.edit(number), number)
        else:
            image = self.image(number)
        image.save(path, quality=QUALITY)


@cache
def _order(count: int) -> list[int]:
    return [int(row) for row in np.random.default_rng(SEED).permutation(count)]


def _random(number: int) -> np.random.Generator:
    return np.random.default_rng((SEED, number))


def edited(image: Image.Image, edit: str, number: int) -> Image.Image:
    """Return a picture under an edit; the number is the seed of what is random in it."""
    return EDITS[edit](image, _random(number)).convert("RGB")


def filled(folder: Path, maker: Maker, size: int) -> Planted:
    """Write the files that are still missing, and return what is planted."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(partial(maker.write, folder), range(size), chunksize=64):
            pass
    edits = [number for number in range(size) if maker.is_edit(number)]
    planted = {maker.name(number): (maker.name(maker.source(number)), maker.edit(number)) for number in edits}
    return Planted(folder, planted, files=size)


def queries_of(maker: Maker, size: int) -> Iterator[tuple[str, bytes]]:
    """Yield names of files and the bytes of edited copies of them, each edit in turn."""
    numbers = [number for number in range(size) if not maker.is_edit(number)]
    for turn, number in enumerate(np.random.default_rng(SEED).permutation(numbers)[:QUERIES].tolist()):
        stream = io.BytesIO()
        edited(maker.image(number), EDIT_NAMES[turn % len(EDIT_NAMES)], number).save(stream, "JPEG", quality=80)
        yield maker.name(number), stream.getvalue()


# -- measuring ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What an album of one size costs: seconds by the clock and of a processor, milliseconds, MiB, shares."""

    images: float
    index_s: float
    index_cpu_s: float
    pass_s: float
    pass_cpu_s: float
    pairs: float
    map_s: float
    map_cpu_s: float
    restart_s: float
    first_query_ms: float
    query_p50_ms: float
    query_p95_ms: float
    query_cpu_ms: float
    found_first: float
    daemon_mib: float
    all_mib: float
    disk_mib: float


LINES = {
    "index_s": "index, s",
    "index_cpu_s": "index, processor, s",
    "pass_s": "pass for copies after it, s",
    "pass_cpu_s": "pass, processor, s",
    "pairs": "planted pairs found, share",
    "map_s": "first map in use, s",
    "map_cpu_s": "first map, processor, s",
    "restart_s": "restart to READY, s",
    "first_query_ms": "first query after it, ms",
    "query_p50_ms": "query, median ms",
    "query_p95_ms": "query, p95 ms",
    "query_cpu_ms": "query, processor, ms",
    "found_first": "original first and a copy, share",
    "daemon_mib": "memory of the daemon, MiB",
    "all_mib": "memory with its children, MiB",
    "disk_mib": "state on disk, MiB",
}
"""What a line of the table says of each size; the growth of each stands beside it."""
SHARES = {"pairs", "found_first"}
"""Lines that do not grow."""


class Span:
    """Seconds since a moment, by the clock and of the daemon's processors."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._wall_s = time.perf_counter()
        self._cpu_s = daemon.family_cpu_s()

    def ended(self) -> tuple[float, float]:
        """Return both."""
        return time.perf_counter() - self._wall_s, self._daemon.family_cpu_s() - self._cpu_s


@contextmanager
def running(home: Path, folder: Path, model: str) -> Iterator[Daemon]:
    """Give a daemon that is ready, and stop it."""
    daemon = Daemon(home, folder, model)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()


def wait_until(daemon: Daemon, is_over: Callable[[Status], bool]) -> None:
    """Wait until the status says that something is over."""
    with Client([daemon.socket_path]) as client:
        while not is_over(client.status()):
            time.sleep(POLL_S)


def measure(home: Path, maker: Maker, planted: Planted) -> tuple[Row, Cost]:
    """Return what an album costs, and of that what it costs to find all pairs.

    Parameters
    ----------
    home : Path
        For the state; it is made.
    maker : Maker
    planted : Planted
        The album and its edited copies.
    """
    home.mkdir()
    values: dict[str, float] = {"images": planted.files}
    with running(home, planted.folder, NO_MAP) as daemon:
        span = Span(daemon)
        daemon.wait_indexed(planted.files)
        values["index_s"], values["index_cpu_s"] = span.ended()
        span = Span(daemon)
        wait_until(daemon, lambda status: not status["duplicates_pending"] and status["state"] == "ready")
        values["pass_s"], values["pass_cpu_s"] = span.ended()
        found = pairs_of(daemon.groups())
    values["pairs"] = len(found & planted.right) / len(planted.right)
    with running(home, planted.folder, "") as daemon:
        span = Span(daemon)
        wait_until(daemon, lambda status: status["model"] is not None and not status["refit"]["running"])
        values["map_s"], values["map_cpu_s"] = span.ended()
        daemon.ask("settle", "--timeout", "3600")
    began_s = time.perf_counter()
    with running(home, planted.folder, "") as daemon:
        values["restart_s"] = time.perf_counter() - began_s
        values |= asked(daemon, list(queries_of(maker, planted.files)))
        values |= {"daemon_mib": daemon.resident_mib(), "all_mib": daemon.family_mib()}
    values["disk_mib"] = sum(path.stat().st_size for path in (home / "state").rglob("*") if path.is_file()) / MIB
    shutil.rmtree(home)
    ours = Cost(found, values["index_s"] + values["pass_s"], values["index_cpu_s"] + values["pass_cpu_s"])
    return Row(**values), ours


def asked(daemon: Daemon, queries: Sequence[tuple[str, bytes]]) -> dict[str, float]:
    """Return what queries cost after a start, and for how many the original comes first, as a copy."""
    with Client([daemon.socket_path]) as client:
        cold_ms, _ = answered(client, *queries[0])
        span = Span(daemon)
        took_ms, found = zip(*(answered(client, name, data) for name, data in queries), strict=True)
        cpu_s = span.ended()[1]
    median, late = np.percentile(took_ms, [50, 95])
    return {
        "first_query_ms": cold_ms,
        "query_p50_ms": float(median),
        "query_p95_ms": float(late),
        "query_cpu_ms": cpu_s * 1e3 / len(queries),
        "found_first": float(np.mean(found)),
    }


def answered(client: Client, name: str, data: bytes) -> tuple[float, bool]:
    """Return the milliseconds that a query took, and whether the named file comes first, as a copy."""
    before_s = time.perf_counter()
    first = client.query(data)["matches"][:1]
    took_ms = (time.perf_counter() - before_s) * 1e3
    return took_ms, any(match["kind"] == "copy" and Path(str(match["path"])).name == name for match in first)


# -- tables ------------------------------------------------------------------------------------------------------------


def figure(value: float) -> str:
    """Return a number with as many decimals as it deserves."""
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def said(name: str, row: Row) -> str:
    """Return a value of a row for the table."""
    value = float(getattr(row, name))
    return f"{value:.3f}" if name in SHARES else figure(value)


def grown(name: str, row: Row, before: Row) -> str:
    """Return by what a value grew from one size to the next."""
    return "" if name in SHARES else f"x {float(getattr(row, name)) / max(float(getattr(before, name)), 1e-9):.1f}"


def print_table(rows: Sequence[Row]) -> None:
    """Print a line for each measure: the sizes side by side, each with its growth from the one before."""
    steps = list(zip(rows[1:], rows, strict=False))
    print_line(["", f"{rows[0].images:.0f}", *(cell for row, _ in steps for cell in (f"{row.images:.0f}", "growth"))])
    print_line(["---"] * (2 * len(rows)))
    for name, title in LINES.items():
        later = [cell for row, before in steps for cell in (said(name, row), grown(name, row, before))]
        print_line([title, said(name, rows[0]), *later])


def print_line(cells: Sequence[str]) -> None:
    """Print a line of a table."""
    click.echo(f"| {' | '.join(cells)} |")


PEERS: dict[str, tuple[str, Finder]] = {
    "czkawka": ("czkawka, default", partial(by_czkawka, tolerance=None)),
    "phash": (f"ImageHash's phash, tree, {PHASH_BITS} bits", by_phash),
    "findimagedupes": (f"findimagedupes, {FINDIMAGEDUPES_LIKENESS}", by_findimagedupes),
}


def costs_of_peers(folder: Path, names: Sequence[str]) -> dict[str, Cost]:
    """Return what peers find in a folder, and what it costs; findimagedupes only where it is installed."""
    there = [PEERS[name] for name in names if name != "findimagedupes" or has_findimagedupes()]
    return {title: measured(finder, folder) for title, finder in there}


def print_peers(planted: Planted, ours: Cost, costs: Mapping[str, Cost]) -> None:
    """Print what peers find in the same files, and what that costs them, beside index and pass of ours.

    Parameters
    ----------
    planted : Planted
    ours : Cost
    costs : mapping of str to Cost
    """
    click.echo("\n| finder | planted pairs found | other pairs | wall, s | x ours | processor, s | x ours |")
    click.echo("|---|---|---|---|---|---|---|")
    costs = {"cbir, index and pass": ours, **costs}
    for name, cost in costs.items():
        print_peer(name, planted, cost, ours)
    click.echo("")
    for name, cost in costs.items():
        click.echo(f"- {name}: {'faster; ' if cost.cpu_s < ours.cpu_s else ''}{never_found(planted, cost)}")
    if not has_findimagedupes():
        click.echo("- findimagedupes is not installed", err=True)


def print_peer(name: str, planted: Planted, cost: Cost, ours: Cost) -> None:
    """Print the line of a finder."""
    right = len(cost.found & planted.right)
    figures = [figure(cost.wall_s), f"{cost.wall_s / ours.wall_s:.2f}"]
    figures += [figure(cost.cpu_s), f"{cost.cpu_s / ours.cpu_s:.2f}"]
    print_line([name, f"{right} of {len(planted.right)}", str(len(cost.found) - right), *figures])


def never_found(planted: Planted, cost: Cost) -> str:
    """Return in words the edits of which not a single copy was found."""
    copies = Counter(edit for _, edit in planted.edits.values())
    missed = [edit for edit, files in planted.missed(cost.found).items() if len(files) == copies[edit]]
    return f"finds no copy by {'; '.join(missed)}" if missed else "finds copies by every edit"


# -- the command -------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("sizes", nargs=-1, type=click.IntRange(100))
@click.option("--photos", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--peer", "peers", multiple=True, type=click.Choice([*PEERS]), default=[*PEERS], help="Only these peers.")
@click.option("--no-peers", is_flag=True, help="None of them; above 10 000 files there is none anyway.")
def album(sizes: Sequence[int], photos: Sequence[Path], peers: Sequence[str], *, no_peers: bool) -> None:
    """Measure albums of SIZES files (1000), smallest first.

    A hundred thousand take 3 GB and an hour or more.
    """
    folders = photos or (PHOTOS / "bsds", PHOTOS / "clothing")
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    # Two photographs of one picture would be pairs that nobody planted.
    twins = {second for _, second in SAME}
    maker = Maker(tuple(path for path in files if path.name not in twins))
    with tempfile.TemporaryDirectory(prefix="cbir") as scratch:
        folder = Path(scratch, "album")
        folder.mkdir()
        rows: list[Row] = []
        beside: tuple[Planted, Cost, dict[str, Cost]] | None = None
        for size in sorted(set(sizes or (1_000,))):
            planted = filled(folder, maker, size)
            row, ours = measure(Path(scratch, str(size)), maker, planted)
            # A table stands at the end, which may be hours away.
            click.echo(f"{size}: {', '.join(f'{name} {said(name, row)}' for name in LINES)}", err=True)
            rows.append(row)
            if not no_peers and size <= PEERS_UP_TO:
                beside = planted, ours, costs_of_peers(folder, peers)
        print_table(rows)
        if beside is not None:
            print_peers(*beside)
