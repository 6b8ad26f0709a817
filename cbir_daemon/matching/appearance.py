"""How a picture looks: its colours, where its edges run, its texture; by it `similar` contents are ranked.

In: vectors, chroma.  Out: descriptors of at most 512 bytes, how alike two look.  Never here: files, SQL,
whether one picture is a copy of another.

A descriptor has three parts.  Each is a histogram in square roots, of L2 norm 1: the product of two such parts is the
Bhattacharyya coefficient of the histograms.

- Colour: luma and chroma (ITU-R BT.601, as JPEG stores them) in 5 x 9 x 9 bins that share each pixel softly, without
  those that no RGB colour falls into.  Pixels in the middle weigh most: what a picture shows lies there.
- Edges: directions of gradients in 3 x 3 cells, weighted by strength.
- Texture: local binary patterns at three scales, whatever way they are turned.

`scripts/bench similar --choose` compares these parts, others and their weights; docs/accuracy.md has the table.

References
----------
Dalal, Triggs: Histograms of oriented gradients for human detection, 2005.  Ojala, Pietikainen, Maenpaa: Multiresolution
gray-scale and rotation invariant texture classification with local binary patterns, 2002, section 2.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Reason
from cbir_daemon.matching.align import blur
from cbir_daemon.records import CHROMA_SIDE_PX, VECTOR_SIDE_PX, DescriptorKind

Floats = NDArray[np.float32]

LOOK = DescriptorKind("look", "1")


_LEVELS = 255.0
"""A number of a descriptor is a byte: so many times the number of a unit vector."""

_COLOUR_BINS = (5, 9, 9)
_LUMA_RANGE, _CHROMA_RANGE = (0.0, 256.0), (48.0, 208.0)
"""Stronger chroma, which photographs hardly have, counts in the outermost bins."""

_MIDDLE = 0.5
"""Deviation of the weight of a pixel around the middle; 1 is at the edge."""

_CELLS, _DIRECTIONS = 3, 8
_PATTERN_SCALES = ((1, 0.0), (2, 1.0), (3, 1.5))
"""Pixels between a pixel and its neighbours, and the deviation of the blur before."""

_PATTERNS = 10
_PATTERN_LEVELS = 1.0
"""Grey levels by which a neighbour is brighter, at least."""

_AROUND = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))

COLOUR_WEIGHT, EDGES_WEIGHT, TEXTURE_WEIGHT = 0.25, 0.25, 0.5

PRODUCTS = (0.80, 0.88, 0.915, 0.94, 0.955, 0.964, 0.975, 0.985, 0.995, 1.0)
SHARES = (0.0, 0.12, 0.25, 0.32, 0.40, 0.50, 0.70, 0.92, 0.98, 1.0)
"""The share of matches that show the same kind of thing, by the product of two descriptors: between those of two named
sets, which differ by 0.1 (`scripts/bench similar --calibrate`)."""

REASONS = (Reason.COLOUR, Reason.LAYOUT, Reason.TEXTURE)
"""What each part of a descriptor is said to be."""

BATCH = 128
"""Pictures described at once: about 30 MB."""

ROWS_AT_ONCE = 512
"""Descriptors compared at once: 1 MB of floats, which stay in the processor's cache."""


def describe(vectors: NDArray[np.uint8], chroma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return how pictures look.

    Parameters
    ----------
    vectors : (n, 4096) ndarray of uint8
        Luma.
    chroma : (n, 2048) ndarray of uint8
        Of every second row and column of the picture: 32x32 numbers of Cb, then as many of Cr.

    Returns
    -------
    (n, descriptor_size()) ndarray of uint8
    """
    described = np.empty((len(vectors), descriptor_size()), dtype=np.uint8)
    for start in range(0, len(vectors), BATCH):
        rows = slice(start, start + BATCH)
        luma = np.asarray(vectors[rows], dtype=np.float32)
        parts = (_colour(luma, np.asarray(chroma[rows], dtype=np.float32)), _edges(luma), _texture(luma))
        described[rows] = np.rint(_LEVELS * np.concatenate(parts, axis=1))
    return described


def descriptor_size() -> int:
    """Return the bytes of a descriptor."""
    return len(_bins_in_gamut()) + _CELLS * _CELLS * _DIRECTIONS + len(_PATTERN_SCALES) * _PATTERNS


def appearance_rows(descriptors: NDArray[np.uint8]) -> Floats:
    """Return descriptors as unit rows whose product says how alike two pictures look.

    Parameters
    ----------
    descriptors : (n, descriptor_size()) ndarray of uint8

    Returns
    -------
    (n, descriptor_size()) ndarray of float32
        Of L2 norm 1, zeros for a row of zeros; the product of two is in [0, 1].
    """
    rows = np.asarray(descriptors, dtype=np.float32) * np.sqrt(_weights())
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(sizes > 0, sizes, 1), dtype=np.float32)


def norms(descriptors: NDArray[np.uint8]) -> Floats:
    """Return the weighted norms of descriptors, which `alike` divides by.

    Parameters
    ----------
    descriptors : (n, descriptor_size()) ndarray of uint8

    Returns
    -------
    (n,) ndarray of float32
    """
    found = np.empty(len(descriptors), dtype=np.float32)
    for start in range(0, len(descriptors), ROWS_AT_ONCE):
        rows = np.square(descriptors[start : start + ROWS_AT_ONCE], dtype=np.float32)
        found[start : start + ROWS_AT_ONCE] = np.sqrt(rows @ _weights())
    return found


def alike(query: NDArray[np.uint8], stored: NDArray[np.uint8], stored_norms: Floats) -> Floats:
    """Return how alike pictures look.

    Parameters
    ----------
    query : (descriptor_size(),) ndarray of uint8
    stored : (m, descriptor_size()) ndarray of uint8
    stored_norms : (m,) ndarray of float32
        From `norms`.

    Returns
    -------
    (m,) ndarray of float32
        In [0, 1]: the share of matches of this score that show the same kind of thing, by `PRODUCTS` and `SHARES`.

    Notes
    -----
    50 ms for 100 000.
    """
    weighted = np.asarray(query, dtype=np.float32) * _weights()
    weighted /= max(float(norms(query[None])[0]), 1e-6)
    products = np.empty(len(stored), dtype=np.float32)
    for start in range(0, len(stored), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        products[rows] = stored[rows].astype(np.float32) @ weighted
    products /= np.maximum(stored_norms, 1e-6)
    return np.asarray(np.interp(products, PRODUCTS, SHARES), dtype=np.float32)


def reasons(query: NDArray[np.uint8], stored: NDArray[np.uint8], sample: NDArray[np.uint8]) -> list[Reason]:
    """Return by what each picture resembles a query most: the part in which it stands out from a sample of all.

    Parameters
    ----------
    query : (descriptor_size(),) ndarray of uint8
    stored : (m, descriptor_size()) ndarray of uint8
    sample : (k, descriptor_size()) ndarray of uint8
        At least one.
    """
    standing = []
    for part in _parts():
        asked = _unit(query[None, part].astype(np.float32))[0]
        products, usual = (_unit(rows[:, part].astype(np.float32)) @ asked for rows in (stored, sample))
        standing.append((products - usual.mean()) / max(float(usual.std()), 1e-3))
    return [REASONS[place] for place in np.argmax(standing, axis=0)]


def _parts() -> tuple[slice, slice, slice]:
    colour, edges = len(_bins_in_gamut()), _CELLS * _CELLS * _DIRECTIONS
    return slice(0, colour), slice(colour, colour + edges), slice(colour + edges, None)


@cache
def _weights() -> Floats:
    """Return the weight of each number of a descriptor."""
    sizes = len(_bins_in_gamut()), _CELLS * _CELLS * _DIRECTIONS, len(_PATTERN_SCALES) * _PATTERNS
    return np.repeat(np.array([COLOUR_WEIGHT, EDGES_WEIGHT, TEXTURE_WEIGHT], dtype=np.float32), sizes)


def _unit(rows: Floats) -> Floats:
    """Return rows of L2 norm 1; zeros stay."""
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(sizes > 0, sizes, 1), dtype=np.float32)


def _roots(histograms: NDArray[np.float64]) -> Floats:
    """Return the square roots of histograms, of L2 norm 1; zeros where a histogram is empty."""
    sums = histograms.sum(axis=1, keepdims=True)
    return np.asarray(np.sqrt(histograms / np.where(sums > 0, sums, 1)), dtype=np.float32)


def _histograms(bins: NDArray[np.int64], weights: NDArray[np.float64] | Floats, size: int) -> NDArray[np.float64]:
    """Return the (n, size) weighted histograms of rows of bins."""
    rows = np.arange(len(bins))[:, None] * size
    counted = np.bincount((bins + rows).ravel(), np.broadcast_to(weights, bins.shape).ravel(), len(bins) * size)
    return np.asarray(counted, dtype=np.float64).reshape(len(bins), size)


def _softly(numbers: Floats, lowest: float, highest: float, bins: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the lower of the two bins that share each number, from -1, and the share of the upper one."""
    places = (numbers - lowest) * (bins / (highest - lowest)) - 0.5
    lower = np.floor(places)
    return lower.astype(np.int64), np.asarray(places - lower, dtype=np.float32)


# -- colour ------------------------------------------------------------------------------------------------------------


def _colour(luma: Floats, chroma: Floats) -> Floats:
    """Return the (n, c) histograms of the colours, in square roots."""
    seen = luma.reshape(-1, VECTOR_SIDE_PX, VECTOR_SIDE_PX)[:, 1::2, 1::2].reshape(len(luma), -1)
    pixels = np.stack([seen, *np.split(chroma, 2, axis=1)], axis=2)
    return _roots(_colour_histograms(pixels, _middle_weights())[:, _bins_in_gamut()])


def _colour_histograms(pixels: Floats, weights: Floats) -> NDArray[np.float64]:
    """Return the histograms of (n, p, 3) pixels, over all bins; each pixel is shared by eight bins."""
    ranges = (_LUMA_RANGE, _CHROMA_RANGE, _CHROMA_RANGE)
    softly = [_softly(pixels[..., axis], *ranges[axis], bins) for axis, bins in enumerate(_COLOUR_BINS)]
    size = int(np.prod(_COLOUR_BINS))
    counted = np.zeros((len(pixels), size))
    for corner in np.ndindex(2, 2, 2):
        cell = np.zeros(pixels.shape[:2], dtype=np.int64)
        share = np.broadcast_to(weights, pixels.shape[:2]).astype(np.float32)
        for (lower, upper_share), step, bins in zip(softly, corner, _COLOUR_BINS, strict=True):
            cell = cell * bins + np.clip(lower + step, 0, bins - 1)
            share = share * (upper_share if step else 1 - upper_share)
        counted += _histograms(cell, share, size)
    return counted


@cache
def _middle_weights() -> Floats:
    """Return the (1, 1024) weights of the pixels that have chroma."""
    places = (np.arange(CHROMA_SIDE_PX) + 0.5) / CHROMA_SIDE_PX * 2 - 1
    weights = np.exp(-(places**2) / (2 * _MIDDLE**2))
    return np.asarray(np.outer(weights, weights).reshape(1, -1), dtype=np.float32)


@cache
def _bins_in_gamut() -> NDArray[np.int64]:
    """Return the bins that some RGB colour falls into."""
    levels = np.arange(0, 256, 5, dtype=np.float32)
    red, green, blue = (axis.ravel() for axis in np.meshgrid(levels, levels, levels, indexing="ij"))
    # ITU-R BT.601 as in JFIF 1.02.
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    colours = np.stack([luma, 128 + 0.564 * (blue - luma), 128 + 0.713 * (red - luma)], axis=1)
    counted = _colour_histograms(colours[None].astype(np.float32), np.ones((1, 1), dtype=np.float32))[0]
    return np.flatnonzero(counted > 1e-3)


# -- edges and texture -------------------------------------------------------------------------------------------------


def _edges(luma: Floats) -> Floats:
    """Return the (n, 72) histograms of the directions of edges in each cell, in square roots."""
    smooth = blur(VECTOR_SIDE_PX, 1.0)
    images = smooth @ luma.reshape(-1, VECTOR_SIDE_PX, VECTOR_SIDE_PX) @ smooth.T
    # Neighbours are nearly equal after the blur: every second row and column tells as much.
    down, across = (np.gradient(images, axis=axis)[:, ::2, ::2] for axis in (1, 2))
    strength = np.hypot(down, across).reshape(len(images), -1)
    turns = np.arctan2(down, across).reshape(len(images), -1)
    # A direction and its opposite are one: bins of the other half are those of this one, by the remainder.
    lower, share = _softly(turns, 0.0, np.pi, _DIRECTIONS)
    rows = np.arange(0, VECTOR_SIDE_PX, 2) * _CELLS // VECTOR_SIDE_PX
    cells = (rows[:, None] * _CELLS + rows).reshape(1, -1) * _DIRECTIONS
    size = _CELLS * _CELLS * _DIRECTIONS
    counted = _histograms(cells + lower % _DIRECTIONS, strength * (1 - share), size)
    return _roots(counted + _histograms(cells + (lower + 1) % _DIRECTIONS, strength * share, size))


def _texture(luma: Floats) -> Floats:
    """Return the (n, 30) histograms of local binary patterns at three scales, in square roots, each of equal weight."""
    images = luma.reshape(-1, VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    parts = []
    for step, deviation in _PATTERN_SCALES:
        smooth = blur(VECTOR_SIDE_PX, deviation) if deviation else None
        seen = images if smooth is None else np.asarray(smooth @ images @ smooth.T, dtype=np.float32)
        parts.append(_patterns(seen, step))
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))


def _patterns(images: Floats, step: int) -> Floats:
    side = images.shape[1] - 2 * step
    middle = images[:, step:-step, step:-step] + _PATTERN_LEVELS
    bits = np.zeros(middle.shape, dtype=np.uint8)
    for place, (row, column) in enumerate(_AROUND):
        top, left = row * step, column * step
        bits |= (images[:, top : top + side, left : left + side] > middle).astype(np.uint8) << place
    # Counted before they are named: 256 numbers of a picture are fewer than its pixels.
    counted = np.stack([np.bincount(codes, minlength=256) for codes in bits.reshape(len(images), -1)])
    return _roots(counted @ _patterns_of_bits())


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
