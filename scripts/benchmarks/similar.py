"""Whether what is `similar` shows the same kind of thing.

In: photographs whose names say what they show, before the last underscore (by default `photos/shots`).  Out:
precision at 10, beside chance and single histograms; how often matches of a score are right.  Never here: copies
(`accuracy`), the map (`neighborhood`).

Half of each name is the album, the other half are queries.  A real daemon answers them; `--choose` compares parts of
the descriptor and other histograms without one, `--calibrate` prints the table that turns products into scores.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click
import numpy as np
from _album import PHOTOS
from _daemon import Daemon
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon.client import Client
from cbir_daemon.comparison import Likeness
from cbir_daemon.matching import appearance
from cbir_daemon.matching.codes import codes
from cbir_daemon.pictures.appearance import CHROMA_BYTES, describe
from cbir_daemon.pictures.pixels import read_picture
from cbir_daemon.records import LOOK_PARTS, VECTOR_BYTES

MATCHES = 10
MAX_PIXELS = 100_000_000
BINS = (0.80, 0.90, 0.93, 0.95, 0.96, 0.97, 0.98, 0.99, 1.001)
MODEL = "min_images = 100000"
MEANING = '\n[meaning]\nmodel = "efficientnet-lite0"'

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Rows = Callable[[tuple[Bytes, Bytes]], Floats]
"""Makes unit rows of the vectors and chroma of photographs."""


@dataclass(frozen=True)
class Named:
    """Photographs, half of each name the album and half the queries; those that follow each other stay together."""

    album: tuple[Path, ...]
    queries: tuple[Path, ...]

    @classmethod
    def open(cls, folder: Path) -> Named:
        """Return the photographs of a folder."""
        by_name: dict[str, list[Path]] = {}
        for path in sorted(folder.glob("*.jpg")):
            by_name.setdefault(name_of(path), []).append(path)
        if not by_name:
            raise click.ClickException(f"no photographs in {folder}")
        halves = [(paths[: len(paths) // 2], paths[len(paths) // 2 :]) for paths in by_name.values()]
        return cls(tuple(p for first, _ in halves for p in first), tuple(p for _, second in halves for p in second))

    @cached_property
    def chance(self) -> float:
        """How often a match that is drawn by lot shows the same kind of thing."""
        names = [name_of(path) for path in self.album]
        return float(np.mean([names.count(name_of(path)) / len(names) for path in self.queries]))

    def precision(self, products: Floats) -> float:
        """Return the precision at 10 by the products of queries and album.

        Parameters
        ----------
        products : (queries, album) ndarray of float32
        """
        return float(self.right(np.argsort(-products, axis=1)[:, :MATCHES]).mean())

    def right(self, columns: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of the matches show the same kind of thing as their query.

        Parameters
        ----------
        columns : (queries, matches) ndarray of intp
            Rows of the album.
        """
        names = np.array([name_of(path) for path in self.album])
        return np.asarray(names[columns] == np.array([name_of(path) for path in self.queries])[:, None])


def name_of(path: Path) -> str:
    """Return what a photograph shows."""
    return path.stem.rpartition("_")[0]


@click.command()
@click.argument("folder", default=PHOTOS / "shots", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--choose", is_flag=True, help="Compare descriptors and weights.")
@click.option("--meaning", is_flag=True, help="Also ask by meaning, told by EfficientNet-Lite0.")
@click.option("--calibrate", is_flag=True, help="Print how often matches of a product are right.")
def similar(folder: Path, choose: bool, meaning: bool, calibrate: bool) -> None:
    """Ask for what resembles the photographs of FOLDER."""
    named = Named.open(folder)
    click.echo(f"album {len(named.album)}, queries {len(named.queries)}, chance {named.chance:.3f}")
    if choose:
        show_choices(named)
    elif calibrate:
        show_calibration(named)
    else:
        show_answers(named, meaning=meaning)


def show_answers(named: Named, *, meaning: bool) -> None:
    """Print the precision of a daemon's answers, and what a query costs."""
    with tempfile.TemporaryDirectory() as folder:
        album = Path(folder) / "album"
        album.mkdir()
        for path in named.album:
            shutil.copy2(path, album / path.name)
        daemon = Daemon(Path(folder), album, f"{MODEL}{MEANING}" if meaning else MODEL)
        daemon.start()
        try:
            daemon.ask("settle", "--timeout", "600")
            asked = [by for by in Likeness if meaning or by is not Likeness.MEANING]
            for by in (*asked, None):
                show_answer(named, daemon, by)
        finally:
            daemon.stop()


def show_answer(named: Named, daemon: Daemon, by: Likeness | None) -> None:
    """Print one line: the precision by one descriptor, or by the best there is."""
    right, answered, took_ms = 0, 0, []
    with Client([daemon.socket_path]) as client:
        for path in named.queries:
            before = time.perf_counter()
            found = client.query(path.resolve(), limit=MATCHES, by=by)["matches"]
            took_ms.append((time.perf_counter() - before) * 1e3)
            right += sum(name_of(Path(str(match["path"]))) == name_of(path) for match in found)
            answered += len(found)
    precision = right / MATCHES / len(named.queries)
    click.echo(
        f"by {by or 'default':<8} precision@10 {precision:.3f} ({precision / named.chance:.1f} x chance), of what was"
        f" answered {right / max(1, answered):.3f}, matches a query {answered / len(named.queries):.1f}, median"
        f" {np.median(took_ms):.0f} ms"
    )


def show_choices(named: Named) -> None:
    """Print the precision of single histograms, and of weighted sums of the parts of the descriptor."""
    album, queries = (read(paths) for paths in (named.album, named.queries))
    single = {name: (rows(album), rows(queries)) for name, rows in SINGLE.items()}
    for name, (stored, asked) in single.items():
        click.echo(f"{name:<28}{stored.shape[1]:>6} numbers  {named.precision(asked @ stored.T):.3f}")
    parts = [asked @ stored.T for stored, asked in (single[name] for name in PARTS)]
    click.echo(f"weights of {', '.join(PARTS)}:")
    for weights in WEIGHTS:
        products = sum((weight * part for weight, part in zip(weights, parts, strict=True)), np.zeros_like(parts[0]))
        click.echo(f"  {weights}  {named.precision(products):.3f}")


def show_calibration(named: Named) -> None:
    """Print the share of right matches by the product of their descriptors."""
    stored, asked = (appearance.appearance_rows(described(*read(paths))) for paths in (named.album, named.queries))
    products = asked @ stored.T
    columns = np.argsort(-products, axis=1)[:, :MATCHES]
    right, products = named.right(columns), np.take_along_axis(products, columns, axis=1)
    for low, high in itertools.pairwise(BINS):
        inside = (products >= low) & (products < high)
        if inside.any():
            click.echo(f"{low:.2f} to {high:.2f}  {inside.sum():>6} matches  {right[inside].mean():.3f} right")


# -- descriptors -------------------------------------------------------------------------------------------------------


def read(paths: tuple[Path, ...]) -> tuple[Bytes, Bytes]:
    """Return the (n, 4096) vectors and (n, 2048) chroma of photographs."""
    readings = [read_picture(path.read_bytes(), MAX_PIXELS) for path in paths]
    vectors = np.frombuffer(b"".join(reading.vector for reading in readings), np.uint8)
    chroma = np.frombuffer(b"".join(reading.chroma for reading in readings), np.uint8)
    return vectors.reshape(-1, VECTOR_BYTES), chroma.reshape(-1, CHROMA_BYTES)


def described(vectors: Bytes, chroma: Bytes) -> Bytes:
    """Return the descriptors."""
    rows = [describe(luma.tobytes(), colours.tobytes()) for luma, colours in zip(vectors, chroma, strict=True)]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)


def part(first: int, last: int | None) -> Rows:
    """Return a function that gives some numbers of the descriptor as unit rows."""
    return lambda pictures: unit(described(*pictures)[:, first:last].astype(np.float32))


def unit(rows: Floats) -> Floats:
    """Return rows of L2 norm 1.

    Parameters
    ----------
    rows : (n, f) ndarray of float32
    """
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6), dtype=np.float32)


def hsv(pictures: tuple[Bytes, Bytes]) -> Floats:
    """Return the histogram of 16 x 4 x 4 bins of hue, saturation, value, in square roots: what is to be beaten."""
    vectors, chroma = pictures
    rows = []
    for luma, colour in zip(vectors.reshape(-1, 64, 64)[:, 1::2, 1::2], chroma.reshape(-1, 2, 32, 32), strict=True):
        picture = Image.fromarray(np.stack([luma, *colour], axis=2), "YCbCr").convert("RGB").convert("HSV")
        hue, saturation, value = np.asarray(picture, dtype=np.int64).reshape(-1, 3).T
        rows.append(np.bincount((hue // 16 * 4 + saturation // 64) * 4 + value // 64, minlength=256))
    return unit(np.sqrt(np.array(rows, dtype=np.float32)))


COLOUR, EDGES = LOOK_PARTS[0], sum(LOOK_PARTS[:2])
PARTS = ("colour", "edges", "texture")
SINGLE: Mapping[str, Rows] = {
    "grey, 16x16 block means": lambda pictures: codes(pictures[0]),
    "hue, saturation, value": hsv,
    "colour": part(0, COLOUR),
    "edges": part(COLOUR, EDGES),
    "texture": part(EDGES, None),
    "the descriptor": lambda pictures: appearance.appearance_rows(described(*pictures)),
}
WEIGHTS = ((1, 0, 0), (1, 1, 0), (1, 0, 1), (1, 1, 1), (1, 0.5, 1), (1, 1, 2), (1, 2, 2), (1, 0, 2), (2, 1, 1))
