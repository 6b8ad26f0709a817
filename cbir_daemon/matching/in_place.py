"""The look at a place: whether a query and a content that local features aligned are one exposure there.

In: two grey pictures cut to the place that both show, and the affine transform between them.  Out: a `Look`.  Never
here: how the place was found.

What features find is likely to be another shot, or another picture in the same frame.  So a copy has to agree better
here than one that the vectors found; but something else may cover a part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Window
from cbir_daemon.matching.blocks import BlockMeasures, PicturePair
from cbir_daemon.matching.geometry import Floats
from cbir_daemon.matching.look import COPY_AGREEMENT, LEAST_BLOCKS, SHOT_SHARE, Look, is_still
from cbir_daemon.medium import Seen

# Longer side below which nothing is compared, and rounds of steps that align the two better.
_LEAST_SIDE_PX, _ROUNDS = 160, 3

# Share of the blocks with structure that may show something else in a copy: a sticker, another picture.
_COVERED_SHARE = 0.36

# Share of moved blocks from which it is no sure copy: bursts have 0.05 at least.
_MOVED_SHARE = 0.045

# Standard deviations in pixels of the band of coarse detail, and its correlation over the agreeing blocks from which it
# is one picture: 60 pairs of pictures below one watermark have 0.64 at most, blends of 30 to 45 % 0.72 mostly.
_BROAD_PX, _BROADER_PX, _BROAD_AGREEMENT = 4.0, 16.0, 0.72

# Blocks of a framed part of the stored picture, and the share of them that must agree, for the part to agree by itself.
_FRAMED_BLOCKS, _FRAMED_AGREEMENT = 4, 0.5


def compared_in_place(
    query: NDArray[np.uint8], stored: NDArray[np.uint8], affine: NDArray[np.float64], framed: Sequence[Window]
) -> Look:
    """Return whether two pictures are one exposure, of which something else may cover a part.

    Parameters
    ----------
    query, stored : (height, width) ndarray of uint8
        Grey, upright; the longer side at most `LOOK_SIDE_PX`.
    affine : (2, 3) ndarray of float64
        From a point of the query to the point of the stored picture that shows the same thing, exact to a few pixels;
        coordinates run from -1 to 1 over each picture.
    framed : sequence of Window
        Parts of the stored picture that have straight edges.  Each must agree by itself: two pictures in one template
        agree in all but them.
    """
    if min(max(query.shape), max(stored.shape)) < _LEAST_SIDE_PX:
        return Look(Seen.UNCLEAR)
    pair = PicturePair.of(query, stored, np.asarray(affine, dtype=np.float32))
    warp = pair.aligned(pair.start, steps=4)
    blocks = pair.measured(warp)
    look = _judged(blocks)
    for _ in range(_ROUNDS):
        if look.seen is Seen.COPY:
            break
        warp = pair.aligned(warp, steps=8)
        blocks = pair.measured(warp)
        look = _judged(blocks)
    if look.seen is not Seen.COPY:
        return look
    x, y = _placed_points(warp, blocks.x, blocks.y) if pair.is_query_fixed else (blocks.x, blocks.y)
    is_sure = (
        all(_agrees_by_itself(window, x, y, blocks) for window in framed)
        # Letters across two pictures agree in all fine detail there is; the pictures below them do not in coarser.
        and pair.broad_agreement(warp, blocks.agrees, _BROAD_PX, _BROADER_PX) >= _BROAD_AGREEMENT
    )
    return look if is_sure else replace(look, seen=Seen.UNCLEAR)


def _judged(blocks: BlockMeasures) -> Look:
    count = blocks.count
    if count < LEAST_BLOCKS:
        return Look(Seen.UNCLEAR, count)
    moved_share, agreement = blocks.moved_share, blocks.median_agreement
    differing = int(blocks.differs.sum())
    is_copy = (
        agreement >= COPY_AGREEMENT
        and moved_share < _MOVED_SHARE
        and differing <= _COVERED_SHARE * (count + differing)
        and is_still(blocks)
    )
    seen = Seen.SHOT if moved_share >= SHOT_SHARE else Seen.COPY if is_copy else Seen.UNCLEAR
    return Look(seen, count, round(moved_share, 3), round(agreement, 3), round(blocks.common_shift_px, 3))


def _agrees_by_itself(window: Window, x: Floats, y: Floats, blocks: BlockMeasures) -> bool:
    """Whether most blocks with structure in a window agree; x and y are their middles, -1 to 1."""
    across, down = window.right - window.left, window.bottom - window.top
    inside = (np.abs(x - (window.left + window.right - 1)) < across) & (
        np.abs(y - (window.top + window.bottom - 1)) < down
    )
    agreeing, differing = int((inside & blocks.agrees).sum()), int((inside & blocks.differs).sum())
    return agreeing + differing < _FRAMED_BLOCKS or agreeing >= _FRAMED_AGREEMENT * (agreeing + differing)


def _placed_points(warp: NDArray[np.float64], x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return where points land, -1 to 1."""
    across, down, depth = warp.astype(np.float32) @ np.stack([x, y, np.ones_like(x)])
    return across / depth, down / depth
