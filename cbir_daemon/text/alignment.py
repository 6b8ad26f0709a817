"""Where the words of one text stand in another.

In: hashes of words, in order.  Out: chains of common words.  Never here: vectors, what makes a copy (`judging`).

A shingle is three words on end.  Pairs of a shingle of one text with the same shingle of another lie on a diagonal when
they are equally far into both.  What lies near each other on one diagonal is a run, and runs that follow one another in
both texts are a chain: words that were added, dropped or misread between them do not break it.

References
----------
Broder: On the resemblance and containment of documents, SEQUENCES 1997, for shingles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

SHINGLE: Final = 3
"""Words: two on end are in texts by chance, and of four a misread text of 5 % wrong letters keeps only a third."""

# A shingle that stands more often in a text, "of the same", says little of where its words are from.
_MOST_PLACES: Final = 4

# Words between two shingles of a chain, at most, in either text: a few sentences that were put in.
_GAP: Final = 40
# Shingles of a chain at least: six words on end.
_FEWEST_SHINGLES: Final = 4
# Of the words that a chain spans in the query, those that both texts have.
_LEAST_DENSITY: Final = 0.2

# A pair with fewer than `_FEWEST_SHINGLES` around it, in cells of as many words and diagonals, begins no chain.
_CELL_WORDS_LOG2: Final = 6
_CELL_DIAGONALS_LOG2: Final = 5
_AROUND: Final = (-1, 0, 1)
_ROW: Final = 1 << 32

# Places of the table by which shingles are counted or looked up at once; those of 32 long texts share few.
TABLE_BITS: Final = 20
_MIXER: Final = np.uint64(0x9E3779B97F4A7C15)
_TO_PLACE: Final = np.uint64(64 - TABLE_BITS)


@dataclass(frozen=True, slots=True)
class Chain:
    """A stretch of one text that stands in another.

    Parameters
    ----------
    query, stored : tuple of int
        First word and the word after the last, in each text.
    query_common, stored_common : (k,) ndarray of int64
        The words of each that the other has too, ascending.
    """

    query: tuple[int, int]
    stored: tuple[int, int]
    query_common: Ints
    stored_common: Ints


def shingles(words: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """Return the shingle that begins at each word but the last two: three hashes in one number.

    Parameters
    ----------
    words : (n,) ndarray of uint16
    """
    if len(words) < SHINGLE:
        return np.zeros(0, dtype=np.uint64)
    wide = words.astype(np.uint64)
    return np.asarray(wide[:-2] | wide[1:-1] << np.uint64(16) | wide[2:] << np.uint64(32))


def table_places(asked: NDArray[np.uint64]) -> Ints:
    """Return the place of each shingle in a table of 2 ** `TABLE_BITS`; different ones may share a place.

    Parameters
    ----------
    asked : (n,) ndarray of uint64
    """
    return ((asked * _MIXER) >> _TO_PLACE).astype(np.int64)


class Query:
    """A text that others are aligned with.

    Parameters
    ----------
    words : (n,) ndarray of uint16
    """

    def __init__(self, words: NDArray[np.uint16]) -> None:
        self.words = words
        self.shingles = shingles(words)
        self._order = np.argsort(self.shingles, kind="stable")
        self._ordered = self.shingles[self._order]
        self._table = np.zeros(1 << TABLE_BITS, dtype=bool)
        self._table[table_places(self.shingles)] = True

    def chains(self, words: NDArray[np.uint16], places: Ints) -> list[Chain]:
        """Return what a text has in common with this one, longest chain first.

        Parameters
        ----------
        words : (m,) ndarray of uint16
        places : (m - 2,) ndarray of int64
            `table_places` of its shingles.
        """
        query_at, stored_at = self._pairs(shingles(words), places)
        near = _has_company(query_at, stored_at - query_at)
        found = [
            _chain(self.words, words, runs) for runs in _linked(_runs(query_at[near], stored_at[near] - query_at[near]))
        ]
        return sorted((chain for chain in found if _is_dense(chain)), key=lambda chain: -len(chain.query_common))

    def _pairs(self, stored: NDArray[np.uint64], places: Ints) -> tuple[Ints, Ints]:
        """Return the places of equal shingles in both texts."""
        hits = np.flatnonzero(self._table[places])
        first = np.searchsorted(self._ordered, stored[hits], "left")
        counts = np.searchsorted(self._ordered, stored[hits], "right") - first
        _, back, own = np.unique(stored[hits], return_inverse=True, return_counts=True)
        counts[(counts > _MOST_PLACES) | (own[back] > _MOST_PLACES)] = 0
        stored_at = np.repeat(hits, counts)
        begins = np.cumsum(counts) - counts
        query_at = self._order[np.arange(len(stored_at)) - np.repeat(begins - first, counts)]
        return query_at, stored_at


def _has_company(query_at: Ints, diagonals: Ints) -> Flags:
    """Return which pairs have others near by, on about the same diagonal."""
    cells = (query_at >> _CELL_WORDS_LOG2) * _ROW + (diagonals >> _CELL_DIAGONALS_LOG2)
    known, back, counts = np.unique(cells, return_inverse=True, return_counts=True)
    around = np.zeros(len(known), dtype=np.int64)
    for row in _AROUND:
        for column in _AROUND:
            asked = known + row * _ROW + column
            at = np.minimum(np.searchsorted(known, asked), max(len(known) - 1, 0))
            around += np.where(known[at] == asked, counts[at], 0) if len(known) else 0
    return np.asarray(around[back] >= _FEWEST_SHINGLES)


@dataclass(frozen=True, slots=True)
class _Run:
    """Pairs on one diagonal: shingles of the query from `first` to `last`, `count` of them the same."""

    first: int
    last: int
    diagonal: int
    count: int


def _runs(query_at: Ints, diagonals: Ints) -> list[_Run]:
    """Return the runs of pairs, by where they begin in the query."""
    if not len(query_at):
        return []
    order = np.lexsort((query_at, diagonals))
    at, on = query_at[order], diagonals[order]
    begins = np.flatnonzero(np.r_[True, (np.diff(on) != 0) | (np.diff(at) > _GAP)])
    ends = np.r_[begins[1:], len(at)]
    columns = (at[begins], at[ends - 1], on[begins], ends - begins)
    return sorted((_Run(*row) for row in zip(*(column.tolist() for column in columns), strict=True)), key=_begin)


def _begin(run: _Run) -> tuple[int, int]:
    return (run.first, run.diagonal)


def _linked(runs: list[_Run]) -> list[list[_Run]]:
    """Return runs that follow one another, each joined to the chain that ends on the nearest diagonal."""
    growing: list[list[_Run]] = []
    grown: list[list[_Run]] = []
    for run in runs:
        grown += [chain for chain in growing if run.first - chain[-1].last > _GAP]
        growing = [chain for chain in growing if run.first - chain[-1].last <= _GAP]
        followed = min(
            (chain for chain in growing if _follows(chain[-1], run)),
            key=lambda chain: abs(chain[-1].diagonal - run.diagonal),
            default=None,
        )
        if followed is None:
            growing.append([run])
        else:
            followed.append(run)
    return [chain for chain in grown + growing if sum(run.count for run in chain) >= _FEWEST_SHINGLES]


def _follows(before: _Run, run: _Run) -> bool:
    """Return whether a run comes soon after another in both texts."""
    in_query = run.first - before.last
    return 0 < in_query <= _GAP and 0 < in_query + run.diagonal - before.diagonal <= _GAP


def _chain(query: NDArray[np.uint16], stored: NDArray[np.uint16], runs: list[_Run]) -> Chain:
    """Return the chain of some runs; common are the words that are the same on the diagonal of a run."""
    in_query = np.concatenate([np.arange(run.first, run.last + SHINGLE) for run in runs])
    in_stored = np.concatenate([np.arange(run.first, run.last + SHINGLE) + run.diagonal for run in runs])
    same = query[in_query] == stored[in_stored]
    at, stored_at = np.unique(in_query[same]), np.unique(in_stored[same])
    return Chain((int(at[0]), int(at[-1]) + 1), (int(stored_at[0]), int(stored_at[-1]) + 1), at, stored_at)


def _is_dense(chain: Chain) -> bool:
    return len(chain.query_common) >= _LEAST_DENSITY * (chain.query[1] - chain.query[0])
