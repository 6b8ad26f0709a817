"""Looks up a vector among the contents of other sites: the engine proposes, and the vectors decide here.

In: a vector.  Out: contents of other sites that have its bytes or are copies of it, by the verdict that local matches
get; whether the shared index could be asked.  Never here: writing, files.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDoneError
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Judgement
from cbir_daemon.errors import SharedError
from cbir_daemon.kinds import Kind
from cbir_daemon.medium import Medium
from cbir_daemon.search.search import QUERY_ROUND, as_vectors
from cbir_daemon.shared.engine import WHOLES, WINDOWS, Engine
from cbir_daemon.shared.layout import SharedContent, content_from, content_id, content_of_code, site_number

logger = logging.getLogger(__name__)

CANDIDATES = 96
"""Contents that are fetched and compared by all their codes: 400 KB, some 15 ms."""

HITS = 32
"""Codes that the engine returns for each view."""

THREADS = 4
"""Questions under way at once; further ones wait within their time-out."""

RETRY_S = 5.0
"""Time for which a server that did not answer is not asked again by queries: each of them would wait in vain."""


@dataclass(frozen=True, slots=True)
class SharedMatch:
    """A content of another site that is, or is a copy of, what was asked for.

    Parameters
    ----------
    content : SharedContent
    kind : Kind
        Exact or copy.
    judgement : Judgement or None
        On the two vectors; None for the same bytes.
    """

    content: SharedContent
    kind: Kind
    judgement: Judgement | None

    @property
    def score(self) -> float:
        """0 to 1."""
        return 1.0 if self.judgement is None else self.judgement.score


class Lookup:
    """Looks up vectors; any thread may call it.

    Parameters
    ----------
    engine : Engine
    medium : Medium
    site : str
        This one, which is never looked into.
    copy_threshold : float or None
        Lowest score of a copy, 0 to 1; None is the default of the medium.
    """

    def __init__(self, engine: Engine, medium: Medium, site: str, copy_threshold: float | None = None) -> None:
        self._engine = engine
        self._medium = medium
        self._site = site
        self._copy_threshold = copy_threshold
        self.sites: tuple[str, ...] = ()
        """The other sites, as far as they are known."""

    def copies(
        self,
        vector: bytes,
        digest: bytes,
        timeout_s: float,
        sites: Collection[str] | None = None,
        *,
        strong: bool = False,
    ) -> list[SharedMatch]:
        """Return the contents of other sites that have these bytes, then verified copies, best first.

        Parameters
        ----------
        vector : bytes
            4096 grey numbers.
        digest : bytes
            SHA-256 of the file.
        timeout_s : float
        sites : collection of str, optional
            Only of these.
        strong : bool
            Whether all that was published before must be seen.

        Raises
        ------
        SharedError
            When the engine cannot be asked in time.
        """
        deadline = time.monotonic() + timeout_s
        query = as_vectors([vector])[0]
        asked = [site for site in self.sites if sites is None or site in sites]
        ids = [content_id(site, digest) for site in asked]
        if not self._medium.is_plain(query):
            ids += self._candidates(query, sites, deadline, strong=strong)
        rows = self._engine.rows(list(dict.fromkeys(ids)), _seconds_to(deadline), strong=strong)
        return self._matches(vector, digest, self._believed(rows, sites))

    def paired(self, own: Mapping[bytes, bytes], timeout_s: float) -> dict[bytes, list[SharedMatch]]:
        """Return digest -> what other sites have of it, of the contents of this one of which they have anything.

        Parameters
        ----------
        own : mapping
            Digest -> vector of contents of this site.
        timeout_s : float

        Raises
        ------
        SharedError
            When the engine cannot be asked in time.

        Notes
        -----
        A pair was written by the site that found it, and is verified again here.
        """
        deadline = time.monotonic() + timeout_s
        digests = {content_id(self._site, digest): digest for digest in own}
        found: dict[bytes, list[int]] = {}
        for first, second in self._engine.pairs_of(self._site, timeout_s):
            if first in digests:
                found.setdefault(digests[first], []).append(second)
        ids = sorted({second for seconds in found.values() for second in seconds})
        contents = {
            content.id: content
            for content in self._believed(self._engine.rows(ids, _seconds_to(deadline), strong=True), None)
        }
        matches = {
            digest: self._matches(own[digest], digest, [contents[second] for second in seconds if second in contents])
            for digest, seconds in found.items()
        }
        return {digest: listed for digest, listed in matches.items() if listed}

    def _matches(self, vector: bytes, digest: bytes, contents: Sequence[SharedContent]) -> list[SharedMatch]:
        """Return the contents that have these bytes, then verified copies, best first."""
        exact = [SharedMatch(content, Kind.EXACT, None) for content in contents if content.digest == digest]
        others = [content for content in contents if content.digest != digest]
        copies = self.verified(as_vectors([vector])[0], others)
        return [*sorted(exact, key=lambda match: match.content.site), *copies]

    def _believed(self, rows: Sequence[object], sites: Collection[str] | None) -> list[SharedContent]:
        contents = [content_from(row) for row in rows if isinstance(row, dict)]
        if refused := contents.count(None):
            logger.warning("rows of the shared index are refused rows=%d", refused)
        return [
            content
            for content in contents
            if content is not None and content.site != self._site and (sites is None or content.site in sites)
        ]

    def _candidates(
        self, query: NDArray[np.uint8], sites: Collection[str] | None, deadline: float, *, strong: bool
    ) -> list[int]:
        """Return the contents whose codes are nearest to the query's views, best first."""
        if sites is None:
            where = f"site_number != {site_number(self._site)}"
        else:
            where = f"site_number in {sorted(map(site_number, sites))}"
        best: dict[int, float] = {}
        for partition, views in views_of(self._medium, query).items():
            for code_id, score in self._engine.nearest(
                views, partition, where, HITS, _seconds_to(deadline), strong=strong
            ):
                found = content_of_code(code_id)
                best[found] = max(score, best.get(found, -1.0))
        return sorted(best, key=lambda found: (-best[found], found))[:CANDIDATES]

    def verified(self, query: NDArray[np.uint8], contents: Sequence[SharedContent]) -> list[SharedMatch]:
        """Return the contents that are copies of a query, best first: ranked by all their codes, then judged.

        Parameters
        ----------
        query : (4096,) ndarray of uint8
        contents : sequence of SharedContent
        """
        if not contents:
            return []
        vectors = as_vectors([content.vector for content in contents])
        codes = self._medium.packed_codes(vectors)
        scores = self._medium.best_scores(codes, self._medium.coarse_views(query))
        order = [row for row in np.argsort(-scores, kind="stable").tolist() if scores[row] >= self._medium.copy_floor]
        copies: list[SharedMatch] = []
        for start in range(0, len(order), QUERY_ROUND):
            rows = order[start : start + QUERY_ROUND]
            judged = self._medium.judge(query, vectors[rows], threshold=self._copy_threshold, codes=codes[rows])
            found = [index for index, judgement in enumerate(judged) if judgement.is_copy]
            copies += [SharedMatch(contents[rows[index]], Kind.COPY, judged[index]) for index in found]
            # On while the later half has copies too, as for contents of this site.
            if not found or found[-1] < QUERY_ROUND // 2:
                break
        return sorted(copies, key=lambda match: (-match.score, match.content.id))


def views_of(medium: Medium, query: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Return the views of a query by the partition of codes that they are compared with.

    Parameters
    ----------
    medium : Medium
    query : (4096,) ndarray of uint8
    """
    views = medium.few_views(query)
    # A negative has the opposite code.
    crops = np.concatenate([views.crops, -views.crops])
    return {WHOLES: np.concatenate([crops, views.frames, views.tilts]), WINDOWS: crops}


def _seconds_to(deadline: float) -> float:
    """Return the seconds until a deadline.

    Raises
    ------
    SharedError
        When it has passed.
    """
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise SharedError("the shared index did not answer in time", hint="see [shared] timeout_s")
    return left_s


class Questions:
    """Questions of queries to the shared index, each within its time.

    Parameters
    ----------
    lookup : Lookup
    timeout_s : float
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, lookup: Lookup, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.lookup = lookup
        self._timeout_s = timeout_s
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="shared")
        self._lock = threading.Lock()
        self._again_at = 0.0

    def close(self) -> None:
        """Let the threads end; a question under way ends by its time-out."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def ask(self, vector: bytes, digest: bytes, sites: Collection[str] | None = None) -> Question:
        """Begin to look up a vector; the answer is awaited later.

        Parameters
        ----------
        vector : bytes
        digest : bytes
        sites : collection of str, optional
            Only of these.
        """
        began = self._clock()
        if began < self._again_at:
            return Question(self, None, began)
        future = self._threads.submit(self.lookup.copies, vector, digest, self._timeout_s, sites)
        return Question(self, future, began + self._timeout_s)

    def left_s(self, deadline: float) -> float:
        """Return the seconds until a deadline, at least 0."""
        return max(0.0, deadline - self._clock())

    def note(self, error: str) -> None:
        """Ask the server no more for a while; an empty text means that it answers again."""
        with self._lock:
            self._again_at = self._clock() + RETRY_S if error else 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """A question under way."""

    questions: Questions
    future: Future[list[SharedMatch]] | None
    deadline: float

    def matches(self) -> list[SharedMatch] | None:
        """Return what was found; None when the shared index could not be asked, or not in time."""
        if self.future is None:
            return None
        try:
            return self.future.result(self.questions.left_s(self.deadline))
        except NotDoneError:
            self.future.cancel()
            reason = "no answer in time"
        except SharedError as error:
            reason = str(error)
        logger.warning("the shared index is left out reason=%s", reason)
        self.questions.note(reason)
        return None
