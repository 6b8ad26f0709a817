"""The rooms of a daemon, opened in the order in which they need each other.

In: a `Config`.  Out: rooms that are open, each with what it needs, and on a stack how they are closed.  Never here:
threads, signals, the socket.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from cbir_daemon.alerts import Outbox, Policy
from cbir_daemon.config import Config
from cbir_daemon.config.settings import MEANING, usable_processors
from cbir_daemon.daemon import sharing
from cbir_daemon.daemon.backups import DAY_S, Backups
from cbir_daemon.decode import DecodeLimits, DecodePool, Reader
from cbir_daemon.duplicates import Groups, Looks, Pairing, Parts
from cbir_daemon.duplicates.features import FeatureFiller
from cbir_daemon.duplicates.meanings import MeaningFiller
from cbir_daemon.duplicates.watchlist import WatchList
from cbir_daemon.errors import BadRequestError, StorageError
from cbir_daemon.indexing.albums import Albums
from cbir_daemon.indexing.describing import Describer
from cbir_daemon.indexing.line import Ingest
from cbir_daemon.map.environment import medium_folder
from cbir_daemon.map.maps import Maps, MediumMap
from cbir_daemon.map.projection import Projection
from cbir_daemon.map.refit import Refit
from cbir_daemon.matching import GREY64
from cbir_daemon.meaning import Meaning, meaning_space
from cbir_daemon.media import FileMedium, load
from cbir_daemon.medium import Medium
from cbir_daemon.pictures import PICTURES
from cbir_daemon.records import DescriptorKind
from cbir_daemon.search.part_searcher import PartSearcher, PartSearchers
from cbir_daemon.search.processes import Processes
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.search.turns import Urgency
from cbir_daemon.serving import handlers
from cbir_daemon.serving.ahead import Ahead
from cbir_daemon.serving.plane import Planes
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
    ahead : Ahead
    """

    handled: handlers.Rooms
    policy: Policy
    backups: Backups
    ahead: Ahead

    @property
    def configurable(self) -> tuple[Configurable, ...]:
        """Those that keep settings.  The albums come first: only they may refuse, and nothing has changed then."""
        rooms = self.handled
        return (
            rooms.albums,
            rooms.ingest,
            rooms.maps,
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
    media: Sequence[FileMedium] | None = None,
    *,
    read_only: bool = False,
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
    media : sequence of FileMedium, optional
        Kinds of files besides; those of the setting when they are not given.
    read_only : bool
        Whether the state is only read, as a daemon may use it at the same time: codes are made in memory, and a map
        that cannot be used is not looked at.

    Raises
    ------
    ConfigError
        When there is no medium that the setting names.
    ValueError
        When the reader makes other vectors, or other descriptors, than the medium compares.
    BadRequestError
        When there is no album.
    CbirError
        When the index, the codes or the map cannot be opened.
    """
    _require_pair(reader, medium)
    media = load(settings().media) if media is None else media
    base = _open_base(settings(), medium, reader, media, closing, read_only=read_only)
    part_searchers = tuple(base.part_searchers)
    watchlist = WatchList(base.store, base.searcher, base.config.match.copy_threshold, part_searchers)
    watchlist.load()
    policy = Policy(base.config.alerts, base.config.albums)
    fillers = _fillers(base)
    maps = _open_maps(base, fillers, read_only=read_only)
    groups = Groups(base.store, base.config, base.part_searchers.media)
    handled = handlers.Rooms(
        settings=settings,
        store=base.store,
        searcher=base.searcher,
        part_searchers=base.part_searchers,
        processes=base.processes,
        pool=base.pool,
        previews=Previews(base.store, base.pool),
        planes=Planes(base.store, groups),
        ingest=base.ingest,
        pairing=_pairing(base, watchlist, policy, fillers.features, maps),
        groups=groups,
        queue=Queue(base.store, groups),
        watchlist=watchlist,
        features=fillers.features,
        describer=fillers.describer,
        meaning=base.meaning,
        meanings=fillers.meanings,
        outbox=_open_outbox(base, read_only=read_only),
        maps=maps,
        albums=base.albums,
        stopping=stopping,
        shared=_open_shared(base, policy, closing, read_only=read_only),
    )
    backups = Backups(base.store, base.config.backup.every_days * DAY_S, base.is_quiet)
    ahead = Ahead(base.store, handled.queue, lambda: base.is_quiet() and handled.pairing.idle)
    return OpenRooms(handled, policy, backups, ahead)


def _require_pair(reader: Reader, medium: Medium) -> None:
    if reader.extractor != medium.extractor:
        raise ValueError(f"{reader.extractor} makes no vectors for a medium of {medium.extractor}")
    if medium.appearance is not None and reader.descriptor != medium.appearance.kind:
        raise ValueError(f"{reader.extractor} makes no descriptors of {medium.appearance.kind}")


# -- what the other rooms work with ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Base:
    """The rooms that the others work with, open."""

    config: Config
    medium: Medium
    store: Store
    processes: Processes
    searcher: Searcher
    part_searchers: PartSearchers
    albums: Albums
    pool: DecodePool
    meaning: Meaning
    ingest: Ingest

    def is_quiet(self) -> bool:
        """Whether nothing is being indexed."""
        return self.ingest.started and self.ingest.idle

    def is_crowded(self) -> bool:
        """Whether so much is to be read that nothing is looked up meanwhile."""
        return self.ingest.pending > CROWDED_FILES


def _open_base(
    config: Config,
    medium: Medium,
    reader: Reader,
    media: Sequence[FileMedium],
    closing: ExitStack,
    *,
    read_only: bool,
) -> _Base:
    store = _open_store(config, closing, read_only=read_only)
    part_searchers = PartSearchers([PartSearcher(store, added.medium) for added in media])
    processes = Processes(store.path, 0 if read_only else config.server.search_processes, usable_processors())
    searcher, albums = _open_search(config, store, medium, part_searchers, processes, closing, read_only=read_only)
    pool = open_pool(config, reader, [added.reader for added in media], closing)
    meaning = _open_meaning(config, closing)
    ingest = Ingest(
        config,
        store,
        searcher,
        pool,
        Mailbox(),
        pool.readers.suffixes,
        albums,
        part_searchers=part_searchers,
    )
    return _Base(config, medium, store, processes, searcher, part_searchers, albums, pool, meaning, ingest)


def _open_store(config: Config, closing: ExitStack, *, read_only: bool) -> Store:
    """Open the index; the fits that a killed daemon left open end here."""
    store = Store(config.state_dir / INDEX_FILE)
    if read_only:
        store.open_existing()
        closing.callback(store.close)
        return store
    sdnotify.notify(sdnotify.status("opening the index"))
    store.open()
    closing.callback(store.close)
    store.runs.end_interrupted(time.time())
    return store


def _open_search(
    config: Config,
    store: Store,
    medium: Medium,
    part_searchers: PartSearchers,
    processes: Processes,
    closing: ExitStack,
    *,
    read_only: bool,
) -> tuple[Searcher, Albums]:
    """Remember the albums, then load the codes: without an album there is nothing to load them for."""
    # The file of the codes belongs to the daemon alone.
    codes_path = None if read_only else config.state_dir / CODES_FILE
    searcher = Searcher(store, medium, config.match.copy_threshold, codes_path, processes=processes)
    closing.callback(searcher.close)
    closing.callback(processes.close)
    albums = Albums(store, searcher, config.albums, part_searchers=part_searchers)
    if read_only:
        searcher.load()
        part_searchers.load()
        return searcher, albums
    albums.remember(config.albums)
    if not store.albums.listed():
        raise BadRequestError(
            "no album is given and none is remembered", hint="name a folder: cbir-daemon run ~/Pictures"
        )
    sdnotify.notify(sdnotify.status("loading the vectors"))
    searcher.load()
    part_searchers.load()
    return searcher, albums


def open_pool(config: Config, reader: Reader, more: Sequence[Reader], closing: ExitStack) -> DecodePool:
    """Open what has files read.

    Parameters
    ----------
    config : Config
    reader : Reader
        Of images.
    more : sequence of Reader
        Of other media.
    closing : ExitStack
        Closes it.
    """
    limits = DecodeLimits(config.decode.max_pixels, config.decode.max_file_bytes, config.decode.timeout_s)
    pool = DecodePool(config.decode.workers, limits, reader, more=more)
    closing.callback(pool.close)
    pool.open()
    return pool


def _open_meaning(config: Config, closing: ExitStack) -> Meaning:
    meaning = Meaning(config.meaning.model, config.state_dir / MODELS_FOLDER)
    meaning.open()
    closing.callback(meaning.close)
    return meaning


# -- what is made of it ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fillers:
    """The makers of descriptors in the background."""

    describer: Describer
    meanings: MeaningFiller
    features: FeatureFiller
    meaning: DescriptorKind

    def of(self, kind: DescriptorKind) -> Describer | MeaningFiller:
        """Return the maker of descriptors of a kind that maps may go by."""
        return self.meanings if kind == self.meaning else self.describer


def _fillers(base: _Base) -> _Fillers:
    return _Fillers(
        Describer(base.store, base.searcher, base.pool, base.is_quiet),
        MeaningFiller(base.store, base.pool, base.meaning, base.is_quiet),
        FeatureFiller(base.store, base.pool, base.is_quiet, asked=base.config.match.local),
        base.meaning.kind,
    )


def _open_maps(base: _Base, fillers: _Fillers, *, read_only: bool) -> Maps:
    maps = Maps(
        base.store, [_map_of_images(base, fillers), *(_map_of_parts(base, each) for each in base.part_searchers)]
    )
    for each in maps:
        try:
            each.projection.open()
        except StorageError:
            # A daemon sets such a map aside, which is a change of the index.
            if not read_only:
                raise
            (base.part_searchers.of(each.medium) or base.searcher).drop_map()
    return maps


def _map_of_images(base: _Base, fillers: _Fillers) -> MediumMap:
    models_dir = base.config.state_dir / MODELS_FOLDER
    spaces = base.medium.spaces
    if base.meaning.enabled:
        spaces = {**spaces, MEANING: meaning_space(base.meaning.kind)}
    projection = Projection(
        base.store,
        base.searcher,
        models_dir,
        base.config.model,
        spaces=spaces,
        tried_id=lambda kind: fillers.of(kind).tried_id,
    )
    refit = Refit(
        base.store,
        base.searcher,
        projection,
        models_dir,
        base.config.model,
        base.is_quiet,
        lambda kind: fillers.of(kind).pending,
        spaces=spaces,
    )
    return MediumMap(projection, refit)


def _map_of_parts(base: _Base, searcher: PartSearcher) -> MediumMap:
    medium, settings = searcher.medium.name, base.config.model
    models_dir = medium_folder(base.config.state_dir / MODELS_FOLDER, medium)
    projection = Projection(base.store, searcher, models_dir, settings, medium=medium)
    return MediumMap(
        projection, Refit(base.store, searcher, projection, models_dir, settings, base.is_quiet, medium=medium)
    )


def _pairing(base: _Base, watchlist: WatchList, policy: Policy, features: FeatureFiller, maps: Maps) -> Pairing:
    second_look = base.searcher.second_look(Urgency.ALERT)
    looks = Looks(base.store, base.pool, second_look) if base.config.match.look and second_look else None
    # Without a look at the files, what parts have in common is too little to tell of.
    parts = _parts(base, watchlist, features) if looks is not None and base.medium.picture_parts else None
    return Pairing(
        base.store,
        base.searcher,
        watchlist,
        policy.alert_for,
        base.is_crowded,
        looks,
        parts,
        fitting=lambda: maps.fitting is not None,
        part_searchers=tuple(base.part_searchers),
    )


def _parts(base: _Base, watchlist: WatchList, features: FeatureFiller) -> Parts:
    return Parts(
        base.store,
        base.pool,
        base.searcher,
        watchlist,
        features.index if features.enabled else None,
        # An index that has none yet may take hours to get all of them.
        lambda: features.idle or features.pending > CROWDED_FILES,
    )


def _open_shared(base: _Base, policy: Policy, closing: ExitStack, *, read_only: bool) -> handlers.SharedRooms | None:
    store = base.store
    if read_only:
        return None
    if not base.config.shared.uri:
        # What was published under an earlier configuration stays there; nothing is noted any more.
        site = store.published.site()
        if site is not None and site.active:
            store.published.rest()
        return None
    return handlers.SharedRooms(*sharing.opened(base.config, store, base.medium, policy.alert_for, closing))


def _open_outbox(base: _Base, *, read_only: bool) -> Outbox:
    outbox = Outbox(base.store)
    if not read_only:
        outbox.configure(base.config)
    return outbox
