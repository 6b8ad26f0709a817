"""Where the parts of a sound lie in it, and how parts become its frames again.

In: frames, or vectors of parts.  Out: vectors with their places, or frames.  Never here: samples, what frames say.

A part is 64 frames, ten seconds; the next begins 48 frames later.  Windows by which parts are found begin in the first
48, so that each window of the sound lies whole in one part.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.sound.spectrum import BANDS, FRAME_S, Frames

PART_FRAMES: Final = 64
PART_HOP: Final = 48
PART_HOP_S: Final = PART_HOP * FRAME_S


def part_vectors(frames: Frames) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the parts of a sound.

    Parameters
    ----------
    frames : (n, 64) ndarray of uint8
        At least one.

    Returns
    -------
    (m, 4096) ndarray of uint8
        64 rows of 64 moments, highest band first, as a spectrogram is drawn.  After the end of the sound: 0.
    (m, 2) ndarray of float64
        Begin and end in seconds.
    """
    starts = np.arange(0, len(frames), PART_HOP)
    padded = np.pad(frames, ((0, PART_FRAMES), (0, 0)))
    vectors = np.stack([_as_vector(padded[start : start + PART_FRAMES]) for start in starts])
    ends = np.minimum(starts + PART_FRAMES, len(frames))
    return vectors, np.stack([starts, ends], axis=1) * FRAME_S


def whole_vector(frames: Frames) -> NDArray[np.uint8]:
    """Return the 4096 numbers of a whole sound: the mean of each band, in decibels, in each 64th of it.

    Parameters
    ----------
    frames : (n, 64) ndarray of uint8
        At least one; of fewer than 64 some are repeated.
    """
    edges = np.linspace(0, len(frames), PART_FRAMES + 1)
    starts = np.minimum(edges[:-1].astype(np.int64), len(frames) - 1)
    ends = np.maximum(edges[1:].astype(np.int64), starts + 1)
    totals = np.concatenate([np.zeros((1, BANDS)), np.cumsum(frames, axis=0, dtype=np.float64)])
    means = (totals[ends] - totals[starts]) / (ends - starts)[:, None]
    return _as_vector(np.rint(means).astype(np.uint8))


def frames_from(vectors: NDArray[np.uint8], length_s: float) -> Frames:
    """Return the frames of the sound whose parts these are.

    Parameters
    ----------
    vectors : (m, 4096) ndarray of uint8
        All of them, in order.
    length_s : float
        Where the last ends.

    Returns
    -------
    (n, 64) ndarray of uint8
    """
    pictures = picture(vectors)[:, ::-1].transpose(0, 2, 1)
    count = min(round(length_s / FRAME_S), (len(vectors) - 1) * PART_HOP + PART_FRAMES)
    begun = pictures[:, :PART_HOP].reshape(-1, BANDS)
    return np.concatenate([begun, pictures[-1, PART_HOP:]])[:count]


def picture(vectors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (..., 64, 64) spectrograms of (..., 4096) vectors, the highest band on top.

    Parameters
    ----------
    vectors : (..., 4096) ndarray of uint8
    """
    return vectors.reshape(*vectors.shape[:-1], BANDS, PART_FRAMES)


def _as_vector(frames: Frames) -> NDArray[np.uint8]:
    return np.ascontiguousarray(frames.T[::-1]).reshape(-1)
