"""Views: the windows, turns and flips under which two vectors are compared, and their small codes.

In: 64x64 grey images.  Out: codes of windows, and for each view of a query the affine to the frame it was seen in.
Never here: which images are compared, what a good score is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Family, Guess, Window
from cbir_daemon.matching.geometry import DIHEDRAL, Floats, compose, inverse, rotations, sample
from cbir_daemon.records import VECTOR_SIDE_PX

# Cosine terms of a window's code along each axis; of the 6x6 products those with u + v <= 5 stay, without the mean.
# Terms up to 6 find a percent more among the first eight at 1.35 times the memory; up to 4, two percent fewer.
ORDER = 6
_V, _U = np.nonzero(np.add.outer(np.arange(ORDER), np.arange(ORDER)) < ORDER)
TERMS_V, TERMS_U = _V[1:], _U[1:]
TERMS = len(TERMS_U)

# Natural images fall off as one over frequency: unweighted, the three lowest terms decide nearly alone.
WEIGHTS = (np.hypot(TERMS_U, TERMS_V) ** 0.5).astype(np.float32)

# Grey levels added to a window's own deviation, so that flat windows match nothing instead of everything.  More costs
# the pictures of low contrast: among 2 500 the original is one of the first 24 for 99 % of the hard edits at 1 or 2
# levels, 95 % at 4 and 83 % at 8.
FLOOR_LEVELS = 1.0

# Degrees.  Codes of 6 terms bear 3 degrees either way, and nobody straightens a photograph by more than 12.
ANGLES_DEG = (-10.0, -5.0, 5.0, 10.0)

# A frame grows by |cos| + |sin| to hold a turned picture: 1.08 at 5 degrees, 1.16 at 10, more when it is long.
_GROWN_AFFINES = rotations(ANGLES_DEG, zooms=(1.25, 1.11, 1.11, 1.25))

# Grey levels by which JPEG and LANCZOS ringing may move a bar's pixels.
_BAR_LEVELS = 12.0

# Share of a bar's line that may be of another grey for it to count as clean, and lines in a bar that may be no clean
# ones: text, a clock, buttons.
_BAR_INK = 0.1
_BAR_INKED_PX = 8

# Pixels that bars leave of a picture at least: a portrait letterboxed to 16:9 keeps 15 of 64.
_CONTENT_PX = 14

# OpenBLAS puts a product of more than 2^18 multiplications on all processors and waits for each: where decode workers
# hold them, that takes thirty times as long.  64 images by 6 x 64 x 6, and 60 columns by 64 x 64, stay below.
_IMAGES_AT_ONCE = 64
_COLUMNS_AT_ONCE = 60

Rows = Sequence[tuple[float, float, float, float]]
"""Windows as (left, top, right, bottom), shares of the side in [0, 1]."""


def _turned(affines: Floats) -> Floats:
    """Return (8 * k, 2, 3): each of k affines to views, followed by what undoes each of `DIHEDRAL`."""
    turns = np.concatenate([DIHEDRAL, np.zeros((len(DIHEDRAL), 2, 1), dtype=np.float32)], axis=2)
    return compose(turns[:, None], affines).reshape(-1, 2, 3)


class Resampled:
    """Views for which an image is resampled.

    Parameters
    ----------
    affines : (k, 2, 3) ndarray of float32
        From the image to each view.

    Attributes
    ----------
    back : (k, 2, 3) ndarray of float32
        From each view to the image.
    affines : (8 * k, 2, 3) ndarray of float32
        From the image to each view as it was before each of `DIHEDRAL` was done to it.
    """

    def __init__(self, affines: Floats) -> None:
        self.back = inverse(affines)
        self.affines = _turned(affines)


_TURNED = Resampled(rotations(ANGLES_DEG))
_GROWN = Resampled(_GROWN_AFFINES)
_TILTS = Resampled(np.concatenate([rotations(ANGLES_DEG), _GROWN_AFFINES]))


class Windows:
    """A table of k windows of an image, and what makes their codes.

    Parameters
    ----------
    rows : sequence of (left, top, right, bottom)
        Shares of the side, in [0, 1].

    Attributes
    ----------
    rows : tuple of (left, top, right, bottom)
    frames : (k, 2, 3) ndarray of float32
        Affines from each window's own coordinates to those of the image.
    affines : (8 * k, 2, 3) ndarray of float32
        From the image to each window as it was before each of `DIHEDRAL` was done to it.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = tuple(rows)
        ends = np.asarray(rows, dtype=np.float32).reshape(-1, 2, 2) * np.float32(2) - np.float32(1)
        half, center = np.diff(ends, axis=1)[:, 0] / np.float32(2), ends.mean(axis=1)
        self.frames = np.concatenate([half[:, :, None] * np.eye(2, dtype=np.float32), center[:, :, None]], axis=2)
        # Windows share intervals: an image is projected once on each distinct one.
        self._across, self._column = _bases(ends[:, :, 0])
        self._down, self._row = _bases(ends[:, :, 1])
        self.affines = _turned(inverse(self.frames))

    def __len__(self) -> int:
        return len(self.frames)

    def terms(self, images: Floats) -> Floats:
        """Return the cosine terms of all k windows of images.

        Parameters
        ----------
        images : (n, 64, 64) ndarray of float32
            Grey levels, 0 to 255.

        Returns
        -------
        (n, k, TERMS) ndarray of float32
            Grey levels.
        """
        return np.concatenate([self._terms_of_piece(piece) for piece in _pieces(images, _IMAGES_AT_ONCE)])

    def _terms_of_piece(self, images: Floats) -> Floats:
        across = np.concatenate([images @ piece.T for piece in _pieces(self._across, _COLUMNS_AT_ONCE)], axis=2)
        across = across.reshape(*images.shape[:2], len(self._across) // ORDER, ORDER)[:, :, self._column]
        # For each window (ORDER, 64) by (64, images * ORDER).
        across = across.transpose(2, 1, 0, 3).reshape(len(self), VECTOR_SIDE_PX, len(images) * ORDER)
        down = self._down.reshape(-1, ORDER, VECTOR_SIDE_PX)[self._row]
        blocks = (down @ across).reshape(len(self), ORDER, len(images), ORDER)
        terms: Floats = blocks[:, TERMS_V, :, TERMS_U].transpose(2, 1, 0)
        return terms


def _pieces(rows: Floats, length: int) -> Iterator[Floats]:
    # At least one, so that nothing has its shape.
    return (rows[start : start + length] for start in range(0, max(1, len(rows)), length))


def _bases(ends: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return for the d distinct of k intervals (k, 2) the rows (d * ORDER, 64) of cos(pi u t), and which one each is.

    t runs from 0 to 1 over the interval; each row is the cosine's mean over the interval when it meets an image.
    """
    intervals, index = np.unique(ends, axis=0, return_inverse=True)
    edges = np.linspace(-1, 1, VECTOR_SIDE_PX + 1)
    run = np.clip((edges - intervals[:, :1]) / np.diff(intervals, axis=1), 0, 1)[:, None, :]
    order = np.arange(1, ORDER)[:, None]
    integrals = np.concatenate([run, np.sqrt(2) * np.sin(np.pi * order * run) / (np.pi * order)], axis=1)
    return np.diff(integrals, axis=2).reshape(-1, VECTOR_SIDE_PX).astype(np.float32), index.reshape(-1)


@functools.lru_cache(512)
def table_of(rows: tuple[tuple[float, float, float, float], ...]) -> Windows:
    """Return the table of windows.  It is cached: most images have no bars, and making it takes half a millisecond."""
    return Windows(rows)


def _grid(width: float, height: float, columns: int, rows: int) -> Rows:
    """Return windows of one size: a single one in the middle, several evenly from edge to edge."""
    lefts = np.linspace(0, 1 - width, columns) if columns > 1 else [(1 - width) / 2]
    tops = np.linspace(0, 1 - height, rows) if rows > 1 else [(1 - height) / 2]
    return [(float(x), float(y), float(x) + width, float(y) + height) for y in tops for x in lefts]


WHOLE = Windows([(0, 0, 1, 1)])

# Windows in percent of the side: the middle ones first, then those that `scripts/bench views --choose` found, which
# takes the one after another from 800 that lifts the correlation of crops most (a quarter to all of the area, anywhere,
# half of them of another shape), as seen under `TRIMS`.  Fifty of 20 terms make the KiB that an image may cost.
_MIDDLE_PERCENT = ((0, 0, 100, 100), (6, 6, 94, 94), (15, 15, 85, 85))
MIDDLES = len(_MIDDLE_PERCENT)
# fmt: off
_CROP_PERCENT = (
    (6, 0, 81, 75), (6, 19, 81, 94), (19, 25, 94, 100), (25, 6, 100, 81), (0, 22, 100, 78), (22, 0, 78, 100),
    (0, 9, 70, 74), (0, 26, 70, 91), (0, 0, 52, 87), (0, 0, 87, 52), (0, 48, 87, 100), (48, 13, 100, 100),
    (9, 26, 74, 91), (26, 26, 91, 91), (18, 9, 82, 74), (30, 32, 100, 89), (32, 0, 89, 70), (12, 36, 88, 88),
    (12, 6, 64, 81), (19, 24, 94, 76), (11, 35, 68, 100), (35, 0, 100, 57), (22, 0, 78, 65), (0, 12, 65, 64),
    (26, 0, 91, 52), (26, 48, 91, 100), (36, 35, 88, 100), (48, 9, 100, 74), (28, 19, 73, 94), (36, 18, 88, 82),
    (0, 22, 57, 78), (11, 22, 68, 78), (12, 0, 64, 57), (36, 11, 88, 68), (9, 28, 74, 73), (0, 48, 52, 100),
    (12, 36, 64, 88), (24, 24, 76, 76), (24, 36, 76, 88), (48, 0, 100, 52), (48, 36, 100, 88), (48, 48, 100, 100),
    (28, 11, 73, 68), (28, 43, 73, 100), (0, 0, 52, 45), (12, 14, 64, 59), (41, 24, 86, 76),
)
# fmt: on
_CROPS: Rows = [
    (left / 100, top / 100, right / 100, bottom / 100)
    for left, top, right, bottom in (*_MIDDLE_PERCENT, *_CROP_PERCENT)
]

STORED_WINDOWS = Windows(_CROPS)
"""Where in a stored image a query may come from, down to a quarter of its area; the `MIDDLES` middle ones first."""

_BORDERS = [row for size in (0.92, 0.84, 0.76) for row in _grid(size, size, 1, 1)]
_CAPTIONS = [row for size in (0.87, 0.78) for row in [*_grid(1.0, size, 1, 2), *_grid(size, 1.0, 2, 1)]]
_BARS = [
    row for size in (0.84, 0.7, 0.58, 0.48, 0.4, 0.33) for row in [*_grid(size, 1.0, 1, 1), *_grid(1.0, size, 1, 1)]
]

_PLAIN_FRAMES = Windows([*_BORDERS, *_CAPTIONS, *_BARS])

FRAMINGS = Windows([*_BORDERS, *_CAPTIONS, *_BARS, *_CROPS[1:]])
"""Where in a query a whole stored image may be shown."""


# Parts of collages, then sides of parts that lie anywhere and how many of them along each axis: a code bears to be
# shifted by some 12 % of its side.
_CELLS = [
    row
    for columns, rows in ((2, 1), (1, 2), (3, 1), (1, 3), (3, 2), (2, 3), (3, 3))
    for row in _grid(1 / columns, 1 / rows, columns, rows)
]
_PART_SIZES = ((0.34, 6), (0.4, 6), (0.5, 5), (0.6, 4), (0.7, 3))

TRIMS = Windows([*_grid(0.85, 1.0, 2, 1), *_grid(1.0, 0.85, 1, 2)])
"""What of a crop may be a stored window when the crop is larger than that along one axis."""


# The whole, what its bars leave, and its trims.
_NEAR = 2 + len(TRIMS)

PARTS = Windows([*_CELLS, *(row for size, count in _PART_SIZES for row in _grid(size, size, count, count))])
"""Where in a query a picture may be shown that fills a ninth to half of it."""


def part_views(image: Floats) -> Views:
    """Return the views of the parts of a query.

    Parameters
    ----------
    image : (64, 64) ndarray of float32
        Grey levels, 0 to 255.

    Returns
    -------
    Views
        8 * len(PARTS), each turn and flip one after the other.
    """
    return _framed(image, PARTS)


def window_codes(
    images: Floats, table: Windows, *, weights: Floats = WEIGHTS, floor_levels: float = FLOOR_LEVELS
) -> Floats:
    """Return the codes of all windows of all images.

    Parameters
    ----------
    images : (n, 64, 64) ndarray of float32
        Grey levels, 0 to 255.
    table : Windows
        k windows, the same for every image.
    weights : (TERMS,) ndarray of float32
        Of each term.
    floor_levels : float
        Grey levels added to a window's own deviation.

    Returns
    -------
    (n, k, TERMS) ndarray of float32
        Weighted cosine terms without the mean, of norm below 1: the flatter the window, the shorter.
    """
    terms = table.terms(images)
    deviations = np.sqrt(np.einsum("nkt,nkt->nk", terms, terms))[:, :, None]
    terms *= weights
    norms = np.sqrt(np.einsum("nkt,nkt->nk", terms, terms))[:, :, None]
    terms *= deviations / np.maximum(norms * np.hypot(deviations, floor_levels), 1e-6)
    return terms


@dataclass(frozen=True, slots=True)
class Views:
    """Views of a query, each as if the flip and turn it was seen under had been undone.

    Parameters
    ----------
    codes : (v, TERMS) ndarray of float32
    affines : (v, 2, 3) ndarray of float32
        From the query to each view's own coordinates.
    """

    codes: Floats
    affines: Floats


def query_views(image: Floats, box: Windows) -> Views:
    """Return all views of a query; `guess_of` tells what each is.

    Parameters
    ----------
    image : (64, 64) ndarray of float32
        Grey levels, 0 to 255.
    box : Windows
        The query's content box, from `content_box`.
    """
    return _query_views(image.tobytes(), box.rows)


# A query is asked for twice: where candidates are generated, and where each of them is aligned.
@functools.lru_cache(8)
def _query_views(numbers: bytes, box: Rows) -> Views:
    image = np.frombuffer(numbers, dtype=np.float32).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    near = _framed(image, table_of((*WHOLE.rows, *box, *TRIMS.rows)))
    framed = _together(_framed(image, FRAMINGS), _resampled(image, _GROWN))
    return _together(near, framed, _resampled(image, _TURNED))


def views_by_window(image: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the codes of the views of a query by what of a stored image may stand for them.

    Parameters
    ----------
    image : (64, 64) ndarray of float32
        Grey levels, 0 to 255.

    Returns
    -------
    crops, tilts, frames : (v, TERMS) ndarray of float32
        For any window: the whole, what its bars leave, its trims.  For the middles: turned back by small angles.  For
        the whole: what lies inside of frames, or was turned in a frame that grew.
    """
    box = content_box(image)
    codes = query_views(image, box).codes
    near = codes[: _NEAR * len(DIHEDRAL)].reshape(len(DIHEDRAL), _NEAR, TERMS)
    wholes = near[:, : 1 if box.rows == WHOLE.rows else 2].reshape(-1, TERMS)
    # Upright only: under all flips and turns they would triple the cost of a search.
    trims = near[0, -len(TRIMS) :]
    tilts = len(codes) - len(ANGLES_DEG) * len(DIHEDRAL)
    return np.concatenate([wholes, trims]), codes[tilts:], codes[_NEAR * len(DIHEDRAL) : tilts]


def joined_views(image: Floats, box: Windows) -> tuple[Views, Views, Views]:
    """Return the views of an image for a pass, in which each pair is compared from both sides.

    Parameters
    ----------
    image : (64, 64) ndarray of float32
    box : Windows
        Its content box.

    Returns
    -------
    wholes, trims : Views
        For which any window of another image may stand.
    frames : Views
        In which the whole of another image may be shown.
    """
    wholes = _framed(image, WHOLE if box.rows == WHOLE.rows else table_of((*WHOLE.rows, *box.rows)))
    # Bars that are not plain enough for a content box; nobody turns or mirrors these besides.
    upright = _upright(image, _PLAIN_FRAMES)
    turned = _resampled(image, _TILTS)
    return wholes, _upright(image, TRIMS), _together(turned, upright)


def _together(*groups: Views) -> Views:
    return Views(np.concatenate([views.codes for views in groups]), np.concatenate([views.affines for views in groups]))


def _framed(image: Floats, table: Windows) -> Views:
    """Return views (k * 8) of the windows of an image."""
    return Views(_undone(window_codes(image[None], table)[0]), table.affines)


def _upright(image: Floats, table: Windows) -> Views:
    """Return the views (k) of the windows of an image as they are: the first of `_framed`."""
    return Views(window_codes(image[None], table)[0], table.affines[: len(table)])


def _resampled(image: Floats, seen: Resampled) -> Views:
    """Return views (k * 8) of an image resampled by affines from query to view."""
    pictures = sample(np.broadcast_to(image, (len(seen.back), *image.shape)), seen.back, VECTOR_SIDE_PX)
    return Views(_undone(window_codes(pictures, WHOLE)[:, 0]), seen.affines)


def _undone(codes: Floats) -> Floats:
    """Return each of k codes as it was before each of `DIHEDRAL` was done to it: (8 * k, TERMS)."""
    undone = codes[:, _SOURCES]
    undone *= _SIGNS
    return undone.transpose(1, 0, 2).reshape(-1, TERMS)


def _term_moves() -> tuple[NDArray[np.int64], Floats]:
    """Return for each of `DIHEDRAL` where each cosine term comes from and its sign, when the edit is undone."""
    position = {(u, v): i for i, (u, v) in enumerate(zip(TERMS_U, TERMS_V, strict=True))}
    sources, signs = [], []
    for matrix in DIHEDRAL:
        swaps = bool(matrix[0, 0] == 0)
        # cos(pi u (1 - t)) = (-1)^u cos(pi u t): an axis that runs backwards turns the sign of its odd terms.
        sign_u, sign_v = matrix[0].sum(), matrix[1].sum()
        sources.append([position[(v, u) if swaps else (u, v)] for u, v in zip(TERMS_U, TERMS_V, strict=True)])
        signs.append(np.where(TERMS_U % 2, sign_u, 1) * np.where(TERMS_V % 2, sign_v, 1))
    return np.asarray(sources), np.asarray(signs, dtype=np.float32)


_SOURCES, _SIGNS = _term_moves()


_SEEN = [
    # The content box is another one for each query.
    [
        (Family.WHOLE, WHOLE.rows[0], 0.0),
        (Family.CONTENT, WHOLE.rows[0], 0.0),
        *((Family.PART, row, 0.0) for row in TRIMS.rows),
    ],
    [
        *((Family.BORDER, row, 0.0) for row in _BORDERS),
        *((Family.CAPTION, row, 0.0) for row in _CAPTIONS),
        *((Family.BARS, row, 0.0) for row in _BARS),
        *((Family.PART, row, 0.0) for row in _CROPS[1:]),
    ],
    [(Family.GROWN, WHOLE.rows[0], angle) for angle in ANGLES_DEG],
    [(Family.TILT, WHOLE.rows[0], angle) for angle in ANGLES_DEG],
]
# In the order of `query_views`: each group under all of `DIHEDRAL`, as `_undone` lays them out.
_TOLD = [(turned, *seen) for group in _SEEN for turned in range(len(DIHEDRAL)) for seen in group]


def guess_of(view: int, window: int, box: Windows, *, invert: bool) -> Guess:
    """Return in words what a pair of views takes a query for.

    Parameters
    ----------
    view : int
        Row of `query_views`.
    window : int
        Row of `STORED_WINDOWS`.
    box : Windows
        The content box that the views were made with.
    invert : bool
        Whether the two agree as negatives.
    """
    turned, family, row, angle = _TOLD[view]
    if family is Family.WHOLE and window:
        family = Family.CROP
    return Guess(
        family=family,
        query_window=Window(*(box.rows[0] if family is Family.CONTENT else row)),
        stored_window=Window(*STORED_WINDOWS.rows[window]),
        flip=turned >= len(DIHEDRAL) // 2,
        turn=90 * (turned % (len(DIHEDRAL) // 2)),
        angle=angle,
        invert=invert,
    )


def content_box(image: Floats) -> Windows:
    """Return the one window inside plain bars or borders, the whole when there are none.

    Parameters
    ----------
    image : (64, 64) ndarray of float32
        Grey levels, 0 to 255.
    """
    return table_of((_content_row(image.tobytes()),))


# In a pass the box of an image is asked for where its views are made, and where its candidates are aligned.
@functools.lru_cache(128)
def _content_row(numbers: bytes) -> tuple[float, float, float, float]:
    image = np.frombuffer(numbers, dtype=np.float32).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX)
    side = VECTOR_SIDE_PX
    top, bottom, left, right = _bars_px(np.stack([image, image[::-1], image.T, image.T[::-1]]))
    return left / side, top / side, 1 - right / side, 1 - bottom / side


def _bars_px(views: Floats) -> list[int]:
    """Return for each view how many lines from the first on are a bar: of one grey but for a caption or buttons.

    Parameters
    ----------
    views : (k, 64, 64) ndarray of float32
        An image from each of its sides.
    """
    _, height, width = views.shape
    half = views[:, : (height - _CONTENT_PX) // 2]
    grey = np.median(views[:, :2].reshape(len(views), -1), axis=1)[:, None, None]
    is_clean = np.count_nonzero(np.abs(half - grey) > _BAR_LEVELS, axis=2) < _BAR_INK * width
    inked = np.cumsum(~is_clean, axis=1)
    # A bar ends with a clean line, and most of it is clean.
    is_bar = is_clean & (inked <= _BAR_INKED_PX) & (2 * inked <= np.arange(1, half.shape[1] + 1))
    return [int(np.flatnonzero(lines)[-1]) + 1 if lines.any() else 0 for lines in is_bar]
