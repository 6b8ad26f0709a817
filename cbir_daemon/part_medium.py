"""The seam to kinds of files that are compared part by part: sound, text, what a plugin brings.

In: nothing.  Out: the protocol `PartMedium`, and the values that its methods take and return.  Never here: a medium
itself, files, SQL.

A file of such a medium has one vector for the whole of it, by which it is drawn, mapped and ranked, and any number of
parts, each with a vector and a place.  Whoever searches compares parts with parts; the medium judges two files by how
their parts agree.  `medium.Medium` is the seam to pictures, which have one vector and no parts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Overlap
from cbir_daemon.medium import Codes, Floats, MapSpace
from cbir_daemon.records import VECTOR_BYTES, Detail, Part

Place = tuple[float, float]
"""Where something begins and ends in a file, in the medium's unit."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known of a file besides its numbers.

    Parameters
    ----------
    format : str
        Name of the file format in capitals.
    size_bytes : int
        0 where it is not known.
    details : mapping
        What the reader told: a title, a length, a bit rate.
    """

    format: str
    size_bytes: int = 0
    details: Mapping[str, Detail] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one file, in the order in which its reader gave them.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8
    places : (n, 2) ndarray of float64
        Where each begins and ends, in the medium's unit.
    labels : tuple of str
        Where each is, for people; may be empty.
    details : tuple of bytes
        What the reader gave with each for judging; may be empty.
    facts : FileFacts
        Of the file.
    """

    vectors: NDArray[np.uint8]
    places: NDArray[np.float64]
    labels: tuple[str, ...]
    details: tuple[bytes, ...]
    facts: FileFacts

    @property
    def length(self) -> float:
        """Where the last part ends, in the medium's unit; 0 without parts."""
        return float(self.places[:, 1].max(initial=0.0))


@dataclass(frozen=True, slots=True)
class Probes:
    """What is looked up for a query: some of its parts, each under some views.

    Parameters
    ----------
    codes : (v, terms) ndarray of float32
        Scaled so that the product with a window of a packed code is a score, about -1 to 1.
    rows : (v,) ndarray of int64
        Of which part of the query each is.
    numbers : (v, k) ndarray of float32
        The medium's own, which tell the views apart: a speed, a pitch; (v, 0) where there are none.
    """

    codes: Floats
    rows: NDArray[np.int64]
    numbers: Floats


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored file that a query may be a copy of, with how each of its m parts compares with each of v probes.

    Parameters
    ----------
    parts : Parts
    scores : (v, m) ndarray of float32
        Of the best window.
    windows : (v, m) ndarray of int64
        Which window that is.
    """

    parts: Parts
    scores: Floats
    windows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FileJudgement:
    """What comparing two files says.

    Parameters
    ----------
    is_copy : bool
        Whether the score reaches the medium's threshold.
    score : float
        0 to 1, 1 = same.
    overlap : Overlap
        Share of the query that the stored file has, and of the stored file that the query has.
    query_place, match_place : tuple of (float, float)
        Where in each the common part begins and ends, in the medium's unit.
    details : mapping
        What was done, by the medium's own names: a speed, a pitch, pages.
    """

    is_copy: bool
    score: float
    overlap: Overlap
    query_place: Place
    match_place: Place
    details: Mapping[str, Detail] = field(default_factory=dict)

    def swapped(self, details: Mapping[str, Detail]) -> FileJudgement:
        """Return it as it is when the stored file is the query.

        Parameters
        ----------
        details : mapping
            What was done then.
        """
        return replace(
            self,
            overlap=Overlap(self.overlap.match, self.overlap.query),
            query_place=self.match_place,
            match_place=self.query_place,
            details=details,
        )

    def to_json(self) -> str:
        """Return it as text that `judgement_from` reads."""
        return json.dumps(
            {
                "score": self.score,
                "overlap": [self.overlap.query, self.overlap.match],
                "query": self.query_place,
                "match": self.match_place,
                "details": dict(self.details),
            }
        )


def judgement_from(text: str) -> FileJudgement:
    """Return the judgement of two copies in a text that `to_json` wrote."""
    read = json.loads(text)
    (query_start, query_end), (match_start, match_end) = read["query"], read["match"]
    return FileJudgement(
        is_copy=True,
        score=read["score"],
        overlap=Overlap(*read["overlap"]),
        query_place=(query_start, query_end),
        match_place=(match_start, match_end),
        details=read["details"],
    )


@dataclass(frozen=True, slots=True)
class Merit:
    """One reason to keep a file rather than a copy of it.

    Parameters
    ----------
    name : str
        For people: "bit rate".
    value : float
        The larger is better.
    words : str
        The value for people: "320 kbit/s".
    """

    name: str
    value: float
    words: str


def parts_from(parts: Sequence[Part], facts: FileFacts) -> Parts:
    """Return the parts of a file as its medium takes them.

    Parameters
    ----------
    parts : sequence of Part
    facts : FileFacts
    """
    vectors = np.frombuffer(b"".join(part.vector for part in parts), dtype=np.uint8)
    return Parts(
        vectors.reshape(len(parts), VECTOR_BYTES),
        np.array([(part.start, part.end) for part in parts], dtype=np.float64).reshape(len(parts), 2),
        tuple(part.label for part in parts),
        tuple(part.detail for part in parts),
        facts,
    )


def window_scores(codes: NDArray[np.int8], probes: Probes) -> NDArray[np.float32]:
    """Return how each window of each part compares with each probe.

    Parameters
    ----------
    codes : (m, windows, terms) ndarray of int8
    probes : Probes

    Returns
    -------
    (m, windows, v) ndarray of float32
    """
    count, windows, terms = codes.shape
    flat = codes.reshape(count * windows, terms).astype(np.float32)
    return np.asarray(flat @ probes.codes.T, dtype=np.float32).reshape(count, windows, len(probes.codes))


def candidate(parts: Parts, codes: NDArray[np.int8], probes: Probes) -> Candidate:
    """Return a stored file as it is judged.

    Parameters
    ----------
    parts : Parts
    codes : (m, windows, terms) ndarray of int8
        Of its parts.
    probes : Probes
        Of the query.
    """
    scores = window_scores(codes, probes)
    return Candidate(parts, np.ascontiguousarray(scores.max(axis=1).T), np.ascontiguousarray(scores.argmax(axis=1).T))


class PartMedium(Protocol):
    """One kind of file that is compared by its parts.

    Notes
    -----
    Any thread calls any method; none keeps anything between two calls.
    """

    # -- names and sizes ---------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The word by which settings, the index and answers name it: "audio"."""
        ...

    @property
    def noun(self) -> str:
        """What one of its files is called: "sound file"."""
        ...

    @property
    def extractor(self) -> str:
        """The extractor whose vectors it compares, as `decode.reader.Reader` names it.

        Codes are stored beside vectors: whatever changes codes, probes or vectors takes another name.
        """
        ...

    @property
    def unit(self) -> str:
        """Of places: "s", "characters"."""
        ...

    @property
    def threshold(self) -> float:
        """Score from which a file is a copy."""
        ...

    @property
    def floor(self) -> float:
        """Score of a probe and a part below which the part's file is no candidate."""
        ...

    @property
    def witnesses(self) -> int:
        """Files that are judged beside what has a passage of a query, as they may have it too; 0 for none.

        What many files have may be boilerplate, which `judge` can only tell when it is shown several of them.
        """
        ...

    @property
    def windows(self) -> int:
        """Windows of a packed code."""
        ...

    @property
    def terms(self) -> int:
        """Numbers of a window's code."""
        ...

    @property
    def spaces(self) -> Mapping[str, MapSpace]:
        """By what whole files may be near each other on the map; the default first."""
        ...

    # -- candidate generation ----------------------------------------------------------------------------------------

    def is_plain(self, parts: Parts, /) -> bool:
        """Return whether a file says too little to match anything but the same bytes: silence, a few words.

        Parameters
        ----------
        parts : Parts
        """
        ...

    def packed_codes(self, vectors: NDArray[np.uint8], /) -> Codes:
        """Return the codes by which parts are found.

        Parameters
        ----------
        vectors : (n, 4096) ndarray of uint8

        Returns
        -------
        (n, windows, terms) ndarray of int8
        """
        ...

    def probes(self, query: Parts, /) -> Probes:
        """Return what is looked up for a query; parts that say too little are left out.

        Parameters
        ----------
        query : Parts
        """
        ...

    # -- two files ---------------------------------------------------------------------------------------------------

    def judge(self, query: Parts, probes: Probes, candidates: Sequence[Candidate], /) -> list[FileJudgement]:
        """Return what comparing a query with each of some stored files says.

        Parameters
        ----------
        query : Parts
        probes : Probes
            Of the query.
        candidates : sequence of Candidate
            Likeliest first.  All at once: what many of them have in common may weigh less.

        Returns
        -------
        list of FileJudgement
            One for each candidate, in order.
        """
        ...

    def reversed(self, judgement: FileJudgement, /) -> FileJudgement:
        """Return a judgement as it is when the stored file is the query.

        Parameters
        ----------
        judgement : FileJudgement
        """
        ...

    def likeness(self, query: NDArray[np.uint8], stored: NDArray[np.uint8], /) -> Floats:
        """Return how alike whole files are; ranks `similar`.

        Parameters
        ----------
        query : (4096,) ndarray of uint8
        stored : (m, 4096) ndarray of uint8

        Returns
        -------
        (m,) ndarray of float32
            In [0, 1], 1 = same.
        """
        ...

    # -- for people --------------------------------------------------------------------------------------------------

    def words(self, judgement: FileJudgement, path: str, /, query: FileFacts, match: FileFacts) -> str:
        """Return where a query is from: "5 s of {path}, from 1:10 on, 4 % faster".

        Parameters
        ----------
        judgement : FileJudgement
        path : str
            What stands for the match: its path, or "that file".
        query, match : FileFacts
        """
        ...

    def merits(self, facts: FileFacts, /) -> tuple[Merit, ...]:
        """Return why a file is kept rather than a copy of it, what counts most first; the same names for each file.

        Parameters
        ----------
        facts : FileFacts
        """
        ...

    def summary(self, facts: FileFacts, /) -> str:
        """Return what is said of a file where a picture's width and height are: "3:41, 320 kbit/s".

        Parameters
        ----------
        facts : FileFacts
        """
        ...

    def picture(self, vector: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Return how a file or a part is drawn, (64, 64) grey levels.

        Parameters
        ----------
        vector : (4096,) ndarray of uint8
        """
        ...
