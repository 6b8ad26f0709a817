"""The words of a file as the details of its parts: what files are judged by, beside their vectors.

In: words and their places.  Out: bytes of one part, and words of all parts again.  Never here: how words are hashed
(`normal`), judging (`alignment`).

A part's detail has the words from its own beginning up to the next part's, so that each word of a file is there once:
two bytes for its hash, one for how far it begins after the word before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.part_medium import Parts

_WORD_BYTES: Final = 3
_FARTHEST: Final = 255


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a file.

    Parameters
    ----------
    hashes : (n,) ndarray of uint16
    starts : (n,) ndarray of float64
        Where each begins, in characters of the text; too early after a gap of more than 255 characters, up to the next
        part.
    parts : (n,) ndarray of int64
        In which part's detail each stands.
    """

    hashes: NDArray[np.uint16]
    starts: NDArray[np.float64]
    parts: NDArray[np.int64]


def packed(hashes: NDArray[np.uint16], starts: NDArray[np.int64]) -> bytes:
    """Return the detail of a part.

    Parameters
    ----------
    hashes : (n,) ndarray of uint16
    starts : (n,) ndarray of int64
        Ascending; the first is the part's own.
    """
    steps = np.minimum(np.diff(starts, prepend=starts[:1]), _FARTHEST)
    return hashes.astype("<u2").tobytes() + steps.astype(np.uint8).tobytes()


def words_of(parts: Parts) -> Words:
    """Return the words of a file's parts.

    Parameters
    ----------
    parts : Parts
        All parts of a file, in order.
    """
    counts = [len(detail) // _WORD_BYTES for detail in parts.details]
    hashes = [np.frombuffer(detail, "<u2", count) for detail, count in zip(parts.details, counts, strict=True)]
    places = [
        start + np.cumsum(np.frombuffer(detail, np.uint8, count, 2 * count), dtype=np.float64)
        for start, detail, count in zip(parts.places[:, 0], parts.details, counts, strict=True)
    ]
    owners = np.repeat(np.arange(len(counts)), counts)
    if not counts:
        return Words(np.zeros(0, np.uint16), np.zeros(0), owners)
    return Words(np.concatenate(hashes).astype(np.uint16), np.concatenate(places), owners)
