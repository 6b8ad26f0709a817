"""Rows for tests, made from a number: digests, vectors, states, facts, fit reports.

The same number gives the same content; another one gives another.  Never here: what a test expects of them.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from cbir_daemon.records import VECTOR_BYTES, Facts, FileState, FitReport, Trial, Unreadable
from cbir_daemon.store import Failed, Image, Indexed, Store
from cbir_daemon.store.database import Database
from tests.pictures import Picture, photograph

EXTRACTOR = "grey64/1"

ROOT = b"/album"
"""Of the album that `opened` makes; nothing needs to be there."""


def digest(number: int) -> bytes:
    """Return a SHA-256."""
    return hashlib.sha256(b"%d" % number).digest()


@cache
def vector(number: int) -> bytes:
    """Return 4096 grey numbers of noise."""
    return np.random.default_rng(number).integers(0, 256, VECTOR_BYTES, dtype=np.uint8).tobytes()


@cache
def photographed(seed: int, edit: Callable[[Picture], Picture] | None = None) -> bytes:
    """Return the vector of a photograph, or of what an edit makes of it."""
    picture = photograph(seed, (240, 160))
    return vector_of(picture if edit is None else edit(picture))


def vector_of(picture: Picture) -> bytes:
    """Return the vector of a picture."""
    grey = PIL.Image.fromarray(picture).convert("L")
    return np.asarray(grey.resize((64, 64), PIL.Image.Resampling.LANCZOS), dtype=np.uint8).tobytes()


def state(number: int, inode: int | None = None) -> FileState:
    """Return the state of a file; its size belongs to the number."""
    return FileState(1_000 + number, 1_700_000_000_000_000_000 + number, 100 + number if inode is None else inode)


def facts(number: int, shown: bytes | None = None, *, known: bool = False) -> Facts:
    """Return what reading gives, by default with a vector of noise; of a digest that was known, only the digest."""
    if known:
        return Facts(digest(number), None, 0, 0, "", extractor=EXTRACTOR)
    return Facts(digest(number), vector(number) if shown is None else shown, 640, 480, "JPEG", extractor=EXTRACTOR)


def indexed(
    album_id: int,
    path: bytes,
    number: int,
    shown: bytes | None = None,
    *,
    inode: int | None = None,
    known: bool = False,
) -> Indexed:
    """Return a file that was read; `shown` is its vector, by default one of noise."""
    return Indexed(album_id, path, state(number, inode), facts(number, shown, known=known))


def failed(album_id: int, path: bytes, number: int, code: str = "damaged") -> Failed:
    """Return a file that could not be read."""
    return Failed(album_id, path, state(number), Unreadable(code, f"it is {code}"))


def report(n_components: int = 2, fitted_images: int = 3) -> FitReport:
    """Return how a fit came out."""
    curve = (Trial(5, n_components, 0.875, 0.5), Trial(10, n_components, 0.9375, 0.625))
    return FitReport(10, n_components, 0.9375, 0.625, fitted_images, 42, 1.5, 100.25, curve, "map-1", digest(0))


def position(*coordinates: float) -> bytes:
    """Return a place on a map as the store keeps it."""
    return np.array(coordinates, dtype="<f4").tobytes()


@contextmanager
def opened(path: Path, database: Database | None = None) -> Iterator[Store]:
    """Open an index with one album, at `ROOT`, whose first scan is indexed."""
    store = Store(path, database)
    store.open()
    try:
        if store.albums.add(ROOT):
            store.albums.finish_baseline(store.albums.listed()[0].id)
        yield store
    finally:
        store.close()


def all_images(store: Store) -> list[Image]:
    """Return every indexed file, in order of content and path."""
    return store.files.images([content_id for rows in store.contents.all_vectors() for content_id, _ in rows])


def paths(store: Store) -> list[bytes]:
    """Return the absolute path of every indexed file, sorted."""
    return sorted(image.path for image in all_images(store))


def sql(index: Path, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement on an index past its store, in a transaction of its own, and return the rows it gives."""
    with closing(sqlite3.connect(index, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def due(store: Store) -> list[bytes]:
    """Return the names of the files of which it is not decided whether they raise an alert."""
    return [path for (path,) in sql(store.path, "SELECT path FROM file WHERE alert_due = 1 ORDER BY id")]
