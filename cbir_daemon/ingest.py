"""The line: hints in, rows and a new view out.

In: hints from the mailbox, requests to scan.  Out: committed changes, and a searcher that knows them.  Never here: what
pixels mean, SQL, who asked.

One thread runs `Ingest.run`.  Created, modified, moved and deleted need no algebra: whatever a hint says, the path is
looked at, compared with its row, and read when they differ.  Start-up, timer, `cbir scan` and overflow are the same
walk over the same comparison.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cbir_daemon import scan
from cbir_daemon.config import Config
from cbir_daemon.decode import DecodePool, ReadTask
from cbir_daemon.errors import CbirError
from cbir_daemon.mailbox import Mailbox
from cbir_daemon.records import Facts, FileState, Unreadable
from cbir_daemon.searching import Searcher
from cbir_daemon.store import Album, Applied, Change, Failed, Gone, Indexed, Moved, Store

logger = logging.getLogger(__name__)

BATCH_FILES = 256
"""Files committed together: at 500 a second, two commits a second; a kill costs at most these once more."""

TASK_FILES = 2_048
"""Files whose known digests are looked up at once."""

MIN_LOSS_FILES = 20
"""Fewer vanished files than this are never taken for a lost disk unless nothing is left at all."""

TRANSIENT = frozenset({"changed-while-reading"})
"""Reasons that say nothing about the file as it is now: it is looked at again, nothing is recorded."""


@dataclass(slots=True)
class Progress:
    """How far a run through the line is; read by other threads without a lock, so only ever roughly consistent.

    Parameters
    ----------
    found, done, errors : int
        Files to read, read, and of those unreadable.
    started : float
        Monotonic seconds at which the run began.
    """

    found: int = 0
    done: int = 0
    errors: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Files a second."""
        return self.done / max(time.monotonic() - self.started, 1e-3)

    @property
    def remaining_s(self) -> float | None:
        """Seconds left at this rate; None before the first file is done."""
        return (self.found - self.done) / self.rate if self.done else None


@dataclass(frozen=True, slots=True)
class _Target:
    """A file to read, and the state at which it was noticed."""

    album: Album
    path: bytes
    state: FileState

    @property
    def absolute(self) -> bytes:
        return scan.joined(self.album.path, self.path)


class Ingest:
    """Keeps the index equal to the albums.

    Parameters
    ----------
    config : Config
    store, searcher, pool, mailbox
        The rooms it moves things between.
    suffixes : iterable of str
        Lower-case suffixes of the files that are looked at.
    album_changed : callable
        Called with the id of an album that became missing or came back.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        searcher: Searcher,
        pool: DecodePool,
        mailbox: Mailbox,
        suffixes: Iterable[str],
        album_changed: Callable[[int], None],
    ) -> None:
        self._store = store
        self._searcher = searcher
        self._pool = pool
        self._mailbox = mailbox
        self._suffixes = frozenset(suffixes)
        self._album_changed = album_changed
        self.configure(config)
        self._scans = _ScanRequests()
        self._stopping = False
        self._busy = False
        self._next_rescan: dict[int, float] = {}
        self.progress = Progress()
        self.started = False
        # Albums whose losses the user has accepted, until those are forgotten.
        self._accepted: set[int] = set()

    def configure(self, config: Config) -> None:
        """Take the settings that may change while it runs."""
        self._watch = config.watch
        self._rules = scan.Filter(config.watch.exclude, self._suffixes)

    # -- asked from other threads ------------------------------------------------------------------------------------

    def hint(self, path: bytes) -> None:
        """Say that something may have happened at an absolute path."""
        self._mailbox.put([path], self._watch.settle_s)

    def request_scan(self, path: bytes | None = None, *, accept_losses: bool = False) -> int:
        """Ask for a walk of all albums, or at and below one path; return a ticket for `scanned`."""
        ticket = self._scans.add(path, accept_losses)
        self._mailbox.wake()
        return ticket

    def scanned(self, ticket: int) -> bool:
        """Whether the walk of a ticket has ended; what it found may still be in the mailbox."""
        return self._scans.done >= ticket

    @property
    def pending(self) -> int:
        """Paths noticed and not yet committed."""
        return len(self._mailbox) + max(0, self.progress.found - self.progress.done if self._busy else 0)

    @property
    def idle(self) -> bool:
        """Whether nothing is asked for, held or under way."""
        return not (self._busy or len(self._mailbox) or self._scans.waiting)

    def stop(self) -> None:
        """Ask the thread to end after the batch it is at."""
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
        while not self._stopping:
            self._mailbox.wait(self._until_rescan())
            # Busy before anything is taken: an idle line means that nothing was lost in between.
            self._busy = True
            try:
                self._run_once()
            except CbirError:
                # What was taken from the mailbox is found again by a walk, once `run` is called again.
                self._scans.add(None, accept_losses=False)
                raise
            finally:
                self._busy = False
                # A fit or a `settle` that waits for the end of a large copy need wait no longer.
                self._store.wake()

    def _run_once(self) -> None:
        for request in self._scans.take():
            self._scan(request.path, accept_losses=request.accept_losses)
            self._scans.finish(request)
            self.started = True
        self._scan_due_albums()
        hints = self._mailbox.take()
        if hints and not self._stopping:
            self._look_at(hints)
        if not len(self._mailbox) and not self._stopping:
            self._accepted.clear()
            self._finish_baselines()

    def _until_rescan(self) -> float:
        return max(
            0.0, min(self._next_rescan.values(), default=self._watch.rescan_s + time.monotonic()) - time.monotonic()
        )

    # -- looking -----------------------------------------------------------------------------------------------------

    def _scan_due_albums(self) -> None:
        now = time.monotonic()
        for album in self._store.albums():
            if now >= self._next_rescan.get(album.id, now):
                self._scan_album(album, accept_losses=False)

    def _scan(self, path: bytes | None, *, accept_losses: bool) -> None:
        for album in self._store.albums():
            if path is None or path == album.path or album.path.startswith(path + b"/"):
                self._scan_album(album, accept_losses=accept_losses)
            elif path.startswith(album.path + b"/"):
                self._mailbox.put([path], 0.0)

    def _scan_album(self, album: Album, *, accept_losses: bool) -> None:
        """Compare a walk of the whole album with its rows."""
        before = time.monotonic()
        self._next_rescan[album.id] = before + self._interval_s(album)
        rows = self._store.file_states(album.id)
        found = scan.walk(album.path, b"", self._rules)
        lost = self._is_lost(album, found, rows)
        if accept_losses and scan.is_folder(album.path):
            self._accepted.add(album.id)
        if lost and album.id not in self._accepted:
            self._set_missing(album, lost)
            return
        self._set_present(album)
        differing, vanished = self._compare(album, rows, found)
        logger.info(
            "scan album=%s files=%d differing=%d gone=%d unreadable_folders=%d took_s=%.2f",
            os.fsdecode(album.path),
            len(found.files),
            differing,
            vanished,
            len(found.unreadable),
            time.monotonic() - before,
        )

    def _interval_s(self, album: Album) -> float:
        return self._watch.poll_s if album.state == "polling" else self._watch.rescan_s

    def _is_lost(self, album: Album, found: scan.Found, rows: dict[bytes, FileState]) -> str:
        """Say why the album looks like a lost disk; empty when it does not."""
        if b"" in found.unreadable:
            return "its folder cannot be read"
        if rows and not found.files and not scan.has_entries(album.path):
            return "its folder is empty"
        gone = sum(path not in found.files and not found.hides(path) for path in rows)
        if gone >= MIN_LOSS_FILES and gone > self._watch.missing_fraction * len(rows):
            return f"{gone} of {len(rows)} files are gone"
        return ""

    def _set_missing(self, album: Album, why: str) -> None:
        if self._store.set_album_state(album.id, "missing"):
            logger.warning(
                "album missing path=%s reason=%s hint=nothing is forgotten; `cbir scan --accept-losses` accepts it",
                os.fsdecode(album.path),
                why,
            )
            self._album_changed(album.id)

    def _set_present(self, album: Album) -> None:
        if album.state == "missing":
            logger.info("album back path=%s", os.fsdecode(album.path))
            self._store.set_album_state(album.id, "watching")
            self._album_changed(album.id)

    def _look_at(self, hints: Sequence[bytes]) -> None:
        """Bring the rows of some paths up to date."""
        albums = self._store.albums()
        targets: list[_Target] = []
        gone: list[Gone] = []
        for hint in hints:
            album = _album_of(albums, hint)
            if album is not None:
                self._classify(album, hint, targets, gone)
        # What is gone comes last: a file that was moved is found at its new place while its old row still stands.
        targets = self._apply_moves(targets)
        self._read(targets)
        self._forget(gone)

    def _classify(self, album: Album, hint: bytes, targets: list[_Target], gone: list[Gone]) -> None:
        path = hint[len(album.path) + 1 :]
        if not path:
            self._scan_album(album, accept_losses=False)
            return
        wanted = not self._rules.excludes(path)
        try:
            if wanted and scan.is_folder(hint):
                self._compare_folder(album, path, gone)
                return
            state = scan.state_at(hint) if wanted and self._rules.is_image_name(path) else None
        except OSError as error:
            logger.debug("cannot look path=%s reason=%s", os.fsdecode(hint), error.strerror)
            return
        if state is None:
            gone.append(Gone(album.id, path))
        elif self._store.file_states(album.id, path).get(path) != state:
            targets.append(_Target(album, path, state))

    def _compare_folder(self, album: Album, folder: bytes, gone: list[Gone]) -> None:
        """Look below a folder that came or was moved: its files raised no events of their own, or too early."""
        rows = self._store.file_states(album.id, folder)
        if rows.pop(folder, None) is not None:
            gone.append(Gone(album.id, folder, below=False))
        self._compare(album, rows, scan.walk(album.path, folder, self._rules))

    def _compare(self, album: Album, rows: Mapping[bytes, FileState], found: scan.Found) -> tuple[int, int]:
        """Put what differs between rows and walk into the mailbox; return how many differ and how many are gone."""
        differing = [path for path, state in found.files.items() if rows.get(path) != state]
        vanished = [path for path in rows if path not in found.files and not found.hides(path)]
        settled_before_ns = time.time_ns() - int(self._watch.settle_s * 1e9)
        fresh = {path for path in differing if settled_before_ns < found.files[path].mtime_ns <= time.time_ns()}
        # A file that was just written is read when it has been quiet, an old one at once.
        for paths, quiet_s in ((fresh, self._watch.settle_s), ({*differing, *vanished} - fresh, 0.0)):
            self._mailbox.put([scan.joined(album.path, path) for path in paths], quiet_s)
        return len(differing), len(vanished)

    # -- reading -----------------------------------------------------------------------------------------------------

    def _apply_moves(self, targets: list[_Target]) -> list[_Target]:
        """Give the rows of files that merely have a new path that path, and return the targets left to read."""
        left: list[_Target] = []
        moves: list[Change] = []
        claimed: set[int] = set()
        for target in targets:
            old = self._vanished_twin(target, claimed)
            if old is None:
                left.append(target)
            else:
                claimed.add(old)
                moves.append(Moved(old, target.album.id, target.path))
        if moves:
            self._commit(moves)
        return left

    def _vanished_twin(self, target: _Target, claimed: set[int]) -> int | None:
        for file_id, path in self._store.same_inode(target.state):
            if file_id not in claimed and path != target.absolute and _is_gone(path):
                return file_id
        return None

    def _read(self, targets: Sequence[_Target]) -> None:
        if not targets:
            return
        self.progress = Progress(found=len(targets))
        for start in range(0, len(targets), TASK_FILES):
            if self._stopping:
                return
            self._read_some(targets[start : start + TASK_FILES])
        took = time.monotonic() - self.progress.started
        logger.info("read files=%d errors=%d took_s=%.2f", self.progress.done, self.progress.errors, took)

    def _read_some(self, targets: Sequence[_Target]) -> None:
        known = self._store.known_digests(list({target.state.size_bytes for target in targets}))
        by_path = {target.absolute: target for target in targets}
        tasks = [ReadTask(path, known.get(target.state.size_bytes, frozenset())) for path, target in by_path.items()]
        changes: list[Change] = []
        results = self._pool.read_files(tasks)
        try:
            for task, result in results:
                changes.extend(self._change(by_path[task.path], result))
                self.progress.done += 1
                self.progress.errors += isinstance(result, Unreadable)
                if len(changes) >= BATCH_FILES:
                    self._commit(changes)
                    changes = []
                if self._stopping:
                    break
        finally:
            _close(results)
        if changes:
            self._commit(changes)

    def _change(self, target: _Target, result: Facts | Unreadable) -> Iterator[Change]:
        state = result.state
        if isinstance(result, Unreadable) and (result.code in TRANSIENT or result.code == "vanished"):
            # Written to or taken away while it was read: the event of that is on its way, this look is not lost.
            self.hint(target.absolute)
        elif isinstance(result, Unreadable):
            logger.debug("unreadable path=%s code=%s", os.fsdecode(target.absolute), result.code)
            yield Failed(target.album.id, target.path, state or target.state, result)
        else:
            yield Indexed(target.album.id, target.path, state or target.state, result)

    def _forget(self, gone: Sequence[Gone]) -> None:
        """Drop the rows of what is gone, unless the whole album is: that is a lost disk, not a wish."""
        by_album: dict[int, list[Gone]] = {}
        for one in gone:
            if self._store.file_states(one.album_id, one.path):
                by_album.setdefault(one.album_id, []).append(one)
        for album in self._store.albums():
            if album.id not in by_album:
                continue
            if album.id in self._accepted or scan.has_entries(album.path):
                self._commit(by_album[album.id])
            else:
                self._scan_album(album, accept_losses=False)

    def _commit(self, changes: Sequence[Change]) -> None:
        applied = self._store.apply(changes)
        self._publish(applied)
        logger.debug("commit changes=%d clock=%d", len(changes), applied.clock)

    def _publish(self, applied: Applied) -> None:
        if applied.added or applied.gone:
            self._searcher.change(applied.added, applied.gone)
            # The commit has woken who works on new contents; only now they are in view.
            self._store.wake()

    def _finish_baselines(self) -> None:
        for album in self._store.albums():
            if not album.baseline and album.id in self._next_rescan and album.state != "missing":
                self._store.finish_baseline(album.id)


@dataclass(frozen=True, slots=True)
class _ScanRequest:
    ticket: int
    path: bytes | None
    accept_losses: bool


class _ScanRequests:
    """Walks asked for and not yet done, in order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[_ScanRequest] = []
        self._last = 0
        self.done = 0

    @property
    def waiting(self) -> bool:
        return self.done < self._last

    def add(self, path: bytes | None, accept_losses: bool) -> int:
        with self._lock:
            self._last += 1
            self._requests.append(_ScanRequest(self._last, path, accept_losses))
            return self._last

    def take(self) -> list[_ScanRequest]:
        with self._lock:
            taken, self._requests = self._requests, []
            return taken

    def finish(self, request: _ScanRequest) -> None:
        self.done = request.ticket


def _is_gone(path: bytes) -> bool:
    try:
        return scan.state_at(path) is None
    except OSError:
        return False


def _album_of(albums: Sequence[Album], path: bytes) -> Album | None:
    return next((one for one in albums if path == one.path or path.startswith(one.path + b"/")), None)


def _close(results: object) -> None:
    close = getattr(results, "close", None)
    if close is not None:
        close()
