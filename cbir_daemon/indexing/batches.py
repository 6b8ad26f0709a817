"""Files that differ from their rows: known again at a new path, or read, and committed in batches.

In: targets, changes.  Out: committed changes, and a searcher that knows them.  Never here: which files differ, what is
gone, walks.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from cbir_daemon.decode import DecodePool, ReadTask
from cbir_daemon.indexing.describing import described
from cbir_daemon.indexing.retries import Retries
from cbir_daemon.records import REASONS, Facts, FileState, Heals, Unreadable
from cbir_daemon.search.part_searcher import NO_PARTS, PartSearchers
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Album, Applied, Change, Failed, Indexed, Moved, Store
from cbir_daemon.watching import walk

logger = logging.getLogger(__name__)

BATCH_FILES = 256
"""Files committed together: at 500 a second, two commits a second; a kill costs at most these once more."""

BATCH_PARTS = 8_192
"""Parts with which files are committed before there are `BATCH_FILES` of them: 32 MB of vectors."""

TASK_FILES = 2_048
"""Files whose known digests are looked up at once."""


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
class Target:
    """A file that differs from its row.

    Parameters
    ----------
    album : Album
    path : bytes
        Relative to the album.
    state : FileState
        At which it was noticed.
    settled : bool
        Whether it has been left alone for long enough to be read.
    """

    album: Album
    path: bytes
    state: FileState
    settled: bool = True

    @property
    def absolute(self) -> bytes:
        """Absolute path."""
        return walk.joined(self.album.path, self.path)


class Batches:
    """Brings rows up to date with files, and the searcher with the rows.

    Parameters
    ----------
    store, searcher, pool, retries
        Where the results go, what reads, and which files their disk failed to give.
    hint : callable
        Says that a file is to be looked at again, by its absolute path.
    stopping : callable
        Whether to end after the batch that is read now.
    batch_files : int
        Files committed together.
    part_searchers : PartSearchers
        Of the media besides images.

    Attributes
    ----------
    progress : Progress
        Of what is looked at or read now.

    Notes
    -----
    For the ingest thread alone, but for `progress`.
    """

    def __init__(
        self,
        store: Store,
        searcher: Searcher,
        pool: DecodePool,
        retries: Retries,
        hint: Callable[[bytes], None],
        stopping: Callable[[], bool],
        batch_files: int,
        part_searchers: PartSearchers = NO_PARTS,
    ) -> None:
        self._store = store
        self._searcher = searcher
        self._pool = pool
        self._retries = retries
        self._hint = hint
        self._stopping = stopping
        self._batch_files = batch_files
        self._part_searchers = part_searchers
        self.progress = Progress()

    def apply_moves(self, targets: Collection[Target]) -> list[Target]:
        """Give the rows of files that merely have a new path that path, and return the targets left to read.

        Parameters
        ----------
        targets : collection of Target
            Noticed together, so that names may be swapped.
        """
        unmoved: list[Target] = []
        moves: list[Change] = []
        claimed: set[int] = set()
        # Asked for together: in a first index there are none.
        inodes = self._store.files.indexed_inodes([target.state.inode for target in targets])
        for target in targets:
            old = self._vanished_twin(target, claimed) if target.state.inode in inodes else None
            if old is None:
                unmoved.append(target)
            else:
                claimed.add(old)
                moves.append(Moved(old, target.album.id, target.path))
        if moves:
            self.commit(moves)
        return unmoved

    def _vanished_twin(self, target: Target, claimed: set[int]) -> int | None:
        for file_id, path in self._store.files.same_inode(target.state):
            if file_id not in claimed and path != target.absolute and _has_left(path, target.state):
                return file_id
        return None

    def read(self, targets: Sequence[Target]) -> None:
        """Have files read, disk by disk, and commit what comes of it.

        Parameters
        ----------
        targets : sequence of Target

        Raises
        ------
        StorageError, ChildError
            When the disk or the workers refuse; what was committed before stays.
        """
        if not targets:
            return
        targets = sorted(targets, key=lambda target: reading_order(target.state))
        self.progress = Progress(found=len(targets))
        for start in range(0, len(targets), TASK_FILES):
            if self._stopping():
                return
            self._read_chunk(targets[start : start + TASK_FILES])
        took = time.monotonic() - self.progress.started
        logger.info("read files=%d errors=%d took_s=%.2f", self.progress.done, self.progress.errors, took)

    def _read_chunk(self, targets: Sequence[Target]) -> None:
        known = self._store.contents.known_digests(
            list({target.state.size_bytes for target in targets}), self._pool.readers.extractors
        )
        by_path = {target.absolute: target for target in targets}
        tasks = [ReadTask(path, known.get(target.state.size_bytes, frozenset())) for path, target in by_path.items()]
        changes: list[Change] = []
        parts = 0
        # Closed, it lets go of the files that are being read when this ends early.
        with closing(self._pool.read_files(tasks)) as results:
            for task, result in results:
                changes.extend(self._change(by_path[task.path], result))
                parts += len(result.parts) if isinstance(result, Facts) else 0
                self.progress.done += 1
                self.progress.errors += isinstance(result, Unreadable)
                if len(changes) >= self._batch_files or parts >= BATCH_PARTS:
                    self.commit(changes)
                    changes, parts = [], 0
                if self._stopping():
                    break
        if changes:
            self.commit(changes)

    def _change(self, target: Target, result: Facts | Unreadable) -> Iterator[Change]:
        state = replace(result.state or target.state, device=target.state.device)
        heals = REASONS[result.code].heals if isinstance(result, Unreadable) else None
        if isinstance(result, Unreadable) and heals == Heals.PAUSE:
            self._retries.failed(target.absolute, state, REASONS[result.code].tries)
        else:
            self._retries.forget(target.absolute)
        if heals == Heals.AT_ONCE:
            # Written to or taken away while it was read: the event of that is on its way, this look is not lost.
            self._hint(target.absolute)
        elif isinstance(result, Unreadable):
            logger.debug("unreadable path=%s code=%s", os.fsdecode(target.absolute), result.code)
            yield Failed(target.album.id, target.path, state, result)
        else:
            descriptors, codes = described(self._pool.readers, result), self._part_searchers.codes(result)
            yield Indexed(target.album.id, target.path, state, result, descriptors, codes)

    def commit(self, changes: Sequence[Change]) -> None:
        """Write changes in one commit, and let searches see them.

        Parameters
        ----------
        changes : sequence of Change

        Raises
        ------
        StorageError
            When the disk refuses; nothing is written then.
        """
        applied = self._store.files.apply(changes)
        self._publish(applied)
        logger.debug("commit changes=%d clock=%d", len(changes), applied.clock)

    def _publish(self, applied: Applied) -> None:
        # A file whose content went with its last other file while this one was read is read for itself.
        for change in applied.again:
            self._hint(self._path_of(change))
        if applied.added or applied.gone or applied.added_by_medium:
            if applied.added or applied.gone:
                self._searcher.change(applied.added, applied.gone)
            self._part_searchers.change(applied.added_by_medium, applied.gone)
            # The commit has woken who works on new contents; only now they are in view.
            self._store.wake()

    def _path_of(self, change: Indexed) -> bytes:
        root = next((album.path for album in self._store.albums.listed() if album.id == change.album_id), b"")
        return walk.joined(root, change.path)


def reading_order(state: FileState) -> tuple[int, int]:
    """Return the key by which files are sorted before they are read: disk by disk, as they most likely lie there.

    On a disk that turns, inodes that follow each other lie near each other, and so do their files.  On one that does
    not, the order costs nothing; and whether a disk turns is not known behind a RAID, a USB bridge or a network.
    """
    return state.device, state.inode


def _has_left(path: bytes, state: FileState) -> bool:
    """Whether a file of this state is no longer at `path`: nothing is there, or another file that took its name."""
    try:
        return walk.state_at(path) != state
    except OSError:
        return False
