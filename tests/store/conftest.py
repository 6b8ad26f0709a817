"""The index that the tests of the store work on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cbir_daemon.store import Store
from cbir_daemon.store.database import Database
from tests.rows import opened


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """The connections of `store`."""
    return Database(tmp_path / "index.sqlite")


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    """An index with one album at /album, its first scan done; sound at the end."""
    with opened(database.path, database) as store:
        yield store
        assert store.check() == []


@pytest.fixture
def album(store: Store) -> int:
    """The id of the album."""
    return store.albums.listed()[0].id
