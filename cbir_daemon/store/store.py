"""`Store`: the index as other rooms see it, an object for each table on one database.

In: a path.  Out: the tables, the clock, copies of the file.  Never here: SQL.

Any thread may read.  Changes run on the writer thread, one transaction each; `@writes(ticks=...)` above each method
that writes says whether it raises the clock.
"""

from __future__ import annotations

from pathlib import Path

from cbir_daemon.errors import StorageError
from cbir_daemon.store import backup, clock, salvage, soundness
from cbir_daemon.store.albums import Albums
from cbir_daemon.store.alerts import Alerts
from cbir_daemon.store.contents import Contents
from cbir_daemon.store.database import Database
from cbir_daemon.store.decisions import Decisions
from cbir_daemon.store.descriptors import Descriptors
from cbir_daemon.store.files import Files
from cbir_daemon.store.journal import Journal
from cbir_daemon.store.pairs import Pairs
from cbir_daemon.store.parts import PartRows
from cbir_daemon.store.positions import Positions
from cbir_daemon.store.published import Published
from cbir_daemon.store.runs import Runs
from cbir_daemon.store.sinks import Sinks
from cbir_daemon.store.works import Works


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
    kept = salvage.salvaged(index)
    backup.set_aside(index, salvage.SUFFIX)
    store = Store(index)
    store.open()
    try:
        store._database.write(lambda connection: salvage.write_salvaged(connection, kept))
    finally:
        store.close()
    return kept.lost


class Store:
    """The index in one SQLite file.

    Parameters
    ----------
    path : Path
        The file; made by `open` when it is not there.
    database : Database, optional
        The connections to it; by default those with the usual settings.
    """

    def __init__(self, path: Path, database: Database | None = None) -> None:
        self._database = Database(path) if database is None else database
        self._clock = clock.Clock()
        tables = self._database, self._clock
        self.albums = Albums(*tables)
        self.files = Files(*tables)
        self.contents = Contents(*tables)
        self.parts = PartRows(*tables)
        self.descriptors = Descriptors(*tables)
        self.pairs = Pairs(*tables)
        self.decisions = Decisions(*tables)
        self.alerts = Alerts(*tables)
        self.sinks = Sinks(*tables)
        self.works = Works(*tables)
        self.journal = Journal(*tables)
        self.runs = Runs(*tables)
        self.positions = Positions(*tables)
        self.published = Published(*tables)

    def open(self) -> None:
        """Open the file and start the writer; raises `StorageError`."""
        self._database.open()
        try:
            with self._database.read() as connection:
                self._clock.advance(clock.value(connection))
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
        with self._database.read() as connection:
            self._clock.advance(clock.value(connection))

    def close(self) -> None:
        """Finish pending writes and close the file."""
        self._database.close()
        self.wake()

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    @property
    def backup_path(self) -> Path:
        """The copy that `keep_backup` renews; it need not be there yet."""
        return soundness.backup_of(self.path)

    @property
    def clock(self) -> int:
        """The clock of the last commit that an answer can show."""
        return self._clock.value

    @property
    def is_clock_current(self) -> bool:
        """Whether `clock` is that of the last commit: who wrote it raises it a moment after all can read it."""
        with self._database.read() as connection:
            return clock.value(connection) == self._clock.value

    @property
    def moment(self) -> int:
        """A number that each tick and each `wake` raises; take it before looking, then `wait_for_change`."""
        return self._clock.moment

    def wait_for_change(self, moment: int, timeout_s: float) -> None:
        """Return once there was a change or a `wake` after `moment`, or when the time is up.

        Parameters
        ----------
        moment : int
            Value of `Store.moment` before the caller looked.
        timeout_s : float
            Longest wait, in seconds.
        """
        self._clock.wait(moment, timeout_s)

    def wake(self) -> None:
        """Make all who wait for a change look again: something besides the index has changed."""
        self._clock.wake()

    def check(self) -> list[str]:
        """Return the faults of the file and of the invariants between its rows, a sentence each."""
        with self._database.read() as connection:
            return soundness.findings(connection)

    def backup(self, target: Path) -> None:
        """Write a consistent copy of the index to a file that is not there yet.

        Raises
        ------
        BadRequestError
            When the file is there already.
        StorageError
            When it cannot be written.
        """
        with self._database.read() as connection:
            backup.copy(connection, target)

    def keep_backup(self) -> None:
        """Look at all of the index and, when it is sound, renew the copy of it that lies beside it.

        Raises
        ------
        StorageError
            When something is wrong with the index, or the copy cannot be written; the copy before stays.
        """
        with self._database.read() as connection:
            backup.keep(connection, self.path)
