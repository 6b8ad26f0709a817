"""What of a spectrogram stays when sound is copied: windows, their codes, and the probes of a query.

In: frames.  Out: contrasts, codes, probes.  Never here: whether two sounds are one (`agreement`).

A window is two and a half seconds.  What is compared is how far each semitone stands out of its neighbours, less its
mean over the window: loudness and fades go with the first, equalisers and loudspeakers with the second.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.medium import Codes, Floats
from cbir_daemon.part_medium import Probes
from cbir_daemon.sound.places import PART_HOP, picture
from cbir_daemon.sound.spectrum import BANDS, DB_PER_STEP, Frames

WINDOW_FRAMES: Final = 16
WINDOW_HOP: Final = 4
"""Frames from one stored window to the next; of four frames of a query one begins with a stored window."""

WINDOWS: Final = PART_HOP // WINDOW_HOP
_TIME_TERMS: Final = 6
_BAND_TERMS: Final = 32
TERMS: Final = _TIME_TERMS * _BAND_TERMS

PITCHES: Final = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Semitones by which a query is moved to look it up; 4 % of speed are 0.68."""

_GROUPS: Final = 16
"""Places of a long query that are looked up, at `WINDOW_HOP` frames each."""

# What is 72 dB below full scale is as good as nothing: noise of the codec.
_FLOOR_STEPS: Final = np.uint8(24 / DB_PER_STEP)
_NEIGHBOURHOOD_BANDS: Final = 8.0
# A band that stands out by more counts little more: a voice over the music must not outweigh it.
_CLIPPED_DB: Final = 5.0
# Mean square of contrasts, less their means, below which a window says nothing; music has 0.1 to 0.3.
_PLAIN: Final = 0.004
_CODE_SCALE: Final = 254.0
_CHUNK: Final = 256


def contrasts(frames: Frames) -> Floats:
    """Return how far each band stands out of its neighbours.

    Parameters
    ----------
    frames : (..., 64) ndarray of uint8

    Returns
    -------
    (..., 64) ndarray of float32
        -1 to 1; 0 in silence.
    """
    decibels = np.maximum(frames, _FLOOR_STEPS).astype(np.float32) * np.float32(DB_PER_STEP)
    return np.asarray(np.tanh(decibels @ standing_out() / _CLIPPED_DB), dtype=np.float32)


@cache
def standing_out() -> Floats:
    """Return the (64, 64) matrix that takes a weighted mean of its neighbours from each band."""
    bands = np.arange(BANDS)
    weights = np.exp(-((bands[:, None] - bands) ** 2) / (2 * _NEIGHBOURHOOD_BANDS**2))
    weights /= weights.sum(axis=1, keepdims=True)
    return (np.eye(BANDS) - weights).T.astype(np.float32)


def moved(contrast: Floats, semitones: float) -> Floats:
    """Return contrasts as they are when the sound's pitch is raised; what moves in from outside is 0.

    Parameters
    ----------
    contrast : (n, 64) ndarray of float32
    semitones : float
    """
    if semitones == 0:
        return contrast
    low = int(np.floor(semitones))
    share = np.float32(semitones - low)
    return np.asarray((1 - share) * _shifted(contrast, low) + share * _shifted(contrast, low + 1), dtype=np.float32)


def _shifted(contrast: Floats, bands: int) -> Floats:
    shifted = np.zeros_like(contrast)
    if bands >= 0:
        shifted[:, bands:] = contrast[:, : BANDS - bands]
    else:
        shifted[:, :bands] = contrast[:, -bands:]
    return shifted


def windows_at(contrast: Floats, starts: NDArray[np.int64]) -> Floats:
    """Return windows, each band's mean taken off.

    Parameters
    ----------
    contrast : (n, 64) ndarray of float32
    starts : (k,) ndarray of int64
        First frames; `starts + WINDOW_FRAMES <= n`.

    Returns
    -------
    (k, 16, 64) ndarray of float32
    """
    windows = contrast[starts[:, None] + np.arange(WINDOW_FRAMES)]
    return np.asarray(windows - windows.mean(axis=1, keepdims=True), dtype=np.float32)


def weights_of(windows: Floats) -> Floats:
    """Return how much windows say: 0 for silence, a held tone; near 1 for music.

    Parameters
    ----------
    windows : (k, 16, 64) ndarray of float32

    Returns
    -------
    (k,) ndarray of float32
        In [0, 1].
    """
    energy = np.einsum("kij,kij->k", windows, windows) / (WINDOW_FRAMES * BANDS)
    return np.asarray(np.clip(energy / _PLAIN - 1, 0, 1), dtype=np.float32)


def window_codes(windows: Floats) -> Floats:
    """Return the codes of windows: the slow and broad terms of their cosine transform, of norm 1, or 0 when plain.

    Parameters
    ----------
    windows : (k, 16, 64) ndarray of float32

    Returns
    -------
    (k, TERMS) ndarray of float32
    """
    terms = cosines(WINDOW_FRAMES, _TIME_TERMS).T @ windows @ cosines(BANDS, _BAND_TERMS)
    flat = terms.reshape(len(windows), TERMS)
    norms = np.sqrt(np.einsum("kt,kt->k", flat, flat))
    return np.asarray(flat * (weights_of(windows) / np.maximum(norms, 1e-6))[:, None], dtype=np.float32)


@cache
def cosines(size: int, terms: int) -> Floats:
    """Return (size, terms) of DCT-II without its constant term.

    Parameters
    ----------
    size, terms : int
    """
    angles = np.pi * (np.arange(size)[:, None] + 0.5) * np.arange(1, terms + 1) / size
    return np.asarray(np.cos(angles) * np.sqrt(2 / size), dtype=np.float32)


def packed_codes(vectors: NDArray[np.uint8]) -> Codes:
    """Return the codes of the windows that begin in the first 48 frames of each part.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8

    Returns
    -------
    (n, WINDOWS, TERMS) ndarray of int8
    """
    codes = np.empty((len(vectors), WINDOWS, TERMS), dtype=np.int8)
    starts = np.arange(WINDOWS) * WINDOW_HOP
    for first in range(0, len(vectors), _CHUNK):
        contrast = contrasts(picture(vectors[first : first + _CHUNK])[:, ::-1].transpose(0, 2, 1))
        for number, start in enumerate(starts):
            windows = contrast[:, start : start + WINDOW_FRAMES]
            code = window_codes(windows - windows.mean(axis=1, keepdims=True))
            codes[first : first + _CHUNK, number] = np.rint(np.clip(code * _CODE_SCALE, -127, 127))
    return codes


def probes(frames: Frames) -> Probes:
    """Return what is looked up for a sound.

    Parameters
    ----------
    frames : (n, 64) ndarray of uint8

    Returns
    -------
    Probes
        `numbers` are the first frame in the query, and by how many semitones it was raised.
    """
    contrast = contrasts(long_enough(frames))
    starts = _telling_starts(contrast)
    count = len(starts) * len(PITCHES)
    codes = [window_codes(windows_at(moved(contrast, pitch), starts)) for pitch in PITCHES]
    numbers = np.stack([np.tile(starts, len(PITCHES)), np.repeat(PITCHES, len(starts))], axis=1)
    return Probes(
        codes=np.concatenate(codes).reshape(count, TERMS) / np.float32(_CODE_SCALE),
        rows=np.tile(np.minimum(starts, max(len(frames) - 1, 0)) // PART_HOP, len(PITCHES)),
        numbers=numbers.astype(np.float32).reshape(count, 2),
    )


def long_enough(frames: Frames) -> Frames:
    """Return frames, and silence after them where they are fewer than a window has.

    Parameters
    ----------
    frames : (n, 64) ndarray of uint8
    """
    return np.asarray(np.pad(frames, ((0, max(WINDOW_FRAMES - len(frames), 0)), (0, 0))), dtype=np.uint8)


def telling_frames(contrast: Floats) -> int:
    """Return about how many frames of a sound say something; 0 for silence.

    Parameters
    ----------
    contrast : (n, 64) ndarray of float32
    """
    starts = np.arange(0, len(contrast) - WINDOW_FRAMES + 1, WINDOW_HOP)
    count = int((weights_of(windows_at(contrast, starts)) > 0).sum())
    return count * WINDOW_HOP + WINDOW_FRAMES - WINDOW_HOP if count else 0


def _telling_starts(contrast: Floats) -> NDArray[np.int64]:
    """Return the frames at which windows are looked up, none of which is plain."""
    starts = np.arange(len(contrast) - WINDOW_FRAMES + 1)
    if len(starts) > _GROUPS * WINDOW_HOP:
        firsts = np.linspace(0, len(starts) - WINDOW_HOP, _GROUPS).astype(np.int64)
        starts = (firsts[:, None] + np.arange(WINDOW_HOP)).ravel()
    return np.asarray(starts[weights_of(windows_at(contrast, starts)) > 0], dtype=np.int64)
