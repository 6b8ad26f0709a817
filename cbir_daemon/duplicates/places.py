"""Copies and shots that local features find: where in a query a content lies, and what comparing the files there says.

In: a query, the lists of features.  Out: contents, each with its place.  Never here: how features are found or aligned,
how two pictures are compared.

Features find and never decide: two shots of one shelf share as many as two copies do.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Around, LookedAt, Overlap, Transform, Window
from cbir_daemon.duplicates.exposures import Picture
from cbir_daemon.kinds import Kind
from cbir_daemon.local_features import LOCAL, Alignment, AskedFeatures, StoredFeatures, aligned
from cbir_daemon.medium import PictureParts, SecondLook, Seen
from cbir_daemon.records import DescriptorKind
from cbir_daemon.search.feature_lists import FeatureIndex
from cbir_daemon.search.parts import area_of
from cbir_daemon.search.search import Found

MOST_ALIGNED = 16
"""Candidates that are aligned, 8 ms each."""

MOST_COMPARED = 4
"""Contents whose files are compared with the query, about 100 ms each."""

LEAST_WEIGHT = 6.0
"""Weight of an alignment from which the files are compared; chance gives up to 20."""

SAME_THING_WEIGHT = 20.0
"""Weight from which what is no copy shows the same thing all the same: another shot of it."""

CERTAIN_WEIGHT, FEW_VOTES = 25.0, 0.4
"""After an alignment of this weight, candidates with less than this share of its votes are not tried."""

READ_SIDE_PX = 1024
"""Longer side at which files are read, so that a small part is sharp enough to be compared."""

# A rim around the place of a content, as a share of the query's half side: an alignment is exact to a few pixels.
_RIM: Final = 0.02

# Pixels of a place below which nothing is compared; share of the query from which a content fills it.
_LEAST_SIDE_PX, _FILLS = 32, 0.97

# Share of their area that the place of a query and a part with straight edges have in common when they are the same.
_SAME_WINDOW = 0.85

_SAMPLES: Final = 48
_UNIT: Final = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, slots=True)
class Placed:
    """A content that features find.

    Parameters
    ----------
    content_id : int
    alignment : Alignment
    """

    content_id: int
    alignment: Alignment


class FeatureReader(Protocol):
    """Reads the local features of contents, as `store.descriptors` does."""

    def of(self, kind: DescriptorKind, content_ids: Sequence[int], /) -> dict[int, bytes]:
        """Return content id -> features of a kind, of those contents that have them.

        Parameters
        ----------
        kind : DescriptorKind
        content_ids : sequence of int
        """
        ...


def placed_contents(
    index: FeatureIndex, kept: FeatureReader, asked: AskedFeatures, without: Container[int] = ()
) -> list[Placed]:
    """Return the contents whose features lie in a query as they do in the content, surest first.

    Parameters
    ----------
    index : FeatureIndex
    kept : FeatureReader
        Has the features of the contents.
    asked : AskedFeatures
        Of the query.
    without : container of int
        Content ids to leave out.
    """
    candidates = [
        candidate for candidate in index.candidates(asked, MOST_ALIGNED) if candidate.content_id not in without
    ]
    rows = kept.of(LOCAL, [candidate.content_id for candidate in candidates])
    found: list[Placed] = []
    enough = 0.0
    for candidate in candidates:
        if candidate.votes < enough:
            break
        if candidate.content_id not in rows:
            continue
        stored = StoredFeatures.from_bytes(rows[candidate.content_id])
        alignment = aligned(asked, stored, mirrored=candidate.mirrored)
        if alignment is None or alignment.weight < LEAST_WEIGHT:
            continue
        found.append(Placed(candidate.content_id, alignment))
        if alignment.weight >= CERTAIN_WEIGHT:
            enough = max(enough, FEW_VOTES * candidate.votes)
    return sorted(found, key=lambda placed: (-placed.alignment.weight, placed.content_id))


def looked_in_place(
    placed: list[Placed],
    picture: Picture,
    read: Callable[[int, int], Picture | None],
    second_look: SecondLook,
    parts: PictureParts,
) -> list[Found]:
    """Return the copies and shots among the contents that features find, best first.

    Parameters
    ----------
    placed : list of Placed
        Surest first; the first `MOST_COMPARED` are compared.
    picture : (height, width) ndarray of uint8
        The query, grey; the longer side at most `READ_SIDE_PX`.
    read : callable
        Takes a content id and a side in pixels, and returns the content's picture, which is no larger; None when it
        cannot be read.
    second_look : SecondLook
        Compares them.
    parts : PictureParts
        Cuts a place out of a picture.

    Raises
    ------
    ChildError
        When no worker can be started.
    UnavailableError
        When the pool is closed.
    """
    found = []
    for candidate in placed[:MOST_COMPARED]:
        stored = read(candidate.content_id, READ_SIDE_PX)
        if stored is None:
            continue
        seen, agreement = _compared(candidate.alignment.affine, picture, stored, second_look, parts)
        if seen is not Seen.COPY and candidate.alignment.weight < SAME_THING_WEIGHT:
            continue
        match = _found(candidate, picture, stored, parts)
        kind = Kind.COPY if seen is Seen.COPY else Kind.SHOT
        found.append(replace(match, kind=kind, score=round(agreement, 4), look_version=second_look.version))
    return sorted(found, key=lambda match: (match.kind is not Kind.COPY, -match.score, match.content_id))


def _compared(
    affine: NDArray[np.float64], picture: Picture, stored: Picture, second_look: SecondLook, parts: PictureParts
) -> tuple[Seen, float]:
    """Compare the place where both show the same, and return how they agree, too."""
    window, stored_window = _bounds(_inverse(affine)), _bounds(affine)
    if min(_least_side(picture, window), _least_side(stored, stored_window)) < _LEAST_SIDE_PX:
        return Seen.UNCLEAR, 0.0
    query_part = parts.part_picture(picture, window, second_look.side_px)
    stored_part = parts.part_picture(stored, stored_window, second_look.side_px)
    within = (_square(_affine_of(stored_window, inverse=True)) @ _square(affine) @ _square(_affine_of(window)))[:2]
    return second_look.seen_in_place(query_part, stored_part, within)


def _found(placed: Placed, picture: Picture, stored: Picture, parts: PictureParts) -> Found:
    """Return a content as it lies in a query, a shot until the files are compared."""
    affine = placed.alignment.affine
    window = _bounds(_inverse(affine), rim=0.0)
    overlap = Overlap(_share_inside(affine), _share_inside(_inverse(affine)))
    part = None if (window.right - window.left) * (window.bottom - window.top) >= _FILLS else window
    if part is not None:
        around = parts.around_part(picture, part)
    else:
        around = Around.NOTHING if overlap.query >= _FILLS else Around.PICTURE
    return Found(
        placed.content_id,
        Kind.SHOT,
        0.0,
        None,
        _transform(affine, picture, stored),
        overlap,
        around=around,
        look=LookedAt.FILES,
        part=part,
        features=placed.alignment.matches,
        match_around=around_query(parts, stored, affine) if overlap.query >= _FILLS > overlap.match else Around.NOTHING,
    )


def around_query(parts: PictureParts, stored: Picture, affine: NDArray[np.float64]) -> Around:
    """Return the surroundings that a stored picture puts around the query; nothing where that has no frame.

    Parameters
    ----------
    parts : PictureParts
    stored : (height, width) ndarray of uint8
    affine : (2, 3) ndarray of float64
        From a point of the query to that of the stored picture, coordinates from -1 to 1.
    """
    window = _bounds(affine, rim=0.0)
    # What a crop has lost ends nowhere in straight edges on all four sides.
    if not any(_common_share(window, framed) >= _SAME_WINDOW for framed in parts.rectangles(stored)):
        return Around.NOTHING
    return parts.around_part(stored, window)


def _common_share(window: Window, framed: Window) -> float:
    """Return the share of the area of two windows together that they have in common."""
    across = min(window.right, framed.right) - max(window.left, framed.left)
    down = min(window.bottom, framed.bottom) - max(window.top, framed.top)
    common = max(0.0, across) * max(0.0, down)
    return common / max(area_of(window) + area_of(framed) - common, 1e-9)


def _transform(affine: NDArray[np.float64], picture: Picture, stored: Picture) -> Transform:
    """Return how the stored picture was mirrored and turned to get the query."""
    sides = np.array([picture.shape[::-1], stored.shape[::-1]], dtype=np.float64)
    linear = sides[0][:, None] * _inverse(affine)[:, :2] / sides[1][None]
    flip = bool(np.linalg.det(linear) < 0)
    if flip:
        linear = linear * np.array([-1.0, 1.0])
    degrees = float(np.degrees(np.arctan2(linear[0, 1] - linear[1, 0], linear[0, 0] + linear[1, 1])))
    turn = round(degrees / 90) * 90
    return Transform(flip, turn % 360, round(degrees - turn, 2))


def _square(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vstack([affine, _UNIT])


def _inverse(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(_square(affine))[:2])


def _bounds(affine: NDArray[np.float64], rim: float = _RIM) -> Window:
    """Return the smallest window of a picture that shows all that an affine maps a picture to, cut off at its edges."""
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]) @ affine.T
    low, high = np.clip(corners.min(axis=0) - rim, -1, 1), np.clip(corners.max(axis=0) + rim, -1, 1)
    left, top, right, bottom = ((np.concatenate([low, high]) + 1) / 2).tolist()
    return Window(left, top, right, bottom)


def _affine_of(window: Window, *, inverse: bool = False) -> NDArray[np.float64]:
    """Return the affine from coordinates over a window to those over the whole picture, or back."""
    across, down = window.right - window.left, window.bottom - window.top
    affine = np.array([[across, 0, window.left + window.right - 1], [0, down, window.top + window.bottom - 1]])
    return _inverse(affine) if inverse else affine


def _least_side(picture: Picture, window: Window) -> float:
    height, width = picture.shape
    return min((window.right - window.left) * float(width), (window.bottom - window.top) * float(height))


def _share_inside(affine: NDArray[np.float64]) -> float:
    """Return the share of a picture that an affine maps to the inside of another one."""
    steps = (np.arange(_SAMPLES) + 0.5) * (2 / _SAMPLES) - 1
    points = np.stack([*map(np.ravel, np.meshgrid(steps, steps)), np.ones(_SAMPLES**2)])
    return float(np.mean((np.abs(affine @ points) < 1).all(axis=0)))
