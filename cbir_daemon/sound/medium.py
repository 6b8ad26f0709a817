"""Sound as a medium: the functions of this room as a `PartMedium`.

In: parts of files.  Out: codes, probes, judgements, words.  Never here: how files become parts, PyAV; the daemon
imports this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Overlap
from cbir_daemon.medium import Codes, Floats, MapSpace
from cbir_daemon.part_medium import Candidate, FileFacts, FileJudgement, Merit, Parts, Place, Probes
from cbir_daemon.sound import features, likeness
from cbir_daemon.sound.agreement import Agreement, agreement
from cbir_daemon.sound.places import PART_HOP, frames_from, picture
from cbir_daemon.sound.spectrum import FRAME_S, Frames
from cbir_daemon.sound.takes import lacking
from cbir_daemon.sound.words import merits, origin, summary

EXTRACTOR: Final = "audio-bands/1"
"""How a file becomes numbers, and they become codes; stands in the index."""

THRESHOLD: Final = 0.6
"""Score from which two sounds are copies: chosen on 40 tracks, docs/sound.md says what it finds on 296."""

_JUST_BELOW: Final = THRESHOLD - 0.01
_FLOOR: Final = 0.35
# A jingle, or a loop that two songs are made from, is not all there is of either.
_COMMON_SHARE: Final = 0.5
# What goes on for longer is no jingle.
_COMMON_S: Final = 30.0
# A loop fits itself a bar later nearly as well.
_RIVAL_SHARE: Final = 0.7
# Share of notes that both sounds lack of each other, times their correlation, from which they are two recordings.
# Copies under a voice as loud as they are have up to 0.033, the same notes by another instrument 0.05 and more.
_TWO_RECORDINGS: Final = 0.045


class SoundMedium:
    """Files with sound, compared by ten seconds at a time; a `PartMedium`."""

    name: str = "audio"
    noun: str = "sound file"
    extractor: str = EXTRACTOR
    unit: str = "s"
    threshold: float = THRESHOLD
    floor: float = _FLOOR
    witnesses = 0
    windows: int = features.WINDOWS
    terms: int = features.TERMS
    spaces: Mapping[str, MapSpace] = likeness.SPACES

    def is_plain(self, parts: Parts, /) -> bool:
        """Return whether a file is silence, a held tone, or nothing else that could be told again."""
        return not len(parts.vectors) or not features.telling_frames(_contrasts(parts))

    def packed_codes(self, vectors: NDArray[np.uint8], /) -> Codes:
        """Return the codes of the windows of parts."""
        return features.packed_codes(vectors)

    def probes(self, query: Parts, /) -> Probes:
        """Return what is looked up for a file; see `features.probes`."""
        return features.probes(_frames(query))

    def judge(self, query: Parts, probes: Probes, candidates: Sequence[Candidate], /) -> list[FileJudgement]:
        """Return what comparing a file with each candidate says."""
        frames = features.long_enough(_frames(query))
        contrast = features.contrasts(frames)
        return [self._judged(frames, contrast, query.length, probes, candidate) for candidate in candidates]

    def _judged(
        self, frames: Frames, query: Floats, length_s: float, probes: Probes, candidate: Candidate
    ) -> FileJudgement:
        stored_frames = features.long_enough(_frames(candidate.parts))
        stored = features.contrasts(stored_frames)
        found = agreement(query, stored, _hits(probes, candidate))
        line = found.line
        stretch = found.end - found.start
        overlap = Overlap(_share(stretch, query), _share(stretch * line.speed, stored))
        is_copy = (
            found.score >= THRESHOLD
            and _is_more_than_a_jingle(found, overlap)
            and lacking(frames, stored_frames, found) * found.correlation < _TWO_RECORDINGS
        )
        return FileJudgement(
            is_copy=is_copy,
            score=found.score if is_copy else min(found.score, _JUST_BELOW),
            overlap=overlap,
            query_place=_seconds(found.start, found.end, length_s),
            match_place=_seconds(
                line.offset + line.speed * found.start, line.offset + line.speed * found.end, candidate.parts.length
            ),
            # A line raises the query to meet the stored sound.
            details={"speed": round(float(line.speed), 3), "pitch_semitones": round(0.0 - line.pitch, 2)},
        )

    def reversed(self, judgement: FileJudgement, /) -> FileJudgement:
        """Return a judgement as it is when the stored file is the query."""
        speed, pitch = (float(judgement.details[name]) for name in ("speed", "pitch_semitones"))
        return judgement.swapped({"speed": round(1 / speed, 3), "pitch_semitones": 0.0 - pitch})

    def likeness(self, query: NDArray[np.uint8], stored: NDArray[np.uint8], /) -> Floats:
        """Return how alike whole files sound; see `likeness.alike`."""
        return likeness.alike(query, stored)

    def words(self, judgement: FileJudgement, path: str, /, query: FileFacts, match: FileFacts) -> str:
        """Return where a sound is from; see `words.origin`."""
        return origin(judgement, path)

    def merits(self, facts: FileFacts, /) -> tuple[Merit, ...]:
        """Return why a file is kept rather than a copy; see `words.merits`."""
        return merits(facts)

    def summary(self, facts: FileFacts, /) -> str:
        """Return how long a sound is and how it is kept; see `words.summary`."""
        return summary(facts)

    def picture(self, vector: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Return the spectrogram: time from left to right, the highest band on top, loud is bright."""
        return picture(vector)


def _frames(parts: Parts) -> Frames:
    return frames_from(parts.vectors, parts.length)


def _contrasts(parts: Parts) -> Floats:
    return features.contrasts(features.long_enough(_frames(parts)))


def _hits(probes: Probes, candidate: Candidate) -> tuple[NDArray[np.float64], NDArray[np.float64], Floats, Floats]:
    """Return first frames in both sounds, pitches and scores of the windows that are alike."""
    probe, part = np.nonzero(candidate.scores >= _FLOOR)
    stored = part * PART_HOP + candidate.windows[probe, part] * features.WINDOW_HOP
    starts, pitches = probes.numbers[probe].T
    return starts.astype(np.float64), stored.astype(np.float64), pitches, candidate.scores[probe, part]


def _share(frames: float, contrast: Floats) -> float:
    """Return which share of what a sound says a stretch of that many frames is."""
    return min(1.0, float(frames) / max(features.telling_frames(contrast), features.WINDOW_FRAMES))


def _is_more_than_a_jingle(found: Agreement, overlap: Overlap) -> bool:
    is_much = max(overlap.query, overlap.match) >= _COMMON_SHARE
    is_long = (found.end - found.start) * FRAME_S >= _COMMON_S
    is_loop = found.rival > _RIVAL_SHARE * found.evidence
    return (is_much or is_long) and not is_loop


def _seconds(start: float, end: float, length_s: float) -> Place:
    low, high = (round(float(min(max(frame * FRAME_S, 0.0), length_s)), 2) for frame in (start, end))
    return low, max(low, high)


MEDIUM: Final = SoundMedium()
"""What the daemon compares sound by."""
