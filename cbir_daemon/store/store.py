"""`Store`: the index as other rooms see it, one method a question or a change.

Reads may be called from any thread.  Changes run on the writer thread, one transaction each, and raise the clock, but
for those that no answer shows (`_write_unseen`).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from cbir_daemon.errors import StorageError
from cbir_daemon.records import FileState, FitReport
from cbir_daemon.store import albums, anew, backup, contents, duplicates, journal, outbox, runs, soundness, works
from cbir_daemon.store.database import Database
from cbir_daemon.store.records import (
    Album,
    AlertRecord,
    Applied,
    Baseline,
    Change,
    Content,
    Counts,
    Coverage,
    Decision,
    Drift,
    FitBegun,
    Image,
    ModelRun,
    NewAlert,
    NewTask,
    NewWork,
    Pair,
    Placed,
    ResolveRun,
    ResolveTask,
    Sighted,
    Sighting,
    SinkState,
    Waiting,
    Work,
)
from cbir_daemon.system import heartbeat

T = TypeVar("T")

NOTHING: Mapping[int, float] = MappingProxyType({})

LOAD_CHUNK = 5_000
"""Vectors read at once while the collection is loaded: 20 MB."""


def reindex(index: Path) -> tuple[str, ...]:
    """Begin a new index in the place of one that no daemon uses, with its albums, decisions and alerts.

    What stood there stays beside it as `.before-reindex`.

    Returns
    -------
    tuple of str
        What could not be read to its end, by the names of the tables.

    Raises
    ------
    SchemaTooNewError
        When a newer release wrote the old one; nothing is touched.
    StorageError
        When it is the index of another program, or the new one cannot be written.
    """
    kept = anew.salvaged(index)
    backup.set_aside(index, anew.SUFFIX)
    store = Store(index)
    store.open()
    try:
        store._write_unseen(lambda connection: anew.put_back(connection, kept))
    finally:
        store.close()
    return kept.lost


class Store:
    """The index in one SQLite file.

    Parameters
    ----------
    path : Path
        The file; made by `open` when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self._clock = 0
        self._moment = 0
        self._changed = threading.Condition()

    def open(self) -> None:
        """Open the file and start the writer; raises `StorageError`."""
        self._database.open()
        try:
            self._clock = self._read(albums.clock)
        except StorageError:
            self._database.close()
            raise

    def open_existing(self) -> None:
        """Open an index that is there, for reading only: nothing is made, migrated or written.

        Raises
        ------
        StorageError
            When it is not there, or is of another schema.
        """
        self._database.open_existing()

    def close(self) -> None:
        """Finish pending writes and close the file."""
        self._database.close()
        self.wake()

    @property
    def clock(self) -> int:
        """The clock of the last commit."""
        return self._clock

    @property
    def moment(self) -> int:
        """A number that each commit and each `wake` raises; take it before looking, then `wait_for_change`."""
        return self._moment

    def wait_for_change(self, moment: int, timeout_s: float) -> None:
        """Return once there was a commit or a `wake` after `moment`, or after `timeout_s` seconds."""
        heartbeat.rest(timeout_s)
        with self._changed:
            self._changed.wait_for(lambda: self._moment > moment, timeout_s)
        heartbeat.beat()

    def wake(self) -> None:
        """Make all who wait for a change look again: something besides the index has changed."""
        with self._changed:
            self._moment += 1
            self._changed.notify_all()

    # -- albums ------------------------------------------------------------------------------------------------------

    def albums(self) -> list[Album]:
        """Return every album, in order of path."""
        return self._read(albums.listed)

    def add_album(self, path: bytes) -> bool:
        """Remember an album; False when it was known."""
        return self._change(lambda connection: albums.add(connection, path))

    def remove_album(self, album_id: int) -> Applied:
        """Forget an album, its files, and the contents that no other album has."""
        return self._change_contents(lambda connection, _: albums.remove(connection, album_id))

    def set_album_state(self, album_id: int, state: str) -> bool:
        """Set an album's state; False when it was that already."""
        return self._change(lambda connection: albums.set_state(connection, album_id, state))

    def turn_album(self, album_id: int, state: str, alert: NewAlert, now: float) -> bool:
        """Set an album's state and write the alert that says so in one commit; False when it was that already."""
        return self._change(lambda connection: albums.turn(connection, album_id, state, alert, now))

    def set_album_device(self, album_id: int, device: int) -> None:
        """Write on which disk an album's root is."""
        self._write_unseen(lambda connection: albums.set_device(connection, album_id, device))

    def put_devices(self, album_id: int, devices: Mapping[bytes, int]) -> None:
        """Write on which disk some of an album's files are, by relative path."""
        self._change(lambda connection: contents.put_devices(connection, album_id, devices))

    def finish_baseline(self, album_id: int) -> None:
        """Write that the album's first scan is indexed: files that come from now on may raise alerts."""
        self._write_unseen(lambda connection: albums.set_baseline(connection, album_id))

    # -- files and contents ------------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change]) -> Applied:
        """Write a batch of changes in one commit."""

        def change(connection: sqlite3.Connection) -> Applied:
            return contents.apply(connection, changes, albums.tick(connection))

        return self._ticked(change)

    def file_states(self, album_id: int, below: bytes = b"") -> dict[bytes, FileState]:
        """Return path -> state of an album's files, at or below a relative path."""
        return self._read(lambda connection: contents.file_states(connection, album_id, below))

    def known_digests(self, sizes: Sequence[int]) -> dict[int, frozenset[bytes]]:
        """Return, for each size in bytes, the digests of the contents of that size."""
        return self._read(lambda connection: contents.known_digests(connection, sizes))

    def same_inode(self, state: FileState) -> list[tuple[int, bytes]]:
        """Return (file id, absolute path) of the files with this very size, mtime and inode on one disk."""
        return self._read(lambda connection: contents.same_inode(connection, state))

    def indexed_inodes(self, inodes: Sequence[int]) -> set[int]:
        """Return which of some inodes a readable file had when it was read, on whatever disk."""
        return self._read(lambda connection: contents.indexed_inodes(connection, inodes))

    def content_by_digest(self, digest: bytes) -> Content | None:
        """Return the content with this SHA-256, or None."""
        return self._read(lambda connection: contents.content_by_digest(connection, digest))

    def content_at(self, path: bytes) -> Content | None:
        """Return the content of the indexed file at this absolute path, or None."""
        return self._read(lambda connection: contents.file_at(connection, path))

    def images(self, content_ids: Sequence[int]) -> list[Image]:
        """Return the files of these contents, in order of content and path."""
        return self._read(lambda connection: contents.images(connection, content_ids))

    def images_at(self, paths: Sequence[bytes]) -> dict[bytes, Image]:
        """Return absolute path -> image, for those paths that are indexed and readable."""
        return self._read(lambda connection: contents.images_at(connection, paths))

    def vectors(self, content_ids: Sequence[int]) -> dict[int, bytes]:
        """Return content id -> vector, for those that are there."""
        return self._read(lambda connection: contents.vectors(connection, content_ids))

    def digests(self, content_ids: Sequence[int]) -> dict[int, bytes]:
        """Return content id -> SHA-256, for those that are there."""
        return self._read(lambda connection: contents.digests(connection, content_ids))

    def content_ids(self) -> list[int]:
        """Return the ids of all contents, ascending."""
        return self._read(contents.content_ids)

    def all_vectors(self) -> Iterator[list[tuple[int, bytes]]]:
        """Yield every content with its vector, in pieces, in order of id."""
        rows = self._vectors_after(0)
        while rows:
            yield rows
            rows = self._vectors_after(rows[-1][0])

    def _vectors_after(self, content_id: int) -> list[tuple[int, bytes]]:
        return self._read(lambda connection: contents.vectors_after(connection, content_id, LOAD_CHUNK))

    def counts(self) -> Counts:
        """Count what there is and what is still to be done."""
        return self._read(contents.counts)

    def counts_by_album(self) -> dict[int, tuple[int, int]]:
        """Return album id -> (images, errors)."""
        return self._read(contents.counts_by_album)

    def errors(self) -> list[tuple[bytes, str, str]]:
        """Return (path, code, message) of every file that could not be read."""
        return self._read(contents.errors)

    def error_counts(self) -> dict[str, int]:
        """Return code -> number of files that could not be read for that reason."""
        return self._read(contents.error_counts)

    def error_messages(self, code: str) -> dict[str, int]:
        """Return message -> number of files that could not be read for the reason `code`."""
        return self._read(lambda connection: contents.error_messages(connection, code))

    def forget_states(self, code: str, but: Iterable[str]) -> int:
        """Let the next walk read files again that failed by `code`, with other messages than these; return how many."""
        return self._write_unseen(lambda connection: contents.forget_states(connection, code, but))

    # -- pairs, decisions, alerts ------------------------------------------------------------------------------------

    def unmatched(self, limit: int, after: int = 0) -> list[tuple[int, bytes]]:
        """Return (content id, vector) of contents above the id `after` that have not been looked up, in order of id."""
        return self._read(lambda connection: duplicates.unmatched(connection, limit, after))

    def unmatched_count(self, after: int) -> int:
        """Return how many contents above the id `after` have not been looked up."""
        return self._read(lambda connection: duplicates.unmatched_count(connection, after))

    def pass_bound(self) -> int:
        """Return the highest id of the contents that are looked up among each other; see `start_pass`."""
        return self._read(duplicates.pass_bound)

    def start_pass(self, newest_id: int) -> None:
        """Have all contents up to `newest_id` looked up among each other, also those that were looked up before."""
        self._change(lambda connection: duplicates.start_pass(connection, newest_id))

    def put_matched(
        self,
        content_ids: Sequence[int],
        pairs: Sequence[Pair],
        pictures: Mapping[int, float] = NOTHING,
        sightings: Sequence[Sighting] = (),
    ) -> None:
        """Write what the lookup of some contents found, and by content id what share of their areas is picture.

        The files of a content in which a work of the watch list was not seen before are to be told.
        """

        def change(connection: sqlite3.Connection) -> None:
            duplicates.put_matched(connection, content_ids, pairs, pictures)
            works.put_sightings(connection, sightings, tell=True)

        self._change(change)

    def pairs(self, content_id: int | None = None) -> list[Pair]:
        """Return all pairs, or those of one content, without the dismissed ones, best first."""
        return self._read(lambda connection: duplicates.pairs(connection, content_id))

    def repeated_contents(self) -> list[int]:
        """Return the contents that more than one file has, without those of which all files are wanted."""
        return self._read(duplicates.repeated_contents)

    def dismiss(self, digest: bytes, other: bytes, now: float) -> bool:
        """Remember that two contents are no duplicates; False when that was known."""
        return self._change(lambda connection: duplicates.dismiss(connection, digest, other, now))

    def undismiss(self, digest: bytes, other: bytes) -> bool:
        """Forget such a decision; False when there was none."""
        return self._change(lambda connection: duplicates.undismiss(connection, digest, other))

    def decisions(self) -> list[Decision]:
        """Return every decision, oldest first."""
        return self._read(duplicates.decisions)

    def put_decisions(self, decided: Sequence[Decision]) -> int:
        """Write decisions that are not known yet; return how many those are."""
        return self._change(lambda connection: duplicates.put_decisions(connection, decided))

    def images_due(self, limit: int) -> list[Image]:
        """Return files of which it is not decided whether they raise an alert, their copies being known."""
        return self._read(lambda connection: contents.images_due(connection, limit))

    def put_alerts(self, file_ids: Sequence[int], alerts: Sequence[NewAlert], now: float) -> None:
        """Write alerts, and that their files are decided upon, in one commit."""
        self._change(lambda connection: outbox.put_alerts(connection, file_ids, alerts, now))

    def alerts(self, since: int, limit: int) -> list[AlertRecord]:
        """Return alerts with an id above `since`, oldest first."""
        return self._read(lambda connection: outbox.alerts(connection, since, limit))

    # -- where alerts go ---------------------------------------------------------------------------------------------

    def alert_ids(self, since: int, limit: int) -> list[int]:
        """Return the ids of alerts above `since`, ascending."""
        return self._read(lambda connection: outbox.alert_ids(connection, since, limit))

    def waiting(self, since: int) -> Waiting | None:
        """Return what alerts there are with an id above `since`; None when there are none."""
        return self._read(lambda connection: outbox.waiting(connection, since))

    def open_sinks(self, names: Sequence[str]) -> None:
        """Forget the sinks that are not in use any more; one that is new has the alerts from now on."""
        self._change(lambda connection: outbox.open_sinks(connection, names))

    def sinks(self) -> dict[str, SinkState]:
        """Return name -> how far it is, of every sink in use."""
        return self._read(outbox.sinks)

    def begin_message(self, name: str, last_id: int) -> None:
        """Write that a message to a sink is under way that ends with this alert."""
        self._write_unseen(lambda connection: outbox.begin_message(connection, name, last_id))

    def end_message(self, name: str, last_id: int, now: float) -> None:
        """Write that a sink has had the message that ends with this alert."""
        self._change(lambda connection: outbox.end_message(connection, name, last_id, now))

    # -- the watch list ----------------------------------------------------------------------------------------------

    def add_work(self, work: NewWork, now: float) -> Work | None:
        """Put a picture on the watch list; None when its bytes are on it already."""
        return self._change(lambda connection: works.add(connection, work, now))

    def remove_work(self, work_id: int) -> bool:
        """Take a work off the watch list; False when it is not on it."""
        return self._change(lambda connection: works.remove(connection, work_id))

    def works(self) -> list[Work]:
        """Return the watch list, in order of id."""
        return self._read(works.listed)

    def work_vectors(self) -> list[tuple[int, bytes, bytes]]:
        """Return (id, digest, vector) of every work, in order of id."""
        return self._read(works.vectors)

    def put_sightings(self, sightings: Sequence[Sighting]) -> None:
        """Write in which contents works were seen by somebody who is told of it at once."""
        self._change(lambda connection: works.put_sightings(connection, sightings, tell=False))

    def sighted(self, digests: Sequence[bytes]) -> dict[bytes, list[Sighted]]:
        """Return digest -> the works that the content contains, best first, for those that contain any."""
        return self._read(lambda connection: works.sighted(connection, digests))

    # -- the journal of resolves -------------------------------------------------------------------------------------

    def start_resolve(self, tasks: Sequence[NewTask], now: float) -> int:
        """Write a run with its tasks and return its id."""
        return self._change(lambda connection: journal.start(connection, tasks, now))

    def note_task(self, task_id: int, state: str, target: bytes | None, reason: str, now: float) -> ResolveTask | None:
        """Write a task as it is from now on, and return it; None when there is no such task."""
        return self._change(lambda connection: journal.note(connection, task_id, state, target, reason, now))

    def resolve_tasks(self, run_id: int) -> list[ResolveTask]:
        """Return the tasks of a run, in the order of its plan."""
        return self._read(lambda connection: journal.tasks(connection, run_id))

    def resolve_runs(self) -> list[ResolveRun]:
        """Return every run, newest first."""
        return self._read(journal.runs)

    def away_since(self, digests: Sequence[bytes]) -> dict[bytes, float]:
        """Return digest -> when it was last resolved away, for contents that a resolve took out of an album."""
        return self._read(lambda connection: journal.away_since(connection, digests))

    def put_back(self, digests: Sequence[bytes]) -> set[tuple[bytes, bytes]]:
        """Return (path, digest) of the files that an undo put back."""
        return self._read(lambda connection: journal.put_back(connection, digests))

    # -- model runs --------------------------------------------------------------------------------------------------

    def start_run(self, begun: FitBegun, now: float) -> int:
        """Write that a fit began and return its id."""
        return self._change(lambda connection: runs.start(connection, begun, now))

    def add_run_numbers(self, run_id: int, numbers: Mapping[str, float]) -> None:
        """Write more of the numbers by which was decided about a run."""
        self._change(lambda connection: runs.add_numbers(connection, run_id, numbers))

    def end_run(self, run_id: int, outcome: str, message: str, now: float) -> None:
        """Write that a fit ended without a map, or that its map is set aside."""
        self._change(lambda connection: runs.end(connection, run_id, outcome, message, now))

    def end_interrupted_runs(
        self, now: float, outcome: str = "cancelled", message: str = "the daemon stopped during the fit"
    ) -> None:
        """Close a run that was left open: by a killed daemon, or because its end could not be written."""
        self._change(lambda connection: runs.interrupted(connection, outcome, message, now))

    def activate_run(
        self, run_id: int, report: FitReport, placed: Sequence[Placed], now: float, baseline: Baseline | None = None
    ) -> None:
        """Make a fit the active map together with the positions it gives."""
        known = baseline or Baseline()
        self._change(lambda connection: runs.activate(connection, run_id, report, placed, now, known))

    def put_positions(self, run_id: int, placed: Sequence[Placed]) -> None:
        """Write positions of contents that came after the fit."""
        self._change(lambda connection: runs.put_positions(connection, run_id, placed))

    def active_run(self) -> ModelRun | None:
        """Return the run whose map is in use, or None."""
        return self._read(runs.active)

    def runs(self) -> list[ModelRun]:
        """Return every run, newest first."""
        return self._read(runs.history)

    def positions(self, run_id: int) -> list[tuple[int, bytes]]:
        """Return (content id, float32 bytes) of a run's positions, in order of content."""
        return self._read(lambda connection: runs.positions(connection, run_id))

    def flat(self, run_id: int) -> list[tuple[int, bytes]]:
        """Return (content id, x and y as float32 bytes) of a run's picture, in order of content."""
        return self._read(lambda connection: runs.flat(connection, run_id))

    def drift(self, run_id: int) -> Drift:
        """Measure how the contents added since a fit lie to what it was fitted on."""
        return self._read(lambda connection: runs.drift(connection, run_id))

    def unplaced(self, run_id: int, limit: int) -> list[tuple[int, bytes]]:
        """Return (content id, vector) of contents that have no position in a run."""
        return self._read(lambda connection: runs.unplaced(connection, run_id, limit))

    def coverage(self) -> Coverage:
        """Count how the active map covers the contents."""
        return self._read(runs.coverage)

    # -- the file itself ---------------------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """Return what is wrong with the file and the invariants between its rows, a sentence each."""
        return self._read(soundness.findings)

    def backup(self, target: Path) -> None:
        """Write a consistent copy of the index to a file that is not there yet."""
        self._read(lambda connection: backup.copy(connection, target))

    def keep_backup(self) -> None:
        """Look at all of the index and, when it is sound, renew the copy of it that lies beside it.

        Raises
        ------
        StorageError
            When something is wrong with the index, or the copy cannot be written; the copy before stays.
        """
        self._read(lambda connection: backup.keep(connection, self.path))

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    @property
    def backup_path(self) -> Path:
        """The copy that `keep_backup` renews; it need not be there yet."""
        return soundness.backup_of(self.path)

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        with self._database.read() as connection:
            return question(connection)

    def _write_unseen(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Write what no answer shows: the clock stays."""
        return self._database.write(change)

    def _change(self, change: Callable[[sqlite3.Connection], T]) -> T:
        def with_tick(connection: sqlite3.Connection) -> T:
            albums.tick(connection)
            return change(connection)

        return self._ticked(with_tick)

    def _change_contents(self, change: Callable[[sqlite3.Connection, int], tuple[int, ...]]) -> Applied:
        def with_tick(connection: sqlite3.Connection) -> Applied:
            clock = albums.tick(connection)
            return Applied(clock, (), change(connection, clock))

        return self._ticked(with_tick)

    def _ticked(self, change: Callable[[sqlite3.Connection], T]) -> T:
        def with_clock(connection: sqlite3.Connection) -> tuple[T, int]:
            return change(connection), albums.clock(connection)

        result, clock = self._database.write(with_clock)
        with self._changed:
            # Two callers may come back in the other order than they were written.
            self._clock = max(self._clock, clock)
            self._moment += 1
            self._changed.notify_all()
        return result
