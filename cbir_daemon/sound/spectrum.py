"""Sound as numbers: how much power each semitone has at each moment, in decibels.

In: blocks of samples.  Out: frames of 64 bands, numbers of 8 bits.  Never here: files, PyAV, parts, what is compared.

Decibels turn loudness and an equaliser into sums, a change of pitch into a shift by bands, and a change of tempo into a
scale of time.  A band is a semitone, so that a pitch one semitone higher is exactly one band.

References
----------
Haitsma and Kalker, A Highly Robust Audio Fingerprinting System, ISMIR 2002: bands on a logarithmic scale, from windows
of a third of a second, are enough to tell recordings from each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]

RATE_HZ: Final = 12_800
"""Samples a second; sound is brought to it before."""

BANDS: Final = 64
FRAME_SAMPLES: Final = 2_000
FRAME_S: Final = FRAME_SAMPLES / RATE_HZ
"""Seconds of a frame: 64 of them are ten seconds."""

LOWEST_HZ: Final = 125.0
"""Middle of the lowest band.  The highest lies at 4760 Hz: what small loudspeakers and low bit rates still carry."""

# A third of a second tells semitones apart from 125 Hz on (7.4 Hz), as its Hann window is 6 Hz wide.
_WINDOW_SAMPLES: Final = 4_096
_STEP_SAMPLES: Final = FRAME_SAMPLES // 4
# Weighs neighbouring windows, so that a frame changes little when the sound begins half a frame later.
_SMOOTHING: Final = np.array([1, 2, 3, 4, 3, 2, 1], dtype=np.float32) / 16
_BLOCK_STEPS: Final = 512

_QUIETEST_DB: Final = -96.0
_STEPS_PER_DB: Final = 255 / -_QUIETEST_DB
DB_PER_STEP: Final = 1 / _STEPS_PER_DB


def frames_of(blocks: Iterable[NDArray[np.float32]]) -> Frames:
    """Return the frames of a sound.

    Parameters
    ----------
    blocks : iterable of (n,) ndarray of float32
        Samples at `RATE_HZ`, full scale is 1.  They are taken one after the other: memory holds a few blocks and the
        frames, 410 bytes a second.

    Returns
    -------
    (frames, 64) ndarray of uint8
        Power of each band, lowest first: 0 is -96 dB of full scale and less, 255 is full scale.  One for each begun
        `FRAME_S`; none for no samples.
    """
    counted = _Counted(blocks)
    # Windows stand around their middles, and the first frame takes one of before the beginning.
    steps = [np.zeros((1, BANDS), dtype=np.float32), *_step_powers(counted)]
    power = np.concatenate(steps)
    count = -(-counted.samples // FRAME_SAMPLES)
    kernel = len(_SMOOTHING)
    missing = 4 * (count - 1) + kernel - len(power)
    power = np.pad(power, ((0, max(missing, 0)), (0, 0)))
    smooth = np.zeros((count, BANDS), dtype=np.float32)
    for offset, weight in enumerate(_SMOOTHING):
        smooth += weight * power[offset : offset + 4 * count - 3 : 4][:count] if count else 0
    return _as_bytes(smooth)


class _Counted:
    """Blocks of samples, and how many samples they were."""

    def __init__(self, blocks: Iterable[NDArray[np.float32]]) -> None:
        self._blocks = blocks
        self.samples = 0

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for block in self._blocks:
            self.samples += len(block)
            yield block


def _step_powers(blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Yield (n, 64) powers of windows around sample 0, 500, 1000 ..., as long as their middle lies in the sound."""
    edge = np.zeros(_WINDOW_SAMPLES // 2, dtype=np.float32)
    rest = edge
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= _WINDOW_SAMPLES + _BLOCK_STEPS * _STEP_SAMPLES:
            yield _powers(rest, _BLOCK_STEPS)
            rest = rest[_BLOCK_STEPS * _STEP_SAMPLES :]
    rest = np.concatenate([rest, edge])
    while len(rest) >= _WINDOW_SAMPLES:
        count = min((len(rest) - _WINDOW_SAMPLES) // _STEP_SAMPLES + 1, _BLOCK_STEPS)
        yield _powers(rest, count)
        rest = rest[count * _STEP_SAMPLES :]


def _powers(samples: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW_SAMPLES)[::_STEP_SAMPLES][:count]
    spectra = np.fft.rfft(windows * _hann(), axis=1)
    power = spectra.real**2 + spectra.imag**2
    return np.asarray(power @ _bands(), dtype=np.float32)


@cache
def _hann() -> NDArray[np.float32]:
    # Scaled so that a sine of full scale has power 1.
    return (np.hanning(_WINDOW_SAMPLES) * 4 / _WINDOW_SAMPLES).astype(np.float32)


@cache
def _bands() -> NDArray[np.float32]:
    """Return (bins, 64) weights: triangles, two semitones wide, of which neighbours overlap by half."""
    hertz = np.arange(1, _WINDOW_SAMPLES // 2 + 1) * RATE_HZ / _WINDOW_SAMPLES
    semitones = 12 * np.log2(hertz / LOWEST_HZ)
    weights = np.maximum(0, 1 - np.abs(semitones[:, None] - np.arange(BANDS)))
    return np.concatenate([np.zeros((1, BANDS)), weights]).astype(np.float32)


def _as_bytes(power: NDArray[np.float32]) -> Frames:
    # Damaged files decode to infinities and to what is no number.
    decibels = 10 * np.log10(np.nan_to_num(power, nan=0.0, posinf=1.0) + np.float32(10 ** (_QUIETEST_DB / 10)))
    steps = np.clip(np.rint((decibels - _QUIETEST_DB) * _STEPS_PER_DB), 0, 255)
    return np.asarray(steps, dtype=np.uint8)
