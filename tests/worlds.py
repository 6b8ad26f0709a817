"""The builder of worlds for tests: an index, what searches it and what works on it, wired as the daemon wires them.

In: a folder of the test's own.  Out: a `World`, which `closing` or a fixture closes.  Never here: what a test expects.

Tests that need words of their own for what happens in a world make a class of it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from cbir_daemon import config
from cbir_daemon.config import ModelConfig
from cbir_daemon.daemon.rooms import INDEX_FILE, MODELS_FOLDER
from cbir_daemon.decode import DecodePool
from cbir_daemon.duplicates import Looks, Pairing, Parts
from cbir_daemon.duplicates.pairing import BATCH_CONTENTS, JOINED_CONTENTS, LEAST_PASS
from cbir_daemon.duplicates.watchlist import WatchList
from cbir_daemon.indexing.albums import Albums
from cbir_daemon.indexing.batches import BATCH_FILES
from cbir_daemon.indexing.line import Ingest
from cbir_daemon.map import Projector, projection
from cbir_daemon.map.projection import Projection
from cbir_daemon.matching import GREY64
from cbir_daemon.medium import MapSpace, Medium
from cbir_daemon.records import DescriptorKind
from cbir_daemon.search.processes import Processes
from cbir_daemon.search.searcher import PROBED_CONTENTS, Searcher
from cbir_daemon.store import AlertMatch, Applied, Change, ContainedWork, Image, NewAlert, Store
from cbir_daemon.watching.mailbox import Mailbox
from tests import rows

AlertFor = Callable[[Image, Sequence[AlertMatch], Sequence[ContainedWork]], NewAlert | None]

MODEL = ModelConfig()


class World:
    """An open index with its albums, and a searcher over it.

    Parameters
    ----------
    folder : Path
        Where the index lies, and what belongs to it.
    roots : sequence of bytes or Path
        Of the albums; by default there is one, at `rows.ROOT`.  Nothing needs to be there.
    indexed_before : bool
        Whether the first scan of the albums has ended, so that what comes is news.
    medium : Medium
        What the vectors are.
    codes_path : Path, optional
        The file that keeps the codes; by default they are kept in memory.
    search_processes : int
        That may search; closed with the world.
    """

    def __init__(
        self,
        folder: Path,
        roots: Sequence[bytes | Path] = (rows.ROOT,),
        *,
        indexed_before: bool = True,
        medium: Medium = GREY64,
        codes_path: Path | None = None,
        search_processes: int = 0,
    ) -> None:
        self.folder = folder
        self.models_dir = folder / MODELS_FOLDER
        self.medium = medium
        self.config = config.load(state=folder / "state", environ={}, albums=[])
        self.store = Store(folder / INDEX_FILE)
        self.store.open()
        for root in roots:
            self.store.albums.add(bytes(root))
        if indexed_before:
            self.finish_first_scan()
        self.processes = Processes(self.store.path, search_processes, search_processes) if search_processes else None
        self.searcher = Searcher(self.store, medium, codes_path=codes_path, processes=self.processes)

    def close(self) -> None:
        """Close what is open."""
        if self.processes is not None:
            self.processes.close()
        self.searcher.close()
        self.store.close()

    @property
    def album_id(self) -> int:
        """The id of the first album."""
        return self.store.albums.listed()[0].id

    def finish_first_scan(self) -> None:
        """Let everything from now on be news."""
        for album in self.store.albums.listed():
            self.store.albums.finish_baseline(album.id)

    # -- contents that come and go -----------------------------------------------------------------------------------

    def apply(self, changes: Iterable[Change]) -> Applied:
        """Commit changes, and let searches see them."""
        applied = self.store.files.apply(list(changes))
        self.publish(applied)
        return applied

    def publish(self, applied: Applied) -> None:
        """Let searches see what was committed."""
        self.searcher.change(applied.added, applied.gone)

    # -- rooms -------------------------------------------------------------------------------------------------------

    def new_searcher(self, codes_path: Path | None = None, probed_contents: int = PROBED_CONTENTS) -> Searcher:
        """Return another searcher, which has read the index as at the start of a daemon.

        Parameters
        ----------
        codes_path : Path, optional
            The file that keeps its codes.
        probed_contents : int
            Cached codes that it compares, about.
        """
        searcher = Searcher(self.store, self.medium, codes_path=codes_path, probed_contents=probed_contents)
        searcher.load()
        return searcher

    def new_watchlist(self) -> WatchList:
        """Return a watch list, which has not been read from the index yet."""
        return WatchList(self.store, self.searcher)

    def new_pairing(
        self,
        watchlist: WatchList | None = None,
        alert_for: AlertFor = lambda image, matches, works: None,
        crowded: Callable[[], bool] = lambda: False,
        looks: Looks | None = None,
        parts: Parts | None = None,
        bounds: Mapping[str, int] = MappingProxyType({}),
        *,
        fitting: Callable[[], bool] = lambda: False,
    ) -> Pairing:
        """Return the search for copies, as it is after a start.

        Parameters
        ----------
        watchlist : WatchList, optional
            By default an empty one.
        alert_for, crowded, looks, parts
            See `Pairing`; by default nothing raises an alert, nothing is being indexed, and vectors decide.
        bounds : mapping, optional
            Other bounds of `Pairing` than the usual ones.
        fitting : callable
            See `Pairing`; by default no map is fitted.
        """
        watched = watchlist or self.new_watchlist()
        limits = dict(bounds)
        return Pairing(
            self.store,
            self.searcher,
            watched,
            alert_for,
            crowded,
            looks,
            parts,
            fitting=fitting,
            batch_contents=limits.pop("batch_contents", BATCH_CONTENTS),
            least_pass=limits.pop("least_pass", LEAST_PASS),
            joined_contents=limits.pop("joined_contents", JOINED_CONTENTS),
        )

    def new_projection(
        self,
        settings: ModelConfig = MODEL,
        *,
        batch_contents: int = projection.BATCH_CONTENTS,
        spaces: Mapping[str, MapSpace] | None = None,
        tried_id: Callable[[DescriptorKind], int] = lambda _: sys.maxsize,
        make_projector: Callable[..., Projector] = Projector,
        clock: Callable[[], float] = time.monotonic,
    ) -> Projection:
        """Return what places contents on the map.

        Parameters
        ----------
        settings, batch_contents, spaces, tried_id, make_projector, clock
            See `Projection`.
        """
        return Projection(
            self.store,
            self.searcher,
            self.models_dir,
            settings,
            batch_contents=batch_contents,
            spaces=spaces,
            tried_id=tried_id,
            make_projector=make_projector,
            clock=clock,
        )

    def new_albums(self) -> Albums:
        """Return what watches the albums, with nothing that the configuration says of single ones."""
        return Albums(self.store, self.searcher, ())

    def new_ingest(
        self,
        pool: DecodePool,
        albums: Albums,
        suffixes: Iterable[str],
        *,
        now_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
        batch_files: int = BATCH_FILES,
    ) -> Ingest:
        """Return what keeps the index equal to the albums.

        Parameters
        ----------
        pool, albums, suffixes, now_ns, clock, batch_files
            See `Ingest`; the clock is that of its mailbox, too.
        """
        mailbox = Mailbox(clock)
        return Ingest(
            self.config,
            self.store,
            self.searcher,
            pool,
            mailbox,
            suffixes,
            albums,
            now_ns=now_ns,
            clock=clock,
            batch_files=batch_files,
        )
