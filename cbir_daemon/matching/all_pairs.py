"""All pairs: the views of a pass, which looks up all contents among each other for a sixth of what single ones cost.

In: vectors, codes of stored images.  Out: how likely they are copies, and the affines from which an alignment starts.
Never here: verdicts (`verdict`), which of many are compared (`search`).

Each pair is seen from both sides.  That an image is a part of another one is seen when the part is asked for, and what
lies inside a border when the picture in it is: so an image asks as a whole, without its bars, trimmed, and at small
angles, and not as the picture around each of its parts, which is most of what a query has to do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.coarse import SCALE
from cbir_daemon.matching.geometry import Floats, compose
from cbir_daemon.matching.views import STORED_WINDOWS, TERMS, content_box, joined_views
from cbir_daemon.medium import Codes, Guesses, JoinViews
from cbir_daemon.records import VECTOR_SIDE_PX


def join_views(vector: NDArray[np.uint8]) -> JoinViews:
    """Return the views by which an image is compared where many are looked up among each other.

    Parameters
    ----------
    vector : (4096,) ndarray of uint8
    """
    image = np.asarray(vector, dtype=np.float32).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    box = content_box(image)
    wholes, trims, frames = joined_views(image, box)
    crops = np.concatenate([wholes.codes, trims.codes])
    affines = np.concatenate([wholes.affines, trims.affines, frames.affines])
    scaled, framed = (np.asarray(codes / SCALE, dtype=np.float32) for codes in (crops, frames.codes))
    return JoinViews(scaled, framed, affines, len(wholes.codes))


def best_guesses(codes: Codes, views: JoinViews) -> tuple[Floats, Guesses]:
    """Return the best correlation of each stored image with an image, and where its alignment starts.

    Parameters
    ----------
    codes : (n, WINDOWS, TERMS) ndarray of int8
    views : JoinViews

    Returns
    -------
    (n,) ndarray of float32
        In [0, 1].
    Guesses
        One for each.
    """
    stored, rows = codes.astype(np.float32, order="C"), np.arange(len(codes))
    crops = (stored.reshape(-1, TERMS) @ views.crops.T).reshape(len(codes), stored.shape[1] * len(views.crops))
    frames = stored[:, 0] @ views.frames.T
    crop, frame = np.abs(crops).argmax(axis=1), frames.argmax(axis=1)
    strengths, upright = crops[rows, crop], frames[rows, frame]
    is_crop = np.abs(strengths) >= upright
    windows, seen = np.divmod(crop, len(views.crops))
    windows = np.where(is_crop, windows, 0)
    seen = np.where(is_crop, seen, len(views.crops) + frame)
    signs = np.where(is_crop & (strengths < 0), -1, 1).astype(np.float32)
    scores = np.clip(np.where(is_crop, np.abs(strengths), upright), 0, 1)
    affines = compose(STORED_WINDOWS.frames[windows], views.affines[seen])
    return scores, Guesses(np.zeros_like(windows), windows, signs, affines)
