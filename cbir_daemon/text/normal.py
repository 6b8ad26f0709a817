"""Normal text: what stays of a text when its layout, its marks and its capitals are taken away.

In: pages of text.  Out: words with their places, and the line of letters of which n-grams are taken.  Never here:
files, how letters become vectors (`features`).

A word is a run of letters and digits.  Words stand one space apart in the line of letters, so neither line breaks nor
marks change it.  A letter of a script that is written without spaces is a word of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SOFT_HYPHEN: Final = "\u00ad"
# The line break comes after the joined word, so that lines stay countable.
_HYPHENATED: Final = re.compile(r"(?<=[^\W\d_])[-\u2010]\r?\n[ \t]*([^\W\d_]+)")

# Unicode gives the scripts that are in use numbers below it; what is above counts as a letter.
_TABLE_SIZE: Final = 0x32000
_MARK: Final = "M"
# Hiragana to Katakana, ideographs, Hangul syllables, compatibility ideographs, further ideographs; Thai to Lao.
_UNSPACED: Final = ((0x3041, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x31FFF), (0xE00, 0xEFF))

_OTHER, _LETTER, _DIGIT, _ALONE = range(4)
_SPACE: Final = 32

# Odd, so each power has an inverse modulo 2^64, and a run of letters has the same hash wherever it stands.
_BASE: Final = 0x9E3779B97F4A7C15
_MASK: Final = 0xFFFFFFFFFFFFFFFF
_INVERSE: Final = pow(_BASE, -1, 1 << 64)
_MIXERS: Final = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_SHIFT: Final = np.uint64(33)

DIGIT_BIT: Final = np.uint16(1 << 15)
"""Set in the hash of a word that has a digit in it, and of no other word."""


@dataclass(frozen=True, slots=True)
class NormalText:
    """A text without its layout.

    Parameters
    ----------
    letters : (m,) ndarray of uint32
        Code points of all words, a space between two.
    word_at : (n,) ndarray of int64
        Where each word begins in `letters`.
    words : (n,) ndarray of uint16
        Hash of each word; the highest bit says that it has a digit.
    starts, ends : (n,) ndarray of int64
        Place of each word in characters of the text.
    """

    letters: NDArray[np.uint32]
    word_at: NDArray[np.int64]
    words: NDArray[np.uint16]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def folded(page: str) -> str:
    """Return a page with compatibility forms written out, capitals made small, words joined that a line break parts.

    Parameters
    ----------
    page : str
    """
    if not page.isascii():
        page = unicodedata.normalize("NFKC", page).replace(_SOFT_HYPHEN, "")
    return _HYPHENATED.sub("\\1\n", page.casefold())


def normal(pages: Sequence[str]) -> tuple[NormalText, list[int]]:
    """Return the normal text of pages that are folded, and where each page begins.

    Parameters
    ----------
    pages : sequence of str
        From `folded`.  They are read one after the other, a line break between two.
    """
    begins = np.cumsum([0, *(len(page) + 1 for page in pages)])[:-1].tolist()
    points = np.frombuffer("\n".join(pages).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return _of_points(points), begins


def ngram_hashes(letters: NDArray[np.uint32], size: int) -> NDArray[np.uint64]:
    """Return a hash of each run of `size` letters: (m - size + 1,) of uint64, empty when there are fewer.

    Parameters
    ----------
    letters : (m,) ndarray of uint32
    size : int
    """
    at = np.arange(max(len(letters) - size + 1, 0))
    return _run_hashes(letters, at, at + size)


def _of_points(points: NDArray[np.uint32]) -> NormalText:
    kinds = np.where(points < _TABLE_SIZE, _kinds()[np.minimum(points, _TABLE_SIZE - 1)], _LETTER).astype(np.uint8)
    in_word, alone = kinds != _OTHER, kinds == _ALONE
    before = np.zeros(len(points), dtype=bool)
    before[1:] = in_word[:-1]
    # A word begins after what is none, and at and after a letter that is a word of its own.
    begins = in_word & ~before | alone
    begins[1:] |= in_word[1:] & alone[:-1]
    places = np.flatnonzero(in_word)
    first = np.flatnonzero(begins[places])
    # One space before every word but the first.
    word_at = first + np.arange(len(first))
    letters = np.full(len(places) + max(len(first) - 1, 0), _SPACE, dtype=np.uint32)
    letters[np.arange(len(places)) + np.cumsum(begins[places]) - 1] = points[places]
    last = np.append(first[1:], len(places)) - 1 if len(first) else first
    ends_at = word_at + (last - first) + 1
    hashes = (_run_hashes(letters, word_at, ends_at) >> np.uint64(48)).astype(np.uint16) & ~DIGIT_BIT
    digits = np.add.reduceat(kinds[places] == _DIGIT, first, dtype=np.int64) if len(first) else first
    words = np.where(digits > 0, hashes | DIGIT_BIT, hashes).astype(np.uint16)
    return NormalText(letters, word_at, words, places[first], places[last] + 1)


def _run_hashes(letters: NDArray[np.uint32], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a hash of each run of letters, from differences of sums of letter x power.

    References
    ----------
    Karp, Rabin: Efficient randomized pattern-matching algorithms, IBM J. Res. Dev. 31 (1987); the finalizer is
    MurmurHash3's fmix64.
    """
    powers, inverses = _powers(len(letters))
    sums = np.zeros(len(letters) + 1, dtype=np.uint64)
    np.cumsum((letters.astype(np.uint64) + np.uint64(1)) * powers, out=sums[1:])
    hashes = (sums[ends] - sums[begins]) * inverses[begins]
    for mixer in _MIXERS:
        hashes ^= hashes >> _SHIFT
        hashes *= mixer
    return np.asarray(hashes ^ (hashes >> _SHIFT))


def _powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the powers of the base and of its inverse, modulo 2^64: `count` of each."""
    size = 1 << max(count - 1, 1).bit_length()
    powers, inverses = _power_table(size)
    return powers[:count], inverses[:count]


@cache
def _power_table(size: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    tables = []
    for base in (_BASE, _INVERSE):
        powers = np.full(size, base & _MASK, dtype=np.uint64)
        powers[0] = 1
        tables.append(np.multiply.accumulate(powers))
    return tables[0], tables[1]


@cache
def _kinds() -> NDArray[np.uint8]:
    """Return what each code point is; made once, in 60 ms."""
    kinds = np.zeros(_TABLE_SIZE, dtype=np.uint8)
    for point in range(_TABLE_SIZE):
        letter = chr(point)
        if letter.isdigit():
            kinds[point] = _DIGIT
        elif letter.isalpha() or letter.isnumeric() or unicodedata.category(letter).startswith(_MARK):
            kinds[point] = _LETTER
    for first, last in _UNSPACED:
        kinds[first : last + 1] = np.where(kinds[first : last + 1] == _LETTER, _ALONE, kinds[first : last + 1])
    return kinds
