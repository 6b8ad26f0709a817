"""Three sites on one Milvus beside one local index of the same images: what is missed, what is added, how fast.

In: photographs, and pieces and blends of them.  Out: Markdown tables.  Never here: a cluster, a network.

The server is the standalone one of the wheel `milvus`, on this machine.  Sites are indexes that publish and ask with
the daemon's own code, without the rest of a daemon.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import numpy as np
from _album import Album, vector_of
from _crowd import Photograph, drawn
from _edits import EDITS
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon import config
from cbir_daemon.config.settings import SharedConfig
from cbir_daemon.daemon import sharing
from cbir_daemon.matching import GREY64
from cbir_daemon.records import Facts, FileState
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.shared.lookup import Lookup
from cbir_daemon.shared.publisher import Publisher
from cbir_daemon.store import AlertMatch, Indexed, Store
from cbir_daemon.store import Image as IndexedImage

# The server that the tests start, from the checkout that this file lies in.
sys.path.append(str(Path(__file__).resolve().parents[2]))
from tests.milvus_server import Milvus, missing

SITES = ("studio", "archive", "laptop")
CHUNK = 2_000
TIMEOUT_S = 60.0
SEED = 20_261_130
SMALL_PX = 256

Vectors = NDArray[np.uint8]


def contents(album: Album, count: int) -> Vectors:
    """Return the vectors of all photographs, then of pieces of them, of which a third are blends of two."""
    random = np.random.default_rng(SEED)
    photographs = [Photograph(_small(path), b"", None) for path in album.files]
    firsts, seconds = (drawn(photographs, max(0, count - len(album)), random) for _ in range(2))
    rows = list(album.vectors[:count])
    for number, (first, second) in enumerate(zip(firsts, seconds, strict=True)):
        row = first.vector()
        if number % 3 == 0:
            mirrored = second.vector().reshape(64, 64)[:, ::-1].reshape(-1)
            row = ((row.astype(np.uint16) + mirrored) // 2).astype(np.uint8)
        rows.append(row)
    return np.stack(rows)


def _small(path: Path) -> Image.Image:
    with Image.open(path) as image:
        grey = image.convert("L")
    grey.thumbnail((SMALL_PX, SMALL_PX))
    return grey


def digest_of(number: int) -> bytes:
    """Return a digest by which a content is known again."""
    return number.to_bytes(32, "big")


def index_of(folder: Path, vectors: Vectors, numbers: range, stack: ExitStack) -> Store:
    """Return an open index of some of the contents."""
    store = Store(folder / "index.sqlite")
    store.open()
    stack.callback(store.close)
    store.albums.add(b"/album")
    album_id = store.albums.listed()[0].id
    for start in range(numbers.start, numbers.stop, CHUNK):
        store.files.apply(
            [
                Indexed(
                    album_id,
                    b"%07d.jpg" % number,
                    FileState(1000, number, number),
                    Facts(digest_of(number), vectors[number].tobytes(), 640, 480, "JPEG", extractor=GREY64.extractor),
                )
                for number in range(start, min(start + CHUNK, numbers.stop))
            ]
        )
    return store


def published(publisher: Publisher) -> float:
    """Publish an index, and return how many contents a second."""
    publisher.begin_anew()
    began = time.perf_counter()
    while publisher.publish():
        pass
    return publisher.lag.published / (time.perf_counter() - began)


def edited(album: Album, count: int) -> list[tuple[str, int, bytes]]:
    """Return edit, row and vector of photographs under one mild edit after the other."""
    random = np.random.default_rng(SEED)
    names = list(EDITS)
    made = []
    for number, row in enumerate(album.queries(count)):
        name = names[number % len(names)]
        image = EDITS[name](album.image(row), random).convert("RGB")
        made.append((name, row, vector_of(image).tobytes()))
    return made


def share(found: list[bool]) -> str:
    """Return a share with its count."""
    return f"{sum(found) / len(found):.3f} ({sum(found)} of {len(found)})"


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--images", default=20_000, show_default=True, help="Contents of each site.")
@click.option("--queries", default=410, show_default=True, help="Mildly edited photographs that are asked for.")
def shared(folders: tuple[Path, ...], images: int, queries: int) -> None:
    """Measure recall, latency and the rate of publishing of three sites that share an index."""
    if reason := missing():
        raise click.ClickException(reason)
    album = Album.open(folders)
    vectors = contents(album, images * len(SITES))
    asked = edited(album, queries)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cbir-")))
        milvus = Milvus(home / "m")
        milvus.start()
        stack.callback(milvus.stop)
        lookup = _publish(milvus, home, vectors, images, stack)
        shared_hits, shared_ms = _ask_shared(lookup, asked)
        local_hits, local_ms = _ask_local(home, vectors, asked, stack)
        click.echo(f"| {len(SITES)} sites x {images} | recall@1 | p50 ms | p95 ms |\n|---|---|---|---|")
        for name, hits, took in (("shared", shared_hits, shared_ms), ("one local index", local_hits, local_ms)):
            middle, late = np.percentile(took, [50, 95])
            click.echo(f"| {name} | {share(hits)} | {middle:.0f} | {late:.0f} |")
        both = zip(asked, local_hits, shared_hits, strict=True)
        lost = [f"{name} {row}" for (name, row, _), own, far in both if own > far]
        click.echo(f"\nfound locally and not in the shared index: {', '.join(lost) or 'none'}")
        click.echo(f"memory of the server: {milvus.resident_mib():.0f} MiB")


def _publish(milvus: Milvus, home: Path, vectors: Vectors, images: int, stack: ExitStack) -> Lookup:
    """Have each site publish, and return what asks all of them from outside."""
    visitor = index_of(home, vectors, range(0), stack)
    for number, site in enumerate(SITES):
        folder = home / site
        folder.mkdir()
        store = index_of(folder, vectors, range(number * images, (number + 1) * images), stack)
        publisher, _ = sharing.opened(_settings(milvus, site, folder), store, GREY64, _no_alert, stack)
        click.echo(f"{site}: {published(publisher):.0f} contents a second published", err=True)
    _, questions = sharing.opened(_settings(milvus, "visitor", home), visitor, GREY64, _no_alert, stack)
    questions.lookup.sites = SITES
    began = time.perf_counter()
    milvus.flush("cbir_codes", "cbir_contents")
    click.echo(f"flushed and indexed after {time.perf_counter() - began:.0f} s", err=True)
    return questions.lookup


def _no_alert(_: IndexedImage, __: Sequence[AlertMatch]) -> None:
    """Raise no alert."""


def _settings(milvus: Milvus, site: str, folder: Path) -> config.Config:
    own = folder / "config.toml"
    own.write_text(f'[shared]\nuri = "{milvus.uri}"\nsite = "{site}"\n')
    loaded = config.load(config=own, state=folder / "state", environ={}, albums=[])
    assert isinstance(loaded.shared, SharedConfig)
    return loaded


def _ask_shared(lookup: Lookup, asked: list[tuple[str, int, bytes]]) -> tuple[list[bool], list[float]]:
    hits, took = [], []
    for _, row, vector in asked:
        began = time.perf_counter()
        matches = lookup.copies(vector, b"q" * 32, TIMEOUT_S)
        took.append((time.perf_counter() - began) * 1e3)
        hits.append(bool(matches) and matches[0].content.digest == digest_of(row))
    return hits, took


def _ask_local(
    home: Path, vectors: Vectors, asked: list[tuple[str, int, bytes]], stack: ExitStack
) -> tuple[list[bool], list[float]]:
    folder = home / "local"
    folder.mkdir()
    searcher = Searcher(index_of(folder, vectors, range(len(vectors)), stack), GREY64, codes_path=folder / "codes.rows")
    stack.callback(searcher.close)
    searcher.load()
    while searcher.tend():
        pass
    hits, took = [], []
    for _, row, vector in asked:
        began = time.perf_counter()
        found = searcher.search(vector, None, 0)
        took.append((time.perf_counter() - began) * 1e3)
        # Contents were written in the order of their numbers.
        hits.append(bool(found) and found[0].content_id == row + 1)
    return hits, took
