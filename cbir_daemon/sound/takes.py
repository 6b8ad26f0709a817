"""Whether two sounds that agree are one recording, or the same notes played twice.

In: frames of two sounds, what they agree on.  Out: how much each lacks of the other.  Never here: where they agree.

Whatever is put over a recording, a voice or noise, leaves what was louder where it was; a codec, an equaliser or a
loudspeaker changes each band by as much at any time.  So of two copies of a recording one has every loud note of the
other, as loud as its band and its moment are.  Another instrument, or another melody over the same loop, lacks some and
adds some.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from cbir_daemon.medium import Floats
from cbir_daemon.sound.agreement import Agreement, values_at
from cbir_daemon.sound.features import moved, standing_out
from cbir_daemon.sound.spectrum import DB_PER_STEP, Frames

# A note stands out of its neighbours by that much, and is that far above the quietest that is told from silence.
_NOTE_DB: Final = 4.0
_LOUD_DB: Final = 36.0
_LACKING_DB: Final = 4.0
# Of fewer notes the share says nothing.
_LEAST_NOTES: Final = 600
# Medians of bands and of moments change each other a little.
_ROUNDS: Final = 2


def lacking(query: Frames, stored: Frames, found: Agreement) -> float:
    """Return which share of the loud notes of one sound the other lacks, of the two shares the smaller one.

    Parameters
    ----------
    query, stored : (n, 64) and (m, 64) ndarray of uint8
    found : Agreement
        Where they agree.

    Returns
    -------
    float
        0 to 1; 0 too when there are too few notes to tell.
    """
    rows = np.arange(int(found.start), min(int(found.end), len(query)))
    raised = moved(_decibels(query), found.line.pitch)[rows]
    laid = values_at(_decibels(stored), found.line.offset + found.line.speed * rows)
    edge = math.ceil(abs(found.line.pitch))
    bands = slice(edge, raised.shape[1] - edge)
    if found.line.pitch % 1:
        return min(_share_lacking(raised, _spread(laid), bands), _share_lacking(laid, _spread(raised), bands))
    return min(_share_lacking(raised, laid, bands), _share_lacking(laid, raised, bands))


def _spread(decibels: Floats) -> Floats:
    """Return the loudest of each band and its neighbours: between two bands a clear note is in both, and quieter."""
    padded = np.pad(decibels, ((0, 0), (1, 1)), mode="edge")
    return np.maximum(np.maximum(padded[:, :-2], padded[:, 2:]), decibels)


def _decibels(frames: Frames) -> Floats:
    return frames.astype(np.float32) * np.float32(DB_PER_STEP)


def _share_lacking(first: Floats, second: Floats, bands: slice) -> float:
    """Return which share of the notes of the first are quieter in the second than their bands and moments are."""
    is_note = ((first @ standing_out() > _NOTE_DB) & (first > _LOUD_DB))[:, bands]
    if is_note.sum() < _LEAST_NOTES:
        return 0.0
    moments, heights = is_note.any(axis=1), is_note.any(axis=0)
    changes = np.where(is_note, (second - first)[:, bands], np.nan)[moments][:, heights]
    for _ in range(_ROUNDS):
        changes -= np.nanmedian(changes, axis=0)
        changes -= np.nanmedian(changes, axis=1)[:, None]
    return float((changes < -_LACKING_DB).sum() / is_note.sum())
