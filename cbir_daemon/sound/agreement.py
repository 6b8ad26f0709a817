"""Whether two sounds are one: parts that agree on one offset, one speed and one pitch, and what they have in common.

In: frames of two sounds, and which of their windows are alike.  Out: an `Agreement`.  Never here: thresholds of what
is a copy, words.

Windows that are alike vote for an offset, at each of some speeds.  Along the likeliest, windows of the query are laid
over the stored sound, each a little before and after; a line through where they fit best gives offset and speed.
Then every window is compared at its place on that line, and the stretch in which they fit is what the two have in
common.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.medium import Floats
from cbir_daemon.sound.features import WINDOW_FRAMES, cosines, moved, weights_of, windows_at
from cbir_daemon.sound.spectrum import BANDS, FRAME_S

SPEEDS: Final = np.linspace(0.94, 1.06, 13)
_BIN_FRAMES: Final = 2.0
_VOTING_HITS: Final = 400
_GUESSES: Final = 4
_SAMPLED_WINDOWS: Final = 24
_SHIFTS: Final = np.arange(-4, 5)
_STEP: Final = 4
# Windows of unrelated music that lie at their best offset correlate by 0.1 on average.
_UNRELATED: Final = 0.12
# A stretch of twice the length needs 0.7 of the correlation, up to half a minute: bars of one tempo fit for longer.
_LONGEST_S: Final = 30.0
_EVIDENCE: Final = 0.7
# Below it nothing is a copy, and no rival is asked for; from this correlation on, what fits elsewhere is a repetition.
_LEAST_EVIDENCE: Final = 0.9
_SURE: Final = 0.8
_WHOLE_FRAMES: Final = 384
_WHOLE_TERMS: Final = 32
_WHOLE_GUESSES: Final = 2


@dataclass(frozen=True, slots=True)
class Line:
    """Which frame of a stored sound is at which of a query, raised by `pitch` semitones: `offset + speed * frame`."""

    offset: float
    speed: float
    pitch: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two sounds have in common.

    Parameters
    ----------
    correlation : float
        Mean of its windows.
    length_s : float
        How long they say something.
    rival : float
        Evidence of the best line that lies elsewhere: near that of this one where a loop goes on and on.  Asked only
        where it decides.
    start, end : float
        The stretch, in frames of the query.
    line : Line
    """

    line: Line
    correlation: float = 0.0
    length_s: float = 0.0
    start: float = 0.0
    end: float = 0.0
    rival: float = 0.0

    @property
    def evidence(self) -> float:
        """Square of the correlation, times seconds: four times as long, half of the correlation is as good."""
        return max(self.correlation, 0.0) ** 2 * min(self.length_s, _LONGEST_S)

    @property
    def score(self) -> float:
        """0 to 1: 0.5 for a correlation of 1 over one second, or of 0.18 over half a minute."""
        return 1 - math.exp(-_EVIDENCE * self.evidence)


def agreement(
    query: Floats, stored: Floats, hits: tuple[NDArray[np.float64], NDArray[np.float64], Floats, Floats]
) -> Agreement:
    """Return what two sounds have in common.

    Parameters
    ----------
    query, stored : (n, 64) and (m, 64) ndarray of float32
        Their contrasts, of 16 frames at least.
    hits : tuple of four (h,) ndarray
        Windows that are alike: first frame in the query, first frame in the stored sound, pitch, score.
    """
    guesses = _guesses(*hits) + _whole_guesses(query, stored)
    judged = sorted((_along(query, stored, line) for line in guesses), key=lambda found: -found.evidence)
    best = max(
        judged[0], _along(query, stored, _fitted(query, stored, judged[0].line)), key=lambda found: found.evidence
    )
    if best.correlation >= _SURE or best.evidence < _LEAST_EVIDENCE:
        return best
    middle = (best.start + best.end) / 2
    rivals = [line for line in guesses if _distance(line, best.line, middle) > WINDOW_FRAMES / 2]
    fitted = [_along(query, stored, _fitted(query, stored, line)) for line in rivals]
    far = [found.evidence for found in fitted if _distance(found.line, best.line, middle) > WINDOW_FRAMES / 2]
    return replace(best, rival=max(far, default=0.0))


def _distance(first: Line, second: Line, frame: float) -> float:
    return abs(first.offset - second.offset + (first.speed - second.speed) * frame)


def _guesses(query: NDArray[np.float64], stored: NDArray[np.float64], pitches: Floats, scores: Floats) -> list[Line]:
    """Return the lines for which most windows vote, of which no two are nearly the same."""
    best = np.argsort(-scores, kind="stable")[:_VOTING_HITS]
    if not len(best):
        return []
    query, stored, pitches, weights = query[best], stored[best], pitches[best], scores[best] ** 2
    offsets = stored[None] - SPEEDS[:, None] * query[None]
    lowest = offsets.min()
    bins = np.floor((offsets - lowest) / _BIN_FRAMES).astype(np.int64)
    votes = np.zeros((len(SPEEDS), int(bins.max()) + 3))
    for row, place in zip(votes, bins, strict=True):
        np.add.at(row, place + 1, weights)
    # A true line's votes fall on both sides of an edge of a bin.
    votes[:, 1:-1] = votes[:, :-2] / 2 + votes[:, 1:-1] + votes[:, 2:] / 2
    # Of equal votes the ordinary speed's count most.
    votes *= 1 - np.abs(SPEEDS - 1)[:, None]
    return _peaks(votes, offsets, lowest, pitches, weights, float(np.median(query)))


def _peaks(
    votes: NDArray[np.float64],
    offsets: NDArray[np.float64],
    lowest: float,
    pitches: Floats,
    weights: Floats,
    middle: float,
) -> list[Line]:
    lines: list[Line] = []
    for place in np.argsort(-votes, axis=None, kind="stable")[: 60 * _GUESSES]:
        number, bin_number = np.unravel_index(place, votes.shape)
        speed, offset = float(SPEEDS[number]), lowest + (float(bin_number) - 0.5) * _BIN_FRAMES
        near = np.abs(offsets[number] - offset) <= 1.5 * _BIN_FRAMES
        if not near.any():
            continue
        pitch = float(np.average(pitches[near], weights=weights[near]))
        line = Line(offset, speed, round(4 * pitch) / 4)
        if all(_distance(line, known, middle) > 2 * _BIN_FRAMES for known in lines):
            lines.append(line)
        if len(lines) == _GUESSES:
            break
    return lines


def _whole_guesses(query: Floats, stored: Floats) -> list[Line]:
    """Return the offsets at which a minute of the query fits best as a whole, at its own speed and pitch.

    Under a voice no window stands out; all of them together do.
    """
    size = 1 << (min(len(query), _WHOLE_FRAMES) + len(stored)).bit_length()
    first = max(len(query) - _WHOLE_FRAMES, 0) // 2
    spectra = [
        np.fft.rfft(_restless(sound) @ cosines(BANDS, _WHOLE_TERMS), size, axis=0)
        for sound in (query[first : first + _WHOLE_FRAMES], stored)
    ]
    fits = np.fft.irfft((spectra[0].conj() * spectra[1]).sum(axis=1), size)[: len(stored)]
    best = []
    for _ in range(_WHOLE_GUESSES):
        place = int(fits.argmax())
        best.append(Line(float(place - first), 1.0, 0.0))
        fits[max(place - WINDOW_FRAMES // 2, 0) : place + WINDOW_FRAMES // 2] = -np.inf
    return best


def _restless(contrast: Floats) -> Floats:
    """Return contrasts less their means over the window around each frame."""
    totals = np.concatenate([np.zeros((1, BANDS)), np.cumsum(contrast, axis=0, dtype=np.float64)])
    places = np.arange(len(contrast))
    begin, end = np.maximum(places - WINDOW_FRAMES // 2, 0), np.minimum(places + WINDOW_FRAMES // 2, len(contrast))
    return np.asarray(contrast - (totals[end] - totals[begin]) / (end - begin)[:, None], dtype=np.float32)


def _starts(query: Floats, stored: Floats, line: Line, step: int) -> NDArray[np.int64]:
    """Return the first frames of the query's windows that lie inside of the stored sound."""
    starts = np.arange(0, len(query) - WINDOW_FRAMES + 1, step)
    first = line.offset + line.speed * starts
    return starts[(first >= 0) & (first + line.speed * (WINDOW_FRAMES - 1) <= len(stored) - 1)]


def _laid_over(stored: Floats, line: Line, starts: NDArray[np.int64], shift: float = 0.0) -> Floats:
    """Return the (k, 16, 64) windows of the stored sound under those of the query, each band's mean taken off."""
    windows = values_at(stored, line.offset + shift + line.speed * (starts[:, None] + np.arange(WINDOW_FRAMES)))
    return np.asarray(windows - windows.mean(axis=1, keepdims=True), dtype=np.float32)


def values_at(frames: Floats, places: NDArray[np.floating]) -> Floats:
    """Return what lies at places between frames.

    Parameters
    ----------
    frames : (n, 64) ndarray of float32
        Two at least.
    places : (...) ndarray of floating
        Those outside are brought to the first and the last frame.

    Returns
    -------
    (..., 64) ndarray of float32
    """
    inside = np.clip(places, 0, len(frames) - 1.001)
    low = inside.astype(np.int64)
    share = (inside - low).astype(np.float32)[..., None]
    return np.asarray((1 - share) * frames[low] + share * frames[low + 1], dtype=np.float32)


def _correlations(first: Floats, second: Floats) -> Floats:
    products = np.einsum("kij,kij->k", first, second)
    norms = np.einsum("kij,kij->k", first, first) * np.einsum("kij,kij->k", second, second)
    return np.asarray(products / np.sqrt(np.maximum(norms, 1e-6)), dtype=np.float32)


def _fitted(query: Floats, stored: Floats, line: Line) -> Line:
    """Return a line through the places at which windows of the query fit best."""
    starts = _starts(query, stored, line, 1)
    if not len(starts):
        return line
    starts = starts[np.unique(np.linspace(0, len(starts) - 1, _SAMPLED_WINDOWS).astype(np.int64))]
    pitches = [line.pitch + change for change in (-0.5, -0.25, 0.0, 0.25, 0.5)]
    under = {shift: _laid_over(stored, line, starts, float(shift)) for shift in _SHIFTS}
    fits = []
    for pitch in pitches:
        windows = windows_at(moved(query, pitch), starts)
        fits.append(np.stack([_correlations(windows, under[shift]) for shift in _SHIFTS], axis=1))
    number = int(np.argmax([fit.max(axis=1).mean() for fit in fits]))
    shifts, weights = _best_shifts(fits[number])
    return _line_through(Line(line.offset, line.speed, pitches[number]), starts, shifts, weights)


def _best_shifts(fits: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where each row of correlations is highest, between shifts too, and how high above chance."""
    best = np.clip(fits.argmax(axis=1), 1, len(_SHIFTS) - 2)
    rows = np.arange(len(fits))
    before, at, after = (fits[rows, best + step].astype(np.float64) for step in (-1, 0, 1))
    bend = before - 2 * at + after
    between = np.where(bend < -1e-6, (before - after) / (2 * np.minimum(bend, -1e-6)), 0.0)
    return _SHIFTS[best] + np.clip(between, -1, 1), np.maximum(at - _UNRELATED, 0) ** 2


def _line_through(
    line: Line, starts: NDArray[np.int64], shifts: NDArray[np.float64], weights: NDArray[np.float64]
) -> Line:
    """Return the line that most windows' best places lie on: least squares, then again without what lies off it."""
    middles = starts + WINDOW_FRAMES / 2
    slope = shift = 0.0
    for tolerance in (6.0, 2.0, 1.0, 0.7):
        near = weights * (np.abs(shifts - shift - slope * middles) <= tolerance)
        if near.sum() <= 0:
            break
        centre = np.average(middles, weights=near)
        mean = np.average(shifts, weights=near)
        spread = np.average((middles - centre) ** 2, weights=near)
        # Over a short stretch a slope is guessed from noise: it has to pay for itself.
        slope = np.average((middles - centre) * (shifts - mean), weights=near) / (spread + 40.0)
        shift = mean - slope * centre
    return Line(line.offset + shift, line.speed + slope, line.pitch)


def _along(query: Floats, stored: Floats, line: Line) -> Agreement:
    """Return the stretch in which two sounds fit along a line."""
    starts = _starts(query, stored, line, _STEP)
    if not len(starts):
        return Agreement(line)
    first, second = windows_at(moved(query, line.pitch), starts), _laid_over(stored, line, starts)
    weights = np.minimum(weights_of(first), weights_of(second)).astype(np.float64)
    fits = _correlations(first, second).astype(np.float64)
    begin, end = _best_stretch((fits - _UNRELATED) * weights)
    total = float(weights[begin:end].sum())
    if total <= 0:
        return Agreement(line)
    return Agreement(
        line,
        correlation=float((fits * weights)[begin:end].sum()) / total,
        length_s=(total * _STEP + WINDOW_FRAMES - _STEP) * FRAME_S,
        start=float(starts[begin]),
        end=float(starts[end - 1]) + WINDOW_FRAMES,
    )


def _best_stretch(gains: NDArray[np.float64]) -> tuple[int, int]:
    """Return where the consecutive numbers of largest sum begin and end."""
    totals = np.concatenate([[0.0], np.cumsum(gains)])
    lowest = np.minimum.accumulate(totals)
    end = int(np.argmax(totals[1:] - lowest[:-1])) + 1
    return int(np.argmin(totals[:end])), end
