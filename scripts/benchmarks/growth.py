"""When the map is fitted again while a collection grows, and what it keeps in between.

In: two folders of photographs that differ in kind (by default those beside the checkout).  Out: a line a step: how many
images there are, what was fitted and why, and how much of what is near among codes is near on the map, of images that
the map was fitted on and of images projected since.  Never here: correctness, which the tests hold.

A real daemon watches an album into which photographs of the first kind are put step by step, then those of the other
kind, then the rest of the first.  After each step everything has settled: indexed, placed, fitted when that was due.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from _daemon import Daemon
from numpy.typing import NDArray

from cbir_daemon.map import quality
from cbir_daemon.map.points import to_points
from cbir_daemon.matching.codes import codes

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos"
SUFFIXES = (".jpg", ".jpeg", ".png")
SEED = 1
ASKED_ABOUT = 400
SETTLE_TIMEOUT_S = "3600"
SETTINGS = "refit_min_interval_s = 0\nseed = 42"


@dataclass(frozen=True)
class Line:
    """What a step came to; the shares kept are None where there is no image of that origin."""

    images: int
    fitted: str
    kept_fitted: float | None
    kept_projected: float | None
    far_fraction: float | None


@click.command()
@click.option("--first", type=click.Path(exists=True, path_type=Path), default=PHOTOS / "clothing", show_default=True)
@click.option(
    "--other", "second", type=click.Path(exists=True, path_type=Path), default=PHOTOS / "bsds", show_default=True
)
@click.option("--begin", default=500, show_default=True, help="Photographs of the first kind to begin with.")
@click.option("--until", default=1_500, show_default=True, help="Photographs of it before the other kind comes.")
@click.option("--step", default=100, show_default=True, help="Photographs a step.")
def growth(first: Path, second: Path, begin: int, until: int, step: int) -> None:
    """Grow an album step by step, and show when its map is fitted."""
    order = in_order(first, second, until)
    with tempfile.TemporaryDirectory(prefix="cbir") as folder:
        home, album = Path(folder), Path(folder) / "album"
        album.mkdir()
        daemon = Daemon(home, album, SETTINGS)
        daemon.start()
        try:
            click.echo(f"{'images':>6}  {'kept, fitted':>12}  {'projected':>9}  {'far':>5}  fitted")
            known = 0
            for count in [*range(begin, len(order), step), len(order)]:
                for number in range(known, count):
                    shutil.copyfile(order[number], album / f"{number:05d}{order[number].suffix}")
                known = count
                show(after_step(daemon, home / "state" / "index.sqlite", count))
        finally:
            daemon.stop()


def in_order(first: Path, second: Path, until: int) -> list[Path]:
    """Return all photographs: some of the first kind, all of the other, the rest of the first."""
    random = np.random.default_rng(SEED)
    ours, theirs = (
        [paths[row] for row in random.permutation(len(paths))]
        for paths in (sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES) for root in (first, second))
    )
    return ours[:until] + theirs + ours[until:]


def after_step(daemon: Daemon, index: Path, images: int) -> Line:
    """Wait until nothing is left to do, and measure."""
    before = {run["id"] for run in daemon.ask("model", "history").get("runs", ())}
    daemon.ask("scan")
    daemon.ask("settle", "--timeout", SETTLE_TIMEOUT_S)
    runs = [run for run in daemon.ask("model", "history")["runs"] if run["id"] not in before]
    fitted = "; ".join(f"{run['kind']}, {run['outcome']}: {run['reason']}" for run in reversed(runs))
    kept = kept_by_origin(index)
    far = daemon.ask("status")["refit"]["far_fraction"]
    return Line(images, fitted, kept.get("fitted"), kept.get("projected"), far)


def kept_by_origin(index: Path) -> dict[str, float]:
    """Return the share of true neighbours that are near on the map, of images fitted and of images projected."""
    with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(
            "SELECT origin, coordinates, vector FROM position JOIN content ON content.id = content_id"
        ).fetchall()
    origins = np.array(["fitted" if row["origin"] == "fitted" else "projected" for row in rows])
    positions = np.frombuffer(b"".join(row["coordinates"] for row in rows), "<f4").reshape(len(rows), -1)
    numbers = codes(np.frombuffer(b"".join(row["vector"] for row in rows), np.uint8).reshape(len(rows), -1))
    return {str(origin): kept(numbers, positions, np.flatnonzero(origins == origin)) for origin in np.unique(origins)}


def kept(numbers: NDArray[np.float32], positions: NDArray[np.float32], rows: NDArray[np.intp]) -> float:
    """Return the mean neighbour recall of some rows, in [0, 1].

    Parameters
    ----------
    numbers : (n, f) ndarray of float32
        In which the true neighbours are sought.
    positions : (n, d) ndarray of float32
        On the map.
    rows : (m,) ndarray of intp
        Rows of both; at most `ASKED_ABOUT` of them are asked about.
    """
    asked = np.random.default_rng(SEED).permutation(rows)[:ASKED_ABOUT]
    return float(
        quality.recall(positions, positions[asked], quality.true_neighbors(to_points(numbers), asked), own=asked).mean()
    )


def show(line: Line) -> None:
    """Print a step."""
    shares = (line.kept_fitted, line.kept_projected, line.far_fraction)
    fitted, projected, far = ("-" if share is None else f"{share:.2f}" for share in shares)
    click.echo(f"{line.images:>6}  {fitted:>12}  {projected:>9}  {far:>5}  {line.fitted}")
