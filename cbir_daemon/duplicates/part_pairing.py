"""Look up the copies of new files that are compared by their parts.

In: contents of one medium that were never looked up.  Out: pairs, committed.  Never here: images (`pairing`), alerts.

The thread of `pairing` does this too: what is decided about a new file is the same for every medium.
"""

from __future__ import annotations

from cbir_daemon.comparison import LookedAt
from cbir_daemon.duplicates.part_works import PartWorks
from cbir_daemon.kinds import Kind
from cbir_daemon.part_medium import FileFacts, FileJudgement, PartMedium, judgement_from
from cbir_daemon.search.part_searcher import PartSearcher
from cbir_daemon.search.search import Found
from cbir_daemon.store import Content, Pair, Store, WorkMatch
from cbir_daemon.system import heartbeat

BATCH_CONTENTS = 16
"""Contents looked up and committed together."""

PATH = "that file"
"""What stands for a file whose name is said beside the words."""


class PartPairing:
    """Looks up the copies of the new files of one medium.

    Parameters
    ----------
    store : Store
    searcher : PartSearcher
    works : PartWorks
        Of the watch list.
    """

    def __init__(self, store: Store, searcher: PartSearcher, works: PartWorks) -> None:
        self._store = store
        self._searcher = searcher
        self._works = works

    def step(self) -> bool:
        """Look up the next files; False when there were none in view."""
        name, in_view = self._searcher.medium.name, self._searcher.snapshot.contents
        waiting = [content_id for content_id, _ in self._store.pairs.unmatched(BATCH_CONTENTS, medium=name)]
        # What is committed comes into view a moment later: of two files in view the later finds the earlier.
        contents = [content_id for content_id in waiting if content_id in in_view]
        digests = self._store.contents.digests(contents)
        pairs: list[Pair] = []
        matches: list[WorkMatch] = []
        for content_id, parts in self._searcher.parts_of(contents).items():
            heartbeat.beat()
            found = self._searcher.copies(parts, without=content_id)
            pairs += [pair_of(content_id, copy, self._searcher.medium) for copy in found]
            matches += self._works.matches(digests[content_id], parts) if content_id in digests else []
        if contents:
            self._store.pairs.put_matched(contents, pairs, work_matches=matches)
        return bool(contents)


def pair_of(content_id: int, found: Found, medium: PartMedium) -> Pair:
    """Return what the lookup of a content found, as a pair.

    Parameters
    ----------
    content_id : int
        The query's.
    found : Found
        Has how the two lie in each other.
    medium : PartMedium
    """
    assert found.lying is not None
    lying = found.lying if content_id < found.content_id else medium.reversed(found.lying)
    return Pair(
        min(content_id, found.content_id),
        max(content_id, found.content_id),
        found.score,
        lying.overlap.query,
        lying.overlap.match,
        kind=Kind.COPY,
        look=LookedAt.VECTORS,
        lying=lying.to_json(),
    )


def lying_in(pair: Pair, query_id: int, medium: PartMedium) -> FileJudgement:
    """Return how one of the contents of a pair lies in the other.

    Parameters
    ----------
    pair : Pair
        Of contents of this medium.
    query_id : int
        Which of the two is the query.
    medium : PartMedium
    """
    lying = judgement_from(pair.lying)
    return lying if query_id == pair.content_id else medium.reversed(lying)


def facts_of_content(content: Content) -> FileFacts:
    """Return what a medium is told of a content."""
    return FileFacts(content.format, content.size_bytes, content.details)


def done_in_words(pair: Pair, query: Content, match: Content, medium: PartMedium) -> str:
    """Return what a content is of another, without a name: "5 s of it, 4 % faster".

    Parameters
    ----------
    pair : Pair
        Of the two.
    query, match : Content
    medium : PartMedium
    """
    lying = lying_in(pair, query.id, medium)
    return medium.words(lying, PATH, query=facts_of_content(query), match=facts_of_content(match))
