"""The medium `grey64`: pictures as 64x64 grey numbers.

In: the functions of this room.  Out: `GREY64`, which binds them as a `Medium`.  Never here: how any of them works.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Quadrilateral, Window
from cbir_daemon.matching.all_pairs import best_guesses, join_views
from cbir_daemon.matching.appearance import alike, norms, reasons
from cbir_daemon.matching.blocks import sharpness
from cbir_daemon.matching.borders import picture_share
from cbir_daemon.matching.coarse import (
    COPY_FLOOR,
    FEW_WINDOWS,
    WINDOWS,
    best_scores,
    coarse_views,
    few_views,
    packed_codes,
    probe_vectors,
)
from cbir_daemon.matching.codes import is_plain, likeness
from cbir_daemon.matching.collage import contained, whole_codes
from cbir_daemon.matching.detail import DETAIL_SIDE_PX, busiest, detail_traces
from cbir_daemon.matching.direction import direction
from cbir_daemon.matching.in_place import compared_in_place
from cbir_daemon.matching.look import LOOK_SIDE_PX, LOOK_VERSION, compared
from cbir_daemon.matching.rectangles import around_part, cut, part_vector, rectangles, within
from cbir_daemon.matching.spaces import SPACES
from cbir_daemon.matching.turned import placement, turned_parts, turned_picture, turned_vector
from cbir_daemon.matching.verdict import affine_between, judge
from cbir_daemon.matching.views import TERMS
from cbir_daemon.medium import Appearance, Medium, PictureParts, SecondLook, Seen, Sight
from cbir_daemon.records import LOOK, LOOK_BYTES


class Parallax:
    """The second look, by `look`: parallax tells two exposures apart; a `SecondLook`."""

    version = LOOK_VERSION
    side_px = LOOK_SIDE_PX
    sharpness = staticmethod(sharpness)
    detail_side_px = DETAIL_SIDE_PX
    detail_traces = staticmethod(detail_traces)
    busiest = staticmethod(busiest)

    def seen(
        self,
        query: NDArray[np.uint8],
        stored: NDArray[np.uint8],
        query_picture: NDArray[np.uint8],
        stored_picture: NDArray[np.uint8],
        affine: Sequence[float] = (),
        *,
        invert: bool = False,
    ) -> Seen:
        """Return whether two pictures are one exposure.

        Parameters
        ----------
        query, stored : (4096,) ndarray of uint8
            Their vectors, from which the affine between the two comes when that is not known.
        query_picture, stored_picture : (height, width) ndarray of uint8
            Grey, upright; the longer side at most `side_px`.
        affine : sequence of float
            How the vectors lie on each other, as `Judgement` has it; empty when that is not known.
        invert : bool
            Whether they agree as negatives, by what gave the affine.
        """
        if affine:
            start = np.array(affine, dtype=np.float32).reshape(2, 3)
        else:
            start, invert = affine_between(query, stored)
        return compared(query_picture, stored_picture, start, invert=invert).seen

    def seen_in_place(
        self, query_picture: NDArray[np.uint8], stored_picture: NDArray[np.uint8], affine: NDArray[np.float64]
    ) -> tuple[Seen, float]:
        """Return whether two pictures are one exposure, parts of which may be covered, and how they agree."""
        look = compared_in_place(query_picture, stored_picture, affine, rectangles(stored_picture))
        return look.seen, max(0.0, look.agreement)

    def homography(
        self,
        query: NDArray[np.uint8],
        stored: NDArray[np.uint8],
        query_picture: NDArray[np.uint8],
        stored_picture: NDArray[np.uint8],
    ) -> NDArray[np.float64] | None:
        """Return how two pictures lie on each other; None unless they agree.

        Returns
        -------
        (3, 3) ndarray of float64 or None
            From the query to the stored picture, coordinates from -1 to 1 over each.
        """
        affine, invert = affine_between(query, stored)
        look = compared(query_picture, stored_picture, affine, invert=invert)
        if look.seen is Seen.UNCLEAR or look.aligned is None:
            return None
        warp = look.aligned.warp if look.aligned.is_query_fixed else np.linalg.inv(look.aligned.warp)
        return np.asarray(warp / warp[2, 2], dtype=np.float64)

    def sight(
        self,
        query: NDArray[np.uint8],
        stored: NDArray[np.uint8],
        query_picture: NDArray[np.uint8],
        stored_picture: NDArray[np.uint8],
    ) -> Sight:
        """Return what `seen` does, and what was laid over or put around one of two pictures of one exposure."""
        affine, invert = affine_between(query, stored)
        look = compared(query_picture, stored_picture, affine, invert=invert)
        if look.seen is not Seen.COPY or look.aligned is None:
            return Sight(look.seen)
        return Sight(look.seen, *direction(look.aligned))


class Parts:
    """Parts of a picture, by `rectangles` and `turned`: upright ones and turned ones; a `PictureParts`."""

    rectangles = staticmethod(rectangles)
    around_part = staticmethod(around_part)
    turned_parts = staticmethod(turned_parts)
    placement = staticmethod(placement)

    def part_vector(self, picture: NDArray[np.uint8], part: Window | Quadrilateral) -> NDArray[np.uint8]:
        """Return the (4096,) vector of a part of a picture."""
        return part_vector(picture, part) if isinstance(part, Window) else turned_vector(picture, part)

    def part_picture(self, picture: NDArray[np.uint8], part: Window | Quadrilateral, side_px: int) -> NDArray[np.uint8]:
        """Return a part of a picture, no larger than `side_px`."""
        return within(cut(picture, part) if isinstance(part, Window) else turned_picture(picture, part), side_px)


class Looks:
    """How pictures look: colours, edges, texture; see `appearance`."""

    kind = LOOK
    size = LOOK_BYTES
    norms = staticmethod(norms)
    alike = staticmethod(alike)
    reasons = staticmethod(reasons)


class Grey64:
    """Pictures, by the greys of 64x64 numbers of each: the functions of this room as a `Medium`."""

    location = "cbir_daemon.matching:GREY64"
    extractor = "grey64/1"
    spaces = SPACES
    appearance: Appearance | None = Looks()
    windows = WINDOWS
    terms = TERMS
    few_windows = FEW_WINDOWS
    copy_floor = COPY_FLOOR
    second_look: SecondLook | None = Parallax()
    picture_parts: PictureParts | None = Parts()

    is_plain = staticmethod(is_plain)
    filled_share = staticmethod(picture_share)
    likeness = staticmethod(likeness)
    judge = staticmethod(judge)
    packed_codes = staticmethod(packed_codes)
    probe_vectors = staticmethod(probe_vectors)
    coarse_views = staticmethod(coarse_views)
    few_views = staticmethod(few_views)
    best_scores = staticmethod(best_scores)
    join_views = staticmethod(join_views)
    best_guesses = staticmethod(best_guesses)
    whole_codes = staticmethod(whole_codes)
    contained = staticmethod(contained)


GREY64: Final[Medium] = Grey64()
"""Pictures, by the greys of a 64x64 picture of each."""
