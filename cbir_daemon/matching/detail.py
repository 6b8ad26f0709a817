"""Edits of the finest detail of a picture: enlarged, blurred, noise added, saved with greater loss.

In: the same part of two copies of one exposure, pixel by pixel as their files have it.  Out: what was done to each of
them that was not done to the other.  Never here: files, whether the two are copies, letters and borders (`direction`).

A picture that was worked on differs from its original in a way that has a direction.  What was blurred or enlarged has
lost waves that the original has; noise has waves that follow from nothing, as many of each length; a lossy format
leaves steps every eight pixels.  What has no such sign, or one that a sharpened copy has too, is not told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.comparison import Trace, Window
from cbir_daemon.medium import Fine

Floats = NDArray[np.float32]
Complexes = NDArray[np.complex64]
Traces = tuple[tuple[Trace, ...], tuple[Trace, ...]]

DETAIL_SIDE_PX = 640
"""Longer side, at most, of the part whose detail is compared."""

# Ratio of sides from which a picture is a larger one; from 0.5 % on, two of one size are not laid on each other.
_LARGER, _SAME_SIZE = 1.1, 0.005

# Pixels along each side that are needed.
_LEAST_SIDE_PX = 128

# Side and step of the tiles whose waves are compared, in pixels, and the limits of the lengths of waves that are told
# apart, in waves a pixel.
_TILE_PX, _TILE_STEP_PX = 64, 32
_WAVES = np.array([0.03, 0.06, 0.09, 0.12, 0.16, 0.2, 0.25, 0.3, 0.36, 0.42, 0.5])

# Correlation of long waves in a tile, below which it shows something else; tiles that are enough.
_SAME_TILE, _LEAST_TILES = 0.8, 6

# Places in `_WAVES` of waves, of such half as long, and how many times less a blur leaves of these than of those: an
# other picture that was sharpened by a wide mask has more of all waves but the longest.
_OCTAVES = ((0, 2, 0.3), (1, 3, 0.4), (2, 5, 0.5), (3, 6, 0.5))

# Coherence of the longer waves; ratio of amplitudes, of what follows from the blurred picture, that noise in the other
# does not explain.
_BLUR_COHERENCE, _BLUR_GAIN = 0.4, 1.8

# Energy of longer waves over that of shorter ones in what one picture has more: about 1 for noise, more for detail.
_MOST_WHITE, _LEAST_DETAIL = 2.0, 1.8

# Grey levels of noise where a picture is plain, and how many times that of the other one it must be.
_NOISE_LEVELS, _NOISE_RATIO, _NOISE_STEP = 2.5, 1.8, 1.0

# Coherence that longer waves keep under noise, and the most by which it raises them: what was sharpened is not noisy.
_NOISE_COHERENCE, _NOISE_GAIN = 0.9, 1.2

# Grey levels of the steps at every eighth pixel, and by how many they must exceed those of the other picture.
_STEP_LEVELS, _STEP_EXCESS = 1.8, 0.8

# Limits, in waves of the smaller picture's shortest, of bands below and above what it can show.
_LOW, _HIGH, _BEYOND = (0.35, 0.6), (0.65, 0.9), (1.08, 1.4)
_NARROW = 0.5

# Correlation of both pictures; logarithms of energies: by how much the slope of the larger one is steeper, and how
# little it has beyond the waves of the smaller one; correlation with what interpolation would make.  A smaller picture
# that was sharpened has more energy than it got.
_SAME_WAVES, _STEEPER, _NOTHING_BEYOND, _MIRRORED, _MOST_SHARPENED = 0.8, 0.1, -2.9, 0.45, 0.6

# The same where the larger one's slope is much steeper.
_MUCH_STEEPER, _LITTLE_BEYOND = 0.22, -1.7


def detail_traces(query: Fine, stored: Fine) -> Traces:
    """Return the edits of detail that each of two copies has and the other has not.

    Parameters
    ----------
    query, stored : Fine
        The same part of both pictures, neither turned nor mirrored against the other.

    Returns
    -------
    tuple of Trace
        Of the query.
    tuple of Trace
        Of the stored picture.
    """
    if min(*query.picture.shape, *stored.picture.shape) < _LEAST_SIDE_PX:
        return (), ()
    larger = _frame_px(query) / _frame_px(stored)
    if larger.min() >= _LARGER:
        return _traces_if(_is_enlarged(query, stored), Trace.ENLARGED), ()
    if larger.max() <= 1 / _LARGER:
        return (), _traces_if(_is_enlarged(stored, query), Trace.ENLARGED)
    if query.picture.shape != stored.picture.shape or np.abs(larger - 1).max() > _SAME_SIZE:
        return (), ()
    first, second = (fine.picture.astype(np.float32) for fine in (query, stored))
    pair = _Waves.of(first, second)
    return _one_size(first, second, pair), _one_size(second, first, pair.reversed)


def busiest(picture: NDArray[np.uint8], width: float, height: float) -> Window:
    """Return the part of a picture that has most detail.

    Parameters
    ----------
    picture : (height, width) ndarray of uint8
    width, height : float
        Of the part, as shares of the picture.
    """
    down, across = np.gradient(picture.astype(np.float32))
    # Of strong edges no more than of others: one dark line on a plain wall is little detail.
    detail = np.minimum(np.hypot(down, across), 20)
    sums = np.pad(detail.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    rows, columns = picture.shape
    high, wide = max(1, int(height * rows)), max(1, int(width * columns))
    inside = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    start = min(float(left) / columns, 1 - width), min(float(top) / rows, 1 - height)
    return Window(start[0], start[1], start[0] + width, start[1] + height)


def _traces_if(is_so: bool, trace: Trace) -> tuple[Trace, ...]:
    return (trace,) if is_so else ()


def _frame_px(fine: Fine) -> NDArray[np.float64]:
    """Return width and height in pixels of the whole picture that a part is of."""
    height, width = fine.picture.shape
    window = fine.window
    return np.array([width / (window.right - window.left), height / (window.bottom - window.top)])


# -- two of one size ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Waves:
    """Waves of two pictures by their length, longest first.

    Parameters
    ----------
    own, counterpart : (n,) ndarray of float64
        Energies, those of the longest waves set equal.
    shared : (n,) ndarray of float64
        Of the same waves in both.
    """

    own: NDArray[np.float64]
    counterpart: NDArray[np.float64]
    shared: NDArray[np.float64]

    @classmethod
    def of(cls, own: Floats, counterpart: Floats) -> _Waves:
        """Measure two pictures of one size."""
        first, second = _tiled(own), _tiled(counterpart)
        across, down = np.fft.rfftfreq(_TILE_PX), np.fft.fftfreq(_TILE_PX)
        bins = np.digitize(np.hypot(down[:, None], across), _WAVES) - 1
        rings = [bins == number for number in range(len(_WAVES) - 1)]
        energies = np.stack([np.abs(first) ** 2, np.abs(second) ** 2, (first * second.conj()).real])
        # Letters and stickers are no matter of detail.
        own_long, other_long, shared_long = energies[:, :, rings[0] | rings[1]].sum(axis=2)
        agree = shared_long >= _SAME_TILE * np.sqrt(own_long * other_long)
        if agree.sum() >= _LEAST_TILES:
            energies = energies[:, agree]
        sums = np.array([[energy.mean(axis=0)[ring].mean() for ring in rings] for energy in energies])
        sums = np.maximum(sums, np.array([[1e-3], [1e-3], [-np.inf]]))
        gain = sums[0, 0] / sums[1, 0]
        return cls(sums[0] / gain, sums[1], sums[2] / gain**0.5)

    @property
    def reversed(self) -> _Waves:
        """The waves of the two pictures exchanged."""
        return _Waves(self.counterpart, self.own, self.shared)

    @property
    def gain(self) -> NDArray[np.float64]:
        """Ratio of amplitudes, own over other."""
        return np.asarray((self.own / self.counterpart) ** 0.5)

    @property
    def coherence(self) -> NDArray[np.float64]:
        """Correlation of the waves of both."""
        return np.asarray(self.shared / (self.own * self.counterpart) ** 0.5)

    @property
    def excess(self) -> float:
        """Energy of waves of 7 pixels over that of waves of 2.5, in what the first has more than the other."""
        more = self.own - self.counterpart
        return float(more[3] / more[8]) if more[8] > 0 else np.inf


def _tiled(picture: Floats) -> Complexes:
    """Return the waves of tiles, (n, side, side / 2 + 1)."""
    views = np.lib.stride_tricks.sliding_window_view(picture, (_TILE_PX, _TILE_PX))[::_TILE_STEP_PX, ::_TILE_STEP_PX]
    tiles = views.reshape(-1, _TILE_PX, _TILE_PX)
    taper = np.hanning(_TILE_PX + 2)[1:-1].astype(np.float32)
    return np.asarray(np.fft.rfft2((tiles - tiles.mean(axis=(1, 2), keepdims=True)) * np.outer(taper, taper)))


def _one_size(own: Floats, counterpart: Floats, pair: _Waves) -> tuple[Trace, ...]:
    """Return the edits of detail that a picture has and another one of its size has not."""
    if _is_blurred(pair):
        return (Trace.BLURRED,)
    if _is_compressed(own, counterpart, pair):
        return (Trace.COMPRESSED,)
    # What was smoothed has less noise as well.
    is_other_smoothed = _is_blurred(pair.reversed) or _has_steps(counterpart, own)
    return _traces_if(not is_other_smoothed and _is_noisy(own, counterpart, pair), Trace.NOISY)


def _is_blurred(pair: _Waves) -> bool:
    """Whether ever more of ever shorter waves is missing, and what is there follows from the other picture."""
    gain, coherence = pair.gain, pair.coherence
    falls = any(
        gain[shorter] <= share * gain[longer] and coherence[longer] >= _BLUR_COHERENCE
        for longer, shorter, share in _OCTAVES
    )
    return (
        falls
        and bool((coherence[:8] / gain[:8]).max() >= _BLUR_GAIN)
        and bool(gain[:8].max() <= 1.1)
        and pair.reversed.excess >= _LEAST_DETAIL
    )


def _is_noisy(own: Floats, counterpart: Floats, pair: _Waves) -> bool:
    """Whether there is as much more of each length of waves, where the other picture is plain as well."""
    levels, other_levels = _plain_noise(own, counterpart)
    return (
        levels >= max(_NOISE_LEVELS, _NOISE_RATIO * other_levels + _NOISE_STEP)
        and 0 < pair.excess <= _MOST_WHITE
        and bool(pair.coherence[:2].min() >= _NOISE_COHERENCE)
        and bool((pair.shared / pair.counterpart)[2:7].max() <= _NOISE_GAIN)
    )


def _plain_noise(own: Floats, counterpart: Floats) -> tuple[float, float]:
    """Return the noise of two pictures in grey levels, where both are plainest and neither black nor white."""
    height, width = (side // 16 * 16 for side in own.shape)
    corners = [
        np.stack([picture[down:height:2, across:width:2] for down in (0, 1) for across in (0, 1)])
        for picture in (own, counterpart)
    ]
    diagonals = [_blocked((quad[0] - quad[1] - quad[2] + quad[3]) / 2) for quad in corners]
    greys = _blocked((corners[0].mean(axis=0) + corners[1].mean(axis=0)) / 2)
    structure = greys.reshape(-1, 2, 4, 2, 4).mean(axis=(2, 4)).std(axis=(1, 2))
    mean = greys.mean(axis=1)
    is_grey = (mean > 20) & (mean < 235)
    if is_grey.sum() < 20:
        return 0.0, 0.0
    plain = is_grey & (structure <= np.quantile(structure[is_grey], 0.3))
    # The median of absolute values of a normal distribution is 0.6745 of its deviation.
    own_levels, other_levels = (float(np.median(np.abs(diagonal[plain])) / 0.6745) for diagonal in diagonals)
    return own_levels, other_levels


def _blocked(image: Floats) -> Floats:
    """Return (n, 64): the blocks of 8 x 8 of an image whose sides are multiples of 8."""
    height, width = image.shape
    return image.reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2).reshape(-1, 64)


def _is_compressed(own: Floats, counterpart: Floats, pair: _Waves) -> bool:
    """Whether there are steps at every eighth pixel that the other picture has not, and nothing was sharpened."""
    gain = pair.gain
    # Noise hides the steps of the other picture.
    noise, other_noise = _plain_noise(own, counterpart)
    return (
        _has_steps(own, counterpart)
        and other_noise <= _NOISE_RATIO * noise + _NOISE_STEP
        and bool(np.abs(gain[1:5] - 1).max() <= 0.15)
        and float(gain[7]) <= 1.1
    )


def _has_steps(own: Floats, counterpart: Floats) -> bool:
    # More contrast makes higher steps.
    contrast = float(own.std() / max(float(counterpart.std()), 1e-3))
    return _steps(own) >= max(_STEP_LEVELS, _steps(counterpart) * max(1.0, contrast) + _STEP_EXCESS)


def _steps(picture: Floats) -> float:
    """Return how much higher steps are at the edges of blocks of 8 pixels than elsewhere, in grey levels."""
    found = []
    for image in (picture, picture.T):
        step = np.abs(np.diff(image, axis=1))
        # Edges of things are high on both sides of a place, and count no more than a dozen levels.
        over = np.clip(step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2, -8, 12)
        by_place = np.array([over[:, place::8].mean() for place in range(8)])
        found.append(by_place.max() - np.median(by_place))
    return float(np.mean(found))


# -- two of different sizes --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bands:
    """Waves of a larger and a smaller picture below and above what the smaller one can show.

    Parameters
    ----------
    coherence : float
        Of the shortest waves that both can show, -1 to 1.
    slope, small_slope : float
        Logarithm of the energy of these over that of longer ones, in the larger and in the smaller picture.
    beyond : float
        Logarithm of the energy of waves that only the larger one can show over that of the shortest of both, without
        what follows from the smaller picture.
    sharpened : float
        Logarithm of the energy of longer waves in the smaller picture over that in the larger one.
    mirrored : float
        Correlation of the waves that only the larger one can show with those that interpolation makes of the smaller.
    """

    coherence: float
    slope: float
    small_slope: float
    beyond: float
    sharpened: float
    mirrored: float


def _is_enlarged(large: Fine, small: Fine) -> bool:
    """Whether the larger of two pictures was made from the smaller one."""
    bands = enlargement(large, small)
    return bands is not None and _has_nothing_new(bands)


def _has_nothing_new(bands: Bands) -> bool:
    # Interpolation weakens the shortest waves; making smaller weakens those of the smaller picture.
    if bands.coherence < _SAME_WAVES or bands.slope > bands.small_slope - _STEEPER:
        return False
    is_steep = bands.slope <= bands.small_slope - _MUCH_STEEPER and bands.beyond <= _LITTLE_BEYOND
    is_empty = (is_steep or bands.beyond <= _NOTHING_BEYOND) and bands.sharpened <= _MOST_SHARPENED
    return is_empty or bands.mirrored >= _MIRRORED


def enlargement(large: Fine, small: Fine) -> Bands | None:
    """Return the edits that the waves of a larger and a smaller picture tell; None where the two never agree.

    Parameters
    ----------
    large, small : Fine
    """
    sums = np.zeros((3, 3))
    for part in _parts(large.window):
        found = _band_sums(large, small, part)
        if found[1, 2] >= _SAME_WAVES * (found[1, 0] * found[1, 1]) ** 0.5:
            sums += found
    if not sums.any():
        return None
    low, high, beyond = np.maximum(sums, np.array([1e-12, 1e-12, -np.inf]))
    mirrored = float(beyond[2] / (beyond[0] * beyond[1]) ** 0.5)
    return Bands(
        float(high[2] / (high[0] * high[1]) ** 0.5),
        float(np.log(high[0] / low[0])),
        float(np.log(high[1] / low[1])),
        float(np.log(beyond[0] * (1 - min(0.99, mirrored**2)) / high[0])),
        float(np.log(low[1] / low[0])),
        mirrored,
    )


def _parts(window: Window) -> Iterator[Window]:
    """Yield quarters of a window and its middle: letters in one of them do not spoil the others."""
    width, height = (window.right - window.left) / 2, (window.bottom - window.top) / 2
    for across, down in ((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)):
        left, top = window.left + across * width, window.top + down * height
        yield Window(left, top, left + width, top + height)


def _band_sums(large: Fine, small: Fine, part: Window) -> NDArray[np.float64]:
    """Return (band, 3): energies of the larger and the smaller picture, and of what both share."""
    across_px, down_px = _frame_px(small)
    most = float((_frame_px(large) / _frame_px(small)).min()) - 0.04
    steps = np.array([1 / (part.right - part.left), 1 / (part.bottom - part.top)])
    shortest = np.array([across_px, down_px]) / 2
    sums = np.zeros((3, 3))
    for axis in (0, 1):
        along = np.arange(_LOW[0] * shortest[axis], min(_BEYOND[1], most) * shortest[axis], steps[axis])
        aside = np.arange(-_NARROW * shortest[1 - axis], _NARROW * shortest[1 - axis], steps[1 - axis])
        across, down = (along, aside) if axis == 0 else (aside, along)
        first, second = (_waves(fine, part, across, down) for fine in (large, small))
        if axis == 1:
            first, second = first.T, second.T
        share = along / shortest[axis]
        for band, (least, highest) in enumerate((_LOW, _HIGH, _BEYOND)):
            own, counterpart = (waves[:, (share >= least) & (share < highest)] for waves in (first, second))
            energies = (np.abs(own) ** 2, np.abs(counterpart) ** 2, (own * counterpart.conj()).real)
            sums[band] += [float(energy.mean()) if energy.size else 0.0 for energy in energies]
    return sums


def _waves(fine: Fine, part: Window, across: NDArray[np.float64], down: NDArray[np.float64]) -> Complexes:
    """Return (down, across) amplitudes of waves, counted over the whole picture, in a part of it.

    Notes
    -----
    Waves shorter than two pixels are those that interpolation would make: the pixels stand where they are.
    """
    height, width = fine.picture.shape
    window = fine.window
    x = window.left + (np.arange(width) + 0.5) / width * (window.right - window.left)
    y = window.top + (np.arange(height) + 0.5) / height * (window.bottom - window.top)
    inside_x, inside_y = (x > part.left) & (x < part.right), (y > part.top) & (y < part.bottom)
    columns = _tapered(x[inside_x], part.left, part.right, across)
    rows = _tapered(y[inside_y], part.top, part.bottom, down)
    grey = fine.picture[inside_y][:, inside_x].astype(np.float32)
    return np.asarray(rows.T @ (grey - grey.mean()) @ columns)


def _tapered(places: NDArray[np.float64], begin: float, end: float, waves: NDArray[np.float64]) -> Complexes:
    share = np.clip((places - begin) / (end - begin), 0, 1)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * share)
    turns = np.exp(-2j * np.pi * places[:, None] * waves)
    return np.asarray(turns * (taper / max(taper.sum(), 1e-6))[:, None], dtype=np.complex64)
