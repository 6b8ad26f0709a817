"""Which folders are watched, and how.

In: folders from the command line, the configuration and clients.  Out: rows in the store, watches in the kernel, walks
asked for.  Never here: what is in a folder.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from cbir_daemon.config import AlbumConfig, Config
from cbir_daemon.errors import BadRequestError, CbirError, NoAccessError, NotFoundError
from cbir_daemon.kinds import AlertKind
from cbir_daemon.records import AlbumState, Problem
from cbir_daemon.search.part_searcher import NO_PARTS, PartSearchers
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Album, NewAlert, Store
from cbir_daemon.system import filesystems
from cbir_daemon.system.filesystems import Mount, MountNews
from cbir_daemon.watching import events
from cbir_daemon.watching.events import Unwatched, Watched, Watcher
from cbir_daemon.wording.counting import clause

logger = logging.getLogger(__name__)

RECENT_S = 3_600.0
"""How long `cbir status` shows that events were lost, though a walk has found by then what they were about."""

QUEUE_FILE = Path("/proc/sys/fs/inotify/max_queued_events")


@dataclass(slots=True)
class _Watch:
    """How an album is watched, to see when that changes; and how often its events were lost.

    Parameters
    ----------
    mounts : tuple of Mount
        The mount its root is on, first, and those below it.
    limits : tuple of int
        The kernel's limits when watching began.
    overflows, restarts : int
        How often events were lost, and how often watching was begun again because it had ended.
    lost_at : float
        Monotonic seconds at which events were last lost; below 0 for never.
    """

    mounts: tuple[Mount, ...] = ()
    limits: tuple[int, ...] = ()
    overflows: int = 0
    restarts: int = 0
    lost_at: float = -1.0


@dataclass(frozen=True, slots=True)
class AlbumReport:
    """How an album is watched.

    Parameters
    ----------
    file_system : str
        Type of the file system it is on, as the kernel calls it.
    unwatched_folders : int
        Folders that the kernel would not watch: they are polled.
    overflows, restarts : int
        Since the daemon started: how often events were lost, how often watching was begun again because it had ended.
    out_of_reach : int
        Files on a disk inside the album that is not mounted.
    """

    file_system: str
    unwatched_folders: int
    overflows: int
    restarts: int
    out_of_reach: int


class Line(Protocol):
    """The taker of hints: see `cbir_daemon.indexing.line.Ingest`."""

    def hint(self, path: bytes) -> None:
        """Say that something may have happened at an absolute path."""

    def wants_folder(self, root: bytes, folder: bytes) -> bool:
        """Whether what happens in a folder of an album matters.

        Parameters
        ----------
        root : bytes
            Absolute path of the album.
        folder : bytes
            Absolute path of the folder, the root itself or below it.
        """

    def set_unwatched(self, album_id: int, unwatched: Unwatched) -> None:
        """Say from which folders of a watched album no events come.

        Parameters
        ----------
        album_id : int
        unwatched : Unwatched
            All such folders; it replaces what was said before.
        """

    def request_scan(self, path: bytes | None = None) -> int:
        """Ask for a walk of all albums, or at and below one path."""

    def out_of_reach(self, album_id: int) -> int:
        """Return how many files of an album are on a disk inside it that is not mounted."""


class Albums:
    """Adds, removes and watches albums, and alone writes their states.  Thread-safe.

    Parameters
    ----------
    store, searcher : Store, Searcher
    settings : sequence of AlbumConfig
        What the configuration says of single albums.
    mounts : callable, optional
        Returns what is mounted now; injected by tests.
    make_watcher : callable, optional
        Makes what watches; takes what `Watcher` takes.
    limits : callable, optional
        Returns what the kernel lets this user watch at most; injected by tests.
    clock : callable, optional
        Monotonic seconds, by which lost events are forgotten; injected by tests.
    part_searchers : PartSearchers
        Of the media besides images.
    """

    def __init__(
        self,
        store: Store,
        searcher: Searcher,
        settings: Sequence[AlbumConfig],
        mounts: Callable[[], tuple[Mount, ...]] = filesystems.mounts,
        *,
        make_watcher: Callable[..., Watcher] = Watcher,
        limits: Callable[[], tuple[int, ...]] = events.limits,
        clock: Callable[[], float] = time.monotonic,
        part_searchers: PartSearchers = NO_PARTS,
    ) -> None:
        self._store = store
        self._searcher = searcher
        self._part_searchers = part_searchers
        self._settings = {_root(album.path): album for album in settings}
        self._turn = threading.RLock()
        self._watcher: Watcher | None = None
        self._line: Line | None = None
        self._mounts = mounts
        self._make_watcher = make_watcher
        self._limits = limits
        self._clock = clock
        self._mount_news: MountNews | None = None
        self._watches: dict[bytes, _Watch] = {}
        self._why_missing: dict[int, str] = {}

    def remember(self, settings: Sequence[AlbumConfig]) -> None:
        """Take up what the configuration says, and remember each album that it names.

        Raises
        ------
        NotFoundError, NoAccessError, BadRequestError
            When a new one cannot be watched.  One that is known may be missing: its disk may come back.
        """
        self._settings = {_root(album.path): album for album in settings}
        known = {album.path for album in self._store.albums.listed()}
        for root in self._settings:
            if root not in known:
                self._add(root)

    def configure(self, config: Config) -> None:
        """Take the settings that may change while it runs; raises what `remember` raises, and then takes none."""
        before = self._settings
        try:
            self.remember(config.albums)
        except CbirError:
            self._settings = before
            raise

    def start(self, line: Line) -> None:
        """Begin to watch every album, and ask for the first walk."""
        self._line = line
        self._mount_news = MountNews()
        self._watcher = self._make_watcher(line.hint, self._events_lost, line.wants_folder)
        for album in self._store.albums.listed():
            self.watch(album)
        line.request_scan()

    def stop(self) -> None:
        """Stop watching."""
        with self._turn:
            if self._watcher is not None:
                self._watcher.close()
                self._watcher = None
            if self._mount_news is not None:
                self._mount_news.close()
                self._mount_news = None

    def add(self, path: bytes) -> bool:
        """Watch a folder from now on; False when it was watched already."""
        with self._turn:
            root = os.path.realpath(path)
            if any(album.path == root for album in self._store.albums.listed()):
                return False
            self._add(root)
            for album in self._store.albums.listed():
                if album.path == root:
                    self.watch(album)
            if self._line is not None:
                self._line.request_scan(root)
            return True

    def remove(self, path: bytes) -> None:
        """Forget a folder and all that is known of its files; the files stay as they are.

        Raises
        ------
        NotFoundError
            When it is not watched.
        """
        with self._turn:
            for album in self._store.albums.listed():
                if album.path in (path, os.path.realpath(path)):
                    if self._watcher is not None:
                        self._watcher.forget(album.path)
                    self._watches.pop(album.path, None)
                    self._why_missing.pop(album.id, None)
                    gone = self._store.albums.remove(album.id).gone
                    self._searcher.change((), gone)
                    self._part_searchers.change({}, gone)
                    return
            raise NotFoundError(f"{os.fsdecode(path)}: is no album", hint="`cbir album list` shows them")

    def watch(self, album: Album) -> str:
        """Watch or poll one album, as its settings and the kernel allow; stop watching it when it is missing.

        Return its state then.
        """
        with self._turn:
            if self._watcher is None or self._line is None:
                return album.state
            record = self._watches.setdefault(album.path, _Watch())
            record.mounts, record.limits = self._mounts_of(album.path), self._limits()
            if album.state == AlbumState.MISSING:
                self._watcher.forget(album.path)
                return album.state
            if self._watcher.stands(album.path) and not self._watcher.is_alive(album.path):
                logger.warning("watch died album=%s", os.fsdecode(album.path))
                record.restarts += 1
                self._watcher.forget(album.path)
            state = AlbumState.POLLING
            if not self._is_heard(album.path, record.mounts[0]):
                self._watcher.forget(album.path)
            elif self._watcher.watch(album.path):
                state = AlbumState.WATCHING
            self._store.albums.set_state(album.id, state)
            self._line.set_unwatched(album.id, self._unwatched_parts(album.path))
            return state

    def _mounts_of(self, root: bytes) -> tuple[Mount, ...]:
        table = self._mounts()
        return (filesystems.mount_of(root, table), *filesystems.mounts_below(root, table))

    def _is_heard(self, root: bytes, mount: Mount) -> bool:
        """Whether events are to be had, as settings and file system say."""
        settings = self._settings.get(root)
        mode = "auto" if settings is None else settings.watch
        return mode == "inotify" or (mode == "auto" and mount.tells)

    def _unwatched_parts(self, root: bytes) -> Unwatched:
        """Return the folders of an album that are to be polled though it is watched."""
        assert self._watcher is not None
        if not self._watcher.stands(root):
            return Unwatched()
        below = self._watches[root].mounts[1:]
        trees = tuple(mount.point for mount in below if not self._is_heard(root, mount))
        return Unwatched(self._watcher.watched(root).refused, trees)

    def _events_lost(self, root: bytes) -> None:
        """Have an album walked whose events were lost; called by a watching thread, so it waits for nothing."""
        record = self._watches.get(root)
        if record is not None:
            record.overflows += 1
            record.lost_at = self._clock()
        logger.warning("events lost album=%s hint=it is walked through now", os.fsdecode(root))
        if self._line is not None:
            self._line.request_scan(root)

    def lost(self, album: Album, why: str) -> None:
        """Note that an album looks like a lost disk: it is missing from now on, and not watched any more.

        An alert is written when it was not missing before; nothing of the album is forgotten.

        Parameters
        ----------
        album : Album
            As the store has it now.
        why : str
            A clause for people: "its folder is empty".
        """
        with self._turn:
            self._why_missing[album.id] = why
            alert = NewAlert(album.path, AlertKind.MISSING, (), f"{why}; nothing is forgotten")
            if self._store.albums.turn(album.id, AlbumState.MISSING, alert, time.time()):
                logger.warning(
                    "album missing path=%s reason=%s hint=nothing is forgotten; `cbir scan --accept-losses` accepts it",
                    os.fsdecode(album.path),
                    why,
                )
                self.watch(replace(album, state=AlbumState.MISSING))

    def found(self, album: Album, *, losses_accepted: bool = False) -> str:
        """Note that an album is where it should be: one that was missing is watched again, and an alert says so.

        Parameters
        ----------
        album : Album
            As the store has it now.
        losses_accepted : bool
            Whether it counts as found only because the user accepted that its files are gone; the alert says which.

        Returns
        -------
        str
            The album's state from now on: "watching" or "polling".
        """
        with self._turn:
            self._why_missing.pop(album.id, None)
            if album.state != AlbumState.MISSING:
                return album.state
            logger.info("album back path=%s", os.fsdecode(album.path))
            message = "its losses are accepted" if losses_accepted else "its files are there again"
            self._store.albums.turn(
                album.id, AlbumState.WATCHING, NewAlert(album.path, AlertKind.BACK, (), message), time.time()
            )
            return self.watch(replace(album, state=AlbumState.WATCHING))

    def why_missing(self, album: Album) -> str:
        """Return why an album is missing; empty while that is not found out, or when it is not."""
        return self._why_missing.get(album.id, "")

    def is_remounted(self) -> bool:
        """Whether anything was mounted or unmounted since this was last asked: then `check`."""
        with self._turn:
            return self._mount_news is not None and self._mount_news.come()

    def check(self) -> None:
        """Watch again where watching has ended or mounts have changed; a walk finds what was missed."""
        with self._turn:
            if self._watcher is None or self._line is None:
                return
            limits = self._limits()
            for album in self._store.albums.listed():
                if self._is_outdated(album, limits):
                    self._begin_anew(album)
                else:
                    self._line.set_unwatched(album.id, self._unwatched_parts(album.path))

    def _is_outdated(self, album: Album, limits: tuple[int, ...]) -> bool:
        assert self._watcher is not None
        root, record = album.path, self._watches.setdefault(album.path, _Watch())
        if record.mounts != self._mounts_of(root):
            return True
        if self._watcher.stands(root) and not self._watcher.is_alive(root):
            return True
        return record.limits != limits and bool(self._watcher.watched(root).refused)

    def _begin_anew(self, album: Album) -> None:
        assert self._watcher is not None
        assert self._line is not None
        # Its watches may be on what lies below a mount now, or on what is mounted no more.
        if self._watcher.is_alive(album.path):
            self._watcher.forget(album.path)
        self.watch(album)
        self._line.request_scan(album.path)

    def report(self, album: Album) -> AlbumReport:
        """Return how an album is watched."""
        record = self._watches.get(album.path, _Watch())
        out_of_reach = 0 if self._line is None else self._line.out_of_reach(album.id)
        unwatched = len(self._watched(album.path).refused)
        kind = record.mounts[0].type if record.mounts else filesystems.UNKNOWN.type
        return AlbumReport(kind, unwatched, record.overflows, record.restarts, out_of_reach)

    def _watched(self, root: bytes) -> Watched:
        watcher = self._watcher
        return events.NOT_WATCHED if watcher is None else watcher.watched(root)

    def problems(self) -> list[Problem]:
        """Return the problems of the albums now."""
        albums = self._store.albums.listed()
        found = [problem for album in albums for problem in self._missing(album)]
        found += [problem for album in albums for problem in self._unwatched(album)]
        return found

    def _missing(self, album: Album) -> Iterator[Problem]:
        shown = os.fsdecode(album.path)
        reason = self.why_missing(album)
        if album.state == AlbumState.MISSING:
            yield Problem(
                f"album {shown} is missing: {reason or 'its files are out of reach'}; nothing is forgotten",
                "mount the disk, or accept the loss: `cbir scan --accept-losses`",
            )
        elif count := self.report(album).out_of_reach:
            yield Problem(
                f"album {shown}: {clause(count, 'file', 'is', 'are')} on an unmounted disk inside it;"
                " nothing is forgotten",
                "mount it, or accept the loss: `cbir scan --accept-losses`",
            )

    def _unwatched(self, album: Album) -> Iterator[Problem]:
        shown = os.fsdecode(album.path)
        watched = self._watched(album.path)
        closed = "let the daemon's user read them, or exclude them"
        if album.path in watched.refused:
            yield Problem(f"album {shown} is polled, not watched: {watched.why}", watched.advice or closed)
        elif watched.refused:
            count = len(watched.refused)
            yield Problem(
                f"album {shown}: {clause(count, 'folder', 'is', 'are')} polled, not watched: {watched.why}",
                watched.advice or closed,
            )
        record = self._watches.get(album.path, _Watch())
        if record.lost_at >= 0 and self._clock() - record.lost_at < RECENT_S:
            yield Problem(
                f"album {shown}: the kernel lost events, {record.overflows} times since the start; the album was walked"
                " instead",
                f"for a longer queue of events: {_larger_queue()}",
            )

    def _add(self, root: bytes) -> None:
        shown = os.fsdecode(root)
        if not os.path.lexists(root):
            raise NotFoundError(f"{shown}: no such folder", hint="give the path of a folder of pictures")
        if not Path(shown).is_dir():
            raise BadRequestError(f"{shown}: is not a folder", hint="an album is a folder; `cbir query` takes a file")
        if root == b"/":
            raise BadRequestError("/: the root folder cannot be an album", hint="name the folders that hold pictures")
        if not os.access(root, os.R_OK | os.X_OK, effective_ids=True):
            raise NoAccessError(f"{shown}: cannot be read", hint="let the daemon's user read it")
        for album in self._store.albums.listed():
            inner, outer = sorted((root, album.path), key=len, reverse=True)
            if inner.startswith(outer.rstrip(b"/") + b"/"):
                raise BadRequestError(
                    f"{shown}: lies in, or holds, the album {os.fsdecode(album.path)}",
                    hint="an album holds all folders below it; remove the other one first with `cbir album remove`",
                )
        self._store.albums.add(root)


def _root(path: Path) -> bytes:
    return os.fsencode(os.path.realpath(path))


def _larger_queue() -> str:
    try:
        now = int(QUEUE_FILE.read_text())
    except (OSError, ValueError):
        now = 16_384
    return f"sysctl -w fs.inotify.max_queued_events={4 * now}"
