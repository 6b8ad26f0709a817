"""Things laid over a picture, or put around it: letters, stickers, captions, borders.

In: two pictures of one exposure that lie on each other.  Out: what was done to each of them that was not done to the
other.  Never here: how they were laid on each other (`look`), what happened to fine detail (`detail`).

Where letters lie across one of two copies the two disagree, and the edge of what disagrees is an edge of the picture
with the letters: in the other one the scene goes on.  What is around a picture was put there when it is plain, and when
the edge between the two is straight and sharp, right where the other picture ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Trace
from cbir_daemon.matching.blocks import Aligned, block_sums, placed, sampled
from cbir_daemon.matching.geometry import Floats

Mask = NDArray[np.bool_]
Traces = tuple[tuple[Trace, ...], tuple[Trace, ...]]

# Pixels along the frames that are left out, and how many must be left.
_FRAME_PX, _LEAST_PIXELS = 3.0, 5_000

# Determinant below which one picture is next to nothing in the other one.
_LEAST_AREA = 1e-4

# Grey levels, and deviations of what agrees, from which a pixel disagrees with all pixels beside its counterpart.
_DIFFERENT_LEVELS, _DIFFERENT_DEVIATIONS = 20.0, 5.0

# Grey levels at the ends, where what was brightened is cut off.
_DARKEST, _BRIGHTEST = 6.0, 249.0

# Of 25 pixels around a pixel, how many must disagree as well; share of the picture that must.
_LEAST_NEIGHBOURS, _LEAST_SHARE = 6, 0.001

# Share of the blocks that may disagree, share of their pixels that must: a sharpened picture disagrees a little, along
# edges everywhere.
_MOST_BLOCKS, _LEAST_FILLED = 0.33, 0.035

# Logarithm of the energy of edges in one picture over that in the other, where they disagree, from which the edges are
# its own; and where one is that much flatter.
_OWN_EDGES, _FLAT_EDGES = 1.0, -0.4

# Logarithm of how much one stands out against the pixels around it more than the other; letters do, stickers do not,
# and what was sharpened has nothing against it.
_STANDS_OUT, _SHARPENED = 0.4, 6.0

# Share of pixels of two tones; how much larger that is than in the other picture.
_FLAT, _FLATTER = 0.85, 0.2

# Share of the pixels around that may have the tones of what ends there; by how much more where a plain scene goes on.
_ENDS, _GOES_ON = 0.4, 0.3

# Pixels beyond the other picture's frame, share of the picture from which these are told.
_BEYOND_PX, _LEAST_AROUND = 2.0, 0.015

# Grey levels within which what is around is of one tone; shares of it that are, for a border and for a caption.
_PLAIN_LEVELS, _BORDER_SHARE, _CAPTION_SHARE = 10.0, 0.99, 0.8

# Grey levels a pixel of an edge, and share of the frame that must be one.
_EDGE_LEVELS, _EDGE_SHARE = 12.0, 0.6


def direction(aligned: Aligned) -> Traces:
    """Return the things laid over, or put around, each of two pictures and not the other.

    Parameters
    ----------
    aligned : Aligned

    Returns
    -------
    tuple of Trace
        Of the query.
    tuple of Trace
        Of the stored picture.
    """
    fixed, moving = aligned.fixed, aligned.moving
    if abs(float(np.linalg.det(aligned.warp))) < _LEAST_AREA:
        return (), ()
    over = _laid_over(aligned)
    traces = (
        (*over[0], *_put_around(fixed, moving, aligned.warp)),
        (*over[1], *_put_around(moving, fixed, np.asarray(np.linalg.inv(aligned.warp), dtype=np.float64))),
    )
    return traces if aligned.is_query_fixed else (traces[1], traces[0])


# -- laid over ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Difference:
    """Where two pictures disagree, and what each shows there.

    Parameters
    ----------
    edges : float
        Logarithm of the energy of edges in the first over that in the second, beside what it is elsewhere.
    stands_out : float
        Logarithm of how far the first is from all pixels around in the second, over the reverse.
    flat, other_flat : float
        Share of the pixels of each that have its two commonest tones.
    goes_on, other_goes_on : float
        Share of the pixels around that have these tones as well.
    """

    edges: float
    stands_out: float
    flat: float
    other_flat: float
    goes_on: float
    other_goes_on: float

    @property
    def reversed(self) -> _Difference:
        """How the stored picture differs from the query: their difference with the two exchanged."""
        flat, goes_on = (self.other_flat, self.flat), (self.other_goes_on, self.goes_on)
        return _Difference(-self.edges, -self.stands_out, *flat, *goes_on)


def _laid_over(aligned: Aligned) -> Traces:
    found = _difference(aligned)
    if found is None or abs(found.stands_out) >= _SHARPENED:
        return (), ()
    own, counterpart = ((Trace.OVERLAY,) if _is_over(difference) else () for difference in (found, found.reversed))
    return own, counterpart


def _is_over(found: _Difference) -> bool:
    """Whether what disagrees was laid over the first picture."""
    flatter = found.flat - found.other_flat
    # Where a plain scene goes on in the other picture, what ends there was put there.
    goes_on = found.other_goes_on >= found.goes_on + _GOES_ON
    ends = found.flat >= _FLAT and found.goes_on <= _ENDS and goes_on
    are_letters = found.edges >= _OWN_EDGES and (
        (found.stands_out >= _STANDS_OUT and flatter >= -2 * _FLATTER) or flatter >= _FLATTER / 4 or ends
    )
    # A sticker may cover more edges than it has, but its tones end with it; those of a plain scene go on.
    has_edges = found.edges >= _FLAT_EDGES or found.goes_on <= _ENDS
    is_sticker = found.flat >= _FLAT and flatter >= _FLATTER and has_edges
    return are_letters or is_sticker


def _difference(aligned: Aligned) -> _Difference | None:
    """Return where the pictures disagree; None where they do not, or not in one place."""
    fixed, shown, seen = aligned.fixed, *_seen(aligned)
    if shown.sum() < _LEAST_PIXELS:
        return None
    as_fixed, deviation = _in_tones_of(seen, fixed, shown)
    as_seen, other_deviation = _in_tones_of(fixed, seen, shown)
    out, other_out = _outstanding(fixed, as_fixed)
    differs = np.maximum(out, other_out) > max(_DIFFERENT_LEVELS, _DIFFERENT_DEVIATIONS * deviation)
    # What was cut off at white can be told from what was there, not the reverse.
    differs &= np.maximum(*_outstanding(as_seen, seen)) > max(
        _DIFFERENT_LEVELS, _DIFFERENT_DEVIATIONS * other_deviation
    )
    differs &= shown
    differs &= _neighbours(differs) >= _LEAST_NEIGHBOURS
    if differs.sum() < _LEAST_SHARE * shown.sum() or not _is_in_place(differs, shown):
        return None
    near = _highest(differs.astype(np.float32)) > 0
    slopes, other_slopes = _slopes(fixed), _slopes(as_fixed)
    elsewhere, around = shown & ~near, shown & ~near & _near(differs)
    edges = _log_ratio(slopes[near & shown], other_slopes[near & shown])
    own, counterpart = (_flatness(image, differs, around) for image in (fixed, seen))
    return _Difference(
        edges - _log_ratio(slopes[elsewhere], other_slopes[elsewhere]),
        _log_ratio(out[differs], other_out[differs]),
        own[0],
        counterpart[0],
        own[1],
        counterpart[1],
    )


def _seen(aligned: Aligned) -> tuple[Mask, Floats]:
    """Return which pixels of the fixed picture both show, and what the moving one shows there."""
    x, y = placed(aligned.warp, *aligned.fixed.shape)
    height, width = aligned.moving.shape
    shown = (np.abs(x) < 1 - 2 * _FRAME_PX / width) & (np.abs(y) < 1 - 2 * _FRAME_PX / height)
    frame = round(_FRAME_PX)
    shown[:frame] = shown[-frame:] = False
    shown[:, :frame] = shown[:, -frame:] = False
    return shown, sampled(aligned.moving, x, y)


def _in_tones_of(image: Floats, counterpart: Floats, shown: Mask) -> tuple[Floats, float]:
    """Return a picture in the tones of another one, and the deviation in grey levels of what agrees.

    Notes
    -----
    A cubic curve, fitted with less weight on what disagrees, where the other picture is neither black nor white.
    """
    rows = np.flatnonzero(shown & (counterpart > _DARKEST) & (counterpart < _BRIGHTEST))
    rows = rows[:: max(1, len(rows) // 8_000)]
    powers = _powers(image.ravel()[rows])
    greys = counterpart.ravel()[rows].astype(np.float64)
    weights, deviation = np.ones(len(rows)), 1.0
    curve: NDArray[np.float64] = np.zeros(4)
    for _ in range(6):
        weighted = powers * weights[:, None]
        curve = np.asarray(np.linalg.solve(weighted.T @ powers + 1e-2 * np.eye(4), weighted.T @ greys), np.float64)
        off = greys - powers @ curve
        deviation = float(np.median(np.abs(off))) / 0.6745 + 1 if len(off) else 1.0
        weights = 1 / (1 + (off / (2 * deviation)) ** 2) ** 2
    toned = _powers(image.ravel()) @ curve
    return np.clip(toned, 0, 255).astype(np.float32).reshape(image.shape), deviation


def _powers(greys: Floats) -> NDArray[np.float64]:
    tone = greys.astype(np.float64) / 128 - 1
    return np.stack([np.ones_like(tone), tone, tone * tone, tone**3], axis=1)


def _outstanding(image: Floats, counterpart: Floats) -> tuple[Floats, Floats]:
    """Return how far each picture is outside of what the other shows within a pixel, in grey levels."""
    own, reverse = (
        np.maximum(np.maximum(first - _highest(second), -_highest(-second) - first), np.float32(0))
        for first, second in ((image, counterpart), (counterpart, image))
    )
    return own, reverse


def _highest(image: Floats) -> Floats:
    """Return the highest value within a pixel."""
    wide = np.pad(image, 1, mode="edge")
    lines = np.maximum(np.maximum(wide[:, :-2], wide[:, 1:-1]), wide[:, 2:])
    return np.asarray(np.maximum(np.maximum(lines[:-2], lines[1:-1]), lines[2:]), dtype=np.float32)


def _neighbours(mask: Mask) -> Floats:
    """Return how many of the 25 pixels around each are set."""
    wide = np.pad(mask.astype(np.float32), 2)
    height, width = mask.shape
    lines = np.sum([wide[:, start : start + width] for start in range(5)], axis=0)
    return np.asarray(np.sum([lines[start : start + height] for start in range(5)], axis=0), dtype=np.float32)


def _is_in_place(differs: Mask, shown: Mask) -> bool:
    """Whether what disagrees is in few places, and fills them."""
    counts, pixels = (block_sums(mask.astype(np.float32)) for mask in (differs, shown))
    are_there = pixels > 0.3 * pixels.max()
    are_hit = are_there & (counts > 4)
    return bool(
        are_hit.sum() <= _MOST_BLOCKS * are_there.sum()
        and counts[are_hit].sum() >= _LEAST_FILLED * pixels.max() * max(1, are_hit.sum())
    )


def _slopes(image: Floats) -> Floats:
    down, across = np.gradient(image)
    return np.asarray(down * down + across * across, dtype=np.float32)


def _log_ratio(values: Floats, others: Floats) -> float:
    return float(np.log((values.sum() + 1) / (others.sum() + 1)))


def _tones_of(greys: Floats) -> NDArray[np.int64]:
    """Return tones of eight levels each."""
    return np.clip(greys / 8, 0, 31).astype(np.int64)


def _flatness(image: Floats, inside: Mask, around: Mask) -> tuple[float, float]:
    """Return the shares of pixels inside and around that have one of the two commonest tones inside."""
    counts = np.bincount(_tones_of(image[inside]), minlength=33)
    # Tones of 16 levels: a flat one may lie on the limit between two of eight.
    pairs = counts[:-1] + counts[1:]
    first = int(pairs.argmax())
    others = pairs.copy()
    others[max(0, first - 1) : first + 2] = 0
    commonest = sorted({first, first + 1, int(others.argmax()), int(others.argmax()) + 1})
    shares = [
        float(np.isin(_tones_of(image[mask]), commonest).mean()) if mask.any() else 1.0 for mask in (inside, around)
    ]
    return shares[0], shares[1]


# -- put around --------------------------------------------------------------------------------------------------------


def _put_around(image: Floats, counterpart: Floats, warp: NDArray[np.float64]) -> tuple[Trace, ...]:
    """Return the surroundings of a picture beyond the frame of the other one.

    Parameters
    ----------
    image, counterpart : (height, width) ndarray of float32
    warp : (3, 3) ndarray of float64
        From the picture to the other one.
    """
    beyond_px = _beyond_px(image, counterpart, warp)
    around = beyond_px > _BEYOND_PX
    if around.mean() < _LEAST_AROUND:
        return ()
    greys = image[around]
    counts = np.bincount(np.clip(greys, 0, 255).astype(np.int64), minlength=256)
    tone = int(np.convolve(counts, np.ones(9), "same").argmax())
    plain = float((np.abs(greys - tone) <= _PLAIN_LEVELS).mean())
    steepest = _highest(np.sqrt(_slopes(image)))
    frame = (np.abs(beyond_px) <= 1.2) & _near(around)
    if plain < _CAPTION_SHARE or not frame.any() or (steepest[frame] > _EDGE_LEVELS).mean() < _EDGE_SHARE:
        return ()
    return (Trace.BORDER if plain >= _BORDER_SHARE else Trace.CAPTION,)


def _beyond_px(image: Floats, counterpart: Floats, warp: NDArray[np.float64]) -> Floats:
    """Return how many pixels each pixel of a picture lies beyond the frame of the other one; negative inside of it."""
    x, y = placed(warp, *image.shape)
    height, width = counterpart.shape
    pixel = (abs(float(np.linalg.det(warp[:2, :2]))) * counterpart.size / image.size) ** 0.5
    beyond = np.maximum((np.abs(x) - 1) * np.float32(width / 2), (np.abs(y) - 1) * np.float32(height / 2))
    return np.asarray(beyond / np.float32(max(pixel, 1e-3)), dtype=np.float32)


def _near(mask: Mask) -> Mask:
    """Return the mask grown by four pixels."""
    near = mask.astype(np.float32)
    for _ in range(4):
        near = _highest(near)
    return np.asarray(near > 0)
