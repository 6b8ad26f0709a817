"""Inverted lists over the words of local features: which contents share features with a query.

In: the features of contents, and of a query.  Out: content ids, likeliest first.  Never here: geometry, files.

References
----------
Jegou, Douze, Schmid: Hamming embedding and weak geometric consistency for large scale image search, ECCV 2008; On the
burstiness of visual elements, CVPR 2009.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.local_features import WORDS, AskedFeatures, StoredFeatures, angles, scales

# Differing bits, of 64, up to which a feature of a content gets a vote, and what it is worth then.  Two of one word
# differ in about 15; 20 let four fifths vote, took ten times as long among 100 000 contents and found no more.
_VOTE_BITS, _WORTH_BITS = 11, 12.0

# Bins of scale, each a doubling, and of direction, in which votes must agree.
_SCALE_BINS, _TURN_BINS = 16, 12

MOST_AT_ONCE = 1_000_000
"""Pairs of features that are compared in one piece; above it a loop over words costs less than the copies."""

# Contents that lists of their own hold until they are sorted in with all others: a tenth, and this many at least.
_TAIL_SHARE, _LEAST_TAIL = 0.1, 256


@dataclass(frozen=True, slots=True)
class Candidate:
    """A content that shares features with a query.

    Parameters
    ----------
    content_id : int
    mirrored : bool
        Whether it shares them with the mirror image of the query.
    votes : float
    """

    content_id: int
    mirrored: bool
    votes: float


@dataclass(frozen=True, slots=True)
class FeatureLists:
    """The features of contents in order of their words; never changed.

    Parameters
    ----------
    content_ids : (n,) ndarray of int64
    begins : (WORDS + 1,) ndarray of int64
        Where the features of each word begin.
    words : (f,) ndarray of uint16
    rows : (f,) ndarray of int32
        Which content each belongs to.
    codes : (f,) ndarray of uint64
    scales, angles : (f,) ndarray of uint8
        As they are kept.
    """

    content_ids: NDArray[np.int64]
    begins: NDArray[np.int64]
    words: NDArray[np.uint16]
    rows: NDArray[np.int32]
    codes: NDArray[np.uint64]
    scales: NDArray[np.uint8]
    angles: NDArray[np.uint8]

    @classmethod
    def of(cls, contents: Sequence[tuple[int, StoredFeatures]]) -> FeatureLists:
        """Return the lists of some contents.

        Parameters
        ----------
        contents : sequence of (content id, StoredFeatures)
            One at least.
        """
        features = np.concatenate([stored.features for _, stored in contents])
        rows = np.repeat(np.arange(len(contents), dtype=np.int32), [len(stored.features) for _, stored in contents])
        return cls._sorted(
            np.array([content_id for content_id, _ in contents], dtype=np.int64),
            features["word"],
            rows,
            features["code"],
            features["scale"],
            features["angle"],
        )

    @classmethod
    def _sorted(
        cls,
        content_ids: NDArray[np.int64],
        words: NDArray[np.uint16],
        rows: NDArray[np.int32],
        codes: NDArray[np.uint64],
        kept_scales: NDArray[np.uint8],
        kept_angles: NDArray[np.uint8],
    ) -> FeatureLists:
        order = np.argsort(words, kind="stable")
        words = words[order]
        begins = np.searchsorted(words, np.arange(WORDS + 1))
        return cls(content_ids, begins, words, rows[order], codes[order], kept_scales[order], kept_angles[order])

    def joined(self, later: FeatureLists) -> FeatureLists:
        """Return the lists of the contents of both.

        Parameters
        ----------
        later : FeatureLists
            Of a content in both, this one's count.
        """
        keeps = ~np.isin(self.content_ids, later.content_ids)
        places = np.cumsum(keeps, dtype=np.int32) - 1
        kept = keeps[self.rows]
        return FeatureLists._sorted(
            np.concatenate([self.content_ids[keeps], later.content_ids]),
            np.concatenate([self.words[kept], later.words]),
            np.concatenate([places[self.rows[kept]], later.rows + np.int32(keeps.sum())]),
            np.concatenate([self.codes[kept], later.codes]),
            np.concatenate([self.scales[kept], later.scales]),
            np.concatenate([self.angles[kept], later.angles]),
        )

    def votes(self, features: NDArray[np.void], most_at_once: int = MOST_AT_ONCE) -> NDArray[np.float32]:
        """Return the (n,) votes that contents get from the features of a query.

        Parameters
        ----------
        features : (m,) ndarray of ASKED
        most_at_once : int
            Pairs of features that are compared in one piece.
        """
        entries, asked, bits = self._near(features, most_at_once)
        lengths = self.begins[1:] - self.begins[:-1]
        common = lengths[self.words[entries]]
        rarity = np.log(len(self.content_ids) / common + 1).astype(np.float32)
        worth = rarity**2 * np.exp(-((bits.astype(np.float32) / np.float32(_WORTH_BITS)) ** 2) / 2)
        # A letter that comes a hundred times in a query has one vote for what is like it.
        worth /= np.bincount(entries, minlength=len(self.codes))[entries].astype(np.float32)
        grown = np.log2(scales(self.scales[entries])) - np.log2(features["scale"][asked])
        turned = np.mod(angles(self.angles[entries]) - features["angle"][asked], np.float32(2 * np.pi))
        scale_bins = np.clip(np.floor(grown) + _SCALE_BINS // 2, 0, _SCALE_BINS - 1).astype(np.int64)
        turn_bins = np.floor(turned * np.float32(_TURN_BINS / (2 * np.pi))).astype(np.int64) % _TURN_BINS
        bins = (self.rows[entries].astype(np.int64) * _SCALE_BINS + scale_bins) * _TURN_BINS + turn_bins
        hit, counted = np.unique(bins, return_inverse=True)
        return _largest_by_row(hit, np.bincount(counted, worth).astype(np.float32), len(self.content_ids))

    def _near(
        self, features: NDArray[np.void], most_at_once: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
        """Return the pairs of one word whose codes are near: entries of lists, rows of the query, differing bits."""
        words = features["words"].astype(np.int64)
        begins, ends = self.begins[words].ravel(), self.begins[words + 1].ravel()
        asked = np.repeat(np.arange(len(features)), words.shape[1])
        lengths = ends - begins
        if int(lengths.sum()) > most_at_once:
            return self._near_by_word(features["code"], words.ravel(), asked)
        asked = np.repeat(asked, lengths)
        entries = np.arange(int(lengths.sum())) + np.repeat(begins - (np.cumsum(lengths) - lengths), lengths)
        bits = np.bitwise_count(self.codes[entries] ^ features["code"][asked])
        near = np.flatnonzero(bits <= _VOTE_BITS)
        return entries[near], asked[near], bits[near]

    def _near_by_word(
        self, codes: NDArray[np.uint64], words: NDArray[np.int64], asked: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
        """Return the result of `_near`, a word after the other: long lists are read as they lie, and never copied."""
        order = np.argsort(words, kind="stable")
        words, asked = words[order], asked[order]
        firsts = np.flatnonzero(np.diff(words, prepend=-1))
        found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]] = []
        for first, last in zip(firsts, np.append(firsts[1:], len(words)), strict=True):
            begin, end = self.begins[words[first]], self.begins[words[first] + 1]
            rows = asked[first:last]
            bits = np.bitwise_count(codes[rows][:, None] ^ self.codes[begin:end])
            near_rows, near_entries = np.nonzero(bits <= _VOTE_BITS)
            found.append((near_entries + begin, rows[near_rows], bits[near_rows, near_entries]))
        entries, near_asked, near_bits = zip(*found, strict=True)
        return np.concatenate(entries), np.concatenate(near_asked), np.concatenate(near_bits)


class FeatureIndex:
    """The lists of all contents that have features.

    Parameters
    ----------
    most_at_once : int
        Pairs of features that a query compares in one piece.

    Notes
    -----
    One thread adds; any thread asks.
    """

    def __init__(self, most_at_once: int = MOST_AT_ONCE) -> None:
        self._most_at_once = most_at_once
        self._lists: tuple[FeatureLists, ...] = ()
        self._turn = threading.Lock()

    def __len__(self) -> int:
        """Return how many contents have features."""
        return sum(len(lists.content_ids) for lists in self._lists)

    def add(self, contents: Sequence[tuple[int, StoredFeatures]]) -> None:
        """Add contents; of one that is there already the new features count.

        Parameters
        ----------
        contents : sequence of (content id, StoredFeatures)
        """
        if not contents:
            return
        with self._turn:
            added = FeatureLists.of(contents)
            if not self._lists:
                self._lists = (added,)
                return
            whole, *tails = self._lists
            tail = tails[0].joined(added) if tails else added
            if len(tail.content_ids) > max(_LEAST_TAIL, _TAIL_SHARE * len(whole.content_ids)):
                self._lists = (whole.joined(tail),)
            else:
                self._lists = (whole, tail)

    def candidates(self, asked: AskedFeatures, count: int) -> list[Candidate]:
        """Return the contents that share most features with a query, likeliest first.

        Parameters
        ----------
        asked : AskedFeatures
        count : int
            At most.
        """
        best: dict[int, Candidate] = {}
        for lists in self._lists:
            for mirrored, features in ((False, asked.upright), (True, asked.mirrored)):
                if not len(features) or not len(lists.codes):
                    continue
                votes = lists.votes(features, self._most_at_once)
                for row in np.argsort(-votes, kind="stable")[:count].tolist():
                    candidate = Candidate(int(lists.content_ids[row]), mirrored, float(votes[row]))
                    known = best.get(candidate.content_id)
                    if candidate.votes > 0 and (known is None or candidate.votes > known.votes):
                        best[candidate.content_id] = candidate
        return sorted(best.values(), key=lambda candidate: (-candidate.votes, candidate.content_id))[:count]


def _largest_by_row(bins: NDArray[np.int64], worth: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return for each of `count` contents the most votes that two neighbouring bins of scale and of direction share."""
    votes = np.zeros(count, dtype=np.float32)
    if not len(bins):
        return votes
    rows, places = np.divmod(bins, _SCALE_BINS * _TURN_BINS)
    present, index = np.unique(rows, return_inverse=True)
    grid = np.zeros((len(present), _SCALE_BINS, _TURN_BINS), dtype=np.float32)
    grid.reshape(len(present), -1)[index, places] = worth
    grid += np.roll(grid, 1, axis=2)
    grid[:, 1:] += grid[:, :-1].copy()
    votes[present] = grid.reshape(len(present), -1).max(axis=1)
    return votes
