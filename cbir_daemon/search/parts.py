"""Copies that a query shows in a part of itself: a picture on a page, in a screenshot, pasted onto another one, turned.

In: a query's picture at several hundred pixels, the searches of a snapshot.  Out: copies, each with the part that shows
it.  Never here: files, whether a copy is another shot.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Overlap, Quadrilateral, Window
from cbir_daemon.search.search import Found, Search, as_vector

AREA_PRICE = 0.2
"""What the whole area of a query counts against a part, in units of score."""

FILLS = 0.97
"""Share of a part and of a picture that each shows of the other when the one is the whole of the other."""

PARTS_SIDE_PX = 1024
"""Longer side of the picture that parts are cut out of, so that a quarter of it is as sharp as a look needs."""


def copies_in_parts(search: Search, picture: NDArray[np.uint8]) -> list[Found]:
    """Return the verified copies that the parts of a picture show, best first; a content once.

    Empty where the medium knows no parts of pictures.

    Parameters
    ----------
    search : Search
    picture : (height, width) ndarray of uint8
        Grey, upright; the longer side at most `PARTS_SIDE_PX`.
    """
    best: dict[int, tuple[float, Found]] = {}
    parts = search.medium.picture_parts
    if parts is None:
        return []
    filled: list[Window] = []
    for part in parts.rectangles(picture):
        vector = parts.part_vector(picture, part)
        # What lies around or inside a part that one picture fills shows that picture again.
        if any(are_nested(part, whole) for whole in filled) or search.medium.is_plain(vector):
            continue
        copies = search.copies(vector.tobytes())
        if any(min(found.overlap.query, found.overlap.match) >= FILLS for found in copies):
            filled.append(part)
        for found in copies:
            # Of nested parts the smallest that shows all: nothing beside the picture disagrees with the file then.
            rank = found.score * found.overlap.match - AREA_PRICE * area_of(part)
            if found.content_id not in best or rank > best[found.content_id][0]:
                beside = replace(found, around=parts.around_part(picture, part))
                best[found.content_id] = rank, in_part(beside, part)
    return sorted((found for _, found in best.values()), key=lambda found: (-found.score, found.content_id))


def copies_in_turned_parts(search: Search, picture: NDArray[np.uint8]) -> list[Found]:
    """Return the verified copies that the first part shows which is not upright and shows any, best first.

    Empty where the medium knows no parts of pictures.

    Parameters
    ----------
    search : Search
    picture : (height, width) ndarray of uint8
        Grey, upright; the longer side at most `PARTS_SIDE_PX`.
    """
    parts = search.medium.picture_parts
    if parts is None:
        return []
    for part in parts.turned_parts(picture):
        vector = parts.part_vector(picture, part)
        copies = [] if search.medium.is_plain(vector) else search.copies(vector.tobytes())
        if copies:
            return _placed(search, part, vector, copies)
    return []


def _placed(search: Search, part: Quadrilateral, vector: NDArray[np.uint8], copies: list[Found]) -> list[Found]:
    """Return copies that were found of a turned part as ones of the query."""
    parts = search.medium.picture_parts
    stored = search.store.vectors([copy.content_id for copy in copies])
    placed: list[Found] = []
    for copy in copies:
        if parts is not None and copy.content_id in stored:
            lies = parts.placement(part, vector, as_vector(stored[copy.content_id]))
            where = None if area_of(lies.window) >= FILLS else lies.window
            placed.append(replace(copy, transform=lies.transform, overlap=lies.overlap, part=where, cut=part))
    return placed


def are_nested(part: Window, whole: Window) -> bool:
    """Return whether two parts share more than half of the smaller one.

    Parameters
    ----------
    part : Window
    whole : Window
    """
    across = min(part.right, whole.right) - max(part.left, whole.left)
    down = min(part.bottom, whole.bottom) - max(part.top, whole.top)
    return max(0.0, across) * max(0.0, down) > min(area_of(part), area_of(whole)) / 2


def area_of(part: Window) -> float:
    """Return the share of a picture's area that a part has."""
    return (part.right - part.left) * (part.bottom - part.top)


def in_part(found: Found, part: Window) -> Found:
    """Return a copy that was found of a part of a query as one of the query.

    Parameters
    ----------
    found : Found
        Its overlap is with the part.
    part : Window
    """
    return replace(found, overlap=Overlap(found.overlap.query * area_of(part), found.overlap.match), part=part)
