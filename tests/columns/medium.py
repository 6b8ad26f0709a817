"""Compare tables by their columns: the courses of their numbers, whatever the unit, the order and the names.

In: parts.  Out: codes, probes, judgements, words.  Never here: files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Overlap
from cbir_daemon.medium import Codes, Floats, MapSpace
from cbir_daemon.part_medium import Candidate, FileFacts, FileJudgement, Merit, Parts, Probes
from cbir_daemon.records import VECTOR_BYTES

EXTRACTOR = "columns/1"
"""Another name whenever vectors, codes or probes are made otherwise."""

TERMS = 64
SCALE = 127
PLAIN = 1.0
"""Standard deviation, in steps of 256, below which a column says nothing."""


class Columns:
    """Tables of numbers."""

    name = "columns"
    noun = "table"
    extractor = EXTRACTOR
    unit = "columns"
    threshold = 0.98
    floor = 0.8
    witnesses = 0
    windows = 1
    terms = TERMS

    @property
    def spaces(self) -> Mapping[str, MapSpace]:
        """Return the one space: the mean course of all columns."""
        return {"course": MapSpace("course/1", TERMS, lambda vectors, _: _codes(vectors))}

    def is_plain(self, parts: Parts, /) -> bool:
        """Return whether no column has a course."""
        return not _lively(parts).any()

    def packed_codes(self, vectors: NDArray[np.uint8], /) -> Codes:
        """Return the means of 64 stretches of each column, free of unit and origin."""
        return np.rint(_codes(vectors) * SCALE).astype(np.int8)[:, None, :]

    def probes(self, query: Parts, /) -> Probes:
        """Return each column as it is, and upside down."""
        rows = np.flatnonzero(_lively(query))
        codes = _codes(query.vectors[rows]) / np.float32(SCALE)
        signs = np.repeat(np.array([1, -1], dtype=np.float32), len(rows))
        return Probes(np.concatenate([codes, -codes]), np.tile(rows, 2), signs[:, None])

    def judge(self, query: Parts, probes: Probes, candidates: Sequence[Candidate], /) -> list[FileJudgement]:
        """Call a table a copy that has a column of the query: what has a course of its own is no accident."""
        return [_judged(query, probes, candidate) for candidate in candidates]

    def reversed(self, judgement: FileJudgement, /) -> FileJudgement:
        """Return the same with query and match exchanged."""
        return FileJudgement(
            judgement.is_copy,
            judgement.score,
            Overlap(judgement.overlap.match, judgement.overlap.query),
            judgement.match_place,
            judgement.query_place,
            judgement.details,
        )

    def likeness(self, query: NDArray[np.uint8], stored: NDArray[np.uint8], /) -> Floats:
        """Return the correlations of mean courses; those that run against each other are not alike."""
        return np.asarray(np.clip(_codes(stored) @ _codes(query[None])[0], 0, 1), dtype=np.float32)

    def words(self, judgement: FileJudgement, path: str, /, query: FileFacts, match: FileFacts) -> str:
        """Return "2 of 5 columns of {path}"."""
        count = f"{judgement.details['columns']} of {match.details['columns']} columns of {path}"
        return f"{count}, upside down" if judgement.details["negative"] else count

    def merits(self, facts: FileFacts, /) -> tuple[Merit, ...]:
        """Prefer more columns, then more rows."""
        return tuple(Merit(name, float(facts.details[name]), str(facts.details[name])) for name in ("columns", "rows"))

    def summary(self, facts: FileFacts, /) -> str:
        """Return "300x5"."""
        return f"{facts.details['rows']} rows, {facts.details['columns']} columns"

    def picture(self, vector: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Return the course, dark on light."""
        heights = vector.reshape(64, 64).mean(axis=1) / 4
        return np.where(np.arange(63, -1, -1)[:, None] < heights[None], 60, 240).astype(np.uint8)


def _lively(parts: Parts) -> NDArray[np.bool_]:
    return np.asarray(parts.vectors.std(axis=1) >= PLAIN)


def _codes(vectors: NDArray[np.uint8]) -> Floats:
    """Return the means of stretches without their mean, of norm 1; zeros for what has no course."""
    means = vectors.reshape(len(vectors), TERMS, VECTOR_BYTES // TERMS).mean(axis=2, dtype=np.float32)
    free = means - means.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(free, axis=1, keepdims=True)
    return np.asarray(np.where(norms >= PLAIN, free / np.maximum(norms, PLAIN), 0), dtype=np.float32)


def _judged(query: Parts, probes: Probes, candidate: Candidate) -> FileJudgement:
    """Return what the best match of each column of the query says together."""
    found: dict[int, tuple[float, int, bool]] = {}
    for probe, row in enumerate(probes.rows.tolist()):
        column = int(candidate.scores[probe].argmax())
        score = float(candidate.scores[probe, column])
        if score >= Columns.threshold and score > found.get(row, (0.0, 0, False))[0]:
            found[row] = (score, column, bool(probes.numbers[probe, 0] < 0))
    if not found:
        best = float(np.clip(candidate.scores.max(initial=0), 0, 1))
        return FileJudgement(False, best, Overlap(0, 0), (0, 0), (0, 0), {"columns": 0, "negative": False})
    columns = {column for _, column, _ in found.values()}
    score = min(1.0, sum(score for score, _, _ in found.values()) / len(found))
    overlap = Overlap(len(found) / len(query.vectors), len(columns) / len(candidate.parts.vectors))
    query_place, match_place = _place(query, found), _place(candidate.parts, columns)
    details = {"columns": len(columns), "negative": all(negative for _, _, negative in found.values())}
    return FileJudgement(True, score, overlap, query_place, match_place, details)


def _place(parts: Parts, rows: Iterable[int]) -> tuple[float, float]:
    places = parts.places[sorted(rows)]
    return float(places.min()), float(places.max())
