"""What handlers are given and what they give back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cbir_daemon.alerts import Outbox
from cbir_daemon.config import Config
from cbir_daemon.decode import DecodePool
from cbir_daemon.duplicates import Groups, Pairing
from cbir_daemon.duplicates.watchlist import WatchList
from cbir_daemon.indexing.albums import Albums
from cbir_daemon.indexing.line import Ingest
from cbir_daemon.map.projection import Projection
from cbir_daemon.map.refit import Refit
from cbir_daemon.protocol.messages import Json
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Store


@dataclass(frozen=True, slots=True)
class Rooms:
    """Everything a handler may ask.

    Parameters
    ----------
    settings : callable
        Returns the configuration in force, which SIGHUP changes.
    stopping : threading.Event
        Set when the daemon stops.
    """

    settings: Callable[[], Config]
    store: Store
    searcher: Searcher
    pool: DecodePool
    ingest: Ingest
    pairing: Pairing
    groups: Groups
    watchlist: WatchList
    outbox: Outbox
    projection: Projection
    refit: Refit
    albums: Albums
    stopping: threading.Event

    @property
    def config(self) -> Config:
        """The configuration in force now."""
        return self.settings()


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; `blob` follows it as raw bytes, `more` says that another answer comes."""

    ok: Json
    blob: bytes = b""
    more: bool = False


PAGE_BYTES = 256 * 1024
"""Rows of a long answer are cut into messages of about this length: one may have 1 MiB, and a row some 10 KiB."""


def paged(name: str, rows: Iterable[Json], **fields: int) -> Iterator[Reply]:
    """Yield rows under `name` in as many replies as they need, at least one; each has the `fields` too."""
    page: list[Json] = []
    length = 0
    for row in rows:
        if length >= PAGE_BYTES:
            yield Reply({**fields, name: page}, more=True)
            page, length = [], 0
        page.append(row)
        length += len(json.dumps(row))
    yield Reply({**fields, name: page})
