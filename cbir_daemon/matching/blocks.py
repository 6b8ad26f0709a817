"""Two pictures laid on each other to a fraction of a pixel, and how their blocks agree and lie beside each other.

In: two grey pictures of a few hundred pixels and the affine transform between them.  Out: the homography between them,
and measures of each block.  Never here: what the measures say of the two.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.matching.geometry import Floats, between, inverse, resized

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

# Shift in pixels, and structure, beyond which more of it counts no more where neighbours are compared: a block that
# shows something else must not tell what all do.
_COUNTED_PX, _COUNTED_STRUCTURE = 1.0, 0.05

# Standard errors by which chance may hide a common shift.
_ERRORS = 2.0

# Lines down and columns across from a block to half of its eight neighbours; the others have it among their own.
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))

# Energy of local contrast, 0 to 1, from which a block has structure of its own.
_LEAST_ENERGY = 0.04

# Standard deviations within which a Gaussian is summed up, beyond which there is a three-millionth of it; least pixels
# of a strip that is summed up at once.
_REACH, _LEAST_STRIP = 5.0, 24

# Gaussians that are kept, 5 to 20 KB each.
_GAUSSIANS = 32

# Pixels by which a step moves a corner at least if another one is to follow: a fifth of what counts as moved.
_STILL_PX = 0.02

# Points that are sampled at once: their places stay in the processor's cache.
_SAMPLED_PX = 12_000

_CORNERS = np.array([[-1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])

# Longest change of any coefficient of a homography in one step.
_LONGEST_STEP = 0.1


def sharpness(picture: NDArray[np.uint8]) -> float:
    """Return how much of the detail of a picture is fine: 0 for a blurred one, about 1 for a sharp one.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
        Grey; pictures are comparable when they have the same size and show the same scene.
    """
    return _sharpness(picture.astype(np.float32), np.ones(picture.shape, dtype=np.bool_))


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
class BlockMeasures:
    """How the n blocks of two aligned pictures agree.

    Parameters
    ----------
    x, y : (n,) ndarray of float32
        Middles of the blocks on the fixed picture, -1 to 1.
    agrees : (n,) ndarray of bool
        Both show the block, it has structure, and moved by its own shift it shows the same.
    differs : (n,) ndarray of bool
        Both show the block with structure, and not the same.
    agreement : (n,) ndarray of float32
        Correlation before the block's own shift, -1 to 1.
    moved : (n,) ndarray of bool
        Whether its own shift is seen, and explains what differs.
    shift_x, shift_y : (n,) ndarray of float32
        Its own shift in pixels.
    structure : (n,) ndarray of float32
        Smaller eigenvalue of its structure tensor, for each pixel.
    columns : int
        Blocks in a line; lines follow each other.
    """

    x: Floats
    y: Floats
    agrees: NDArray[np.bool_]
    differs: NDArray[np.bool_]
    agreement: Floats
    moved: NDArray[np.bool_]
    shift_x: Floats
    shift_y: Floats
    structure: Floats
    columns: int

    @property
    def count(self) -> int:
        """How many blocks agree."""
        return int(self.agrees.sum())

    @property
    def moved_share(self) -> float:
        """Share of the agreeing blocks that moved, 0 to 1; there must be one."""
        return float(self.moved[self.agrees].mean())

    @property
    def median_agreement(self) -> float:
        """Median correlation of the agreeing blocks, -1 to 1; there must be one."""
        return float(np.median(self.agreement[self.agrees]))

    @property
    def common_shift_px(self) -> float:
        """Shift in pixels that neighbouring blocks have in common; 0 where each shifts by itself.

        Notes
        -----
        The root of the mean of the products of neighbours' shifts, weighted by structure.  Noise and compression shift
        each block by itself, by more than a parallax does where they are strong; their products are 0 on average.  A
        parallax shifts neighbours alike.
        """
        mean, _ = self._common_shift()
        return math.sqrt(max(0.0, mean))

    @property
    def possible_shift_px(self) -> float:
        """Largest shift in pixels that neighbouring blocks may have in common: what chance hides is added."""
        mean, error = self._common_shift()
        return math.sqrt(max(0.0, mean + _ERRORS * error))

    def _common_shift(self) -> tuple[float, float]:
        """Return the mean product of the shifts of neighbours, in square pixels, and its standard error."""
        size = np.minimum(_COUNTED_PX / np.maximum(np.hypot(self.shift_x, self.shift_y), 1e-6), 1)
        weights = np.minimum(self.structure, _COUNTED_STRUCTURE) * self.agrees
        across, down, weights = (
            values.reshape(-1, self.columns) for values in (self.shift_x * size, self.shift_y * size, weights)
        )
        products = squares = total = 0.0
        for lines, columns in _NEIGHBOURS:
            own, near = _beside(across.shape, lines, columns)
            both = weights[own] * weights[near]
            weighted = both * (across[own] * across[near] + down[own] * down[near])
            products += float(weighted.sum())
            squares += float((weighted * weighted).sum())
            total += float(both.sum())
        total = max(total, 1e-9)
        return products / total, math.sqrt(squares) / total


@dataclass(frozen=True, slots=True)
class PicturePair:
    """Two pictures of one sharpness that are laid on each other, at half size first.

    Parameters
    ----------
    fixed, moving : (height, width) ndarray of float32
        Grey levels; the fixed picture has the coarser pixels, those of the moving one are made as large.
    start : (3, 3) ndarray of float64
        Homography from the fixed picture to the moving one as it was given, coordinates from -1 to 1.
    is_query_fixed : bool
        Whether the query is the fixed one.
    """

    fixed: Floats
    moving: Floats
    start: NDArray[np.float64]
    is_query_fixed: bool
    _whole: _Level
    _half: _Level

    @classmethod
    def of(
        cls, query: NDArray[np.uint8], stored: NDArray[np.uint8], affine: Floats, *, invert: bool = False
    ) -> PicturePair:
        """Make two pictures ready.

        Parameters
        ----------
        query, stored : (height, width) ndarray of uint8
        affine : (2, 3) ndarray of float32
            From a point of the query to that of the stored picture, coordinates from -1 to 1 over each picture.
        invert : bool
            Whether the two agree as negatives.
        """
        query_grey = query.astype(np.float32)
        fixed, finer, affine = _coarser_first(query_grey, stored.astype(np.float32), affine)
        is_query_fixed = fixed is query_grey
        moving = _at_scale(finer, fixed, affine)
        if invert:
            moving = np.float32(255) - moving
        fixed, moving = _alike_in_sharpness(fixed, moving, affine)
        levels = _Level.of(fixed, moving), _Level.of(_halved(fixed), _halved(moving))
        return cls(fixed, moving, _homography(affine), is_query_fixed, *levels)

    def aligned(self, warp: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
        """Return the homography from the fixed picture to the moving one after some steps at each size.

        Parameters
        ----------
        warp : (3, 3) ndarray of float64
            Where the steps begin.
        steps : int
            At most; a size ends with a step that moves nothing by `_STILL_PX`, the next one would move it ten times
            less.
        """
        for level in (self._half, self._whole):
            for _ in range(steps):
                before, warp = warp, level.step(warp)
                if self._moved_px(before, warp) < _STILL_PX:
                    break
        return warp

    def _moved_px(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
        """Return by how many pixels of the fixed picture a corner lands elsewhere, at most."""
        landed = [(warp @ _CORNERS)[:2] / (warp @ _CORNERS)[2] for warp in (before, after)]
        height, width = self.fixed.shape
        return float((np.abs(landed[1] - landed[0]) * [[width / 2], [height / 2]]).max())

    def measured(self, warp: NDArray[np.float64]) -> BlockMeasures:
        """Return how the blocks agree when the pictures are laid on each other.

        Parameters
        ----------
        warp : (3, 3) ndarray of float64
        """
        level, blocks = self._whole, self._whole.blocks
        seen, shown = level.seen(warp)
        before, gain = level.agreement(seen, shown)
        shift_x, shift_y, structure = level.shifts(blocks.spread(gain) * seen, shown)
        after, _ = level.agreement(level.moved(seen, shift_x, shift_y), shown)
        pixels, area, own_energy, seen_energy = map(
            blocks.sums, (shown, np.ones_like(shown), level.fixed**2 * shown, seen**2 * shown)
        )
        pixels_shown = np.maximum(pixels, 1)
        inside = pixels >= _SHOWN_SHARE * area
        agrees = inside & (structure > _LEAST_STRUCTURE * pixels_shown) & (after > _LEAST_AGREEMENT)
        differs = inside & ~agrees & (np.minimum(own_energy, seen_energy) > _LEAST_ENERGY * pixels_shown)
        explained = (after - before) / (1 - before + np.float32(0.002))
        moved = (np.hypot(shift_x, shift_y) > _MOVED_PX) & (explained > _EXPLAINED_SHARE)
        return BlockMeasures(
            *blocks.middles(),
            agrees,
            differs,
            before,
            moved,
            shift_x,
            shift_y,
            np.asarray(structure / pixels_shown, dtype=np.float32),
            len(blocks.lefts),
        )

    def broad_agreement(
        self, warp: NDArray[np.float64], blocks: NDArray[np.bool_], fine_px: float, coarse_px: float
    ) -> float:
        """Return the correlation of coarse detail over some blocks, -1 to 1.

        Parameters
        ----------
        warp : (3, 3) ndarray of float64
        blocks : (n,) ndarray of bool
            Those that count.
        fine_px, coarse_px : float
            Standard deviations of the band that is compared.
        """
        seen = sampled(self.moving, *placed(warp, *self.fixed.shape))
        weights = self._whole.blocks.spread(blocks.astype(np.float32))
        own, moved = (
            (_smooth(picture, fine_px) - _smooth(picture, coarse_px)) * weights for picture in (self.fixed, seen)
        )
        return float(np.vdot(own, moved) / max(float(np.vdot(own, own) * np.vdot(moved, moved)) ** 0.5, 1e-6))


def _beside(shape: tuple[int, int], lines: int, columns: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where the blocks of a grid are that have one some lines below and columns beside, and where these are."""
    height, width = shape
    first, last = max(0, -columns), width - max(0, columns)
    return (slice(0, height - lines), slice(first, last)), (
        slice(lines, height),
        slice(first + columns, last + columns),
    )


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
def _taps(sigma_px: float) -> Floats:
    """Return (strip, strip + 2 * reach): for each pixel of a strip a Gaussian over it and `reach` pixels beside it."""
    reach = _reach(sigma_px)
    strip = max(_LEAST_STRIP, reach)
    distances_px = np.arange(-reach, strip + reach) - np.arange(strip)[:, None]
    weights = np.exp(-(distances_px**2) / (2 * sigma_px**2)) * (np.abs(distances_px) <= reach)
    return np.asarray(weights / weights[0].sum(), dtype=np.float32)


def _reach(sigma_px: float) -> int:
    return math.ceil(_REACH * sigma_px)


@functools.lru_cache(_GAUSSIANS)
def _shares(side: int, sigma_px: float) -> Floats:
    """Return (side,): how much of the Gaussian around each pixel of an axis lies on the axis."""
    shares = np.empty(side, dtype=np.float32)
    for strip, _, weights in _strips(side, sigma_px):
        shares[strip] = weights.sum(axis=1)
    return shares


def _strips(side: int, sigma_px: float) -> Iterator[tuple[slice, slice, Floats]]:
    """Yield strips of an axis, each with what a Gaussian brings into it, and the weights of that."""
    taps, reach = _taps(sigma_px), _reach(sigma_px)
    # In strips: of the Gaussian of a whole side nearly all weights are 0.
    for start in range(0, side, len(taps)):
        end, first = min(side, start + len(taps)), max(0, start - reach)
        last = min(side, end + reach)
        yield slice(start, end), slice(first, last), taps[: end - start, first - start + reach : last - start + reach]


def _smooth(image: Floats, sigma_px: float) -> Floats:
    """Return an image blurred by a Gaussian, whose weights sum to 1 at the edges too."""
    height, width = image.shape
    by_line, smooth = np.empty_like(image), np.empty_like(image)
    for strip, near, weights in _strips(height, sigma_px):
        np.matmul(weights, image[near], out=by_line[strip])
    by_line /= _shares(height, sigma_px)[:, None]
    for strip, near, weights in _strips(width, sigma_px):
        np.matmul(by_line[:, near], weights.T, out=smooth[:, strip])
    smooth /= _shares(width, sigma_px)
    return smooth


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
    seen = np.empty(x.shape, dtype=np.float32)
    lines = max(1, _SAMPLED_PX // x.shape[-1])
    for start in range(0, len(x), lines):
        seen[start : start + lines] = _sampled(image, x[start : start + lines], y[start : start + lines])
    return seen


def _sampled(image: Floats, x: Floats, y: Floats) -> Floats:
    height, width = image.shape
    across, left = _places(x, width)
    down, corner = _places(y, height)
    corner *= width
    # Indices of the machine's own size are read as they are; `wrap` spares the check of each, which none fails.
    places, pixels = np.add(corner, left, dtype=np.intp), image.reshape(-1)
    upper, right, lower, lower_right = (pixels[start:].take(places, mode="wrap") for start in (0, 1, width, width + 1))
    return between(between(upper, right, across), between(lower, lower_right, across), down)


def _places(points: Floats, side: int) -> tuple[Floats, NDArray[np.int32]]:
    """Return where points lie between two pixels of an axis, 0 to 1, and the first of the two."""
    shares = points * np.float32(side / 2)
    shares += np.float32(side / 2 - 0.5)
    # Just below the last pixel, so that there is always a next one.
    np.clip(shares, 0, np.nextafter(np.float32(side - 1), np.float32(0)), out=shares)
    pixels = shares.astype(np.int32)
    shares -= pixels.astype(np.float32)
    return shares, pixels


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
    shown = inside.astype(np.float32)
    fine, coarse = (_smooth(image, _FINE_PX) - middle) * shown, (middle - _smooth(image, _COARSE_PX)) * shown
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
    down : (number of tops, height) ndarray of float32
    across : (width, number of lefts) ndarray of float32
        1 for each line, and each column, that is in a block, else 0: products with them are sums.
    """

    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    down: Floats
    across: Floats

    @classmethod
    def of(cls, height: int, width: int) -> _Blocks:
        """Cut a picture of (height, width) pixels."""
        side = max(8, round(max(height, width) / _BLOCKS))
        tops, lefts = np.arange(0, height, side), np.arange(0, width, side)
        rows, columns = np.arange(height) // side, np.arange(width) // side
        down, across = (
            (np.arange(len(starts))[:, None] == numbers).astype(np.float32)
            for starts, numbers in ((tops, rows), (lefts, columns))
        )
        return cls(tops, lefts, rows, columns, down, across.T)

    def sums(self, values: Floats) -> Floats:
        """Return (n,) sums over the blocks of (height, width) values."""
        return np.asarray((self.down @ values @ self.across).ravel(), dtype=np.float32)

    def middles(self) -> tuple[Floats, Floats]:
        """Return x and y of the middle of each block, (n,), -1 to 1."""
        height, width = len(self.rows), len(self.columns)
        down = (self.tops + np.append(self.tops[1:], height)) / height - 1
        across = (self.lefts + np.append(self.lefts[1:], width)) / width - 1
        x, y = np.meshgrid(across.astype(np.float32), down.astype(np.float32))
        return x.ravel(), y.ravel()

    def spread(self, values: Floats) -> Floats:
        """Return (height, width): each pixel has the value of its block."""
        grid = values.reshape(len(self.tops), len(self.lefts))
        return np.asarray(grid[self.rows][:, self.columns], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Powers:
    """Powers of the coordinates of a picture.

    Parameters
    ----------
    x, y : (5, width) and (5, height) ndarray of float32
        1, then each coordinate, up to its fourth power.
    """

    x: Floats
    y: Floats

    @classmethod
    def of(cls, height: int, width: int) -> _Powers:
        """Return the powers of a picture of (height, width) pixels."""
        return cls(*(np.stack([axis**power for power in range(5)]) for axis in _grid(height, width)))

    def moments(self, values: Floats, count: int) -> NDArray[np.float64]:
        """Return (count, count): sums of (height, width) values times x to the row and y to the column."""
        return (self.x[:count] @ (self.y[:count] @ values).T).astype(np.float64)


def _steepest() -> NDArray[np.float64]:
    """Return how a picture changes with each coefficient of a homography, as polynomials.

    Returns
    -------
    (2, 8, 3, 3) ndarray of float64
        Factors of x to the row and y to the column, of the gradient along x, then of that along y.
    """
    factors = np.zeros((2, 8, 3, 3))
    for axis in (0, 1):
        for coefficient, power in enumerate(((1, 0), (0, 1), (0, 0))):
            factors[axis, 3 * axis + coefficient][power] = 1
    factors[0, 6, 2, 0] = factors[0, 7, 1, 1] = factors[1, 6, 1, 1] = factors[1, 7, 0, 2] = -1
    return factors


def _curvatures() -> NDArray[np.float64]:
    """Return the products of each two of `_STEEPEST`, as polynomials.

    Returns
    -------
    (3, 8, 8, 5, 5) ndarray of float64
        Of the products xx, xy and yy of the gradient.
    """
    factors = np.zeros((2, 2, 8, 8, 5, 5))
    for row, column in np.ndindex(3, 3):
        both = np.einsum("ak,blij->abklij", _STEEPEST[:, :, row, column], _STEEPEST)
        factors[..., row : row + 3, column : column + 3] += both
    return np.stack([factors[0, 0], factors[0, 1] + factors[1, 0], factors[1, 1]])


_STEEPEST = _steepest()
_CURVATURES = _curvatures()


@dataclass(frozen=True, slots=True)
class _Level:
    """A fixed picture at one size, made ready for the alignment of a moving one with it.

    Parameters
    ----------
    fixed, moving : (height, width) ndarray of float32
        Without local brightness and contrast; each of its own size.
    across, down : (height, width) ndarray of float32
        The gradient of the fixed picture, a pixel.
    gradients, products : tuple of (height, width) ndarray of float32
        Its gradient along x and y, from -1 to 1 over the picture; and xx, xy and yy of its products.
    energy : (height, width) ndarray of float32
        Squares of the fixed picture.
    powers : _Powers
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
    gradients: tuple[Floats, Floats]
    products: tuple[Floats, Floats, Floats]
    energy: Floats
    powers: _Powers
    framed: Floats
    blocks: _Blocks

    @classmethod
    def of(cls, fixed: Floats, moving: Floats) -> _Level:
        """Make two pictures ready."""
        fixed, moving = _even(fixed), _even(moving)
        height, width = fixed.shape
        x, y = _grid(height, width)
        down, across = (np.asarray(slope, dtype=np.float32) for slope in np.gradient(fixed))
        by_x, by_y = across * np.float32(width / 2), down * np.float32(height / 2)
        framed = (np.abs(x) < 1 - 2 * _FRAME_PX / width) & (np.abs(y) < 1 - 2 * _FRAME_PX / height)[:, None]
        return cls(
            fixed,
            moving,
            across,
            down,
            (by_x, by_y),
            (by_x * by_x, by_x * by_y, by_y * by_y),
            fixed * fixed,
            _Powers.of(height, width),
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
        hessian = sum(
            np.tensordot(_CURVATURES[number], self.powers.moments(weights * product, 5))
            for number, product in enumerate(self.products)
        )
        off = (self.blocks.spread(gain) * seen - self.fixed) * weights
        slope = sum(
            np.tensordot(_STEEPEST[number], self.powers.moments(gradient * off, 3))
            for number, gradient in enumerate(self.gradients)
        )
        hessian += np.eye(8) * (1e-3 * np.trace(hessian) / 8 + 1e-6)
        change = np.linalg.solve(hessian, slope)
        change *= min(1.0, _LONGEST_STEP / max(float(np.abs(change).max()), 1e-12))
        moved = np.eye(3)
        moved.ravel()[:8] += change
        composed = warp @ np.linalg.inv(moved)
        return np.asarray(composed / composed[2, 2])

    def agreement(self, seen: Floats, shown: Floats) -> tuple[Floats, Floats]:
        """Return (n,) correlations of the blocks, and what the moving picture is multiplied by to match the fixed."""
        moved = seen * shown
        products = [self.blocks.sums(both) for both in (self.fixed * moved, self.energy * shown, moved * moved)]
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
        products = (across * across, across * down, down * down, across * off, down * off)
        xx, xy, yy, by_x, by_y = map(self.blocks.sums, products)
        scale = np.maximum(xx * yy - xy * xy, np.float32(1e-9))
        structure = ((xx + yy) - np.hypot(xx - yy, 2 * xy)) / 2
        shift_x, shift_y = -(yy * by_x - xy * by_y) / scale, -(xx * by_y - xy * by_x) / scale
        return shift_x.astype(np.float32), shift_y.astype(np.float32), structure.astype(np.float32)

    def moved(self, seen: Floats, shift_x: Floats, shift_y: Floats) -> Floats:
        """Return a picture with each block taken from beside it, by its own shift in pixels, 2 at most."""
        height, width = self.shape
        x, y = _grid(height, width)
        by_x, by_y = (self.blocks.spread(np.clip(shift, -2, 2)) for shift in (shift_x, shift_y))
        return sampled(seen, x + by_x * np.float32(2 / width), y[:, None] + by_y * np.float32(2 / height))


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
