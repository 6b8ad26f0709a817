"""How a copy lies on the image that it is a copy of, so that one can be laid upon the other.

In: two contents.  Out: a homography and the tone.  Never here: drawing them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import LookedAt, Tone
from cbir_daemon.decode import DecodePool
from cbir_daemon.duplicates.looks import Files
from cbir_daemon.search.search import as_vector
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.search.turns import Urgency
from cbir_daemon.store import Content, Store

Homography = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Laid:
    """How a copy lies on another image.

    Parameters
    ----------
    homography : (3, 3) ndarray of float64 or None
        From a point of the copy to the point of the other that shows the same, coordinates from -1 to 1 over each; None
        when that cannot be told.
    look : LookedAt
        Whether the files or the vectors tell.
    invert : bool
        Whether one is the negative of the other.
    tone : Tone
        How the greys of the copy follow from the other's.
    score : float
        How alike their vectors are, aligned, in [0, 1].
    """

    homography: Homography | None
    look: LookedAt
    invert: bool
    tone: Tone
    score: float


def laid(store: Store, pool: DecodePool, searcher: Searcher, kept: Content, copy: Content) -> Laid:
    """Return how a copy lies on another image: by their files, or else by their vectors.

    Parameters
    ----------
    store : Store
        Has their vectors and knows their files.
    pool : DecodePool
        Its workers read the files.
    searcher : Searcher
        Compares.
    kept, copy : Content

    Raises
    ------
    ChildError
        When no worker can be started.
    UnavailableError
        When the pool is closed.
    """
    if kept.id == copy.id:
        return Laid(np.eye(3), LookedAt.FILES, invert=False, tone=Tone(), score=1.0)
    vectors = store.contents.vectors([kept.id, copy.id])
    judgement = searcher.judgements(vectors[copy.id], [kept.id]).get(kept.id) if len(vectors) > 1 else None
    if judgement is None:
        return Laid(None, LookedAt.VECTORS, invert=False, tone=Tone(), score=0.0)
    finer = _by_files(store, pool, searcher, kept, copy, vectors)
    by_vectors = np.array([*judgement.affine, 0, 0, 1]).reshape(3, 3) if judgement.affine else None
    return Laid(
        by_vectors if finer is None else finer,
        LookedAt.VECTORS if finer is None else LookedAt.FILES,
        judgement.transform.invert,
        judgement.tone,
        judgement.score,
    )


def _by_files(
    store: Store, pool: DecodePool, searcher: Searcher, kept: Content, copy: Content, vectors: dict[int, bytes]
) -> Homography | None:
    second_look, files = searcher.second_look(Urgency.QUESTION), Files(store, pool)
    if second_look is None:
        return None
    pictures = [files.picture(content.id, second_look.side_px) for content in (copy, kept)]
    if pictures[0] is None or pictures[1] is None:
        return None
    copied, stored = (as_vector(vectors[content.id]) for content in (copy, kept))
    return second_look.homography(copied, stored, pictures[0], pictures[1])
