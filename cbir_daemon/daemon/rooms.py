"""The rooms of a daemon, opened in the order in which they need each other.

In: a `Config`.  Out: rooms that are open, each with what it needs, and on a stack how they are closed.  Never here:
threads, signals, the socket.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from cbir_daemon.alerts import Outbox, Policy
from cbir_daemon.config import Config
from cbir_daemon.config.settings import MEANING, usable_processors
from cbir_daemon.daemon.backups import DAY_S, Backups
from cbir_daemon.decode import DecodeLimits, DecodePool, Reader
from cbir_daemon.duplicates import Groups, Looks, Pairing, Parts
from cbir_daemon.duplicates.features import FeatureFiller
from cbir_daemon.duplicates.meanings import MeaningFiller
from cbir_daemon.duplicates.watchlist import WatchList
from cbir_daemon.errors import BadRequestError
from cbir_daemon.indexing.albums import Albums
from cbir_daemon.indexing.describing import Describer
from cbir_daemon.indexing.line import Ingest
from cbir_daemon.map.projection import Projection
from cbir_daemon.map.refit import Refit
from cbir_daemon.matching import GREY64
from cbir_daemon.meaning import Meaning, meaning_space
from cbir_daemon.medium import Medium
from cbir_daemon.pictures import PICTURES
from cbir_daemon.records import DescriptorKind
from cbir_daemon.search.processes import Processes
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.search.turns import Urgency
from cbir_daemon.serving import handlers
from cbir_daemon.serving.previews import Previews
from cbir_daemon.serving.queue import Queue
from cbir_daemon.store import Store
from cbir_daemon.system import sdnotify
from cbir_daemon.watching.mailbox import Mailbox

MEDIUM: Medium = GREY64
"""How the daemon compares what it indexes; other rooms have it from the searcher."""

READER: Reader = PICTURES
"""Which files it indexes, and how their bytes become the vectors that `MEDIUM` compares; other rooms have it from the
pool."""

INDEX_FILE = "index.sqlite"
CODES_FILE = "codes.rows"
MODELS_FOLDER = "models"

CROWDED_FILES = 64
"""With more files than this to read, reading goes first: both at once would take turns holding one interpreter."""


class Configurable(Protocol):
    """A room that keeps settings."""

    def configure(self, config: Config) -> None:
        """Take the settings that may change while it runs."""


@dataclass(frozen=True, slots=True)
class OpenRooms:
    """Every room of a daemon, open; none runs a thread yet.

    Parameters
    ----------
    handled : handlers.Rooms
        Those that a handler may ask.
    policy : Policy
    backups : Backups
    """

    handled: handlers.Rooms
    policy: Policy
    backups: Backups

    @property
    def configurable(self) -> tuple[Configurable, ...]:
        """Those that keep settings.  The albums come first: only they may refuse, and nothing has changed then."""
        rooms = self.handled
        return (
            rooms.albums,
            rooms.ingest,
            rooms.projection,
            rooms.refit,
            self.backups,
            self.policy,
            rooms.outbox,
            rooms.groups,
        )


def open_rooms(
    settings: Callable[[], Config],
    stopping: threading.Event,
    closing: ExitStack,
    medium: Medium = MEDIUM,
    reader: Reader = READER,
) -> OpenRooms:
    """Open every room.

    Parameters
    ----------
    settings : callable
        Returns the configuration in force.
    stopping : threading.Event
        Set when the daemon stops.
    closing : ExitStack
        Closes, in reverse, whatever was opened, also when opening fails.
    medium : Medium
        How vectors are compared.
    reader : Reader
        How files become them.

    Raises
    ------
    ValueError
        When the reader makes other vectors, or other descriptors, than the medium compares.
    BadRequestError
        When there is no album.
    CbirError
        When the index, the codes or the map cannot be opened.
    """
    if reader.extractor != medium.extractor:
        raise ValueError(f"{reader.extractor} makes no vectors for a medium of {medium.extractor}")
    if medium.appearance is not None and reader.descriptor != medium.appearance.kind:
        raise ValueError(f"{reader.extractor} makes no descriptors of {medium.appearance.kind}")
    config = settings()
    models_dir = config.state_dir / MODELS_FOLDER
    store = _open_store(config, closing)
    processes = Processes(store.path, config.server.search_processes, usable_processors())
    searcher, albums = _open_search(config, store, medium, processes, closing)
    pool = _open_pool(config, reader, closing)
    meaning = _open_meaning(config, closing)
    watchlist = WatchList(store, searcher, config.match.copy_threshold)
    watchlist.load()
    ingest = Ingest(config, store, searcher, pool, Mailbox(), reader.suffixes, albums)
    describer = Describer(store, searcher, pool, lambda: _is_quiet(ingest))
    meanings = MeaningFiller(store, pool, meaning, lambda: _is_quiet(ingest))
    spaces = {**medium.spaces, MEANING: meaning_space(meaning.kind)} if meaning.enabled else medium.spaces

    def filler_of(kind: DescriptorKind) -> Describer | MeaningFiller:
        return meanings if kind == meaning.kind else describer

    projection = Projection(
        store, searcher, models_dir, config.model, spaces=spaces, tried_id=lambda kind: filler_of(kind).tried_id
    )
    projection.open()
    policy = Policy(config.alerts, config.albums)
    features = FeatureFiller(store, pool, lambda: _is_quiet(ingest), asked=config.match.local)
    second_look = searcher.second_look(Urgency.ALERT)
    looks = Looks(store, pool, second_look) if config.match.look and second_look else None
    # Without a look at the files, what parts have in common is too little to tell of.
    parts = _parts(store, pool, searcher, watchlist, features) if looks is not None and medium.picture_parts else None
    groups = Groups(store, config)
    handled = handlers.Rooms(
        settings=settings,
        store=store,
        searcher=searcher,
        processes=processes,
        pool=pool,
        previews=Previews(store, pool),
        ingest=ingest,
        pairing=Pairing(
            store, searcher, watchlist, policy.alert_for, lambda: ingest.pending > CROWDED_FILES, looks, parts
        ),
        groups=groups,
        queue=Queue(store, groups),
        watchlist=watchlist,
        features=features,
        describer=describer,
        meaning=meaning,
        meanings=meanings,
        outbox=_open_outbox(config, store),
        projection=projection,
        refit=Refit(
            store,
            searcher,
            projection,
            models_dir,
            config.model,
            lambda: _is_quiet(ingest),
            lambda kind: filler_of(kind).pending,
            spaces=spaces,
        ),
        albums=albums,
        stopping=stopping,
    )
    return OpenRooms(handled, policy, Backups(store, config.backup.every_days * DAY_S, lambda: _is_quiet(ingest)))


def _open_store(config: Config, closing: ExitStack) -> Store:
    """Open the index; the fits that a killed daemon left open end here."""
    sdnotify.notify(sdnotify.status("opening the index"))
    store = Store(config.state_dir / INDEX_FILE)
    store.open()
    closing.callback(store.close)
    store.runs.end_interrupted(time.time())
    return store


def _open_search(
    config: Config, store: Store, medium: Medium, processes: Processes, closing: ExitStack
) -> tuple[Searcher, Albums]:
    """Remember the albums, then load the codes: without an album there is nothing to load them for."""
    searcher = Searcher(store, medium, config.match.copy_threshold, config.state_dir / CODES_FILE, processes=processes)
    closing.callback(searcher.close)
    closing.callback(processes.close)
    albums = Albums(store, searcher, config.albums)
    albums.remember(config.albums)
    if not store.albums.listed():
        raise BadRequestError(
            "no album is given and none is remembered", hint="name a folder: cbir-daemon run ~/Pictures"
        )
    sdnotify.notify(sdnotify.status("loading the vectors"))
    searcher.load()
    return searcher, albums


def _open_pool(config: Config, reader: Reader, closing: ExitStack) -> DecodePool:
    limits = DecodeLimits(config.decode.max_pixels, config.decode.max_file_bytes, config.decode.timeout_s)
    pool = DecodePool(config.decode.workers, limits, reader)
    closing.callback(pool.close)
    pool.open()
    return pool


def _parts(store: Store, pool: DecodePool, searcher: Searcher, watchlist: WatchList, features: FeatureFiller) -> Parts:
    return Parts(
        store,
        pool,
        searcher,
        watchlist,
        features.index if features.enabled else None,
        # An index that has none yet may take hours to get all of them.
        lambda: features.idle or features.pending > CROWDED_FILES,
    )


def _open_meaning(config: Config, closing: ExitStack) -> Meaning:
    meaning = Meaning(config.meaning.model, config.state_dir / MODELS_FOLDER)
    meaning.open()
    closing.callback(meaning.close)
    return meaning


def _open_outbox(config: Config, store: Store) -> Outbox:
    outbox = Outbox(store)
    outbox.configure(config)
    return outbox


def _is_quiet(ingest: Ingest) -> bool:
    return ingest.started and ingest.idle
