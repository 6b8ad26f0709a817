"""The second look at copies: what the vectors call copies, compared on the files themselves.

In: contents, or a query, with the copies that the vectors found of them.  Out: these, each called a copy or another
shot of the same scene, and by what.  Never here: how two pictures are told apart (`exposures`), how files are decoded.

64x64 numbers do not see a parallax of a pixel: two hand-held shots of one scene are copies to them.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from cbir_daemon.comparison import LookedAt, Trace, Window
from cbir_daemon.decode import Colour, DecodePool, Grey
from cbir_daemon.duplicates.exposures import (
    Picture,
    are_two_frames,
    is_held,
    is_same_frame,
    seen_as,
    seen_between,
    shows_most,
    shows_same_frame,
    sight_of,
)
from cbir_daemon.duplicates.places import around_query
from cbir_daemon.errors import ChildError
from cbir_daemon.kinds import facts_of
from cbir_daemon.local_features import ASKED_SIDE_PX, STORED_SIDE_PX, AskedFeatures, StoredFeatures
from cbir_daemon.medium import Fine, PictureParts, SecondLook, Seen, Sight
from cbir_daemon.records import Facts
from cbir_daemon.search.parts import PARTS_SIDE_PX
from cbir_daemon.search.search import Found
from cbir_daemon.store import Content, Image, Pair, Store
from cbir_daemon.system import heartbeat
from cbir_daemon.watching.walk import state_at

REMEMBERED_PICTURES = 64
"""Pictures kept for the next pair, 150 KB each: those of a burst are all compared with each other."""

MOST_QUERY_LOOKS = 8
"""Files that are compared with a query, 70 ms each: a screen shows about as many of the best matches."""

REMEMBERED_VERDICTS = 20_000
"""Verdicts kept, some 200 bytes each: in a pass each pair comes twice, soon after each other."""


Contents = TypeVar("Contents")
Features = TypeVar("Features", StoredFeatures, AskedFeatures)


class Files:
    """Reads the pictures of contents from their files.

    Parameters
    ----------
    store : Store
    pool : DecodePool
        Its workers read the files.

    Notes
    -----
    Every method raises what reading a file by the pool raises: `ChildError`, `UnavailableError`.
    """

    def __init__(self, store: Store, pool: DecodePool) -> None:
        self._store = store
        self._pool = pool

    def picture(self, content_id: int, side_px: int) -> Picture | None:
        """Return the (height, width) picture of a content; see `grey`.

        Parameters
        ----------
        content_id : int
        side_px : int
            Longer side at most.
        """
        grey = self.grey(content_id, side_px)
        return None if grey is None else as_picture(grey)

    def grey(self, content_id: int, side_px: int) -> Grey | None:
        """Return the picture of a content, from the first of its files that can be read; None without such a file.

        Parameters
        ----------
        content_id : int
        side_px : int
            Longer side at most.
        """
        return self._read(content_id, lambda path: self._pool.read_grey(path, side_px))

    def colour(self, content_id: int, side_px: int) -> Colour | None:
        """Return the colour picture of a content, from the first of its files that can be read; None without one.

        Parameters
        ----------
        content_id : int
        side_px : int
            Longer side at most.
        """
        return self._read(content_id, lambda path: self._pool.read_colour(path, side_px))

    def features(self, content_id: int) -> StoredFeatures | None:
        """Return the local features of a content, from the first of its files that can be read.

        Parameters
        ----------
        content_id : int
        """
        data = self._read(content_id, lambda path: self._pool.read_features(path, STORED_SIDE_PX, asked=False))
        return None if data is None else trusted(StoredFeatures.from_bytes, data)

    def asked_features(self, content_id: int) -> AskedFeatures | None:
        """Return the local features that a query of the picture of a content has; see `features`.

        Parameters
        ----------
        content_id : int
        """
        data = self._read(content_id, lambda path: self._pool.read_features(path, ASKED_SIDE_PX, asked=True))
        return None if data is None else trusted(AskedFeatures.from_bytes, data)

    def fine(self, content: Content, window: Window) -> Fine | None:
        """Return a part of the picture of a content, with the pixels of its file.

        Parameters
        ----------
        content : Content
        window : Window
            What is returned is no smaller: its edges lie between two pixels.
        """
        width, height = content.width_px, content.height_px
        box = (
            int(window.left * width),
            int(window.top * height),
            math.ceil(window.right * width),
            math.ceil(window.bottom * height),
        )
        grey = self._read(content.id, lambda path: self._pool.read_crop(path, box))
        if grey is None:
            return None
        return Fine(as_picture(grey), Window(box[0] / width, box[1] / height, box[2] / width, box[3] / height))

    def _read(self, content_id: int, read: Callable[[Path], Contents | None]) -> Contents | None:
        for image in self._store.files.images([content_id]):
            held = None if image.missing else read(Path(os.fsdecode(image.path)))
            # Asked after it was read: a file that was rewritten since it was indexed shows another content.
            if held is not None and _has_state(image):
                return held
        return None


def trusted(parse: Callable[[bytes], Features], data: bytes) -> Features:
    """Return the local features that a worker answered.

    Parameters
    ----------
    parse : callable
        Raises `ValueError` for bytes that are none.
    data : bytes

    Raises
    ------
    ChildError
        When they are none: a worker handles hostile bytes, so nothing that it says is taken on trust.
    """
    try:
        return parse(data)
    except ValueError as error:
        raise ChildError("a decode worker sent a broken answer") from error


def as_picture(grey: Grey) -> Picture:
    """Return the pixels that a worker read as a (height, width) array."""
    return np.frombuffer(grey.pixels, dtype=np.uint8).reshape(grey.height_px, grey.width_px)


class QueryLooks:
    """Compares the file of a query with those of its copies.

    Parameters
    ----------
    store : Store
        Knows the files, vectors and pairs of contents.
    pool : DecodePool
        Its workers read the files.
    second_look : SecondLook or None
        Compares them.
    parts : PictureParts or None
        Knows the parts of the query.
    facts : Facts
        Of the query.
    read : callable
        Takes a side in pixels and returns the query's picture, which is no larger; None when it cannot be read.

    Notes
    -----
    For one query.
    """

    def __init__(
        self,
        store: Store,
        pool: DecodePool,
        second_look: SecondLook | None,
        parts: PictureParts | None,
        facts: Facts,
        read: Callable[[int], Grey | None],
    ) -> None:
        self._store = store
        self._second_look = second_look
        self._parts = parts
        self._files = Files(store, pool)
        self._facts = facts
        self._read = read
        self._read_pictures: dict[int, Picture | None] = {}
        self._stored_pictures: dict[int, Picture | None] = {}

    @property
    def files(self) -> Files:
        """Reads the pictures of contents."""
        return self._files

    def picture(self, side_px: int) -> Picture | None:
        """Return the query's picture with a longer side of at most `side_px`; None when it cannot be read."""
        if side_px not in self._read_pictures:
            grey = self._read(side_px)
            self._read_pictures[side_px] = None if grey is None else as_picture(grey)
        return self._read_pictures[side_px]

    def looked(self, copies: Sequence[Found]) -> list[Found]:
        """Return the copies, those whose files show another shot of the same scene as shots.

        All stay copies where the medium has no second look.

        Parameters
        ----------
        copies : sequence of Found
            Best first; after `MOST_QUERY_LOOKS` files the rest are told by what is known of pairs, or by the vectors.

        Raises
        ------
        ChildError
            When no worker can be started.
        UnavailableError
            When the pool is closed.
        """
        second_look = self._second_look
        if second_look is None:
            return list(copies)
        same = self._store.contents.by_digest(self._facts.digest)
        known = {} if same is None else self._pairs(same.id)
        stored = self._store.contents.vectors([copy.content_id for copy in copies])
        looked: list[Found] = []
        count = 0
        for copy in copies:
            pair = known.get(copy.content_id) if copy.part is None else None
            if pair is not None:
                looked.append(replace(copy, kind=pair.kind, look=pair.look, look_version=pair.look_version))
            elif count == MOST_QUERY_LOOKS or copy.content_id not in stored:
                looked.append(copy)
            else:
                count += 1
                heartbeat.beat()
                looked.append(found := self._looked_at(second_look, copy, stored[copy.content_id]))
                is_same = facts_of(found.kind).shows_same_exposure and found.look is LookedAt.FILES
                if is_same and copy.part is None and shows_most(copy):
                    # The query is this exposure: what is known of its pairs holds for the query too.
                    known = self._pairs(copy.content_id) | known
        first = looked[:MOST_QUERY_LOOKS]
        return [*(self._with_around(second_look, copy) for copy in first), *looked[MOST_QUERY_LOOKS:]]

    def is_shown(self, copy: Found, vector: bytes, picture: Picture) -> bool:
        """Return whether a copy is none of another shot, for a picture that is no content.

        Parameters
        ----------
        copy : Found
        vector : bytes
            4096 grey numbers of the picture.
        picture : (height, width) ndarray of uint8
            The longer side at most `SecondLook.side_px`.
        """
        second_look = self._second_look
        shown = None if second_look is None else self._shown(copy, second_look.side_px)
        if second_look is None or shown is None:
            return True
        return seen_between(second_look, *shown, vector, picture, copy) is not Seen.SHOT

    def _pairs(self, content_id: int) -> dict[int, Pair]:
        """Return the contents that a content was compared with, by id."""
        pairs = self._store.pairs.listed(content_id)
        return {pair.content_id + pair.other_id - content_id: pair for pair in pairs if pair.look_version}

    def _looked_at(self, second_look: SecondLook, copy: Found, vector: bytes) -> Found:
        side_px = second_look.side_px
        shown, picture = self._shown(copy, side_px), self._stored_picture(copy.content_id, side_px)
        if shown is None or picture is None:
            return copy
        seen = seen_between(second_look, *shown, vector, picture, copy)
        if seen is Seen.COPY and copy.part is None and is_same_frame(copy, shown[1], picture):
            content = self._store.files.images([copy.content_id])[0].content
            if are_two_frames(self._facts, content):
                seen = Seen.SHOT
        return seen_as(copy, seen, second_look.version)

    def _with_around(self, second_look: SecondLook, copy: Found) -> Found:
        """Return a copy with what was put around the query to get it, of one that holds the query."""
        parts = self._parts
        if parts is None or copy.compared is not None or not is_held(copy) or not copy.affine:
            return copy
        picture = self._stored_picture(copy.content_id, second_look.side_px)
        if picture is None:
            return copy
        return replace(copy, match_around=around_query(parts, picture, np.array(copy.affine).reshape(2, 3)))

    def _stored_picture(self, content_id: int, side_px: int) -> Picture | None:
        """Return the picture of a content, which is read once for a query; None when it cannot be read."""
        if content_id not in self._stored_pictures:
            self._stored_pictures[content_id] = self._files.picture(content_id, side_px)
        return self._stored_pictures[content_id]

    def _shown(self, copy: Found, side_px: int) -> tuple[bytes, Picture] | None:
        """Return the numbers and the picture of what of the query shows a copy."""
        part = copy.compared
        if part is None:
            picture = self.picture(side_px)
            return None if picture is None or self._facts.vector is None else (self._facts.vector, picture)
        picture, parts = self.picture(PARTS_SIDE_PX), self._parts
        if picture is None or parts is None:
            return None
        return parts.part_vector(picture, part).tobytes(), parts.part_picture(picture, part, side_px)


class Looks:
    """Compares the files of contents that the vectors call copies.

    Parameters
    ----------
    store : Store
        Knows the files and vectors of contents.
    pool : DecodePool
        Its workers read the files.
    second_look : SecondLook
        Compares them.

    Notes
    -----
    For one thread.
    """

    def __init__(self, store: Store, pool: DecodePool, second_look: SecondLook) -> None:
        self._store = store
        self._second_look = second_look
        self._files = Files(store, pool)
        self._pictures: OrderedDict[int, Picture] = OrderedDict()
        # Content id -> another one of the same exposure; and pairs of exposures that are shots of one scene.
        self._same: dict[int, int] = {}
        self._shots: set[frozenset[int]] = set()

    @property
    def version(self) -> int:
        """How the files are compared; grows with every change of that."""
        return self._second_look.version

    def looked(self, content_id: int, vector: bytes, found: Sequence[Found]) -> list[Found]:
        """Return the found copies of a content, those whose files show another shot of the same scene as shots.

        Parameters
        ----------
        content_id : int
        vector : bytes
            Its 4096 grey numbers.
        found : sequence of Found
            What the vectors call its copies.

        Returns
        -------
        list of Found
            In the order of `found`.  What cannot be told stays a copy by its vectors: a file is away, too small or too
            blurred.

        Raises
        ------
        ChildError
            When no worker can be started.
        UnavailableError
            When the pool is closed.
        """
        stored = self._store.contents.vectors([copy.content_id for copy in found])
        return [
            self._looked_at(content_id, vector, copy, stored[copy.content_id]) if copy.content_id in stored else copy
            for copy in found
        ]

    def sharpness(self, content_id: int) -> float | None:
        """Return the share of fine detail of a content that was looked at just now; None for another one."""
        picture = self._pictures.get(content_id)
        return None if picture is None else self._second_look.sharpness(picture)

    def _looked_at(self, content_id: int, vector: bytes, copy: Found, stored: bytes) -> Found:
        # Copies of one exposure are copies of each other: a hundred of them take a hundred looks, not five thousand.
        own, copied = self._exposure(content_id), self._exposure(copy.content_id)
        exposures = frozenset((own, copied))
        # What only the camera's time tells is true of two files, and of no copy of theirs that has lost it.
        are_two_frames = self._are_two_frames(content_id, copy.content_id)
        if not are_two_frames and (own == copied or exposures in self._shots):
            return seen_as(copy, Seen.COPY if own == copied else Seen.SHOT, self.version)
        sight = self._sight(content_id, vector, copy, stored, are_two_frames=are_two_frames)
        seen = None if sight is None else sight.seen
        looked = seen_as(copy, seen, self.version)
        if sight is not None:
            looked = replace(looked, own_traces=sight.own_traces, traces=sight.traces)
        if are_two_frames:
            return looked
        if len(self._same) + len(self._shots) >= REMEMBERED_VERDICTS:
            self._same.clear()
            self._shots.clear()
        elif seen is Seen.COPY and shows_most(copy):
            self._same[copied] = own
        elif seen is Seen.SHOT:
            self._shots.add(exposures)
        return looked

    def _exposure(self, content_id: int) -> int:
        """Return the content that stands for all that were seen to be one exposure."""
        while content_id in self._same:
            content_id = self._same[content_id]
        return content_id

    def _sight(
        self, content_id: int, vector: bytes, copy: Found, stored: bytes, *, are_two_frames: bool
    ) -> Sight | None:
        """Return the look at two files; None when one of them cannot be read."""
        heartbeat.beat()
        picture, stored_picture = self._picture(content_id), self._picture(copy.content_id)
        if picture is None or stored_picture is None:
            return None
        sight = sight_of(self._second_look, vector, picture, stored, stored_picture)
        if sight.seen is not Seen.COPY:
            return sight
        if are_two_frames and is_same_frame(copy, picture, stored_picture):
            return Sight(Seen.SHOT)
        own_traces, traces = self._detail_traces(content_id, copy, stored_picture)
        return Sight(Seen.COPY, sight.own_traces + own_traces, sight.traces + traces)

    def _detail_traces(self, content_id: int, copy: Found, picture: Picture) -> tuple[tuple[Trace, ...], ...]:
        """Return the edits of detail of a content and of its copy, where both show one frame."""
        if not shows_same_frame(copy):
            return (), ()
        contents = {
            image.content.id: image.content for image in self._store.files.images([content_id, copy.content_id])
        }
        if len(contents) != len({content_id, copy.content_id}):
            return (), ()
        side_px = self._second_look.detail_side_px
        width = min(1.0, side_px / max(content.width_px for content in contents.values()))
        height = min(1.0, side_px / max(content.height_px for content in contents.values()))
        window = Window() if width == height == 1 else self._second_look.busiest(picture, width, height)
        own, copied = (self._files.fine(contents[shown_id], window) for shown_id in (content_id, copy.content_id))
        return ((), ()) if own is None or copied is None else self._second_look.detail_traces(own, copied)

    def _are_two_frames(self, content_id: int, other_id: int) -> bool:
        """Whether a camera took the two pictures at two times, and neither was made smaller since."""
        contents = {image.content.id: image.content for image in self._store.files.images([content_id, other_id])}
        return len(contents) == 2 and are_two_frames(*contents.values())

    def _picture(self, content_id: int) -> Picture | None:
        """Return the (height, width) picture of a content, from the first of its files that can be read."""
        picture = self._pictures.pop(content_id, None)
        if picture is None:
            picture = self._files.picture(content_id, self._second_look.side_px)
        if picture is not None:
            self._pictures[content_id] = picture
            if len(self._pictures) > REMEMBERED_PICTURES:
                self._pictures.popitem(last=False)
        return picture


def _has_state(image: Image) -> bool:
    """Whether the file of an image is as it was when it was indexed."""
    try:
        return state_at(image.path) == image.state
    except OSError:
        return False
