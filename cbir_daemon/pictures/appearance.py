"""How a picture looks: its colours, where its edges run, its texture, in a descriptor of 480 bytes.

In: a vector, its chroma.  Out: the descriptor, and the colours that it tells.  Never here: files, how alike two
pictures look (`matching.appearance`).

A descriptor has three parts.  Each is a histogram in square roots, of L2 norm 1: the product of two such parts is the
Bhattacharyya coefficient of the histograms.

- Colour: luma and chroma (ITU-R BT.601, as JPEG stores them) in 5 x 9 x 9 bins that share each pixel softly, without
  those that no RGB colour falls into.  Pixels in the middle weigh most: what a picture shows lies there.
- Edges: directions of gradients in 3 x 3 cells, weighted by strength.
- Texture: local binary patterns at three scales, whatever way they are turned.

A worker describes each picture as it reads it, so the calls of numpy count as much as the numbers: tables say for each
byte what can be said once, and a histogram is counted in one call.

References
----------
Dalal, Triggs: Histograms of oriented gradients for human detection, 2005.  Ojala, Pietikainen, Maenpaa: Multiresolution
gray-scale and rotation invariant texture classification with local binary patterns, 2002, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from cbir_daemon.records import VECTOR_SIDE_PX

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Places = NDArray[np.int64]

CHROMA_SIDE_PX: Final = VECTOR_SIDE_PX // 2
CHROMA_BYTES: Final = 2 * CHROMA_SIDE_PX * CHROMA_SIDE_PX
"""Cb, then Cr, of every second row and column of the picture that a vector holds."""

_LEVELS: Final = 255.0
"""A number of a descriptor is a byte: so many times the number of a unit vector."""

COLOUR_BINS: Final = (5, 9, 9)
_BINS: Final = math.prod(COLOUR_BINS)
_LUMA_RANGE: Final = (0.0, 256.0)
_CHROMA_RANGE: Final = (48.0, 208.0)
"""Stronger chroma, which photographs hardly have, counts in the outermost bins."""

_NEUTRAL: Final = 128.0
"""Cb and Cr of greys."""

_FEW: Final = 0.01
"""Share of the pixels of a picture that is too small to tell the colour of a level of luma."""

_MIDDLE: Final = 0.5
"""Deviation of the weight of a pixel around the middle; 1 is at the edge."""

_CELLS: Final = 3
_DIRECTIONS: Final = 8
_PATTERN_STEPS: Final = (1, 2, 3)
"""Pixels between a pixel and its neighbours, at each scale of the texture."""

_PATTERNS: Final = 10
_PATTERN_LEVELS: Final = np.float32(1)
"""Grey levels by which a neighbour is brighter, at least."""

_AROUND: Final = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
"""Row and column of the neighbours of a pixel, going around it."""

_LEAST_WEIGHT: Final = 1e-20
"""Of a Gaussian: products with numbers too small for float32's own form take a hundred times as long."""


def describe(vector: bytes, chroma: bytes) -> bytes:
    """Return how a picture looks.

    Parameters
    ----------
    vector : bytes
        4096 numbers of luma.
    chroma : bytes
        2048 numbers: 32x32 of Cb, then of Cr, of every second row and column of the picture.

    Returns
    -------
    bytes
        `LOOK_BYTES` numbers: colour, edges, texture.
    """
    luma = np.frombuffer(vector, np.uint8).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    planes = np.frombuffer(chroma, np.uint8).reshape(2, -1)
    seen = luma.astype(np.float32)
    smooth = _blurred(seen, 1.0)
    parts = (_colour(luma[1::2, 1::2].ravel(), planes), _edges(smooth), _texture((seen, smooth, _blurred(seen, 1.5))))
    return bytes(np.rint(_LEVELS * np.concatenate(parts)).astype(np.uint8))


def palette(descriptor: bytes) -> bytes:
    """Return the colour that each grey of a picture has on average.

    Parameters
    ----------
    descriptor : bytes
        `LOOK_BYTES` numbers; all 0, or none at all, for a picture that was not described.

    Returns
    -------
    bytes
        Red, green and blue of each of 256 greys.
    """
    luma = np.arange(256, dtype=np.float32)
    blue, red = _chroma_of(descriptor) if any(descriptor) else np.zeros((2, 256), np.float32)
    # ITU-R BT.601 as in JFIF 1.02.
    colours = np.stack([luma + 1.402 * red, luma - 0.344 * blue - 0.714 * red, luma + 1.772 * blue], axis=1)
    return bytes(np.clip(np.rint(colours), 0, 255).astype(np.uint8))


def _roots(histogram: NDArray[np.float64]) -> Floats:
    """Return the square roots of a histogram, of L2 norm 1; zeros where it is empty."""
    return np.asarray(np.sqrt(histogram / (histogram.sum() or 1)), dtype=np.float32)


def _softly(numbers: Floats, lowest: float, highest: float, bins: int) -> tuple[Places, Floats]:
    """Return the lower of the two bins that share each number, from -1, and the share of the upper one."""
    places = (numbers - lowest) * (bins / (highest - lowest)) - 0.5
    lower = np.floor(places)
    return lower.astype(np.int64), places - lower


# -- colour ------------------------------------------------------------------------------------------------------------


def _colour(luma: Bytes, planes: Bytes) -> Floats:
    """Return the histogram of the colours, in square roots, of (1024,) luma and (2, 1024) chroma."""
    return _roots(colour_histogram(luma, planes, _middle_weights())[bins_in_gamut()])


def colour_histogram(luma: Bytes, planes: Bytes, weights: Floats) -> NDArray[np.float64]:
    """Return the histogram of colours over all bins; each pixel is shared by eight.

    Parameters
    ----------
    luma : (n,) ndarray of uint8
    planes : (2, n) ndarray of uint8
        Cb, then Cr.
    weights : (n,) ndarray of float32
        Of the pixels.

    Returns
    -------
    (405,) ndarray of float64
    """
    shared = [bins_of.of(seen) for bins_of, seen in zip(_shared_bins(), (luma, *planes), strict=True)]
    (luma_bins, luma_shares), (blue_bins, blue_shares), (red_bins, red_shares) = shared
    bins = luma_bins[:, None, None] + blue_bins[None, :, None] + red_bins[None, None]
    shares = (weights * luma_shares)[:, None, None] * blue_shares[None, :, None] * red_shares[None, None]
    # Each of the eight is counted by itself, in one call: sums in another order would be other numbers.
    counted = np.bincount(bins.ravel(), shares.ravel(), 8 * _BINS)
    return np.asarray(counted.reshape(8, -1).sum(axis=0), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _SharedBins:
    """For each byte the two bins that share it.

    Parameters
    ----------
    places : (2, 256) ndarray of int64
        Multiplied, so that those of luma, Cb and Cr add up to a place in one of eight histograms.
    shares : (2, 256) ndarray of float32
    """

    places: Places
    shares: Floats

    def of(self, seen: Bytes) -> tuple[Places, Floats]:
        """Return the places and the shares, (2, n) each, of (n,) bytes."""
        return self.places.take(seen, axis=1), self.shares.take(seen, axis=1)


@cache
def _shared_bins() -> tuple[_SharedBins, ...]:
    """Return the bins that share luma, Cb and Cr."""
    levels = np.arange(256, dtype=np.float32)
    tables = []
    for axis, bins in enumerate(COLOUR_BINS):
        lower, upper_share = _softly(levels, *(_CHROMA_RANGE if axis else _LUMA_RANGE), bins)
        within = np.clip(np.stack([lower, lower + 1]), 0, bins - 1) * math.prod(COLOUR_BINS[axis + 1 :])
        histogram = np.array([[0], [_BINS << 2 - axis]])
        tables.append(_SharedBins(within + histogram, np.stack([1 - upper_share, upper_share])))
    return tuple(tables)


@cache
def _middle_weights() -> Floats:
    """Return the (1024,) weights of the pixels that have chroma."""
    places = (np.arange(CHROMA_SIDE_PX) + 0.5) / CHROMA_SIDE_PX * 2 - 1
    weights = np.exp(-(places**2) / (2 * _MIDDLE**2))
    return np.outer(weights, weights).ravel().astype(np.float32)


@cache
def bins_in_gamut() -> Places:
    """Return the bins that some RGB colour falls into, ascending.

    Without them are left: the strongest yellow in the dark, and the strongest blue and red in the bright.
    """
    inside = np.ones(COLOUR_BINS, dtype=bool)
    inside[0, 0] = inside[0, 1, 0] = False
    inside[-1, -1] = inside[-1, :, -1] = False
    return np.flatnonzero(inside)


def _chroma_of(descriptor: bytes) -> Floats:
    """Return the (2, 256) mean Cb and Cr of each grey of a picture, less those of greys."""
    counted = np.zeros(_BINS, dtype=np.float32)
    inside = bins_in_gamut()
    counted[inside] = np.square(np.frombuffer(descriptor, np.uint8)[: len(inside)], dtype=np.float32)
    counted = counted.reshape(COLOUR_BINS)
    lowest, highest = _CHROMA_RANGE
    middles = lowest + (np.arange(COLOUR_BINS[1]) + 0.5) * (highest - lowest) / COLOUR_BINS[1] - _NEUTRAL
    sums = np.stack([counted.sum(axis=2) @ middles, counted.sum(axis=1) @ middles])
    pixels = counted.sum(axis=(1, 2))
    # Where a picture has hardly any pixel of a level, the level has the mean of the picture.
    chroma = (sums + _FEW * sums.sum(axis=1, keepdims=True)) / (pixels + _FEW * pixels.sum())
    bins, shares = _shared_bins()[0].places // math.prod(COLOUR_BINS[1:]) % COLOUR_BINS[0], _shared_bins()[0].shares
    return np.asarray((chroma[:, bins] * shares).sum(axis=1), dtype=np.float32)


# -- edges and texture -------------------------------------------------------------------------------------------------


def _blurred(luma: Floats, deviation_px: float) -> Floats:
    smooth = _blur(deviation_px)
    return np.asarray(smooth @ luma @ smooth.T, dtype=np.float32)


@cache
def _blur(deviation_px: float) -> Floats:
    """Return a Gaussian along one side of the picture as a (64, 64) matrix; its rows sum to 1 at the edges too."""
    squares = np.subtract.outer(np.arange(VECTOR_SIDE_PX), np.arange(VECTOR_SIDE_PX)).astype(np.float32) ** 2
    weights = np.exp(squares / np.float32(-2 * deviation_px**2))
    weights[weights < _LEAST_WEIGHT] = 0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _edges(image: Floats) -> Floats:
    """Return the (72,) histograms of the directions of edges in each cell of a smooth picture, in square roots."""
    # Neighbours are nearly equal after the blur: every second row and column tells as much.
    down, across = _slopes(image[:, ::2]), _slopes(image.T[:, ::2]).T
    strength = np.hypot(down, across).ravel()
    # A direction and its opposite are one: bins of the other half are those of this one, by the remainder.
    lower, share = _softly(np.arctan2(down, across).ravel(), 0.0, np.pi, _DIRECTIONS)
    cells, size = _cells(), _CELLS * _CELLS * _DIRECTIONS
    counted = np.bincount(cells + lower % _DIRECTIONS, strength * (1 - share), size)
    counted += np.bincount(cells + (lower + 1) % _DIRECTIONS, strength * share, size)
    return _roots(counted.astype(np.float64, copy=False))


def _slopes(columns: Floats) -> Floats:
    """Return the slopes of every second row along the rows: central differences, at the first row that to the next."""
    slopes = np.empty((VECTOR_SIDE_PX // 2, columns.shape[1]), dtype=np.float32)
    slopes[0] = columns[1] - columns[0]
    slopes[1:] = (columns[3::2] - columns[1:-2:2]) / 2
    return slopes


@cache
def _cells() -> Places:
    """Return the first place in the histogram of the cell of each of the (1024,) slopes."""
    rows = np.arange(0, VECTOR_SIDE_PX, 2) * _CELLS // VECTOR_SIDE_PX
    return (rows[:, None] * _CELLS + rows).ravel() * _DIRECTIONS


def _texture(images: Sequence[Floats]) -> Floats:
    """Return the (30,) histograms of local binary patterns at three scales, in square roots, each of equal weight.

    Parameters
    ----------
    images : sequence of (64, 64) ndarray of float32
        The picture for each of `_PATTERN_STEPS`, smoother where the step is longer.
    """
    codes = [_codes_of_bits(image, step) for image, step in zip(images, _PATTERN_STEPS, strict=True)]
    # Counted before they are named: 256 numbers of a picture are fewer than its pixels.
    counted = np.stack([np.bincount(scale, minlength=256) for scale in codes]) @ _patterns_of_bits()
    roots = np.sqrt(counted / counted.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.asarray(roots.ravel() / np.float32(np.sqrt(len(codes))), dtype=np.float32)


def _codes_of_bits(image: Floats, step: int) -> Bytes:
    """Return a bit for each neighbour, `step` pixels away, of each pixel that is brighter: 8 bits a pixel."""
    # In one row: a neighbour is so many places away, and one call compares all.  What wraps around the edges lies in
    # the margin, which is not counted.
    numbers = image.ravel()
    margin = step * (VECTOR_SIDE_PX + 1)
    size = len(numbers) - 2 * margin
    strides = step * VECTOR_SIDE_PX * numbers.itemsize, step * numbers.itemsize, numbers.itemsize
    around = as_strided(numbers, (3, 3, size), strides, writeable=False)
    brighter = (around > numbers[margin:-margin] + _PATTERN_LEVELS).view(np.uint8)
    brighter *= _bit_of_neighbour()
    bits = np.zeros(len(numbers), dtype=np.uint8)
    np.bitwise_or.reduce(brighter.reshape(9, size), axis=0, out=bits[margin:-margin])
    return bits.reshape(image.shape)[step:-step, step:-step].ravel()


@cache
def _bit_of_neighbour() -> Bytes:
    """Return the bit of each of the 3 x 3 around a pixel as (3, 3, 1); 0 for the pixel itself."""
    bits = np.zeros((3, 3, 1), dtype=np.uint8)
    for place, (row, column) in enumerate(_AROUND):
        bits[1 + row, 1 + column] = 1 << place
    return bits


@cache
def _patterns_of_bits() -> NDArray[np.float64]:
    """Return, for each 8 bits around a pixel, its pattern as a row of (256, 10) with a single 1.

    The pattern is how many are set, 0 to 8, or 9 where they change more than twice.
    """
    patterns = np.zeros((256, _PATTERNS))
    for code in range(256):
        bits = [code >> place & 1 for place in range(8)]
        changes = sum(bits[place] != bits[place - 1] for place in range(8))
        patterns[code, sum(bits) if changes <= 2 else _PATTERNS - 1] = 1
    return patterns
