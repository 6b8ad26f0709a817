"""Copies inside a new file that is no copy as a whole: a picture on a page, pasted onto another one, or a piece of one.

In: a file that is a copy of nothing.  Out: the contents and the works of the watch list that its parts show or its
local features find, each after a look at the files.  Never here: pairs and groups: a screenshot is no duplicate of what
it shows, nor the other way.

Only new files are looked into: an older file that shows a picture that comes later is not found.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from pathlib import Path

from cbir_daemon.decode import DecodePool
from cbir_daemon.duplicates.exposures import Picture
from cbir_daemon.duplicates.looks import Files, QueryLooks, as_picture, trusted
from cbir_daemon.duplicates.places import Placed, looked_in_place, placed_contents
from cbir_daemon.duplicates.watchlist import WatchList
from cbir_daemon.duplicates.work_features import WorkFeatures
from cbir_daemon.errors import NoAccessError, NotFoundError, UnreadableImageError
from cbir_daemon.kinds import Kind, facts_of
from cbir_daemon.local_features import STORED_SIDE_PX, AskedFeatures, StoredFeatures
from cbir_daemon.records import IMAGE, Facts
from cbir_daemon.search.feature_lists import FeatureIndex
from cbir_daemon.search.parts import PARTS_SIDE_PX, copies_in_parts
from cbir_daemon.search.search import Found
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.search.turns import Urgency
from cbir_daemon.store import Image, Store, Work, WorkMatch
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
    index : FeatureIndex, optional
        Has the local features of contents; without it none are asked.
    is_filled : callable
        Whether it has those of all contents that a new file may show.

    Notes
    -----
    For one thread.
    """

    def __init__(
        self,
        store: Store,
        pool: DecodePool,
        searcher: Searcher,
        watchlist: WatchList,
        index: FeatureIndex | None = None,
        is_filled: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._pool = pool
        self._searcher = searcher
        self._watchlist = watchlist
        self._files = Files(store, pool)
        self._index = index
        self._is_filled = is_filled
        self._work_features = WorkFeatures(self._features_of_work)
        self._second_look = searcher.second_look(Urgency.ALERT)

    def is_ready(self) -> bool:
        """Whether new files may be looked into: each is only once."""
        return self._index is None or self._is_filled()

    def shown(self, image: Image) -> tuple[list[Found], list[WorkMatch]]:
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
            extractor=self._pool.readers.of(IMAGE).extractor,
        )
        looks = QueryLooks(
            self._store,
            self._pool,
            self._second_look,
            self._searcher.medium.picture_parts,
            facts,
            lambda side_px: self._files.grey(content.id, side_px),
        )
        picture = looks.picture(PARTS_SIDE_PX)
        if picture is None:
            return [], []
        dismissed = self._store.decisions.dismissed_with(image.content.digest)
        contents = self._contents(image, looks, picture, dismissed)
        work_matches = self._works(image, looks, picture)
        if self._index is None or (contents and work_matches):
            return contents, work_matches
        asked = self._files.asked_features(image.content.id)
        if asked is None:
            return contents, work_matches
        return (
            contents or self._contents_by_features(self._index, image, asked, picture, dismissed),
            work_matches or self._works_by_features(image, asked, picture),
        )

    def _contents_by_features(
        self, index: FeatureIndex, image: Image, asked: AskedFeatures, picture: Picture, dismissed: Container[bytes]
    ) -> list[Found]:
        heartbeat.beat()
        placed = placed_contents(index, self._store.descriptors, asked, {image.content.id})
        digests = self._store.contents.digests([candidate.content_id for candidate in placed])
        placed = [candidate for candidate in placed if digests.get(candidate.content_id) not in dismissed]
        return self._copies_in_place(placed, picture, self._files.picture)

    def _works_by_features(self, image: Image, asked: AskedFeatures, picture: Picture) -> list[WorkMatch]:
        works = {work.id: work for work in self._store.works.listed()}
        self._work_features.add(list(works.values()))
        heartbeat.beat()
        placed = placed_contents(self._work_features.index, self._work_features, asked)
        # A work may have been taken off the list.
        placed = [candidate for candidate in placed if candidate.content_id in works]
        copies = self._copies_in_place(placed, picture, lambda work_id, side_px: self._picture(works[work_id], side_px))
        return [WorkMatch(copy.content_id, image.content.digest, Kind.COPY, copy.score) for copy in copies]

    def _copies_in_place(
        self, placed: list[Placed], picture: Picture, read: Callable[[int, int], Picture | None]
    ) -> list[Found]:
        """Return the copies among contents, or works, that features find: features find and never decide."""
        second_look, parts = self._second_look, self._searcher.medium.picture_parts
        if second_look is None or parts is None:
            return []

        def read_in_time(shown_id: int, side_px: int) -> Picture | None:
            heartbeat.beat()
            return read(shown_id, side_px)

        found = looked_in_place(placed, picture, read_in_time, second_look, parts)
        least = self._searcher.at().copy_threshold or 0.0
        return [match for match in found if facts_of(match.kind).shows_same_exposure and match.score >= least]

    def _contents(self, image: Image, looks: QueryLooks, picture: Picture, dismissed: Container[bytes]) -> list[Found]:
        heartbeat.beat()
        copies = self._searcher.searches(Urgency.ALERT).in_parts(picture)
        digests = self._store.contents.digests([copy.content_id for copy in copies])
        copies = [
            copy
            for copy in copies
            # The picture inside a border is a copy of the whole: it needs no look.
            if copy.content_id != image.content.id and digests.get(copy.content_id) not in dismissed
        ]
        heartbeat.beat()
        return [copy for copy in looks.looked(copies) if facts_of(copy.kind).shows_same_exposure]

    def _works(self, image: Image, looks: QueryLooks, picture: Picture) -> list[WorkMatch]:
        search = self._watchlist.search()
        if search is None:
            return []
        heartbeat.beat()
        works = {work.id: work for work in self._store.works.listed()}
        # A work may have been taken off the list meanwhile.
        shown = [copy for copy in copies_in_parts(search, picture) if copy.content_id in works]
        vectors = search.store.vectors([copy.content_id for copy in shown])
        return [
            WorkMatch(copy.content_id, image.content.digest, Kind.COPY, copy.score)
            for copy in shown
            if self._is_same_exposure(looks, copy, vectors[copy.content_id], works[copy.content_id])
        ]

    def _is_same_exposure(self, looks: QueryLooks, copy: Found, vector: bytes, work: Work) -> bool:
        """Whether a part is no other shot of the scene of a work; true where the work's file cannot be read."""
        heartbeat.beat()
        second_look = self._second_look
        picture = None if second_look is None else self._picture(work, second_look.side_px)
        return picture is None or looks.is_shown(copy, vector, picture)

    def _picture(self, work: Work, side_px: int) -> Picture | None:
        """Return the picture of a work, from a file of an album or the one that it was added from."""
        content = self._store.contents.by_digest(work.digest)
        picture = None if content is None else self._files.picture(content.id, side_px)
        path = self._path_of(work) if picture is None else None
        grey = None if path is None else self._pool.read_grey(path, side_px)
        return picture if grey is None else as_picture(grey)

    def _features_of_work(self, work: Work) -> StoredFeatures | None:
        """Return the local features of a work, from the same files."""
        content = self._store.contents.by_digest(work.digest)
        features = None if content is None else self._files.features(content.id)
        path = self._path_of(work) if features is None else None
        data = None if path is None else self._pool.read_features(path, STORED_SIDE_PX, asked=False)
        return features if data is None else trusted(StoredFeatures.from_bytes, data)

    def _path_of(self, work: Work) -> Path | None:
        """Return the file that a work was added from; None when it is gone, or is another one by now."""
        if not work.path:
            return None
        path = Path(os.fsdecode(work.path))
        try:
            return path if self._pool.read_image(path).digest == work.digest else None
        except (NotFoundError, NoAccessError, UnreadableImageError):
            return None
