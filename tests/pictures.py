"""Photographs made by code: a seed comes in, a picture that has the statistics of a natural one comes out.

Natural pictures have a 1/f amplitude spectrum, broad light and dark, and objects with edges; these have all three, so
that what holds for photographs holds for them.  The same seed and size give the same picture.  Never here: what a test
expects of them.

References
----------
D. J. Field (1987), "Relations between the statistics of natural images and the response properties of cortical
cells", J. Opt. Soc. Am. A 4(12): the 1/f spectrum.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Picture = NDArray[np.uint8]
Field = NDArray[np.float32]

SIZE_PX = (480, 320)
MIDDLE_GREY = 120.0


def photograph(seed: int, size: tuple[int, int] = SIZE_PX) -> Picture:
    """Return the picture of `seed`; another seed gives an unrelated one.

    Parameters
    ----------
    seed : int
        0 or more.
    size : tuple of int
        Width and height in pixels, each at least 16.

    Returns
    -------
    (height, width, 3) ndarray of uint8
    """
    return _photograph(seed, size).copy()


# The same few are made over and over.
@lru_cache(maxsize=64)
def _photograph(seed: int, size: tuple[int, int]) -> Picture:
    generator = np.random.default_rng(seed)
    width, height = size
    light = _pink_noise(generator, width, height, generator.uniform(1.0, 1.3)) * generator.uniform(24, 42)
    light += _gradient(generator, width, height) * generator.uniform(0, 30)
    # Colour changes more slowly than light: eight times fewer numbers do.
    tint = _pink_noise(generator, max(16, width // 8), max(16, height // 8), 1.0)
    tint = _resized(tint, width, height) * generator.uniform(6, 18)
    picture = np.empty((height, width, 3), np.float32)
    for channel, share in enumerate(generator.uniform(-1, 1, 3)):
        np.add(light, tint * np.float32(share), out=picture[..., channel])
    picture += MIDDLE_GREY + generator.uniform(-14, 14, 3).astype(np.float32)
    _add_shapes(picture, generator)
    return _to_bytes(picture)


def real_photographs() -> list[Picture]:
    """Return the two photographs that scikit-learn ships: a Chinese temple and a flower, 640 x 427 pixels."""
    # Found and not imported, which takes longer than many a test.
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "datasets" / "images"
    return [load(folder / name) for name in ("china.jpg", "flower.jpg")]


def save(picture: Picture, path: Path, **options: Any) -> Path:  # noqa: ANN401 -- Pillow's own signature
    """Write `picture` in the format of `path`'s suffix, with Pillow's save options, and return `path`."""
    Image.fromarray(picture).save(path, **options)
    return path


def write_album(folder: Path, n: int, first_seed: int = 0) -> list[Path]:
    """Write the photographs of `n` seeds as JPEG files of quality 90 into `folder`, made if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(first_seed, first_seed + n)
    return [save(photograph(seed), folder / f"photo-{seed:04d}.jpg", quality=90) for seed in seeds]


def load(path: Path) -> Picture:
    """Return the pixels of the file at `path`, in RGB and as stored (no EXIF turn)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.uint8)


def resaved(path_in: Path, path_out: Path, scale: float = 0.5, quality: int = 30) -> Path:
    """Write the picture of `path_in` again, scaled and as a JPEG of `quality`, and return `path_out`."""
    return save(resized(load(path_in), scale), path_out, quality=quality)


def on_a_page(picture: Picture) -> Picture:
    """Return a dark page with lines as of writing, which shows a picture in the middle of its width and height."""
    height, width = picture.shape[:2]
    page = np.full((3 * height, 2 * width, 3), 8, np.uint8)
    generator = np.random.default_rng(height)
    for top in range(8, 3 * height - 16, 24):
        ink = np.repeat(generator.random(width // 2) < 0.6, 4)[: 2 * width]
        page[top : top + 12, : len(ink)][:, ink] = 220
    page[height : 2 * height, width // 2 : width // 2 + width] = picture
    return page


def resized(picture: Picture, scale: float) -> Picture:
    """Scale both sides by `scale`."""
    height, width = picture.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), np.uint8)


def brighter(picture: Picture, by: float = 30.0) -> Picture:
    """Add `by` grey levels (darker when negative)."""
    return _to_bytes(picture + np.float32(by))


def contrasted(picture: Picture, factor: float = 1.3) -> Picture:
    """Stretch the distance of every pixel from middle grey by `factor`."""
    return _to_bytes((picture - np.float32(128)) * np.float32(factor) + np.float32(128))


def gamma(picture: Picture, exponent: float = 0.7) -> Picture:
    """Bend the tone curve; an exponent below 1 lightens the shadows."""
    return _to_bytes((picture.astype(np.float32) / 255) ** np.float32(exponent) * 255)


def blurred(picture: Picture, radius_px: float = 2.0) -> Picture:
    """Smooth with a Gaussian of `radius_px`."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius_px)), np.uint8)


def noisy(picture: Picture, sigma: float = 10.0, seed: int = 0) -> Picture:
    """Add grain of standard deviation `sigma` grey levels."""
    grain = np.random.default_rng(seed).standard_normal(picture.shape, np.float32)
    return _to_bytes(picture + np.float32(sigma) * grain)


def cropped(picture: Picture, fraction: float = 0.1) -> Picture:
    """Cut the outer `fraction` of width and height away, the same on opposite sides."""
    height, width = picture.shape[:2]
    top, left = round(height * fraction / 2), round(width * fraction / 2)
    return picture[top : height - top, left : width - left].copy()


def bordered(picture: Picture, fraction: float = 0.05, grey: int = 255) -> Picture:
    """Put a plain frame around, `fraction` of the longer side wide."""
    margin = round(max(picture.shape[:2]) * fraction)
    return np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), constant_values=grey)


def captioned(picture: Picture, text: str = "holidays by the sea", fraction: float = 0.12) -> Picture:
    """Put a white bar with `text` below, `fraction` of the height high."""
    height, width = picture.shape[:2]
    bar = Image.new("RGB", (width, round(height * fraction)), "white")
    ImageDraw.Draw(bar).text((width // 10, bar.height // 4), text, fill="black")
    return np.concatenate([picture, np.asarray(bar, np.uint8)])


def lettered(picture: Picture, text: str = "SUMMER") -> Picture:
    """Return a picture with white letters across it."""
    image = Image.fromarray(picture)
    font = ImageFont.load_default(max(12, image.height // 7))
    at = (image.width * 0.2, image.height * 0.4)
    ImageDraw.Draw(image).text(at, text, font=font, fill=255 if image.mode == "L" else (255, 255, 255))
    return np.asarray(image)


def negative(picture: Picture) -> Picture:
    """Invert every pixel."""
    return 255 - picture


def mirrored(picture: Picture) -> Picture:
    """Swap left and right."""
    return picture[:, ::-1].copy()


def turned(picture: Picture, quarter_turns: int = 1) -> Picture:
    """Turn counter-clockwise by `quarter_turns` times 90 degrees."""
    return np.rot90(picture, quarter_turns).copy()


def _pink_noise(generator: np.random.Generator, width: int, height: int, exponent: float) -> Field:
    """Return noise of mean 0 and deviation 1 whose amplitude falls as frequency to the power -`exponent`."""
    across, down = np.fft.rfftfreq(width) * width, np.fft.fftfreq(height) * height
    # Kept level below two cycles a picture: else the lowest waves alone would make strangers look alike.
    frequency = np.maximum(np.hypot(down[:, None], across[None, :]), 2.0)
    amplitude = frequency**-exponent
    amplitude[0, 0] = 0.0
    phase = generator.random(amplitude.shape, np.float32) * np.float32(2 * np.pi)
    waves = (amplitude * np.exp(1j * phase)).astype(np.complex64)
    noise: Field = np.fft.irfft2(waves, s=(height, width)).astype(np.float32)
    noise /= noise.std()
    return noise


def _gradient(generator: np.random.Generator, width: int, height: int) -> Field:
    """Return a ramp in a random direction, from -1 to 1 over the longer diagonal."""
    angle = generator.uniform(0, 2 * np.pi)
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    ramp: Field = (y[:, None] * np.sin(angle) + x[None, :] * np.cos(angle)).astype(np.float32)
    return ramp / np.float32(np.sqrt(2))


def _add_shapes(picture: NDArray[np.float32], generator: np.random.Generator) -> None:
    """Blend discs and leaning boxes into `picture`, each with an edge a few pixels soft."""
    height, width = picture.shape[:2]
    for size in generator.permuted(np.geomspace(0.06, 0.26, int(generator.integers(7, 13)))):
        radius = float(size * min(width, height))
        x, y = generator.uniform(0, width), generator.uniform(0, height)
        level = generator.choice((-1, 1)) * generator.uniform(45, 95)
        colour = np.float32(level) + generator.uniform(-25, 25, 3).astype(np.float32)
        reach = radius * 1.8
        left, right = max(0, int(x - reach)), min(width, int(x + reach) + 1)
        top, bottom = max(0, int(y - reach)), min(height, int(y + reach) + 1)
        offsets = np.arange(left, right) - x, np.arange(top, bottom)[:, None] - y
        mask = _soft_shape(generator, *offsets, radius)
        picture[top:bottom, left:right] += mask[..., None] * colour


def _soft_shape(
    generator: np.random.Generator, across: NDArray[np.float64], down: NDArray[np.float64], radius: float
) -> Field:
    """Return 1 inside an ellipse or a box, 0 outside, with a ramp in between."""
    angle, stretch = generator.uniform(0, np.pi), generator.uniform(0.45, 1.0)
    along = across * np.cos(angle) + down * np.sin(angle)
    over = (down * np.cos(angle) - across * np.sin(angle)) / stretch
    box = generator.random() < 0.5
    distance = np.maximum(abs(along), abs(over)) if box else np.hypot(along, over)
    softness_px = generator.uniform(0.02, 0.2) * radius + 0.5
    inside: Field = np.clip((radius - distance) / softness_px, 0, 1).astype(np.float32)
    return inside


def _to_bytes(picture: NDArray[np.float32] | NDArray[np.float64]) -> Picture:
    return np.clip(picture.round(), 0, 255).astype(np.uint8)


def _resized(field: Field, width: int, height: int) -> Field:
    return np.asarray(Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC), np.float32)
