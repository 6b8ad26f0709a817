"""Whether one text is a copy of another, or has a passage of it.

In: words of a query and of the candidates for it.  Out: how much of each stands in the other, where, and a score.
Never here: vectors, files, words for people (`medium`).

**Score.**  In a chain of common words some differ: its agreement is the share that does not.  A text that stands in
another whole scores its agreement; a passage of at least `PASSAGE_WORDS` too, and a shorter one less.

**Boilerplate.**  What `MANY` candidates share is boilerplate: of a form, a licence.  It makes no passage.  A candidate
that agrees with the query in boilerplate and not in what is its own is another form, and so is one that has less of
what makes the query than another candidate in the same place.  Wrong letters and edits fall on both alike, so that
shares are compared with each other, and not with 1.  Where there are fewer candidates numbers tell forms apart: dates,
amounts, addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.text.alignment import SHINGLE, TABLE_BITS, Chain, Query, shingles, table_places
from cbir_daemon.text.normal import DIGIT_BIT

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

THRESHOLD: Final = 0.4
"""Score from which a text is a copy; see docs/text.md."""

PASSAGE_WORDS: Final = 40
"""Common words of a passage whose agreement counts in full, wherever it stands."""

MANY: Final = 3
"""Candidates that share what is boilerplate."""

# A text's own shingles, or numbers, that must be there to be asked for.
_FEWEST_OWN: Final = 12
_FEWEST_NUMBERS: Final = 8
# Words beside boilerplate that another candidate has, to be asked for; and the share of them.
_FEWEST_EXPLAINED: Final = 6
_EXPLAINED: Final = 0.5
# Of the score, when another candidate has all that stands there.
_LOSS_OF_RANK: Final = 0.1
# Of the share of boilerplate: a text whose own words are in the other one less often is another form.
_OWN_TO_SHARED: Final = 0.5
_NUMBERS_TO_WORDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What comparing the words of two texts says.

    Parameters
    ----------
    score : float
        0 to 1, 1 = same; 0 for another form of the same boilerplate.
    query_share, stored_share : float
        Share of each text's words that stand in the other, with what differs within.
    query_words, stored_words : tuple of int
        First word and the word after the last of what they have in common; (0, 0) when that is nothing.
    """

    score: float
    query_share: float
    stored_share: float
    query_words: tuple[int, int]
    stored_words: tuple[int, int]


NOTHING: Final = Verdict(0.0, 0.0, 0.0, (0, 0), (0, 0))


def judged(query: NDArray[np.uint16], candidates: Sequence[NDArray[np.uint16]]) -> list[Verdict]:
    """Return what comparing a query with each of its candidates says.

    Parameters
    ----------
    query : (n,) ndarray of uint16
        Hashes of its words, in order.
    candidates : sequence of (m,) ndarray of uint16
        Together, for what many of them share is boilerplate.
    """
    asked = Query(query)
    places = [table_places(shingles(words)) for words in candidates]
    found = [asked.chains(words, at) for words, at in zip(candidates, places, strict=True)]
    # In how many candidates a shingle is, by its place in a table: places hold several in long texts, which only makes
    # a few words less of their owner's.
    sharers = np.zeros(1 << TABLE_BITS, dtype=np.uint8)
    for at, in_common in zip(places, found, strict=True):
        if in_common:
            sharers[np.unique(at)] += 1
    own = sharers[table_places(asked.shingles)]
    sides = [_Side.of(query, own, in_common) for in_common in found]
    boilerplate = np.asarray(np.sum([side.common for side in sides], axis=0, dtype=np.int64) >= MANY)
    return [
        NOTHING
        if not in_common or _explains_less(side, sides, boilerplate)
        else _ranked(_verdict(side, _Side.of(words, sharers[at], _swapped(in_common)), in_common), side, sides)
        for words, at, in_common, side in zip(candidates, places, found, sides, strict=True)
    ]


def _explains_less(side: _Side, rivals: Sequence[_Side], boilerplate: Flags) -> bool:
    """Return whether a candidate has the boilerplate of a query, and another one what makes the query.

    Parameters
    ----------
    side : _Side
        The query, beside the candidate.
    rivals : sequence of _Side
        The query, beside each candidate.
    boilerplate : (n,) ndarray of bool
        Words of the query that many candidates have.
    """
    if 2 * np.count_nonzero(side.common & boilerplate) < np.count_nonzero(side.common):
        return False
    has = np.count_nonzero(side.common & ~boilerplate)
    # What stands in another place of the query, or in much more of it, is no other filling of the same form.
    reach = 2 * np.count_nonzero(side.spanned)
    for rival in rivals:
        if (rival.spanned & side.spanned).any() and np.count_nonzero(rival.spanned) <= reach:
            explained = np.count_nonzero(rival.common & ~boilerplate)
            if explained >= _FEWEST_EXPLAINED and has < _EXPLAINED * explained:
                return True
    return False


def _ranked(verdict: Verdict, side: _Side, rivals: Sequence[_Side]) -> Verdict:
    """Return a verdict, its score a little lower where another candidate has more of the same place of the query."""
    has = np.count_nonzero(side.common)
    most = max(np.count_nonzero(rival.common) for rival in rivals if (rival.spanned & side.spanned).any())
    return replace(verdict, score=float(verdict.score * (1 - _LOSS_OF_RANK * (1 - has / most))))


def _swapped(found: Sequence[Chain]) -> list[Chain]:
    return [Chain(each.stored, each.query, each.stored_common, each.query_common) for each in found]


@dataclass(frozen=True, slots=True)
class _Side:
    """One of two texts.

    Parameters
    ----------
    words : (n,) ndarray of uint16
    sharers : (n - 2,) ndarray of uint8
        In how many candidates each shingle is.
    spanned, common : (n,) ndarray of bool
        Which words the chains span, and which of these the other text has.
    longest : int
        Common words of the longest chain that are no boilerplate.
    """

    words: NDArray[np.uint16]
    sharers: NDArray[np.uint8]
    spanned: Flags
    common: Flags
    longest: int

    @classmethod
    def of(cls, words: NDArray[np.uint16], sharers: NDArray[np.uint8], found: Sequence[Chain]) -> _Side:
        """Return the side of a text whose words the chains call the query's."""
        spanned, common = np.zeros(len(words), dtype=bool), np.zeros(len(words), dtype=bool)
        rare = np.append(sharers < MANY, np.zeros(SHINGLE - 1, dtype=bool))
        longest = 0
        for chain in found:
            spanned[slice(*chain.query)] = True
            common[chain.query_common] = True
            longest = max(longest, int(rare[chain.query_common].sum()))
        return cls(words, sharers, spanned, common, longest)

    @property
    def share(self) -> float:
        """Of the text that chains span."""
        return float(self.spanned.mean())

    @property
    def agreement(self) -> float:
        """Of the words that chains span, those that the other text has."""
        return float(self.common.sum() / self.spanned.sum())

    @property
    def shown(self) -> Flags:
        """Which shingles the other text has, by their first words."""
        common = self.common
        return np.asarray(common[:-2] & common[1:-1] & common[2:])

    def own_to_shared(self, *, within: bool) -> float | None:
        """Return how often the other text has what is this one's own, beside what many share; None when unknown.

        Parameters
        ----------
        within : bool
            Whether only what the chains span is asked for.
        """
        shared, own = self.sharers >= MANY, self.sharers <= 1
        if within:
            own = own & self.spanned[: len(own)]
        shown = self.shown
        if own.sum() < _FEWEST_OWN or not (shown & shared).any():
            return None
        return float(shown[own].mean() / shown[shared].mean())

    def numbers_to_words(self) -> float | None:
        """Return how often the other text has the numbers of this one, beside its words; None when there are few."""
        numbers = self.spanned & (self.words & DIGIT_BIT > 0)
        if numbers.sum() < _FEWEST_NUMBERS:
            return None
        return float(self.common[numbers].mean() / self.common[self.spanned].mean())


def _verdict(query: _Side, stored: _Side, found: Sequence[Chain]) -> Verdict:
    # The side to which less was added tells how words were passed on.
    agreement = max(query.agreement, stored.agreement)
    share = max(query.share, stored.share)
    longest = max(query.longest, stored.longest)
    score = 0.0 if _is_other_form(query, stored) else agreement * max(share, min(1.0, longest / PASSAGE_WORDS))
    return Verdict(min(1.0, score), query.share, stored.share, *_place(found))


def _is_other_form(query: _Side, stored: _Side) -> bool:
    """Return whether two texts agree in boilerplate, and in little of what makes either."""
    return (
        _all_below((query.own_to_shared(within=True), stored.own_to_shared(within=True)), _OWN_TO_SHARED)
        or _all_below((query.numbers_to_words(), stored.numbers_to_words()), _NUMBERS_TO_WORDS)
        or (
            max(query.longest, stored.longest) < PASSAGE_WORDS
            and _all_below((query.own_to_shared(within=False), stored.own_to_shared(within=False)), _OWN_TO_SHARED)
        )
    )


def _all_below(ratios: Sequence[float | None], limit: float) -> bool:
    return all(ratio is not None and ratio < limit for ratio in ratios)


def _place(found: Sequence[Chain]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the words, in each text, from the first to the last chain that is not much shorter than the longest."""
    least = len(found[0].query_common) / 4
    long = [chain for chain in found if len(chain.query_common) >= least]
    query = (min(chain.query[0] for chain in long), max(chain.query[1] for chain in long))
    return query, (min(chain.stored[0] for chain in long), max(chain.stored[1] for chain in long))
