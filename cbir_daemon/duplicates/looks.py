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
from cbir_daemon.store import Store

REMEMBERED_PICTURES = 64
"""Pictures kept for the next pair, 150 KB each: those of a burst are all compared with each other."""

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
        self._pictures: OrderedDict[int, Picture | None] = OrderedDict()
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
        stored = self._store.vectors([copy.content_id for copy in found])
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
        if seen is Seen.COPY:
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
        pictures = self._picture(content_id), self._picture(other_id)
        if pictures[0] is None or pictures[1] is None:
            return Seen.UNCLEAR
        query, other = as_vectors([vector, stored])
        affine, invert = matching.affine_between(query, other)
        return matching.compared(pictures[0], pictures[1], affine, invert=invert).seen

    def _picture(self, content_id: int) -> Picture | None:
        """Return the (height, width) picture of a content, from the first of its files that can be read."""
        if content_id not in self._pictures:
            self._pictures[content_id] = self._read(content_id)
            if len(self._pictures) > REMEMBERED_PICTURES:
                self._pictures.popitem(last=False)
        self._pictures.move_to_end(content_id)
        return self._pictures[content_id]

    def _read(self, content_id: int) -> Picture | None:
        for image in self._store.images([content_id]):
            grey = None if image.missing else self._pool.read_grey(Path(os.fsdecode(image.path)), LOOK_SIDE_PX)
            if grey is not None:
                return np.frombuffer(grey.pixels, dtype=np.uint8).reshape(grey.height_px, grey.width_px)
        return None
