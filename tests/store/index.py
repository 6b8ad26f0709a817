"""What the tests of the store do with an index, and look for behind its back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from cbir_daemon.store import FitBegun, Placed, Store
from tests.rows import indexed, report

NOT_TEXT = b"holiday-\xff\xfe\n.jpg"
NOW = 1_700_000_000.0


def fill(store: Store, numbers: range) -> list[int]:
    """Index one file for each number, named by it, and return the contents' ids."""
    album_id = store.albums.listed()[0].id
    return [
        content_id for content_id, _ in store.files.apply([indexed(album_id, b"%d.jpg" % n, n) for n in numbers]).added
    ]


def files_in(index: Path) -> int:
    """Count file rows behind the store's back."""
    with closing(sqlite3.connect(index)) as connection:
        return int(connection.execute("SELECT count(*) FROM file").fetchone()[0])


def names(folder: Path) -> list[str]:
    """Return what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def fitted(store: Store, placed: list[Placed], present: int = 3) -> int:
    """Write a whole fit and return its run."""
    run_id = store.runs.start(FitBegun("asked for", "code/1", present), NOW)
    store.runs.activate(run_id, report(), placed, NOW + 5)
    return run_id


def overwritten(index: Path) -> None:
    index.write_bytes(b"this is no database, and never was one" * 200)


def absent(path: Path) -> None:
    path.unlink(missing_ok=True)
