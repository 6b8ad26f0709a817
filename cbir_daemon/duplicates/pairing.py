"""Look up the copies of each new content in the background, and decide which new files raise an alert.

In: contents that were never looked up, files of which nothing is decided.  Out: pairs and alerts, committed.  Never
here: how two vectors are compared, who is told, groups.

`Pairing` works at low priority and commits what it found together with the alerts that follow from it; it goes on where
it was after a restart.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from cbir_daemon.comparison import Around, LookedAt, Overlap, Transform
from cbir_daemon.duplicates.looks import Looks
from cbir_daemon.duplicates.part_pairing import PartPairing, done_in_words
from cbir_daemon.duplicates.parts import Parts
from cbir_daemon.duplicates.watchlist import WatchList
from cbir_daemon.kinds import Kind, facts_of, rank
from cbir_daemon.records import IMAGE
from cbir_daemon.search.part_searcher import PartSearcher
from cbir_daemon.search.search import Found, as_vector
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.search.turns import Urgency
from cbir_daemon.store import AlertMatch, ContainedWork, Image, NewAlert, Pair, Store, WorkMatch
from cbir_daemon.system import heartbeat
from cbir_daemon.system.priority import be_nice
from cbir_daemon.watching.walk import state_at
from cbir_daemon.wording import origins

logger = logging.getLogger(__name__)

BATCH_CONTENTS = 32
"""Contents looked up and committed together: a kill costs at most these once more."""

LEAST_PASS, PASS_SHARE = 1_000, 0.2
"""New contents, and their share of all, from which all are looked up among each other: a fifth of the work for each.

By itself, an image has to be compared in every way that it may be a part of another one, or the other one of it; among
each other, each pair is seen from both sides.
"""

EARLY_SHARE = 0.5
"""New contents' share of all from which all are looked up among each other while files are still being read.

Each time there are twice as many as before, so all these passes together are no more work than the one at the end.
"""

JOINED_CONTENTS = 32
"""Contents that a thread looks up at once among each other."""

THREADS = 2
"""Of a look-up of many contents: each waits for a search process, or numpy and faiss let others run meanwhile."""

BATCH_ALERTS = 256
POLL_S = 60.0


class Pairing:
    """Looks up the copies of each new content, and decides which new files raise an alert.

    Parameters
    ----------
    store : Store
    searcher : Searcher
    watchlist : WatchList
    alert_for : callable
        Takes an image, its matches and the works it contains, and returns the alert that it raises, if any
        (`alerts.Policy.alert_for`).
    crowded : callable
        Whether so much is being indexed that looking up copies must wait, but for a pass in a search process.
    looks : Looks, optional
        Compares the files of what the vectors call copies; without it the vectors decide alone.
    parts : Parts, optional
        Looks up the parts of new files that are a copy of nothing; without it nothing is found inside of them.
    fitting : callable, optional
        Whether a map is being fitted.  A pass over many contents waits until it is: both take all processors, a fit
        takes a minute or a few, and a pass grows with the collection.
    batch_contents : int
        Contents looked up by themselves and committed together.
    least_pass : int
        New contents from which all may be looked up among each other.
    joined_contents : int
        Contents that a thread looks up at once among each other.
    part_searchers : sequence of PartSearcher
        Of the media besides images.
    """

    def __init__(
        self,
        store: Store,
        searcher: Searcher,
        watchlist: WatchList,
        alert_for: Callable[[Image, Sequence[AlertMatch], Sequence[ContainedWork]], NewAlert | None],
        crowded: Callable[[], bool],
        looks: Looks | None = None,
        parts: Parts | None = None,
        *,
        fitting: Callable[[], bool] = lambda: False,
        batch_contents: int = BATCH_CONTENTS,
        least_pass: int = LEAST_PASS,
        joined_contents: int = JOINED_CONTENTS,
        part_searchers: Sequence[PartSearcher] = (),
    ) -> None:
        self._store = store
        self._searcher = searcher
        self._watchlist = watchlist
        self._alert_for = alert_for
        self._crowded = crowded
        self._looks = looks
        self._parts = parts
        self._fitting = fitting
        self._batch_contents = batch_contents
        self._least_pass = least_pass
        self._joined_contents = joined_contents
        self._media = {searcher.medium.name: searcher.medium for searcher in part_searchers}
        self._part_pairings = [
            PartPairing(store, searcher, watchlist.part_works[searcher.medium.name]) for searcher in part_searchers
        ]
        self._stopping = threading.Event()
        # Pair of contents that could not be looked at -> the files that it had when that was tried.
        self._tried: dict[tuple[int, int], frozenset[int]] = {}

    @property
    def idle(self) -> bool:
        """Whether every content is looked up and every new file decided upon."""
        counts = self._store.files.counts()
        return not (counts.unmatched or counts.alerts_due or counts.parts_due)

    def stop(self) -> None:
        """Ask the thread to end after the content it is at."""
        self._stopping.set()

    def run(self) -> None:
        """Work through what is new until stopped."""
        be_nice()
        if self._looks is not None:
            self._store.pairs.forget_looks(self._looks.version)
        while not self._stopping.is_set():
            moment = self._store.moment
            if not (self.step_early() if self._crowded() else self.step()):
                self._store.wait_for_change(moment, POLL_S)

    def step(self) -> bool:
        """Look up some contents and decide on some files; False when there was nothing to do."""
        found = self._look_up() | self._look_up_others() | self._alert()
        return found or self._look_inside() or self._look_again()

    def step_early(self) -> bool:
        """Look up some contents among each other while files are being read; False when there was nothing to do.

        Notes
        -----
        One part at a time and only in a search process, at its low priority: the daemon's interpreter is the ingest
        thread's, and the processors are the decode workers'.
        """
        newest_id, bound = self._searcher.newest_id, self._store.pairs.pass_bound()
        contents = _up_to(min(newest_id, bound), self._store.pairs.unmatched(self._joined_contents))
        is_due = not contents and self._is_pass_due(bound, EARLY_SHARE)
        if not (contents or is_due) or self._fitting() or not self._searcher.is_apart(Urgency.PASS):
            return False
        if is_due:
            self._store.pairs.start_pass(newest_id)
            contents = _up_to(newest_id, self._store.pairs.unmatched(self._joined_contents))
        return self._put(contents, self._joined(contents))

    def _look_up_others(self) -> bool:
        """Find the pairs of the next contents of each medium besides images; False when there were none."""
        found = [pairing.step() for pairing in self._part_pairings]
        return any(found)

    def _look_up(self) -> bool:
        """Find the pairs of the next contents; False when there were none."""
        # What is committed comes into view a moment later.  Two contents that were looked up before would miss each
        # other; of two in view the later one finds the earlier.
        newest_id, bound = self._searcher.newest_id, self._store.pairs.pass_bound()
        # First what came after a pass began: somebody may wait for its alert.
        new = _up_to(newest_id, self._store.pairs.unmatched(self._batch_contents, bound))
        if len(new) == self._batch_contents and self._is_pass_due(bound):
            self._store.pairs.start_pass(newest_id)
        elif new:
            return self._put(new, self._one_by_one(new))
        if self._fitting():
            return False
        contents = _up_to(newest_id, self._store.pairs.unmatched(THREADS * self._joined_contents))
        return self._put(contents, self._joined(contents))

    def _is_pass_due(self, bound: int, share: float = PASS_SHARE) -> bool:
        """Whether so much is new that to look up all among each other is less work."""
        count = self._store.pairs.unmatched_count(bound)
        return count >= max(self._least_pass, share * self._store.files.counts().contents)

    def _joined(self, contents: Sequence[tuple[int, bytes]]) -> Iterator[list[Found]]:
        """Yield the copies of contents that are looked up among each other."""
        heartbeat.beat()
        size = self._joined_contents
        parts = [contents[start : start + size] for start in range(0, len(contents), size)]
        with _joining() as threads:
            for found in threads.map(self._joined_part, parts):
                yield from found

    def _joined_part(self, contents: Sequence[tuple[int, bytes]]) -> list[list[Found]]:
        return self._searcher.joined(contents, [self._found_by_others(content_id) for content_id, _ in contents])

    def _found_by_others(self, content_id: int) -> set[int]:
        # What an older release has found has no shares: it is looked at again.
        pairs = [pair for pair in self._store.pairs.listed(content_id) if pair.overlap is not None]
        return {pair.other_id if pair.content_id == content_id else pair.content_id for pair in pairs}

    def _one_by_one(self, contents: Sequence[tuple[int, bytes]]) -> Iterator[list[Found]]:
        """Yield the copies of contents, until stopped."""
        if len(contents) < self._batch_contents:
            yield from self._until_stopped(map(partial(self._copies, Urgency.ALERT), contents))
            return
        # A whole batch is rarely the last: it is worth what searches it, and two threads that ask.
        with _joining() as threads:
            yield from self._until_stopped(threads.map(partial(self._copies, Urgency.PASS), contents))

    def _copies(self, urgency: Urgency, content: tuple[int, bytes]) -> list[Found]:
        content_id, vector = content
        return self._searcher.copies(vector, without=content_id, urgency=urgency)

    def _until_stopped(self, found: Iterator[list[Found]]) -> Iterator[list[Found]]:
        while not self._stopping.is_set():
            heartbeat.beat()
            copies = next(found, None)
            if copies is None:
                return
            yield copies

    def _put(self, contents: Sequence[tuple[int, bytes]], copies: Iterable[Sequence[Found]]) -> bool:
        """Commit what was found of contents, and which works they contain; False when there were none."""
        digests = self._store.contents.digests([content_id for content_id, _ in contents])
        pairs: list[Pair] = []
        pictures: dict[int, float] = {}
        work_matches: list[WorkMatch] = []
        sharpness: dict[int, float] = {}
        done: list[int] = []
        for (content_id, vector), found in zip(contents, copies, strict=False):
            # A content may have gone meanwhile.
            if content_id not in digests:
                continue
            if self._looks is not None:
                found = self._looks.looked(content_id, vector, found)
                sharpness |= _sharpness(self._looks, content_id, found)
            pairs += [_pair(content_id, copy) for copy in found]
            pictures |= self._pictures(content_id, vector, found)
            work_matches += self._watchlist.matches(digests[content_id], vector)
            done.append(content_id)
        if done:
            self._store.pairs.put_matched(done, pairs, pictures, work_matches, sharpness)
            logger.debug("looked up contents=%d pairs=%d works=%d", len(done), len(pairs), len(work_matches))
        return bool(done)

    def _look_again(self) -> bool:
        """Compare files of pairs that could not be read before and can be now; False when there are none."""
        if self._looks is None or not (unlooked := self._store.pairs.unlooked()):
            return False
        present: dict[int, set[int]] = {}
        for image in self._store.files.images(sorted({content_id for ids in unlooked for content_id in ids})):
            if not image.missing:
                present.setdefault(image.content.id, set()).add(image.file_id)
        files = {ids: frozenset(present[ids[0]] | present[ids[1]]) for ids in unlooked if present.keys() >= set(ids)}
        # Once for each set of files: what cannot be read today may be there tomorrow, under another row.
        due = [ids for ids, there in files.items() if self._tried.get(ids) != there][: self._batch_contents]
        for ids in due:
            self._tried[ids] = files[ids]
            self._compare(self._looks, *ids)
        return bool(due)

    def _compare(self, looks: Looks, content_id: int, other_id: int) -> None:
        """Compare the files of a known pair, and write what they show."""
        heartbeat.beat()
        vectors = self._store.contents.vectors([other_id])
        known = [pair for pair in self._store.pairs.listed(other_id) if pair.content_id == content_id]
        found = looks.looked(other_id, vectors[other_id], [_found(pair) for pair in known]) if vectors else []
        pairs = [_pair(other_id, copy) for copy in found if copy.look_version]
        if pairs:
            self._store.pairs.put_matched([], pairs, sharpness=_sharpness(looks, other_id, found))

    def _pictures(self, content_id: int, vector: bytes, found: Sequence[Found]) -> dict[int, float]:
        """Return content id -> share of its area that is picture, for a content that has copies and for those."""
        # Plain bars are looked for in one image after the other: only those that have a copy pay for it.
        copies = [copy.content_id for copy in found if facts_of(copy.kind).shows_same_exposure]
        vectors = {content_id: vector, **self._store.contents.vectors(copies)} if copies else {}
        share = self._searcher.medium.filled_share
        return {shown_id: share(as_vector(row)) for shown_id, row in vectors.items()}

    def _alert(self) -> bool:
        """Decide on the next new files; False when there were none."""
        images = self._store.files.images_due(BATCH_ALERTS)
        if not images:
            return False
        alerts, parts_due = [], []
        for image, alert, is_known in self._decided(images):
            if alert is not None:
                alerts.append(alert)
            elif image.content.medium == IMAGE and not is_known and self._parts is not None and self._is_worth(image):
                parts_due.append(image.file_id)
        self._store.alerts.put([image.file_id for image in images], alerts, time.time(), parts_due)
        return True

    def _decided(self, images: Sequence[Image]) -> Iterator[tuple[Image, NewAlert | None, bool]]:
        """Yield new files, each with the alert that it raises, if any, and whether it is a copy as a whole."""
        digests = list({image.content.digest for image in images})
        away, back = self._store.journal.away_since(digests), self._store.journal.undone(digests)
        twins = self._store.decisions.dismissed_twins()
        contained = self._store.works.contained(digests)
        for image in images:
            digest = image.content.digest
            # Who has just put a file back knows what it is a copy of.
            if (image.path, digest) in back:
                yield image, None, True
                continue
            matches = self._matches(image, same_bytes=digest not in twins)
            alert = self._alert_for(image, matches, contained.get(digest, ()))
            is_copy = any(facts_of(match.kind).shows_same_exposure for match in matches)
            yield image, alert if alert is None else replace(alert, returned=away.get(digest)), is_copy

    def _is_worth(self, image: Image) -> bool:
        """Whether a copy or a work inside a file would raise an alert."""
        copy, work = AlertMatch(image.path, Kind.COPY, 1.0), ContainedWork("", Kind.COPY, 1.0)
        return self._alert_for(image, [copy], [work] if self._watchlist.search() else []) is not None

    def _look_inside(self) -> bool:
        """Look up the parts of the next new file that is a copy of nothing; False when there is none yet."""
        is_ready = self._parts is not None and self._parts.is_ready()
        image = self._store.files.image_in_parts() if is_ready else None
        if self._parts is None or image is None:
            return False
        found, work_matches = self._parts.shown(image)
        names = {work.id: work.name for work in self._store.works.listed()}
        watched = [
            ContainedWork(names[match.work_id], match.kind, match.score)
            for match in work_matches
            if match.work_id in names
        ]
        alert = self._alert_for(image, self._matches_inside(image, found), watched)
        self._store.alerts.put_in_parts(image, alert, work_matches, time.time())
        logger.debug("looked up parts copies=%d works=%d", len(found), len(work_matches))
        return True

    def _matches_inside(self, image: Image, found: Sequence[Found]) -> list[AlertMatch]:
        """Return the files that were there before `image`, are on disk and are shown by its parts, best first."""
        copies = {copy.content_id: copy for copy in found}
        matches = [
            AlertMatch(source.path, Kind.COPY, copies[source.content.id].score, _done_inside(copies[source.content.id]))
            for source in self._store.files.images(list(copies))
            if _is_older(source, image) and _is_there(source)
        ]
        return sorted(matches, key=lambda match: (-match.score, match.path))

    def _matches(self, image: Image, *, same_bytes: bool) -> list[AlertMatch]:
        """Return the images that were there before `image`, are on disk and show the same, exact first."""
        content_id = image.content.id
        pairs = {
            pair.other_id if pair.content_id == content_id else pair.content_id: pair
            for pair in self._store.pairs.listed(content_id)
        }
        same = self._store.files.images([content_id]) if same_bytes else []
        matches = [
            AlertMatch(source.path, Kind.EXACT, 1.0)
            for source in same
            if _is_older(source, image) and not _one_file(source, image) and _is_there(source)
        ]
        matches += [
            AlertMatch(
                source.path,
                pairs[source.content.id].kind,
                pairs[source.content.id].score,
                self._done(pairs[source.content.id], image, source),
            )
            for source in self._store.files.images(list(pairs))
            if _is_older(source, image) and _is_there(source)
        ]
        return sorted(matches, key=lambda match: (rank(match.kind), -match.score, match.path))

    def _done(self, pair: Pair, image: Image, source: Image) -> str:
        medium = self._media.get(image.content.medium)
        if medium is None or not pair.lying:
            return _done(pair, image, source)
        return done_in_words(pair, image.content, source.content, medium)


def _joining() -> ThreadPoolExecutor:
    """Return the threads that look up many contents."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="joining", initializer=be_nice)


def _pair(content_id: int, found: Found) -> Pair:
    """Return a match of a lookup as a pair: of the two, the content that was looked up was the query."""
    own, match = found.overlap.query, found.overlap.match
    look = LookedAt.VECTORS if found.look is None else found.look
    if found.content_id < content_id:
        ids, shares, done = (found.content_id, content_id), (match, own), found.transform
        traces = (found.traces, found.own_traces)
    else:
        ids, shares, done = (content_id, found.content_id), (own, match), found.transform.reversed()
        traces = (found.own_traces, found.traces)
    return Pair(*ids, found.score, *shares, done, found.kind, look, found.look_version, *traces)


def _found(pair: Pair) -> Found:
    """Return a pair as what a lookup of its second content found."""
    shares = (1.0 if share is None else share for share in (pair.other_overlap, pair.overlap))
    return Found(
        pair.content_id, Kind.COPY, pair.score, None, pair.transform or Transform(), Overlap(*shares), look=pair.look
    )


def _sharpness(looks: Looks, content_id: int, found: Sequence[Found]) -> dict[int, float]:
    """Return content id -> share of fine detail, of a content and those found of which all stay: shots of its scene."""
    shots = [shot.content_id for shot in found if not facts_of(shot.kind).may_go]
    measured = {shown_id: looks.sharpness(shown_id) for shown_id in ([content_id, *shots] if shots else ())}
    return {shown_id: share for shown_id, share in measured.items() if share is not None}


def _done(pair: Pair, image: Image, source: Image) -> str:
    """Return in words what was done to a source to get an image."""
    done, shares = pair.transform or Transform(), (pair.other_overlap, pair.overlap)
    if image.content.id == pair.content_id:
        done, shares = done.reversed(), (pair.overlap, pair.other_overlap)
    areas = [shown.content.width_px * shown.content.height_px for shown in (image, source)]
    return origins.edits(
        origins.Edit(
            pair.kind,
            done,
            # What an older release has found has no shares.
            Overlap(*(1.0 if share is None else share for share in shares)),
            scale=(areas[0] / areas[1]) ** 0.5 if all(areas) else 0.0,
        )
    )


def _done_inside(copy: Found) -> str:
    """Return in words what was done to a content that a part of an image shows."""
    return origins.edits(origins.Edit(copy.kind, copy.transform, copy.overlap, copy.tone, Around.PICTURE))


def _is_older(image: Image, newer: Image) -> bool:
    """Whether a file had its content before a newer one.

    Of two that came at once, and that would name each other, one is the original: the one last changed earlier, or else
    the one that was indexed first.
    """
    first, second = ((file.since, file.state.mtime_ns, file.file_id) for file in (image, newer))
    return first < second


def _one_file(image: Image, second: Image) -> bool:
    """Whether two rows are one file: the same row, or a hard link to it."""
    linked = image.state == second.state and image.state.device == second.state.device
    return image.file_id == second.file_id or linked


def _is_there(image: Image) -> bool:
    """Whether the file still stands where its row says; a missing album's files are taken to stand."""
    if image.missing:
        return True
    try:
        return state_at(image.path) is not None
    except OSError:
        return True


def _up_to(newest_id: int, contents: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return the contents that have come into view."""
    return [(content_id, vector) for content_id, vector in contents if content_id <= newest_id]
