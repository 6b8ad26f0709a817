"""How alike two whole sounds are, though they have no moment in common: which bands they fill, and how restlessly.

In: vectors of whole files.  Out: likeness, codes for the map.  Never here: parts, copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.medium import Floats, MapSpace
from cbir_daemon.sound.places import picture
from cbir_daemon.sound.spectrum import BANDS, DB_PER_STEP

_SIZE: Final = 2 * BANDS
# Decibels by which a band's level, and its change from moment to moment, differ among tracks of music.
_LEVEL_DB: Final = 6.0
_CHANGE_DB: Final = 2.0


def codes(vectors: NDArray[np.uint8]) -> Floats:
    """Return the codes of whole sounds: level and restlessness of each band, less what is common to all music.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8

    Returns
    -------
    (n, 128) ndarray of float32
        Of norm 1; 0 of silence.
    """
    decibels = picture(vectors).astype(np.float32) * np.float32(DB_PER_STEP)
    levels = decibels.mean(axis=2) @ _without_slope()
    changes = decibels.std(axis=2)
    changes -= changes.mean(axis=1, keepdims=True)
    joined = np.concatenate([levels / _LEVEL_DB, changes / _CHANGE_DB], axis=1)
    norms = np.linalg.norm(joined, axis=1, keepdims=True)
    return np.asarray(np.where(norms > 1e-3, joined / np.maximum(norms, 1e-3), 0), dtype=np.float32)


@cache
def _without_slope() -> Floats:
    """Return the (64, 64) matrix that takes level and slope over all bands away: treble and loudness are settings."""
    lines = np.stack([np.ones(BANDS), np.linspace(-1, 1, BANDS)], axis=1)
    return np.asarray(np.eye(BANDS) - lines @ np.linalg.pinv(lines), dtype=np.float32)


def alike(query: NDArray[np.uint8], stored: NDArray[np.uint8]) -> Floats:
    """Return how alike whole sounds are.

    Parameters
    ----------
    query : (4096,) ndarray of uint8
    stored : (m, 4096) ndarray of uint8

    Returns
    -------
    (m,) ndarray of float32
        In [0, 1].
    """
    return np.asarray(np.clip(codes(stored) @ codes(query[None])[0], 0, 1), dtype=np.float32)


def _map_codes(vectors: NDArray[np.uint8], _: NDArray[np.uint8]) -> Floats:
    return codes(vectors)


SPACES: Final[Mapping[str, MapSpace]] = {"bands": MapSpace("bands/1", _SIZE, _map_codes)}
"""By what sounds are near each other on their map."""
