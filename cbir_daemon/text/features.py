"""Feature hashing: letters -> 4096 numbers of 8 bits, by signed counts of character n-grams.

In: the line of letters of a normal text.  Out: the vector of a whole text, vectors of its passages.  Never here: how
vectors are compared (`codes`).

Written with numpy and not with scikit-learn's `HashingVectorizer`, which does the same to a string at a time: importing
it takes 2.2 s of processor time where workers are forked from, and it hashes the overlap of two passages twice.

References
----------
Weinberger, Dasgupta, Langford, Smola, Attenberg: Feature hashing for large scale multitask learning, ICML 2009.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.records import VECTOR_BYTES
from cbir_daemon.text.normal import ngram_hashes

NGRAM: Final = 6
"""Letters of an n-gram, with the spaces between words: shorter ones are in every text of a language, and of longer ones
a wrong letter breaks more."""

ZERO: Final = 128
"""What stands for nothing counted, so that signs fit into 8 bits."""
_LARGEST: Final = 127

_BUCKETS: Final = np.uint64(VECTOR_BYTES - 1)
_SIGN_SHIFT: Final = np.uint64(63)


def whole_vector(letters: NDArray[np.uint32]) -> bytes:
    """Return the vector of a text: 1 + log of how often each n-gram is there, with its sign.

    Parameters
    ----------
    letters : (m,) ndarray of uint32
        Code points.

    Returns
    -------
    bytes
        4096 of them; `ZERO` throughout for a text of fewer letters than an n-gram has.
    """
    grams, counts = np.unique(ngram_hashes(letters, NGRAM), return_counts=True)
    weights = (1 + np.log(counts)) * _signs(grams)
    return _quantized(np.bincount(_buckets(grams), weights, minlength=VECTOR_BYTES).astype(np.float64))


def passage_vectors(letters: NDArray[np.uint32], spans: NDArray[np.int64]) -> list[bytes]:
    """Return the vector of each passage: roots of signed counts, since few n-grams repeat within one.

    Parameters
    ----------
    letters : (m,) ndarray of uint32
    spans : (n, 2) ndarray of int64
        From which letter to which.
    """
    grams = ngram_hashes(letters, NGRAM)
    buckets, signs = _buckets(grams), _signs(grams)
    vectors = []
    for start, end in spans.tolist():
        last = max(end - NGRAM + 1, start)
        counts = np.bincount(buckets[start:last], signs[start:last], minlength=VECTOR_BYTES)
        vectors.append(_quantized(np.sign(counts) * np.sqrt(np.abs(counts))))
    return vectors


def _buckets(grams: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (grams & _BUCKETS).astype(np.int64)


def _signs(grams: NDArray[np.uint64]) -> NDArray[np.float64]:
    return np.where(grams >> _SIGN_SHIFT, -1.0, 1.0)


def _quantized(values: NDArray[np.float64]) -> bytes:
    """Return values as 8 bits each, the largest in size at the end of the range: only directions are compared."""
    largest = np.abs(values).max(initial=0)
    if not largest:
        return bytes([ZERO]) * VECTOR_BYTES
    levels: NDArray[np.uint8] = (np.rint(values * (_LARGEST / largest)) + ZERO).astype(np.uint8)
    return levels.tobytes()
