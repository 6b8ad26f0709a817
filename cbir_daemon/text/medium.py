"""Texts as a medium: how files are found by their passages, judged by their words, and spoken of.

In: vectors and words.  Out: `TEXTS`, a `PartMedium`.  Never here: files and formats (`file_reader`), SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Overlap
from cbir_daemon.medium import Codes, Floats, MapSpace
from cbir_daemon.part_medium import Candidate, FileFacts, FileJudgement, Merit, Parts, Place, Probes
from cbir_daemon.records import Detail
from cbir_daemon.text import codes, judging
from cbir_daemon.text.detail import Words, words_of
from cbir_daemon.text.features import ZERO

EXTRACTOR: Final = "text-ngrams/1"

MOST_PROBES: Final = 48
"""Passages that are looked up of a long text, evenly spread: 48 pages of a book find the book."""

FLOOR: Final = 0.2
"""Cosine of two packed codes from which a passage's file is a candidate: five deviations of unrelated ones."""

WITNESSES: Final = 8
"""Files that are asked whether they have a passage, too: of those that look most alike some have other words."""

FEWEST_WORDS: Final = 12
"""Different words of a text that matches more than its own bytes."""

_SIDE: Final = 64
_DRAWN_CONTRAST: Final = 4

_NO_DESCRIPTORS: Final = 0


class Texts:
    """Texts by their passages; a `PartMedium`."""

    name = "text"
    noun = "text"
    extractor = EXTRACTOR
    unit = "characters"
    threshold = judging.THRESHOLD
    floor = FLOOR
    witnesses = WITNESSES
    windows = 1
    terms = codes.TERMS
    spaces: Mapping[str, MapSpace] = MappingProxyType(
        {"text": MapSpace("ngrams/1", codes.TERMS, lambda vectors, _: codes.folded_directions(vectors))}
    )

    def is_plain(self, parts: Parts, /) -> bool:
        """Return whether a text has fewer than `FEWEST_WORDS` different words."""
        return _is_plain(words_of(parts))

    def packed_codes(self, vectors: NDArray[np.uint8], /) -> Codes:
        """Return (n, 1, terms) packed codes."""
        return codes.packed_codes(vectors)

    def probes(self, query: Parts, /) -> Probes:
        """Return the codes of at most `MOST_PROBES` passages, evenly spread over the text."""
        count = 0 if self.is_plain(query) else len(query.vectors)
        rows = np.unique(np.linspace(0, max(count - 1, 0), min(count, MOST_PROBES)).astype(np.int64))
        looked_up = codes.folded_directions(query.vectors[rows]) / codes.SCALE
        return Probes(looked_up.reshape(-1, codes.TERMS), rows, np.zeros((len(rows), 0), dtype=np.float32))

    def judge(self, query: Parts, probes: Probes, candidates: Sequence[Candidate], /) -> list[FileJudgement]:
        """Return what comparing the words of a query with those of each candidate says.

        Parameters
        ----------
        query : Parts
        probes : Probes
            Not looked at.
        candidates : sequence of Candidate
        """
        words = words_of(query)
        stored = [words_of(candidate.parts) for candidate in candidates]
        # What is plain shares its few words with many.
        compared = [np.zeros(0, np.uint16) if _is_plain(each) else each.hashes for each in stored]
        verdicts = judging.judged(np.zeros(0, np.uint16) if _is_plain(words) else words.hashes, compared)
        return [
            _judgement(verdict, (query, words), (candidate.parts, each))
            for verdict, candidate, each in zip(verdicts, candidates, stored, strict=True)
        ]

    def reversed(self, judgement: FileJudgement, /) -> FileJudgement:
        """Return a judgement as it is when the stored file is the query."""
        return judgement.swapped({_OPPOSITE.get(name, name): value for name, value in judgement.details.items()})

    def likeness(self, query: NDArray[np.uint8], stored: NDArray[np.uint8], /) -> Floats:
        """Return the cosine of whole texts, (m,) float32 in [0, 1]."""
        return codes.likeness(query, stored)

    def words(self, judgement: FileJudgement, path: str, /, query: FileFacts, match: FileFacts) -> str:
        """Return where a query stands: "62 % of it stands in /docs/a.pdf, pages 3-5".

        Parameters
        ----------
        judgement : FileJudgement
        path : str
        query, match : FileFacts
            Not looked at.
        """
        place = judgement.details.get("match_pages", "")
        where = f"{path}, {place}" if place else path
        if _percent(judgement.overlap.query) >= _percent(judgement.overlap.match):
            return f"{_share(judgement.overlap.query)} of it stands in {where}"
        own = judgement.details.get("query_pages", "")
        return f"{_share(judgement.overlap.match)} of {where} stands in it" + (f", {own}" if own else "")

    def merits(self, facts: FileFacts, /) -> tuple[Merit, ...]:
        """Return the number of words: the longer text is kept."""
        count = int(facts.details.get("words", 0))
        return (Merit("words", count, _counted(count, "word")),)

    def summary(self, facts: FileFacts, /) -> str:
        """Return the number of pages and words."""
        counts = [(int(facts.details.get(f"{noun}s", 0)), noun) for noun in ("page", "word")]
        return ", ".join(_counted(count, noun) for count, noun in counts if count) or "no words"

    def picture(self, vector: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Return the counts of the buckets as grey levels, (64, 64)."""
        counts = np.asarray(vector, dtype=np.int64).reshape(_SIDE, _SIDE) - ZERO
        return np.clip(counts * _DRAWN_CONTRAST + ZERO, 0, 255).astype(np.uint8)


_OPPOSITE: Final = {"query_pages": "match_pages", "match_pages": "query_pages"}


def _counted(count: int, noun: str) -> str:
    number = f"{count:,}".replace(",", " ")
    return f"{number} {noun}{'' if count == 1 else 's'}"


def _is_plain(words: Words) -> bool:
    return len(np.unique(words.hashes)) < FEWEST_WORDS


def _judgement(verdict: judging.Verdict, query: tuple[Parts, Words], stored: tuple[Parts, Words]) -> FileJudgement:
    details: dict[str, Detail] = {}
    for name, (parts, words), span in (
        ("query_pages", query, verdict.query_words),
        ("match_pages", stored, verdict.stored_words),
    ):
        if pages := _pages(parts, words, span):
            details[name] = pages
    return FileJudgement(
        verdict.score >= judging.THRESHOLD,
        verdict.score,
        Overlap(verdict.query_share, verdict.stored_share),
        _place(*query, verdict.query_words),
        _place(*stored, verdict.stored_words),
        details,
    )


def _place(parts: Parts, words: Words, span: tuple[int, int]) -> Place:
    """Return where some words are, in characters; to the beginning of the word after them, or to the end."""
    first, after = span
    if first == after:
        return (0.0, 0.0)
    end = float(words.starts[after]) if after < len(words.starts) else parts.length
    return (float(words.starts[first]), end)


def _pages(parts: Parts, words: Words, span: tuple[int, int]) -> str:
    """Return the labels of the parts that some words are in: "page 3", "pages 3-5"; empty without labels."""
    first, after = span
    if first == after:
        return ""
    begin, end = (str(parts.labels[words.parts[word]]) for word in (first, after - 1))
    if begin == end:
        return begin
    noun, _, number = begin.rpartition(" ")
    return f"{noun}s {number}\u2013{end.rpartition(' ')[2]}"


def _percent(share: float) -> int:
    return round(100 * share)


def _share(share: float) -> str:
    percent = _percent(share)
    return "all" if percent == 100 else f"{max(percent, 1)} %"


TEXTS: Final = Texts()
