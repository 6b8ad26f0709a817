"""Which files are judged for a query by parts, and who is asked beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from cbir_daemon.part_medium import FileJudgement, candidate
from cbir_daemon.search.part_candidates import MAX_CANDIDATES, PartSnapshot, ranked, verified, witnesses
from cbir_daemon.text import TEXT
from cbir_daemon.text.file_reader import FILE_READER
from tests.texts import parts_of, prose

MEDIUM = TEXT.medium
NOTICE = prose(60, 90)
CHAPTERS = [prose(seed, 250) for seed in range(100, 110 + MAX_CANDIDATES)]
NOTED = [f"{NOTICE}\n\n{prose(seed, 300)}" for seed in range(200, 206)]


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> None:
    """A worker loads the reader before it reads."""
    FILE_READER.load({"text"})


class Shelf:
    """Stored texts: their ids are their places."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.parts = [parts_of(text) for text in texts]
        self.codes = [MEDIUM.packed_codes(parts.vectors) for parts in self.parts]
        owners = np.repeat(np.arange(len(texts)), [len(codes) for codes in self.codes])
        self.snapshot = PartSnapshot(owners, np.concatenate(self.codes), frozenset(range(len(texts))))
        self.judged: list[list[int]] = []

    def copies(self, text: str, without: int | None = None) -> set[int]:
        """Return the copies of a text."""
        query = parts_of(text)
        probes = MEDIUM.probes(query)

        def judge(ids: Sequence[int]) -> list[tuple[int, FileJudgement]]:
            self.judged.append(list(ids))
            candidates = [candidate(self.parts[at], self.codes[at], probes) for at in ids]
            return list(zip(ids, MEDIUM.judge(query, probes, candidates), strict=True))

        found = verified(self.snapshot, MEDIUM, query, probes, without, judge)
        return {at for at, judgement in found if judgement.is_copy}


def test_others_bear_witness_that_a_passage_is_boilerplate() -> None:
    """A book that begins with a notice finds its chapters; of the files with the notice one alone is a candidate."""
    shelf = Shelf([*CHAPTERS, *NOTED])
    found = shelf.copies("\n\n".join([NOTICE, *CHAPTERS]))
    first, second = shelf.judged
    noted = set(range(len(CHAPTERS), len(CHAPTERS) + len(NOTED)))
    assert len(noted.intersection(first)) < 3 <= len(noted.intersection(second))
    assert len(found) > MAX_CANDIDATES // 2
    assert not found & noted


def test_without_a_passage_nobody_else_is_asked() -> None:
    """A whole text finds itself at once, and not when it is left out."""
    shelf = Shelf(CHAPTERS[:6])
    assert shelf.copies(CHAPTERS[2]) == {2}
    assert len(shelf.judged) == 1
    assert shelf.copies(CHAPTERS[2], without=2) == set()


def test_witnesses_have_what_stands_at_a_place_of_the_query() -> None:
    """So many for each place, none that is known."""
    shelf = Shelf(NOTED)
    query = parts_of("\n\n".join([NOTICE, *CHAPTERS[:6]]))
    probes = MEDIUM.probes(query)
    assert set(ranked(shelf.snapshot, probes, MEDIUM.floor)) == set(range(len(NOTED)))
    found = witnesses(shelf.snapshot, query, probes, [(0.0, 400.0)], {0, None}, 3)
    assert len(found) == 3
    assert 0 not in found
    assert witnesses(shelf.snapshot, query, probes, [(0.0, 400.0)], (), 0) == []
