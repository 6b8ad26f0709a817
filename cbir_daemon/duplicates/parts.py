"""What a new file shows in a part of itself: a screenshot, a page, a picture pasted onto another one.

In: a file that is a copy of nothing.  Out: the contents and the works of the watch list that its parts show, each after
a look at the files.  Never here: pairs and groups: a screenshot is no duplicate of what it shows, nor the other way.

Only new files are cut into parts: an older file that shows a picture that comes later is not found.
"""

from __future__ import annotations

import os
from pathlib import Path

from cbir_daemon.decode import DecodePool
from cbir_daemon.duplicates.exposures import Picture
from cbir_daemon.duplicates.looks import Files, QueryLooks, as_picture
from cbir_daemon.duplicates.watchlist import WatchList
from cbir_daemon.errors import NoAccessError, NotFoundError, UnreadableImageError
from cbir_daemon.kinds import Kind, facts_of
from cbir_daemon.records import Facts
from cbir_daemon.search.parts import PARTS_SIDE_PX, copies_in_parts
from cbir_daemon.search.search import Found
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Image, Sighting, Store, Work
from cbir_daemon.system import heartbeat


class Parts:
    """Looks up the parts of new files.

    Parameters
    ----------
    store : Store
    pool : DecodePool
        Its workers read the files.
    searcher : Searcher
        Searches the contents.
    watchlist : WatchList
        Has the works.

    Notes
    -----
    For one thread.
    """

    def __init__(self, store: Store, pool: DecodePool, searcher: Searcher, watchlist: WatchList) -> None:
        self._store = store
        self._pool = pool
        self._searcher = searcher
        self._watchlist = watchlist
        self._files = Files(store, pool)

    def shown(self, image: Image) -> tuple[list[Found], list[Sighting]]:
        """Return the contents and the works that parts of a file show, best first; none when it cannot be read.

        Parameters
        ----------
        image : Image

        Raises
        ------
        ChildError
            When no worker can be started.
        UnavailableError
            When the pool is closed.
        """
        content = image.content
        facts = Facts(
            content.digest,
            None,
            content.width_px,
            content.height_px,
            content.format,
            extractor=self._pool.reader.extractor,
        )
        looks = QueryLooks(
            self._store,
            self._pool,
            self._searcher.medium,
            facts,
            lambda side_px: self._files.grey(content.id, side_px),
        )
        picture = looks.picture(PARTS_SIDE_PX)
        if picture is None:
            return [], []
        return self._contents(image, looks, picture), self._works(image, looks, picture)

    def _contents(self, image: Image, looks: QueryLooks, picture: Picture) -> list[Found]:
        heartbeat.beat()
        dismissed = self._store.decisions.dismissed_with(image.content.digest)
        copies = copies_in_parts(self._searcher.at(), picture)
        digests = self._store.contents.digests([copy.content_id for copy in copies])
        copies = [
            copy
            for copy in copies
            # The picture inside a border is a copy of the whole: it needs no look.
            if copy.content_id != image.content.id and digests.get(copy.content_id) not in dismissed
        ]
        heartbeat.beat()
        return [copy for copy in looks.looked(copies) if facts_of(copy.kind).shows_same_exposure]

    def _works(self, image: Image, looks: QueryLooks, picture: Picture) -> list[Sighting]:
        search = self._watchlist.search()
        if search is None:
            return []
        heartbeat.beat()
        works = {work.id: work for work in self._store.works.listed()}
        # A work may have been taken off the list meanwhile.
        shown = [copy for copy in copies_in_parts(search, picture) if copy.content_id in works]
        vectors = search.store.vectors([copy.content_id for copy in shown])
        return [
            Sighting(copy.content_id, image.content.digest, Kind.COPY, copy.score)
            for copy in shown
            if self._is_same_exposure(looks, copy, vectors[copy.content_id], works[copy.content_id])
        ]

    def _is_same_exposure(self, looks: QueryLooks, copy: Found, vector: bytes, work: Work) -> bool:
        """Whether a part is no other shot of the scene of a work; true where the work's file cannot be read."""
        heartbeat.beat()
        second_look = self._searcher.medium.second_look
        picture = None if second_look is None else self._picture(work, second_look.side_px)
        return picture is None or looks.is_shown(copy, vector, picture)

    def _picture(self, work: Work, side_px: int) -> Picture | None:
        """Return the picture of a work, from a file of an album or the one that it was added from."""
        content = self._store.contents.by_digest(work.digest)
        picture = None if content is None else self._files.picture(content.id, side_px)
        if picture is not None or not work.path:
            return picture
        path = Path(os.fsdecode(work.path))
        try:
            is_work = self._pool.read_image(path).digest == work.digest
        except (NotFoundError, NoAccessError, UnreadableImageError):
            return None
        grey = self._pool.read_grey(path, side_px) if is_work else None
        return None if grey is None else as_picture(grey)
