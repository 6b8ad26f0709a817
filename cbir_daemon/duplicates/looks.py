"""The second look at copies: what the vectors call copies, compared on the files themselves.

In: contents with the copies that were found of them.  Out: those that are no other shots of the same scene.  Never
here: how two pictures are compared (`matching.look`), how files are decoded.

64x64 numbers do not see a parallax of a pixel: two hand-held shots of one scene are copies to them.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbir_daemon import matching
from cbir_daemon.decode import DecodePool
from cbir_daemon.matching import LOOK_SIDE_PX, Seen
from cbir_daemon.search.search import Found, as_vectors
from cbir_daemon.store import Image, Store
from cbir_daemon.system import heartbeat
from cbir_daemon.watching.walk import state_at

REMEMBERED_PICTURES = 64
"""Pictures kept for the next pair, 150 KB each: those of a burst are all compared with each other."""

REMEMBERED_VERDICTS = 20_000
"""Verdicts kept, some 200 bytes each: in a pass each pair comes twice, soon after each other."""

MOST = 0.55
"""Share of both pictures that a copy must show to be of one exposure with the other.

Two pictures that each show most of a third one show a part of each other; two halves of a collage do not.  Shares are
measured to about 0.01.
"""

Picture = NDArray[np.uint8]


class Looks:
    """Compares the files of contents that the vectors call copies.

    Parameters
    ----------
    store : Store
        Knows the files and vectors of contents.
    pool : DecodePool
        Its workers read the files.

    Notes
    -----
    For one thread.
    """

    def __init__(self, store: Store, pool: DecodePool) -> None:
        self._store = store
        self._pool = pool
        self._pictures: OrderedDict[int, Picture] = OrderedDict()
        # Content id -> another one of the same exposure; and pairs of exposures that are shots of one scene.
        self._same: dict[int, int] = {}
        self._shots: set[frozenset[int]] = set()

    def without_shots(self, content_id: int, vector: bytes, found: Sequence[Found]) -> list[Found]:
        """Return the found copies of a content but those whose files show another shot of the same scene.

        What cannot be told stays: a file is away, too small or too blurred.

        Parameters
        ----------
        content_id : int
        vector : bytes
            Its 4096 grey numbers.
        found : sequence of Found
            What the vectors call its copies.

        Raises
        ------
        ChildError
            When no worker can be started.
        UnavailableError
            When the pool is closed.
        """
        stored = self._store.contents.vectors([copy.content_id for copy in found])
        return [
            copy
            for copy in found
            if copy.content_id not in stored or not self._is_shot(content_id, vector, copy, stored[copy.content_id])
        ]

    def _is_shot(self, content_id: int, vector: bytes, copy: Found, stored: bytes) -> bool:
        # Copies of one exposure are copies of each other: a hundred of them take a hundred looks, not five thousand.
        own, other = self._exposure(content_id), self._exposure(copy.content_id)
        exposures = frozenset((own, other))
        if own == other or exposures in self._shots:
            return own != other
        seen = self._seen(content_id, vector, copy.content_id, stored)
        if len(self._same) + len(self._shots) >= REMEMBERED_VERDICTS:
            self._same.clear()
            self._shots.clear()
        elif seen is Seen.COPY and min(copy.overlap.query, copy.overlap.match) > MOST:
            self._same[other] = own
        elif seen is Seen.SHOT:
            self._shots.add(exposures)
        return seen is Seen.SHOT

    def _exposure(self, content_id: int) -> int:
        """Return the content that stands for all that were seen to be one exposure."""
        while content_id in self._same:
            content_id = self._same[content_id]
        return content_id

    def _seen(self, content_id: int, vector: bytes, other_id: int, stored: bytes) -> Seen:
        heartbeat.beat()
        pictures = self._picture(content_id), self._picture(other_id)
        if pictures[0] is None or pictures[1] is None:
            return Seen.UNCLEAR
        query, other = as_vectors([vector, stored])
        affine, invert = matching.affine_between(query, other)
        return matching.compared(pictures[0], pictures[1], affine, invert=invert).seen

    def _picture(self, content_id: int) -> Picture | None:
        """Return the (height, width) picture of a content, from the first of its files that can be read."""
        picture = self._pictures.pop(content_id, None)
        if picture is None:
            picture = self._read(content_id)
        if picture is not None:
            self._pictures[content_id] = picture
            if len(self._pictures) > REMEMBERED_PICTURES:
                self._pictures.popitem(last=False)
        return picture

    def _read(self, content_id: int) -> Picture | None:
        for image in self._store.files.images([content_id]):
            grey = None if image.missing else self._pool.read_grey(Path(os.fsdecode(image.path)), LOOK_SIDE_PX)
            # Asked after it was read: a file that was rewritten since it was indexed shows another content.
            if grey is not None and _has_state(image):
                return np.frombuffer(grey.pixels, dtype=np.uint8).reshape(grey.height_px, grey.width_px)
        return None


def _has_state(image: Image) -> bool:
    """Whether the file of an image is as it was when it was indexed."""
    try:
        return state_at(image.path) == image.state
    except OSError:
        return False
