"""A text as parts: overlapping passages, each with its vector, its place and its words.

In: pages of text.  Out: what a reader hands on of them.  Never here: files, formats.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.records import Part
from cbir_daemon.text.detail import packed
from cbir_daemon.text.features import passage_vectors, whole_vector
from cbir_daemon.text.normal import NormalText, folded, normal

PASSAGE_LETTERS: Final = 1_500
"""Of a passage; a paragraph has a few hundred."""
STEP_LETTERS: Final = 1_000
"""From the beginning of a passage to that of the next: any 500 letters on end are whole in one."""

Ints = NDArray[np.int64]

MAX_CHARACTERS: Final = 6_000_000
"""Of a text that are read, a shelf of novels: a passage for every 1 000 of them stays below the parts that a file may
have."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a file, or all of it where there are none.

    Parameters
    ----------
    text : str
    label : str
        For people: "page 3"; empty where there are no pages.
    """

    text: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Passages:
    """A text as numbers.

    Parameters
    ----------
    vector : bytes
        Of the whole.
    parts : tuple of Part
    words : int
    characters : int
        Of the folded text.
    """

    vector: bytes
    parts: tuple[Part, ...]
    words: int
    characters: int


def passages(pages: Sequence[Page]) -> Passages:
    """Return a text as passages.

    Parameters
    ----------
    pages : sequence of Page
        `MAX_CHARACTERS` in all at most.
    """
    texts = [folded(page.text) for page in pages]
    text, begins = normal(texts)
    characters = begins[-1] + len(texts[-1]) if texts else 0
    return Passages(whole_vector(text.letters), _parts(text, begins, pages), len(text.words), characters)


def _parts(text: NormalText, begins: list[int], pages: Sequence[Page]) -> tuple[Part, ...]:
    if not len(text.words):
        return ()
    firsts, lasts = _word_spans(text, begins)
    last_letters = text.word_at[lasts] + (text.ends - text.starts)[lasts]
    vectors = passage_vectors(text.letters, np.stack([text.word_at[firsts], last_letters], axis=1))
    nexts = np.append(firsts[1:], len(text.words))
    return tuple(
        Part(
            vector,
            float(text.starts[first]),
            float(text.ends[last]),
            pages[bisect_right(begins, text.starts[first]) - 1].label,
            packed(text.words[first:after], text.starts[first:after]),
        )
        for vector, first, last, after in zip(vectors, firsts.tolist(), lasts.tolist(), nexts.tolist(), strict=True)
    )


def _word_spans(text: NormalText, begins: list[int]) -> tuple[Ints, Ints]:
    """Return the first and the last word of each passage: one begins with each page, the last ends with the text."""
    pages = np.unique(np.searchsorted(text.starts, begins))
    # Letters from one page's beginning to the next one's.
    edges = np.append(text.word_at[pages[pages < len(text.words)]], len(text.letters))
    begin_at = [
        np.arange(start, max(end - PASSAGE_LETTERS + STEP_LETTERS, start + 1), STEP_LETTERS)
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    firsts = np.unique(np.searchsorted(text.word_at, np.concatenate(begin_at)))
    firsts = firsts[firsts < len(text.words)]
    lasts = np.searchsorted(text.word_at, text.word_at[firsts] + PASSAGE_LETTERS) - 1
    lasts[-1] = len(text.words) - 1
    return firsts, np.maximum(lasts, firsts)
