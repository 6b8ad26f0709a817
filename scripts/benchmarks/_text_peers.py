"""The daemon's way with texts and its peers, each as something that scores the documents of an album for a query.

In: documents, then queries.  Out: scores by row, bytes and processor time.  Never here: which edits are tried, what is
counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray
from simhash import Simhash

from cbir_daemon.decode.reader import Reading
from cbir_daemon.part_medium import Candidate, FileFacts, FileJudgement, Parts
from cbir_daemon.records import VECTOR_BYTES
from cbir_daemon.search.part_candidates import PartSnapshot, verified
from cbir_daemon.text import TEXT

WORD = re.compile(r"\w+")
SHINGLE_WORDS = 3
PERMUTATIONS = 128
LSH_THRESHOLD = 0.2
"""Share of common shingles from which datasketch proposes a document: the least that 128 permutations are good for."""
SIMHASH_BITS = 64
FILES = 32


class Finder(Protocol):
    """Scores the documents of an album for a query."""

    name: str
    threshold: float

    def add(self, row: int, text: str, reading: Reading) -> int:
        """Take a document; return how many bytes are kept of it."""
        ...

    def scores(self, text: str, reading: Reading) -> dict[int, float]:
        """Return the score of each document that is considered."""
        ...


def shingles(text: str) -> set[str]:
    """Return the runs of three words of a text, in small letters."""
    words = WORD.findall(text.lower())
    return {" ".join(words[at : at + SHINGLE_WORDS]) for at in range(max(len(words) - SHINGLE_WORDS + 1, 1))}


class Ours:
    """The daemon's way: passages are found by their codes, files are judged by their words."""

    name = "cbir"
    threshold = TEXT.medium.threshold

    def __init__(self) -> None:
        self._parts: list[Parts] = []
        self._codes: list[NDArray[np.int8]] = []
        self._snapshot: PartSnapshot | None = None

    def add(self, row: int, text: str, reading: Reading) -> int:
        """Take a document, as the index keeps it but for its vectors, which nothing but its codes is made of here."""
        parts = parts_of(reading)
        self._codes.append(TEXT.medium.packed_codes(parts.vectors))
        self._parts.append(Parts(parts.vectors[:0], parts.places, parts.labels, parts.details, parts.facts))
        self._snapshot = None
        return len(reading.parts) * TEXT.medium.terms + sum(len(part.detail) for part in reading.parts)

    def scores(self, text: str, reading: Reading) -> dict[int, float]:
        """Return the scores of the candidates, as `search.part_searcher` finds and judges them."""
        if self._snapshot is None:
            owners = np.repeat(np.arange(len(self._codes)), [len(codes) for codes in self._codes])
            self._snapshot = PartSnapshot(owners, np.concatenate(self._codes), frozenset(range(len(self._codes))))
        query = parts_of(reading)
        probes = TEXT.medium.probes(query)
        unknown = np.zeros((0, 0), np.float32), np.zeros((0, 0), np.int64)

        def judged(rows: Sequence[int]) -> list[tuple[int, FileJudgement]]:
            found = TEXT.medium.judge(query, probes, [Candidate(self._parts[row], *unknown) for row in rows])
            return list(zip(rows, found, strict=True))

        return {
            row: judgement.score
            for row, judgement in verified(self._snapshot, TEXT.medium, query, probes, None, judged)
        }


class MinHashPeer:
    """datasketch: 128 permutations of the shingles of a document; scored by the estimated share in common.

    References
    ----------
    Broder: On the resemblance and containment of documents, SEQUENCES 1997.
    """

    name = "MinHash"
    threshold = 0.5

    def __init__(self) -> None:
        self._lsh = MinHashLSH(threshold=LSH_THRESHOLD, num_perm=PERMUTATIONS)
        self._hashes: dict[int, MinHash] = {}

    def add(self, row: int, text: str, reading: Reading) -> int:
        """Take a document."""
        self._hashes[row] = self._hash(text)
        self._lsh.insert(row, self._hashes[row])
        return PERMUTATIONS * 8

    def scores(self, text: str, reading: Reading) -> dict[int, float]:
        """Return the estimated resemblance of each document that the tables propose."""
        own = self._hash(text)
        return {row: own.jaccard(self._hashes[row]) for row in self._lsh.query(own)}

    def _hash(self, text: str) -> MinHash:
        made = MinHash(num_perm=PERMUTATIONS)
        made.update_batch([shingle.encode() for shingle in shingles(text)])
        return made


class SimhashPeer:
    """simhash: 64 bits of the shingles of a document; 1 minus the share of bits that differ, over all of them.

    References
    ----------
    Charikar: Similarity estimation techniques from rounding algorithms, STOC 2002.
    """

    name = "simhash"
    threshold = 1 - 3 / SIMHASH_BITS

    def __init__(self) -> None:
        self._hashes: list[int] = []
        self._rows: NDArray[np.uint64] | None = None

    def add(self, row: int, text: str, reading: Reading) -> int:
        """Take a document."""
        self._hashes.append(Simhash(shingles(text)).value)
        return SIMHASH_BITS // 8

    def scores(self, text: str, reading: Reading) -> dict[int, float]:
        """Return the score of every document."""
        if self._rows is None or len(self._rows) != len(self._hashes):
            self._rows = np.array(self._hashes, dtype=np.uint64)
        own = np.uint64(Simhash(shingles(text)).value)
        bits = np.unpackbits((self._rows ^ own).view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
        best = np.argsort(bits, kind="stable")[:FILES]
        return {int(row): 1 - float(bits[row]) / SIMHASH_BITS for row in best}


def parts_of(reading: Reading) -> Parts:
    """Return the parts of a file as an index gives them back."""
    vectors = np.frombuffer(b"".join(part.vector for part in reading.parts), dtype=np.uint8)
    return Parts(
        vectors.reshape(-1, VECTOR_BYTES),
        np.array([(part.start, part.end) for part in reading.parts], dtype=np.float64).reshape(-1, 2),
        tuple(part.label for part in reading.parts),
        tuple(part.detail for part in reading.parts),
        FileFacts(reading.format, 0, reading.details),
    )


def long_shingles(text: str, words: int = 5) -> NDArray[np.int64]:
    """Return the runs of five words of a text as sorted numbers: by them is told which documents have a query's words.

    Parameters
    ----------
    text : str
    words : int
    """
    found = WORD.findall(text.lower())
    return np.unique([hash(tuple(found[at : at + words])) for at in range(max(len(found) - words + 1, 0))]).astype(
        np.int64
    )


def timed(rows: Sequence[float]) -> float:
    """Return the median of times in milliseconds; 0 of none."""
    return 1e3 * float(np.median(rows)) if rows else 0.0
