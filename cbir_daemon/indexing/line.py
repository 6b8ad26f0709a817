"""The line: finds out which files differ from their rows, and has them read.

In: hints from the mailbox, requests to scan.  Out: what differs, for `batches`; what is gone.  Never here: reading
files, SQL, who asked.

One thread runs `Ingest.run`.  Created, modified, moved and deleted need no algebra: whatever a hint says, the path is
looked at, compared with its row, and read when they differ.  Start-up, timer, `cbir scan` and overflow are the same
walk over the same comparison.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from cbir_daemon.config import Config
from cbir_daemon.decode import DecodePool
from cbir_daemon.errors import CbirError
from cbir_daemon.indexing import extras, losses
from cbir_daemon.indexing.albums import Albums
from cbir_daemon.indexing.batches import BATCH_FILES, Batches, Progress, Target
from cbir_daemon.indexing.retries import Retries
from cbir_daemon.indexing.schedule import Due, Schedule
from cbir_daemon.indexing.tickets import ScanRequests
from cbir_daemon.records import AlbumState, FileState
from cbir_daemon.search.part_searcher import NO_PARTS, PartSearchers
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Album, Gone, Store
from cbir_daemon.watching import walk
from cbir_daemon.watching.events import Unwatched
from cbir_daemon.watching.mailbox import Mailbox

logger = logging.getLogger(__name__)

MANY_FILES = 64
"""With so many paths to look at, workers are started at once, and load while it is found out what is to be read."""


class Ingest:
    """Keeps the index equal to the albums.

    Parameters
    ----------
    config : Config
    store, searcher, pool, mailbox
        What it reads hints from, reads files with, and writes results to.
    suffixes : iterable of str
        Lower-case suffixes of the files that are looked at.
    albums : Albums
        Hears which album is lost and which is found, and writes their states.
    now_ns : callable, optional
        Nanoseconds since the epoch, by which a file was just written; injected by tests.
    clock : callable, optional
        Monotonic seconds, by which albums are gone through and a file whose disk failed is tried again; injected by
        tests.

    batch_files : int
        Files committed together.
    part_searchers : PartSearchers
        Of the media besides images.

    Attributes
    ----------
    batches : Batches
        Reads what it finds to differ, and commits.
    schedule : Schedule
        When each album is gone through next.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        searcher: Searcher,
        pool: DecodePool,
        mailbox: Mailbox,
        suffixes: Iterable[str],
        albums: Albums,
        now_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
        batch_files: int = BATCH_FILES,
        part_searchers: PartSearchers = NO_PARTS,
    ) -> None:
        self._store = store
        self._pool = pool
        self._mailbox = mailbox
        self._suffixes = frozenset(suffixes)
        self._albums = albums
        self.schedule = Schedule(config.watch, clock)
        self.configure(config)
        self._scans = ScanRequests()
        self._stopping = False
        self._busy = False
        self._now_ns = now_ns
        self._retries = Retries(clock)
        self.batches = Batches(
            store, searcher, pool, self._retries, self.hint, lambda: self._stopping, batch_files, part_searchers
        )
        self.started = False
        # Albums whose losses the user has accepted, until those are forgotten.
        self._accepted: set[int] = set()

    def configure(self, config: Config) -> None:
        """Take the settings that may change while it runs."""
        self.settings = config.watch
        self.schedule.configure(config.watch)
        self._rules = walk.Filter(config.watch.exclude, self._suffixes)

    # -- asked from other threads ------------------------------------------------------------------------------------

    def wants_folder(self, root: bytes, folder: bytes) -> bool:
        """Whether what happens in a folder of an album matters: the settings do not exclude it.

        Parameters
        ----------
        root : bytes
            Absolute path of the album.
        folder : bytes
            Absolute path of the folder, the root itself or below it.
        """
        return not self._rules.excludes(folder[len(root) + 1 :])

    def set_unwatched(self, album_id: int, unwatched: Unwatched) -> None:
        """Say from which folders of a watched album no events come: they are polled.

        Parameters
        ----------
        album_id : int
        unwatched : Unwatched
            All such folders; it replaces what was said before.
        """
        if self.schedule.set_unwatched(album_id, unwatched):
            self._mailbox.wake()

    def out_of_reach(self, album_id: int) -> int:
        """Return how many files of an album are on a disk inside it that is not mounted."""
        return self.schedule.out_of_reach(album_id)

    def hint(self, path: bytes) -> None:
        """Say that something may have happened at an absolute path."""
        self._mailbox.put([path], self.settings.settle_s)

    def request_scan(self, path: bytes | None = None, *, accept_losses: bool = False, retry: bool = False) -> int:
        """Ask for a walk of all albums, or at and below one path.

        Parameters
        ----------
        path : bytes, optional
            Absolute.
        accept_losses : bool
            Whether what is gone is to be forgotten even when it looks like a lost disk.
        retry : bool
            Whether files whose disk failed are tried at once, and not when their pause has ended.

        Returns
        -------
        int
            A ticket for `scanned`.
        """
        ticket = self._scans.add(path, accept_losses=accept_losses, retry=retry)
        self._mailbox.wake()
        return ticket

    def scanned(self, ticket: int) -> bool:
        """Whether the walk of a ticket has ended; what it found may still be in the mailbox."""
        return self._scans.done >= ticket

    @property
    def progress(self) -> Progress:
        """How far it is with what it looks at or reads now."""
        return self.batches.progress

    @property
    def pending(self) -> int:
        """Paths noticed and not yet committed."""
        return len(self._mailbox) + max(0, self.progress.found - self.progress.done if self._busy else 0)

    @property
    def idle(self) -> bool:
        """Whether nothing is asked for, held or under way."""
        return not (self._busy or len(self._mailbox) or self._scans.waiting)

    def stop(self) -> None:
        """Ask the thread to end after the batch that it reads now."""
        self._stopping = True
        self._mailbox.wake()

    # -- the thread --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Look, read and commit until stopped.

        Raises
        ------
        StorageError, ChildError
            When the disk or the workers refuse; call it again later.
        """
        extras.forget_what_is_installed(self._store, self._pool.readers)
        extractors = self._pool.readers.extractors
        count = self._store.files.forget_extractors(extractors)
        if count:
            logger.info("extractors=%s files_to_read_again=%d", ",".join(sorted(extractors)), count)
        while not self._stopping:
            self._mailbox.wait(min(self.schedule.due_in_s(), self._retries.due_in_s()))
            self.step()

    def step(self) -> None:
        """Look at what is due now, read it and commit it.

        Raises
        ------
        StorageError, ChildError
            When the disk or the workers refuse; all albums are walked at the next step.
        """
        # Busy before anything is taken: an idle line means that nothing was lost in between.
        self._busy = True
        try:
            self._take_what_is_due()
        except CbirError:
            # What was taken from the mailbox is found again by a walk.
            self._scans.add(None)
            self._mailbox.wake()
            raise
        finally:
            self._busy = False
            # A fit or a `settle` that waits for the end of a large copy need wait no longer.
            self._store.wake()

    def _take_what_is_due(self) -> None:
        done: set[tuple[bytes | None, bool]] = set()
        for request in self._scans.take():
            if request.retry:
                self._retries.end_pauses(request.path)
            # Asked for together, walked once: a flood of lost events must not become one of walks.
            if (request.path, request.accept_losses) not in done:
                self._scan(request.path, accept_losses=request.accept_losses)
                done.add((request.path, request.accept_losses))
            self._scans.finish(request)
            self.started = True
        self._scan_due_albums()
        self._mailbox.put(self._retries.take_due(), 0.0)
        hints = self._mailbox.take()
        if hints and not self._stopping:
            self._look_at(hints)
        if not len(self._mailbox) and not self._stopping:
            self._accepted.clear()
            self._finish_baselines()

    # -- looking -----------------------------------------------------------------------------------------------------

    def _scan_due_albums(self) -> None:
        albums = self._store.albums.listed()
        self.schedule.retain({album.id for album in albums})
        for album in albums:
            due = self.schedule.due(album.id)
            if due == Due.WALK:
                self._scan_album(album, accept_losses=False)
            elif due == Due.LOOK:
                self._look_through(album)

    def _scan(self, path: bytes | None, *, accept_losses: bool) -> None:
        for album in self._store.albums.listed():
            if path is None or path == album.path or album.path.startswith(path + b"/"):
                self._scan_album(album, accept_losses=accept_losses)
            elif path.startswith(album.path + b"/"):
                self._mailbox.put([path], 0.0)

    def _scan_album(self, album: Album, *, accept_losses: bool) -> None:
        """Compare a walk of the whole album with its rows."""
        began_at = self.schedule.now()
        found = walk.walk(album.path, b"", self._rules, now_ns=self._now_ns())
        self._take(album, found, accept_losses=accept_losses, began_at=began_at)

    def _look_through(self, album: Album) -> None:
        """Compare what changed in the folders of a polled album, or in its unwatched ones, with its rows."""
        began_at = self.schedule.now()
        known, polled = self.schedule.folders(album.id), self.schedule.is_polled(album.id)
        if album.state == AlbumState.MISSING or b"" not in known or not self._is_in_place(album):
            self._scan_album(album, accept_losses=False)
            return
        unwatched = self.schedule.unwatched(album.id)
        within = None if polled else lambda folder: unwatched.has(walk.joined(album.path, folder))
        found = walk.look(album.path, known, self._rules, within=within, now_ns=self._now_ns())
        self.schedule.set_found(album.id, found, began_at, polled=polled)
        if found.listed or b"" in found.unreadable:
            self._take(album, found, accept_losses=False, began_at=began_at)

    def _take(self, album: Album, found: walk.Found, *, accept_losses: bool, began_at: float) -> None:
        """Compare what a walk or look found with the album's rows, unless it looks like a lost disk."""
        rows = self._store.files.states(album.id)
        if accept_losses and b"" not in found.unreadable:
            self._accepted.add(album.id)
        lost = self._why_lost(album, found, rows)
        if lost and found.listed is not None:
            # A look sees a part: what it misses may be in the other.
            self._scan_album(album, accept_losses=False)
            return
        if lost and (album.id not in self._accepted or b"" in found.unreadable):
            self.schedule.set_lost(album.id, began_at)
            self._albums.lost(album, lost)
            return
        if found.folders[b""].device != album.device:
            self._store.albums.set_device(album.id, found.folders[b""].device)
        state = self._albums.found(album, losses_accepted=album.id in self._accepted)
        self.schedule.set_found(album.id, found, began_at, polled=state == AlbumState.POLLING)
        self._renumber(album, rows, found)
        differing, vanished = self._compare(album, rows, found)
        logger.log(
            logging.INFO if differing or vanished or found.unreadable else logging.DEBUG,
            "scan album=%s files=%d differing=%d gone=%d unreadable_folders=%d whole=%s took_s=%.2f",
            os.fsdecode(album.path),
            len(found.files),
            differing,
            vanished,
            len(found.unreadable),
            found.listed is None,
            self.schedule.now() - began_at,
        )

    def _why_lost(self, album: Album, found: walk.Found, rows: Mapping[bytes, FileState]) -> str:
        root = losses.Root(
            is_folder=b"" not in found.unreadable or walk.is_folder(album.path),
            has_entries=bool(found.files) or walk.has_entries(album.path),
        )
        return losses.why_lost(album, root, found, rows, self._rules, self.settings.missing_fraction)

    def _is_in_place(self, album: Album) -> bool:
        """Whether the album's root is on the disk on which it was walked."""
        return album.device in (0, walk.device_at(album.path + b"/"))

    def _renumber(self, album: Album, rows: dict[bytes, FileState], found: walk.Found) -> None:
        """Write down the disks of files whose disk has another number than when they were read: in `rows` too."""
        changed = losses.renumbered(rows, found)
        if changed:
            self._store.files.put_devices(album.id, changed)
            rows |= {path: replace(rows[path], device=device) for path, device in changed.items()}

    def _look_at(self, hints: Sequence[bytes]) -> None:
        """Bring the rows of some paths up to date."""
        self.batches.progress = Progress(found=len(hints))
        if len(hints) >= MANY_FILES:
            self._pool.warm()
        albums = [album for album in self._store.albums.listed() if self._stands(album, hints)]
        targets: list[Target] = []
        gone: list[Gone] = []
        # Of an album without rows none need be asked for, path by path.
        indexed = self._store.files.counts_by_album() if len(hints) >= MANY_FILES else {album.id for album in albums}
        for hint in hints:
            album = _album_of(albums, hint)
            if album is not None:
                self._classify(album, hint, targets, gone, has_rows=album.id in indexed)
        # What is gone comes last: a file that was moved is found at its new place while its old row still stands.
        unmoved = self.batches.apply_moves({target.absolute: target for target in targets}.values())
        self._mailbox.put([target.absolute for target in unmoved if not target.settled], self.settings.settle_s)
        self.batches.read([target for target in unmoved if target.settled])
        self._forget(gone)

    def _stands(self, album: Album, hints: Sequence[bytes]) -> bool:
        """Whether hints say anything of the album: when its disk is away they are about what lies below its mount."""
        if not any(_album_of([album], hint) for hint in hints):
            return False
        if album.state != AlbumState.MISSING and self._is_in_place(album):
            return True
        # Whether it is back is for a walk to say, which then finds all that the hints were about.
        self._scan_album(album, accept_losses=False)
        return False

    def _classify(self, album: Album, hint: bytes, targets: list[Target], gone: list[Gone], *, has_rows: bool) -> None:
        path = hint[len(album.path) + 1 :]
        if not path:
            self._scan_album(album, accept_losses=False)
            return
        is_included = not self._rules.excludes(path)
        try:
            if is_included and walk.is_folder(hint):
                self._compare_folder(album, path, targets, gone)
                return
            # Asked for whatever its name is: what cannot be looked at is not known to be gone.
            state = walk.state_at(hint) if is_included else None
        except OSError as error:
            logger.debug("cannot look path=%s reason=%s", os.fsdecode(hint), error.strerror)
            return
        if state is None or not self._rules.is_image_name(path):
            self._retries.forget(hint)
            gone.append(Gone(album.id, path))
            return
        rows = self._store.files.states(album.id, path) if has_rows else {}
        if self._is_to_read(album, path, state, rows.pop(path, None)):
            # No event will tell that it goes on growing.
            growing = self._is_unwatched(album, hint) and bool(self._fresh([state]))
            targets.append(Target(album, path, state, settled=not growing))
        # A file has taken the place of a folder.
        gone += [Gone(album.id, below, below=False) for below in rows]

    def _is_to_read(self, album: Album, path: bytes, state: FileState, row: FileState | None) -> bool:
        """Whether a file differs from its row, and its disk is not left in peace for a while."""
        return row != state and not self._retries.holds_back(walk.joined(album.path, path), state)

    def _is_unwatched(self, album: Album, path: bytes) -> bool:
        return album.state == AlbumState.POLLING or self.schedule.unwatched(album.id).has(walk.parent(path))

    def _compare_folder(self, album: Album, folder: bytes, targets: list[Target], gone: list[Gone]) -> None:
        """Look below a folder that came or was moved: its files raised no events of their own, or too early."""
        rows = self._store.files.states(album.id, folder)
        if rows.pop(folder, None) is not None:
            gone.append(Gone(album.id, folder, below=False))
        found = walk.walk(album.path, folder, self._rules, now_ns=self._now_ns())
        fresh = self._fresh(found.files.values())
        targets += [
            Target(album, path, state, state not in fresh)
            for path, state in found.files.items()
            if self._is_to_read(album, path, state, rows.get(path))
        ]
        self._put(album, losses.vanished(rows, found), 0.0)

    def _compare(self, album: Album, rows: Mapping[bytes, FileState], found: walk.Found) -> tuple[int, int]:
        """Put what differs between rows and walk into the mailbox; return how many differ and how many are gone."""
        differing = {
            path: state for path, state in found.files.items() if self._is_to_read(album, path, state, rows.get(path))
        }
        vanished = list(losses.vanished(rows, found))
        if album.id not in self._accepted:
            reached = [
                path for path in vanished if losses.may_forget(path, rows[path], found.device_at(path), self._rules)
            ]
            away = len(vanished) - len(reached)
            if self.schedule.set_out_of_reach(album.id, away):
                logger.warning("files out of reach album=%s files=%d reason=not mounted", os.fsdecode(album.path), away)
            vanished = reached
        fresh_states = self._fresh(differing.values())
        fresh = [path for path, state in differing.items() if state in fresh_states]
        # A file that was just written is read when it has been quiet, an old one at once; what is gone is looked at no
        # sooner, because it may have been moved to there.
        self._put(album, differing.keys() - fresh, 0.0)
        self._put(album, fresh, self.settings.settle_s)
        self._put(album, vanished, self.settings.settle_s if fresh else 0.0)
        return len(differing), len(vanished)

    def _fresh(self, states: Iterable[FileState]) -> set[FileState]:
        """Return those states in which a file has not been for `settle_s` yet."""
        now_ns = self._now_ns()
        settled_before_ns = now_ns - int(self.settings.settle_s * 1e9)
        return {state for state in states if settled_before_ns < state.mtime_ns <= now_ns}

    def _put(self, album: Album, paths: Iterable[bytes], quiet_s: float) -> None:
        self._mailbox.put([walk.joined(album.path, path) for path in paths], quiet_s)

    def _forget(self, gone: Sequence[Gone]) -> None:
        """Drop the rows of what is gone, unless the whole album is: that is a lost disk, not a wish."""
        by_album: dict[int, list[Gone]] = {}
        suspect: set[int] = set()
        roots = {album.id: album.path for album in self._store.albums.listed()}
        for lost in gone:
            rows = self._store.files.states(lost.album_id, lost.path)
            if not rows or lost.album_id not in roots:
                continue
            device = walk.device_at(walk.joined(roots[lost.album_id], lost.path))
            if lost.album_id in self._accepted or all(
                losses.may_forget(path, row, device, self._rules) for path, row in rows.items()
            ):
                by_album.setdefault(lost.album_id, []).append(lost)
            else:
                suspect.add(lost.album_id)
        for album in self._store.albums.listed():
            if album.id in by_album and (album.id in self._accepted or walk.has_entries(album.path)):
                self.batches.commit(by_album[album.id])
            elif album.id in by_album:
                suspect.add(album.id)
            if album.id in suspect:
                self._scan_album(album, accept_losses=False)

    def _finish_baselines(self) -> None:
        for album in self._store.albums.listed():
            if not album.baseline and self.schedule.has(album.id) and album.state != AlbumState.MISSING:
                self._store.albums.finish_baseline(album.id)


def _album_of(albums: Sequence[Album], path: bytes) -> Album | None:
    return next((album for album in albums if path == album.path or path.startswith(album.path + b"/")), None)
