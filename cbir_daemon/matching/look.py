"""The second look: whether two pictures that the vectors call copies are one exposure, or two shots of one scene.

In: two grey pictures of a few hundred pixels and the affine transform between them that the vectors gave.  Out: a
`Look`.  Never here: files, which pairs are looked at, what is done with the answer.

Two exposures taken by hand differ by parallax: after the best plane-to-plane alignment, parts of the second picture lie
a fraction of a pixel beside those of the first, and moving each part by its own shift makes it agree better.  An edited
copy has no such shifts: what still differs there (noise, compression, blur) does not go away by moving it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.align import blurs
from cbir_daemon.matching.geometry import Floats, inverse, resized
from cbir_daemon.medium import Seen
from cbir_daemon.records import Window

LOOK_SIDE_PX = 384
"""Longer side, at most, of the pictures that are compared.  At 348 pixels none of 125 bursts passed as copies, at 256
one did, at 128 five."""

LOOK_VERSION = 2
"""Of what `compared` answers; pairs that an earlier one compared are compared again."""

MIN_LOOK_SIDE_PX = 220
"""Longer side below which parallax is too small a part of a pixel to be seen."""

# Standard deviations in pixels of the band that is compared, and of the neighbourhood that evens out contrast.
_FINE_PX, _COARSE_PX, _AROUND_PX = 1.0, 4.0, 6.0

# Standard deviation in pixels that divides fine from coarse detail where sharpness is measured.
_MIDDLE_PX = 2.0

# Grey levels of local detail below which noise and agreement cannot be told apart.
_NOISE_LEVELS = 4.0

# Ratio of sharpness above which the sharper picture is blurred until both are alike.
_SHARPER = 1.2

# Pixels along the frame of either picture that are left out: pads and the edges of screens are no part of it.
_FRAME_PX = 8.0

# Blocks along the longer side, and the share of a block that both pictures must show.
_BLOCKS, _SHOWN_SHARE = 15, 0.6

# Smaller eigenvalue of a block's structure tensor, for each pixel, below which its shift cannot be measured.
_LEAST_STRUCTURE = 0.003

# Correlation after its own shift below which a block shows something else: letters, stickers, logos.
_LEAST_AGREEMENT = 0.5

# Shift in pixels, and share of what still differs that it must explain, from which a block has moved.
_MOVED_PX, _EXPLAINED_SHARE = 0.1, 0.2

# Blocks that are needed, share of them from which the pictures are two shots, correlation that a copy's blocks have.
_LEAST_BLOCKS, _SHOT_SHARE, _COPY_AGREEMENT = 8, 0.14, 0.85

# Longer side below which pictures that features aligned are not compared, and rounds of steps that align them better.
_LEAST_PLACED_PX, _PLACED_ROUNDS = 160, 3

# Energy of local contrast, 0 to 1, from which a block has structure of its own.
_LEAST_ENERGY = 0.04

# Share of the blocks with structure that may show something else in a copy: a sticker, another picture.
_COVERED_SHARE = 0.36

# Share of moved blocks from which pictures that features aligned are no sure copy: burst have 0.05 at least.
_PLACED_MOVED_SHARE = 0.045

# Standard deviations in pixels of the band of coarse detail, and its correlation over the agreeing blocks from which it
# is one picture: 60 pairs of pictures below one watermark have 0.64 at most, blends of 30 to 45 % 0.72 mostly.
_BROAD_PX, _BROADER_PX, _BROAD_AGREEMENT = 4.0, 16.0, 0.72

# Blocks of a framed part of the stored picture, and the share of them that must agree, for the part to agree by itself.
_FRAMED_BLOCKS, _FRAMED_AGREEMENT = 4, 0.5

# Matrices of Gaussians that are kept, 600 KB each: those of one look at two pictures of one size, at both its sizes.
_GAUSSIANS = 16

# Longest change of any coefficient of a homography in one step.
_LONGEST_STEP = 0.1


@dataclass(frozen=True, slots=True)
class Aligned:
    """Two pictures of one sharpness that lie on each other.

    Parameters
    ----------
    fixed, moving : (height, width) ndarray of float32
        Grey levels; the pixels of both show areas of one size.
    warp : (3, 3) ndarray of float64
        Homography from the fixed picture to the moving one, coordinates from -1 to 1.
    is_query_fixed : bool
        Whether the query is the fixed one.
    """

    fixed: Floats
    moving: Floats
    warp: NDArray[np.float64]
    is_query_fixed: bool


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
    aligned : Aligned or None
        How the two lie on each other; None for what is too small.
    """

    seen: Seen
    blocks: int = 0
    moved_share: float = 0.0
    agreement: float = 0.0
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
    query_grey, stored_grey = query.astype(np.float32), stored.astype(np.float32)
    fixed, finer, start = _coarser_first(query_grey, stored_grey, affine)
    is_query_fixed = fixed is query_grey
    moving = _at_scale(finer, fixed, start)
    if invert:
        moving = np.float32(255) - moving
    fixed, moving = _alike_in_sharpness(fixed, moving, start)
    pair = _Pair.of(fixed, moving)
    warp = pair.aligned(_homography(start), steps=4)
    look = _judged(pair, warp)
    if look.seen is Seen.SHOT:
        # A perspective edit takes longer to align; no burst was ever turned into a copy by it.
        warp = pair.aligned(warp, steps=8)
        look = _judged(pair, warp)
    return replace(look, aligned=Aligned(fixed, moving, warp, is_query_fixed))


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

    Notes
    -----
    A copy has to agree better than one that the vectors found: what features find is likely to be another shot.
    """
    if min(max(query.shape), max(stored.shape)) < _LEAST_PLACED_PX:
        return Look(Seen.UNCLEAR)
    own = query.astype(np.float32)
    fixed, finer, start = _coarser_first(own, stored.astype(np.float32), np.asarray(affine, dtype=np.float32))
    moving = _at_scale(finer, fixed, start)
    alike, moving = _alike_in_sharpness(fixed, moving, start)
    pair = _Pair.of(alike, moving)
    warp = pair.aligned(_homography(start), steps=4)
    look, agrees = _judged_in_place(pair, warp)
    for _ in range(_PLACED_ROUNDS):
        if look.seen is Seen.COPY:
            break
        warp = pair.aligned(warp, steps=8)
        look, agrees = _judged_in_place(pair, warp)
    if look.seen is not Seen.COPY:
        return look
    x, y = _block_centres(pair.whole.blocks, *fixed.shape)
    if fixed is own:
        x, y = _placed_points(warp, x, y)
    is_sure = all(_agrees_by_itself(window, x, y, agrees) for window in framed) and (
        _broad_agreement(alike, moving, warp, pair.whole.blocks.spread((agrees > 0).astype(np.float32)))
        >= _BROAD_AGREEMENT
    )
    return look if is_sure else replace(look, seen=Seen.UNCLEAR)


def sharpness(picture: NDArray[np.uint8]) -> float:
    """Return how much of the detail of a picture is fine: 0 for a blurred one, about 1 for a sharp one.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
        Grey; pictures are comparable when they have the same size and show the same scene.
    """
    return _sharpness(picture.astype(np.float32), np.ones(picture.shape, dtype=np.bool_))


def _homography(affine: Floats) -> NDArray[np.float64]:
    return np.vstack([affine, [0, 0, 1]]).astype(np.float64)


def _spans(affine: Floats, fixed: Floats, moving: Floats) -> float:
    """Return how many pixels of the moving picture one pixel of the fixed one spans, as a geometric mean."""
    area = abs(float(np.linalg.det(affine[:, :2]))) * moving.size / fixed.size
    return float(max(area, 1e-6) ** 0.5)


def _coarser_first(query: Floats, stored: Floats, affine: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the picture with the coarser pixels, the finer one, and the affine transform from the first to it."""
    if _spans(affine, query, stored) >= 1:
        return query, stored, affine
    return stored, query, np.asarray(inverse(affine), dtype=np.float32)


def _at_scale(image: Floats, fixed: Floats, affine: Floats) -> Floats:
    """Return the moving picture with pixels as large as those of the fixed one, along each of its axes."""
    back = inverse(affine)[:, :2]
    height, width = image.shape
    half = np.array([fixed.shape[1], fixed.shape[0]], dtype=np.float32) / 2
    wide, high = (2 * np.linalg.norm(back * half[:, None], axis=0)).tolist()
    return resized(image, max(8, min(2 * height, round(high))), max(8, min(2 * width, round(wide))))


@functools.lru_cache(_GAUSSIANS)
def _gaussian(side: int, sigma_px: float) -> Floats:
    """Return (side, side): the Gaussian along one axis as a matrix, its rows summing to 1 at the edges too."""
    return np.asarray(blurs(side, np.array([sigma_px], dtype=np.float32))[0], dtype=np.float32)


def _smooth(image: Floats, sigma_px: float) -> Floats:
    down, across = (_gaussian(side, sigma_px) for side in image.shape)
    return np.asarray(down @ image @ across.T, dtype=np.float32)


def _detail(image: Floats) -> Floats:
    return _smooth(image, _FINE_PX) - _smooth(image, _COARSE_PX)


def _even(image: Floats) -> Floats:
    """Return a picture without local brightness and contrast."""
    detail = _detail(image)
    return np.asarray(detail / np.sqrt(_smooth(detail * detail, _AROUND_PX) + _NOISE_LEVELS**2), dtype=np.float32)


def _grid(height: int, width: int) -> tuple[Floats, Floats]:
    """Return x of each column and y of each row, -1 to 1."""
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / width) - 1
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / height) - 1
    return x, y


def placed(warp: NDArray[np.float64], height: int, width: int) -> tuple[Floats, Floats]:
    """Return where the pixels of a picture land on another one, as x and y, each (height, width), -1 to 1.

    Parameters
    ----------
    warp : (3, 3) ndarray of float64
        From the picture to the other one.
    height, width : int
        Pixels of the picture.
    """
    x, y = _grid(height, width)
    across, down, depth = (by_x * x + (by_y * y + shift)[:, None] for by_x, by_y, shift in warp.astype(np.float32))
    depth = np.where(np.abs(depth) < 1e-3, np.float32(1e-3), depth)
    return across / depth, down / depth


def sampled(image: Floats, x: Floats, y: Floats) -> Floats:
    """Return an image at points, bilinear; outside of it its edge pixels go on.

    Parameters
    ----------
    image : (height, width) ndarray of float32
    x, y : ndarray of float32
        -1 to 1 over the image.
    """
    height, width = image.shape
    column = np.clip((x + 1) * np.float32(width / 2) - np.float32(0.5), 0, width - 1)
    line = np.clip((y + 1) * np.float32(height / 2) - np.float32(0.5), 0, height - 1)
    left = np.minimum(column.astype(np.int32), width - 2)
    top = np.minimum(line.astype(np.int32), height - 2)
    column -= left.astype(np.float32)
    line -= top.astype(np.float32)
    flat, corner = image.ravel(), top * width + left
    upper = flat[corner]
    upper += column * (flat[corner + 1] - upper)
    lower = flat[corner + width]
    lower += column * (flat[corner + width + 1] - lower)
    return np.asarray(upper + line * (lower - upper), dtype=np.float32)


def _alike_in_sharpness(fixed: Floats, moving: Floats, affine: Floats) -> tuple[Floats, Floats]:
    """Return both pictures, the sharper one blurred to the sharpness of the other."""
    x, y = placed(_homography(affine), *fixed.shape)
    inside = (np.abs(x) < 1) & (np.abs(y) < 1)
    seen = sampled(moving, x, y)
    sharpness = _sharpness(fixed, inside), _sharpness(seen, inside)
    if sharpness[0] > _SHARPER * sharpness[1]:
        fixed = _smooth(fixed, _blur_between(fixed, inside, sharpness[1]))
    elif sharpness[1] > _SHARPER * sharpness[0]:
        moving = _smooth(moving, _blur_between(seen, inside, sharpness[0]))
    return fixed, moving


def _sharpness(image: Floats, inside: NDArray[np.bool_]) -> float:
    """Return the root of the energy of fine detail over that of coarser detail.

    Notes
    -----
    What is finer than `_FINE_PX` is left out: rounding to whole grey levels is there whatever the blur.
    """
    middle = _smooth(image, _MIDDLE_PX)
    fine = (_smooth(image, _FINE_PX) - middle)[inside]
    coarse = (middle - _smooth(image, _COARSE_PX))[inside]
    return float((np.vdot(fine, fine) / max(float(np.vdot(coarse, coarse)), 1e-6)) ** 0.5)


def _blur_between(image: Floats, inside: NDArray[np.bool_], sharpness: float) -> float:
    """Return the standard deviation in pixels of the blur that leaves a picture no sharper than `sharpness`."""
    low, high = 0.1, 6.0
    for _ in range(7):
        middle = (low * high) ** 0.5
        if _sharpness(_smooth(image, middle), inside) > sharpness:
            low = middle
        else:
            high = middle
    return float((low * high) ** 0.5)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Sums over the blocks of a picture.

    Parameters
    ----------
    tops, lefts : ndarray of int64
        Where blocks begin.
    rows, columns : (height,) and (width,) ndarray of int64
        In which of them each line and column is.
    """

    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    @classmethod
    def of(cls, height: int, width: int) -> _Blocks:
        """Cut a picture of (height, width) pixels."""
        side = max(8, round(max(height, width) / _BLOCKS))
        tops, lefts = np.arange(0, height, side), np.arange(0, width, side)
        return cls(tops, lefts, np.arange(height) // side, np.arange(width) // side)

    def sums(self, values: Floats) -> Floats:
        """Return (..., n) sums over the blocks of (..., height, width) values."""
        by_line = np.add.reduceat(values, self.tops, axis=-2)
        return np.asarray(np.add.reduceat(by_line, self.lefts, axis=-1).reshape(*values.shape[:-2], -1))

    def spread(self, values: Floats) -> Floats:
        """Return (height, width): each pixel has the value of its block."""
        grid = values.reshape(len(self.tops), len(self.lefts))
        return np.asarray(grid[self.rows][:, self.columns], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Level:
    """A fixed picture at one size, made ready for the alignment of a moving one with it.

    Parameters
    ----------
    fixed, moving : (height, width) ndarray of float32
        Without local brightness and contrast; each of its own size.
    across, down : (height, width) ndarray of float32
        The gradient of the fixed picture, a pixel.
    steepest : (8, height * width) ndarray of float32
        How the fixed picture changes with each coefficient of a homography.
    framed : (height, width) ndarray of float32
        0 along the frame of the fixed picture, else 1.
    blocks : _Blocks

    References
    ----------
    Baker, Matthews: Lucas-Kanade 20 years on, IJCV 2004, section 3.2 (inverse compositional), for a homography.
    """

    fixed: Floats
    moving: Floats
    across: Floats
    down: Floats
    steepest: Floats
    framed: Floats
    blocks: _Blocks

    @classmethod
    def of(cls, fixed: Floats, moving: Floats) -> _Level:
        """Make two pictures ready."""
        fixed, moving = _even(fixed), _even(moving)
        height, width = fixed.shape
        x, column = _grid(height, width)
        y = column[:, None]
        down, across = (np.asarray(slope, dtype=np.float32) for slope in np.gradient(fixed))
        by_x, by_y = across * np.float32(width / 2), down * np.float32(height / 2)
        along = by_x * x + by_y * y
        steepest = [by_x * x, by_x * y, by_x, by_y * x, by_y * y, by_y, -along * x, -along * y]
        framed = (np.abs(x) < 1 - 2 * _FRAME_PX / width) & (np.abs(y) < 1 - 2 * _FRAME_PX / height)
        return cls(
            fixed,
            moving,
            across,
            down,
            np.stack(steepest).reshape(len(steepest), -1),
            framed.astype(np.float32),
            _Blocks.of(height, width),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the fixed picture."""
        height, width = self.fixed.shape
        return height, width

    def seen(self, warp: NDArray[np.float64]) -> tuple[Floats, Floats]:
        """Return the moving picture as the fixed one shows it, and 1 where both show something, else 0."""
        x, y = placed(warp, *self.shape)
        height, width = self.moving.shape
        inside = (np.abs(x) < 1 - 2 * _FRAME_PX / width) & (np.abs(y) < 1 - 2 * _FRAME_PX / height)
        return sampled(self.moving, x, y), self.framed * inside

    def step(self, warp: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the warp after one step of Gauss-Newton, blocks weighted by how well they agree."""
        seen, shown = self.seen(warp)
        agreement, gain = self.agreement(seen, shown)
        weights = self.blocks.spread(np.maximum(agreement, 0) ** 2) * shown
        weighted = self.steepest * weights.ravel()
        hessian = (weighted @ self.steepest.T).astype(np.float64)
        slope = weighted @ (self.blocks.spread(gain) * seen - self.fixed).ravel()
        hessian += np.eye(8) * (1e-3 * np.trace(hessian) / 8 + 1e-6)
        change = np.linalg.solve(hessian, slope)
        change *= min(1.0, _LONGEST_STEP / max(float(np.abs(change).max()), 1e-12))
        moved = np.eye(3)
        moved.ravel()[:8] += change
        composed = warp @ np.linalg.inv(moved)
        return np.asarray(composed / composed[2, 2])

    def agreement(self, seen: Floats, shown: Floats) -> tuple[Floats, Floats]:
        """Return (n,) correlations of the blocks, and what the moving picture is multiplied by to match the fixed."""
        own, moved = self.fixed * shown, seen * shown
        products = self.blocks.sums(np.stack([own * moved, own * own, moved * moved]))
        energies = np.maximum(products[1], 1e-6), np.maximum(products[2], 1e-6)
        agreement = products[0] / np.sqrt(energies[0] * energies[1])
        return agreement, np.sqrt(energies[0] / energies[1])

    def shifts(self, seen: Floats, shown: Floats) -> tuple[Floats, Floats, Floats]:
        """Return (n,) shifts of the blocks in pixels, x and y, and the smaller eigenvalue of their structure tensors.

        References
        ----------
        Lucas, Kanade: An iterative image registration technique, IJCAI 1981: one step for each block.
        """
        gradients = zip((self.down, self.across), np.gradient(seen), strict=True)
        down, across = ((own + moved) / 2 * shown for own, moved in gradients)
        off = (seen - self.fixed) * shown
        products = np.stack([across * across, across * down, down * down, across * off, down * off])
        xx, xy, yy, by_x, by_y = self.blocks.sums(products)
        scale = np.maximum(xx * yy - xy * xy, np.float32(1e-9))
        structure = ((xx + yy) - np.hypot(xx - yy, 2 * xy)) / 2
        return -(yy * by_x - xy * by_y) / scale, -(xx * by_y - xy * by_x) / scale, structure

    def moved(self, seen: Floats, shift_x: Floats, shift_y: Floats) -> Floats:
        """Return a picture with each block taken from beside it, by its own shift in pixels, 2 at most."""
        height, width = self.shape
        x, y = _grid(height, width)
        by_x, by_y = (self.blocks.spread(np.clip(shift, -2, 2)) for shift in (shift_x, shift_y))
        return sampled(seen, x + by_x * np.float32(2 / width), y[:, None] + by_y * np.float32(2 / height))


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two pictures of one sharpness that are aligned, at half size first."""

    whole: _Level
    half: _Level

    @classmethod
    def of(cls, fixed: Floats, moving: Floats) -> _Pair:
        """Make two pictures ready at both sizes."""
        return cls(_Level.of(fixed, moving), _Level.of(_halved(fixed), _halved(moving)))

    def aligned(self, warp: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
        """Return the homography from the fixed picture to the moving one after so many steps at each size."""
        for level in (self.half, self.whole):
            for _ in range(steps):
                warp = level.step(warp)
        return warp


def block_sums(values: Floats) -> Floats:
    """Return (n,) sums over the blocks of a picture by which a look judges.

    Parameters
    ----------
    values : (height, width) ndarray of float32
    """
    return _Blocks.of(*values.shape).sums(values)


def _halved(image: Floats) -> Floats:
    height, width = (side // 2 * 2 for side in image.shape)
    cut = image[:height, :width]
    return np.asarray((cut[::2, ::2] + cut[1::2, ::2] + cut[::2, 1::2] + cut[1::2, 1::2]) / 4, dtype=np.float32)


def _judged(pair: _Pair, warp: NDArray[np.float64]) -> Look:
    """Return what the blocks of two aligned pictures say."""
    level = pair.whole
    seen, shown = level.seen(warp)
    before, gain = level.agreement(seen, shown)
    shift_x, shift_y, structure = level.shifts(level.blocks.spread(gain) * seen, shown)
    after, _ = level.agreement(level.moved(seen, shift_x, shift_y), shown)
    pixels, area = level.blocks.sums(shown), level.blocks.sums(np.ones_like(shown))
    valid = (
        (pixels >= _SHOWN_SHARE * area)
        & (structure > _LEAST_STRUCTURE * np.maximum(pixels, 1))
        & (after > _LEAST_AGREEMENT)
    )
    count = int(valid.sum())
    if count < _LEAST_BLOCKS:
        return Look(Seen.UNCLEAR, count)
    explained = (after - before) / (1 - before + np.float32(0.002))
    moved = (np.hypot(shift_x, shift_y) > _MOVED_PX) & (explained > _EXPLAINED_SHARE)
    moved_share, agreement = float(moved[valid].mean()), float(np.median(before[valid]))
    is_copy = agreement >= _COPY_AGREEMENT
    seen_as = Seen.SHOT if moved_share >= _SHOT_SHARE else Seen.COPY if is_copy else Seen.UNCLEAR
    return Look(seen_as, count, round(moved_share, 3), round(agreement, 3))


def _judged_in_place(pair: _Pair, warp: NDArray[np.float64]) -> tuple[Look, Floats]:
    """Return what the blocks of aligned pictures say, and for each: 1 it agrees, 0 it does not, -1 it is plain."""
    level = pair.whole
    seen, shown = level.seen(warp)
    before, gain = level.agreement(seen, shown)
    shift_x, shift_y, structure = level.shifts(level.blocks.spread(gain) * seen, shown)
    after, _ = level.agreement(level.moved(seen, shift_x, shift_y), shown)
    pixels, area, own_energy, seen_energy = level.blocks.sums(
        np.stack([shown, np.ones_like(shown), level.fixed**2 * shown, seen**2 * shown])
    )
    pixels_shown = np.maximum(pixels, 1)
    inside = pixels >= _SHOWN_SHARE * area
    agreeing = inside & (structure > _LEAST_STRUCTURE * pixels_shown) & (after > _LEAST_AGREEMENT)
    differing = inside & ~agreeing & (np.minimum(own_energy, seen_energy) > _LEAST_ENERGY * pixels_shown)
    agrees = np.where(agreeing, np.float32(1), np.where(differing, np.float32(0), np.float32(-1)))
    count = int(agreeing.sum())
    if count < _LEAST_BLOCKS:
        return Look(Seen.UNCLEAR, count), agrees
    explained = (after - before) / (1 - before + np.float32(0.002))
    moved = (np.hypot(shift_x, shift_y) > _MOVED_PX) & (explained > _EXPLAINED_SHARE)
    moved_share, agreement = float(moved[agreeing].mean()), float(np.median(before[agreeing]))
    covered_share = int(differing.sum()) / (count + int(differing.sum()))
    if moved_share >= _SHOT_SHARE:
        seen_as = Seen.SHOT
    elif agreement >= _COPY_AGREEMENT and moved_share < _PLACED_MOVED_SHARE and covered_share <= _COVERED_SHARE:
        seen_as = Seen.COPY
    else:
        seen_as = Seen.UNCLEAR
    return Look(seen_as, count, round(moved_share, 3), round(agreement, 3)), agrees


def _agrees_by_itself(window: Window, x: Floats, y: Floats, agrees: Floats) -> bool:
    """Whether most blocks with structure in a window agree; x and y are their middles, -1 to 1."""
    across, down = window.right - window.left, window.bottom - window.top
    inside = (np.abs(x - (window.left + window.right - 1)) < across) & (
        np.abs(y - (window.top + window.bottom - 1)) < down
    )
    known = agrees[inside & (agrees >= 0)]
    return len(known) < _FRAMED_BLOCKS or float(known.mean()) >= _FRAMED_AGREEMENT


def _broad_agreement(fixed: Floats, moving: Floats, warp: NDArray[np.float64], weights: Floats) -> float:
    """Return the correlation of coarse detail where weights are 1, -1 to 1.

    Letters across two pictures agree in all fine detail there is; the pictures below them differ in what is coarser.
    """
    seen = sampled(moving, *placed(warp, *fixed.shape))
    own, moved = ((_smooth(picture, _BROAD_PX) - _smooth(picture, _BROADER_PX)) * weights for picture in (fixed, seen))
    return float(np.vdot(own, moved) / max(float(np.vdot(own, own) * np.vdot(moved, moved)) ** 0.5, 1e-6))


def _block_centres(blocks: _Blocks, height: int, width: int) -> tuple[Floats, Floats]:
    """Return x and y of the middle of each block of a (height, width) picture, (n,), -1 to 1."""
    down = (blocks.tops + np.append(blocks.tops[1:], height)) / height - 1
    across = (blocks.lefts + np.append(blocks.lefts[1:], width)) / width - 1
    x, y = np.meshgrid(across.astype(np.float32), down.astype(np.float32))
    return x.ravel(), y.ravel()


def _placed_points(warp: NDArray[np.float64], x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return where points land, -1 to 1."""
    across, down, depth = warp.astype(np.float32) @ np.stack([x, y, np.ones_like(x)])
    return across / depth, down / depth
