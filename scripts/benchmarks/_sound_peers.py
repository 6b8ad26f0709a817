"""The daemon's way with sound and its peers, each as something that scores the files of an album for a query.

In: files.  Out: scores by row and where in a file the query begins, bytes and processor time.  Never here: which edits
are tried, what is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import acoustid
import audfprint2
import click
import numpy as np
from _sound_edits import RATE_HZ, read
from audfprint2.core.analyzer import landmarks2hashes
from numpy.typing import NDArray

from cbir_daemon.part_medium import Candidate, FileFacts, Parts, candidate, parts_from
from cbir_daemon.search.part_candidates import MAX_CANDIDATES, PartSnapshot, ranked
from cbir_daemon.sound import AUDIO
from cbir_daemon.sound.file_reader import FILE_READER


@dataclass(frozen=True)
class Match:
    """A file of the album that a query may be from.

    Parameters
    ----------
    row : int
    score : float
    is_copy : bool
        Whether the finder says so.
    query_s, match_s : float
        A moment of the query, and which of the file it is.
    """

    row: int
    score: float
    is_copy: bool
    query_s: float = 0.0
    match_s: float = 0.0


class Finder(Protocol):
    """Scores the files of an album for a query."""

    name: str

    def add(self, path: Path) -> int:
        """Take a file; return how many bytes are kept of it."""
        ...

    def ask(self, path: Path) -> list[Match]:
        """Return the files that a query may be from, likeliest first."""
        ...


class Ours:
    """The daemon's way: windows are found by their codes, files are judged by their frames."""

    name = "cbir"

    def __init__(self) -> None:
        FILE_READER.load({AUDIO.medium.name})
        self._parts: list[Parts] = []
        self._codes: list[NDArray[np.int8]] = []
        self._snapshot: PartSnapshot | None = None

    def add(self, path: Path) -> int:
        """Take a file, as the index keeps it: vectors and codes."""
        parts = _parts_of(path)
        codes = AUDIO.medium.packed_codes(parts.vectors)
        self._parts.append(parts)
        self._codes.append(codes)
        self._snapshot = None
        return parts.vectors.nbytes + codes.nbytes

    def ask(self, path: Path) -> list[Match]:
        """Return what is judged, copies first."""
        query = _parts_of(path)
        if AUDIO.medium.is_plain(query):
            return []
        probes = AUDIO.medium.probes(query)
        rows = ranked(self._held(), probes, AUDIO.medium.floor)[:MAX_CANDIDATES]
        judged: list[Candidate] = [candidate(self._parts[row], self._codes[row], probes) for row in rows]
        found = [
            Match(row, judgement.score, judgement.is_copy, judgement.query_place[0], judgement.match_place[0])
            for row, judgement in zip(rows, AUDIO.medium.judge(query, probes, judged), strict=True)
        ]
        return sorted(found, key=lambda match: (not match.is_copy, -match.score))

    def _held(self) -> PartSnapshot:
        if self._snapshot is None:
            rows = np.repeat(np.arange(len(self._codes)), [len(codes) for codes in self._codes])
            self._snapshot = PartSnapshot(rows, np.concatenate(self._codes), frozenset(range(len(self._codes))))
        return self._snapshot


def _parts_of(path: Path) -> Parts:
    data = path.read_bytes()
    reading = FILE_READER.read(data, 0)
    return parts_from(reading.parts, FileFacts(reading.format, len(data), reading.details))


class Chromaprint:
    """Chromaprint by pyacoustid, on samples: a file is scored by the share of the query's numbers that agree at once.

    Two numbers agree that differ in two bits at most, as pyacoustid has it; it compares two files and tries offsets of
    15 s at most, here all files and offsets are tried.
    """

    name = "Chromaprint"
    threshold = 0.1
    """Ours: pyacoustid names none."""

    _BITS = 2
    _FRAME_S = 4096 / 3 / 11025

    def __init__(self) -> None:
        if not acoustid.have_chromaprint:
            raise click.ClickException("libchromaprint is missing: on Debian, `apt-get install libchromaprint1`")
        self._numbers: list[NDArray[np.uint32]] = []

    def add(self, path: Path) -> int:
        """Take a file."""
        self._numbers.append(self._numbers_of(path))
        return self._numbers[-1].nbytes

    def ask(self, path: Path) -> list[Match]:
        """Return the files that have any number of a query, at the offset at which most agree."""
        own = self._numbers_of(path)
        found = []
        for row, stored in enumerate(self._numbers):
            at, place = np.nonzero(np.bitwise_count(own[:, None] ^ stored[None]) <= self._BITS)
            if len(at):
                counts = np.bincount(place - at + len(own))
                offset = int(counts.argmax())
                score = float(counts[offset]) / len(own)
                moment = float(max(offset - len(own), 0)) * self._FRAME_S
                begin = max(len(own) - offset, 0) * self._FRAME_S
                found.append(Match(row, score, score >= self.threshold, begin, moment))
        return sorted(found, key=lambda match: -match.score)

    def _numbers_of(self, path: Path) -> NDArray[np.uint32]:
        samples = np.rint(np.clip(read(path), -1, 1) * 32767).astype(np.int16)
        packed = acoustid.fingerprint(RATE_HZ, 2, iter([samples.T.tobytes()]))
        numbers, _ = acoustid.chromaprint.decode_fingerprint(packed)
        return np.array(numbers, dtype=np.int64).astype(np.uint32)


class Audfprint:
    """audfprint2: pairs of peaks of the spectrum, as Shazam has them; scored by how many agree on one offset.

    It is given samples, as it would run FFmpeg for them.
    """

    name = "audfprint2"

    def __init__(self) -> None:
        self._analyzer = audfprint2.Analyzer()
        self._matcher = audfprint2.Matcher()
        self._matcher.max_returns = 10
        self._table = audfprint2.HashTable()
        self._count = 0

    def add(self, path: Path) -> int:
        """Take a file."""
        hashes = self._hashes_of(path)
        self._table.store(str(self._count), hashes)
        self._count += 1
        return 4 * len(hashes)

    def ask(self, path: Path) -> list[Match]:
        """Return the files with at least five pairs, its own threshold, at one offset."""
        hashes = self._hashes_of(path)
        if not len(hashes):
            return []
        results = self._matcher.match_hashes(self._table, np.array(hashes, dtype=np.int32))
        frame_s = self._analyzer.n_hop / self._analyzer.target_sr
        return [
            Match(int(self._table.names[row]), float(count), True, max(-shift, 0) * frame_s, max(shift, 0) * frame_s)
            for row, count, shift in np.asarray(results)[:, :3].tolist()
        ]

    def _hashes_of(self, path: Path) -> list[tuple[int, int]]:
        samples = read(path, rate_hz=self._analyzer.target_sr).mean(axis=0)
        peaks = self._analyzer.find_peaks(samples, self._analyzer.target_sr)
        found = landmarks2hashes(self._analyzer.peaks2landmarks(peaks))
        return sorted({(int(moment), int(number)) for moment, number in found})
