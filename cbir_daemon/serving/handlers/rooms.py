"""The input and output of every handler: the rooms of the daemon, and replies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from cbir_daemon.alerts import Outbox
from cbir_daemon.config import Config
from cbir_daemon.decode import DecodePool
from cbir_daemon.duplicates import Groups, Pairing
from cbir_daemon.duplicates.features import FeatureFiller
from cbir_daemon.duplicates.meanings import MeaningFiller
from cbir_daemon.duplicates.watchlist import WatchList
from cbir_daemon.indexing.albums import Albums
from cbir_daemon.indexing.describing import Describer
from cbir_daemon.indexing.line import Ingest
from cbir_daemon.map.maps import Maps, MediumMap
from cbir_daemon.meaning import Meaning
from cbir_daemon.protocol.messages import Params
from cbir_daemon.records import IMAGE
from cbir_daemon.search.part_searcher import PartSearchers
from cbir_daemon.search.processes import Processes
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.serving.plane import Planes
from cbir_daemon.serving.previews import Previews
from cbir_daemon.serving.queue import Queue
from cbir_daemon.shared.lookup import Questions
from cbir_daemon.shared.publisher import Publisher
from cbir_daemon.store import Store


@dataclass(frozen=True, slots=True)
class SharedRooms:
    """What publishes to the shared index, and what asks it."""

    publisher: Publisher
    questions: Questions


@dataclass(frozen=True, slots=True)
class Rooms:
    """Everything a handler may ask.

    Parameters
    ----------
    settings : callable
        Returns the configuration in force, which SIGHUP changes.
    stopping : threading.Event
        Set when the daemon stops.
    shared : SharedRooms or None
        None unless an index is shared.
    """

    settings: Callable[[], Config]
    store: Store
    searcher: Searcher
    part_searchers: PartSearchers
    processes: Processes
    pool: DecodePool
    previews: Previews
    planes: Planes
    ingest: Ingest
    pairing: Pairing
    groups: Groups
    queue: Queue
    watchlist: WatchList
    features: FeatureFiller
    describer: Describer
    meaning: Meaning
    meanings: MeaningFiller
    outbox: Outbox
    maps: Maps
    albums: Albums
    stopping: threading.Event
    shared: SharedRooms | None = None

    @property
    def config(self) -> Config:
        """The configuration in force now."""
        return self.settings()


Answer = TypeVar("Answer", bound=Mapping[str, object])
Row = TypeVar("Row", bound=Mapping[str, object])


@dataclass(frozen=True, slots=True)
class Reply(Generic[Answer]):
    """One answer, of its type in `protocol.answers`.

    Parameters
    ----------
    ok : Answer
    blob : bytes
        Follows the message as it is.
    more : bool
        Whether another answer comes.
    """

    ok: Answer
    blob: bytes = b""
    more: bool = False


def asked_map(rooms: Rooms, params: Params) -> MediumMap:
    """Return the map that a request is about: that of the parameter `medium`, by default that of images.

    Parameters
    ----------
    rooms : Rooms
    params : Params

    Raises
    ------
    NotFoundError
        When that medium is not indexed.
    """
    return rooms.maps.of(params.text("medium") or IMAGE)


PAGE_BYTES = 256 * 1024
"""Rows of a long answer are cut into messages of about this length: one may have 1 MiB, and a row some 10 KiB."""


def paged(rows: Iterable[Row], answer: Callable[[list[Row]], Answer]) -> Iterator[Reply[Answer]]:
    """Yield rows in as many replies as they need, at least one.

    Parameters
    ----------
    rows : iterable of mapping
    answer : callable
        Returns the answer that holds a page of the rows.
    """
    page: list[Row] = []
    length = 0
    for row in rows:
        if length >= PAGE_BYTES:
            yield Reply(answer(page), more=True)
            page, length = [], 0
        page.append(row)
        length += len(json.dumps(row))
    yield Reply(answer(page))
