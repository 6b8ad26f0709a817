"""The second look: whether two pictures that the vectors call copies are one exposure, or two shots of one scene.

In: two grey pictures of a few hundred pixels and the affine transform between them that the vectors gave.  Out: a
`Look`.  Never here: files, which pairs are looked at, what is done with the answer.

Two exposures taken by hand differ by parallax: after the best plane-to-plane alignment, parts of the second picture lie
a fraction of a pixel beside those of the first, and moving each part by its own shift makes it agree better.  An edited
copy has no such shifts: what still differs there (noise, compression, blur) does not go away by moving it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.blocks import Aligned, BlockMeasures, PicturePair
from cbir_daemon.matching.geometry import Floats
from cbir_daemon.medium import Seen

LOOK_SIDE_PX = 384
"""Longer side, at most, of the pictures that are compared.  At 348 pixels none of 125 bursts passed as copies, at 256
one did, at 128 five."""

LOOK_VERSION = 3
"""Of what `compared` answers; pairs that an earlier one compared are compared again."""

MIN_LOOK_SIDE_PX = 220
"""Longer side below which parallax is too small a part of a pixel to be seen."""

LEAST_BLOCKS, SHOT_SHARE, COPY_AGREEMENT = 8, 0.14, 0.85
"""Blocks that are needed, share of moved ones from which it is two shots, median correlation that a copy has."""

UNSURE_SHIFT_PX, SHOT_SHIFT_PX = 0.06, 0.15
"""Common shift of neighbouring blocks from which it is no sure copy, and from which it is two shots.

Of 78 bursts, saved again with great loss, noise or a smaller size, those with too few moved blocks have 0.065 at least.
Of 1 232 looks at edited copies 10 have 0.06 and more, all saved with great loss, and 0.121 at most.
"""

SURE_AGREEMENT = 0.9
"""Median correlation below which chance may hide a common shift, so that the largest possible one counts."""


@dataclass(frozen=True, slots=True)
class Look:
    """The answer of a look at two pictures, with its measurements.

    Parameters
    ----------
    seen : Seen
        One exposure, two shots, or that it cannot be told.
    blocks : int
        Blocks with structure that both pictures show.
    moved_share : float
        Share of them that lie beside their counterpart, 0 to 1.
    agreement : float
        Median correlation of the blocks, -1 to 1.
    common_shift_px : float
        Shift that neighbouring blocks have in common.
    aligned : Aligned or None
        How the two lie on each other; None for what is too small.
    """

    seen: Seen
    blocks: int = 0
    moved_share: float = 0.0
    agreement: float = 0.0
    common_shift_px: float = 0.0
    aligned: Aligned | None = field(default=None, compare=False, repr=False)


def compared(query: NDArray[np.uint8], stored: NDArray[np.uint8], affine: Floats, *, invert: bool = False) -> Look:
    """Return whether two pictures are one exposure.

    Parameters
    ----------
    query, stored : (height, width) ndarray of uint8
        Grey, upright; the longer side at most `LOOK_SIDE_PX`.
    affine : (2, 3) ndarray of float32
        From a point of the query to the point of the stored picture that shows the same thing; coordinates run from -1
        to 1 over each picture.
    invert : bool
        Whether the two agree as negatives.
    """
    if min(max(query.shape), max(stored.shape)) < MIN_LOOK_SIDE_PX:
        return Look(Seen.UNCLEAR)
    pair = PicturePair.of(query, stored, affine, invert=invert)
    warp = pair.aligned(pair.start, steps=4)
    look = _judged(pair.measured(warp))
    if look.seen is Seen.SHOT:
        # A perspective edit takes longer to align; no burst was ever turned into a copy by it.
        warp = pair.aligned(warp, steps=8)
        look = _judged(pair.measured(warp))
    return replace(look, aligned=Aligned(pair.fixed, pair.moving, warp, pair.is_query_fixed))


def is_still(blocks: BlockMeasures) -> bool:
    """Return whether neighbouring blocks have no shift in common, as far as that can be told.

    Great loss and noise hide how each block moved, and leave how all did.

    Parameters
    ----------
    blocks : BlockMeasures
        One agrees at least.
    """
    is_sure = blocks.median_agreement >= SURE_AGREEMENT
    return (blocks.common_shift_px if is_sure else blocks.possible_shift_px) < UNSURE_SHIFT_PX


def _judged(blocks: BlockMeasures) -> Look:
    """Return the answer of the blocks of two aligned pictures."""
    count = blocks.count
    if count < LEAST_BLOCKS:
        return Look(Seen.UNCLEAR, count)
    moved_share, agreement, common_px = blocks.moved_share, blocks.median_agreement, blocks.common_shift_px
    is_shot = moved_share >= SHOT_SHARE or common_px >= SHOT_SHIFT_PX
    is_copy = agreement >= COPY_AGREEMENT and is_still(blocks)
    seen = Seen.SHOT if is_shot else Seen.COPY if is_copy else Seen.UNCLEAR
    return Look(seen, count, round(moved_share, 3), round(agreement, 3), round(common_px, 3))
