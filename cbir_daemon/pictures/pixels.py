"""Turn the bytes of an image into 64x64 upright grey numbers, or into a small upright colour picture.

In: bytes.  Out: numbers.  Never here: files, processes, limits on time.

Everything is done on as few pixels as possible: a JPEG is decoded at the scale just above what is needed, orientation,
transparency and colour are applied after the picture is small.

References
----------
Pillow, `Image.draft` and the `reducing_gap` of `Image.resize`.  EXIF 2.32 (CIPA DC-008), tag 0x0112 Orientation.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from cbir_daemon.decode.reading import OUT_OF_MEMORY, UnreadableError
from cbir_daemon.pictures.appearance import CHROMA_BYTES
from cbir_daemon.pictures.extras import Opened, open_extra
from cbir_daemon.pictures.formats import EXTRAS, PILLOW_FORMATS, format_of
from cbir_daemon.records import VECTOR_SIDE_PX

VECTOR_SIZE: Final = (VECTOR_SIDE_PX, VECTOR_SIDE_PX)

# A JPEG is decoded at 1/8, 1/4, 1/2 or 1/1: the smallest that still leaves LANCZOS two pixels for one.
DRAFT_SIZE: Final = (2 * VECTOR_SIDE_PX, 2 * VECTOR_SIDE_PX)

# Box-averaging down to three times the wanted size first: a mean difference below one grey level, several times faster.
REDUCING_GAP: Final = 3.0

# 2000 pixels are shown as well as 2048, and are a JPEG of 4000 at half its size.
PREVIEW_ENOUGH: Final = 0.9

# Frames of an animation that are tried until one shows something.
MAX_FRAMES: Final = 12

# A frame whose greys differ by no more than this shows nothing.
BLANK_RANGE: Final = 2

WHITE: Final = 255

NO_CHROMA: Final = bytes([128]) * CHROMA_BYTES
"""Of what is grey."""

_TRANSPOSES: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FRACTION: Final = re.compile(r"\d{1,6}", re.ASCII)
_TAKEN: Final = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)")
_FIRST_LYING_ORIENTATION: Final = 5

# Formats whose frames follow each other in time; the pages and layers of others stand side by side.
_ANIMATED_FORMATS: Final = {"GIF", "PNG", "WEBP", "AVIF"}

# Modes whose numbers go beyond 0..255.
_WIDE_MODES: Final = {"I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
_MAX_16_BIT: Final = 65535

_GREY_MODES: Final = {"1", "L", "LA", "La"} | _WIDE_MODES

# Modes that become grey by way of RGB, with arithmetic dear enough to be done on the small picture.
_INDIRECT_MODES: Final = {"CMYK", "LAB", "HSV"}

# ICC.1:2022, 7.2: the colour space that a profile is for stands in its header.
_PROFILE_SPACE: Final = slice(16, 20)
_INKS: Final = b"CMYK"
_LIGHTS: Final = b"RGB "
_LIGHT_MODES: Final = {"RGB", "RGBA", "RGBX", "P", "PA"}

_SRGB: Final = ImageCms.createProfile("sRGB")


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as numbers.

    Parameters
    ----------
    vector : bytes
        64x64 grey numbers.
    chroma : bytes
        `CHROMA_BYTES`.
    width_px, height_px : int
        Size of the upright image.
    format : str
        Name of the file format in capitals.
    taken : str
        As `decode.reader.Reading` has it.
    """

    vector: bytes
    chroma: bytes
    width_px: int
    height_px: int
    format: str
    taken: str


def read_picture(data: bytes, max_pixels: int) -> Picture:
    """Return an image as numbers.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_pixels : int
        Largest width x height, checked before memory is taken.

    Raises
    ------
    UnreadableError
        `not-an-image`, `needs-extra`, `truncated`, `damaged`, `too-many-pixels` or `out-of-memory`.
    """
    with _translated_errors(data, max_pixels):
        opened, stored_size = _drafted(data, max_pixels)
        image = opened.image
        small = _first_frame_that_shows(image)
        # Some formats know their size, or turn themselves upright, only when loaded.
        width_px, height_px = opened.full_size or stored_size or image.size
        orientation = opened.orientation or _orientation(image)
        taken = _taken(image)
    if orientation >= _FIRST_LYING_ORIENTATION:
        width_px, height_px = height_px, width_px
    vector, chroma = _numbers(_upright(small, orientation))
    return Picture(vector, chroma, width_px, height_px, opened.format, taken)


def _numbers(small: Image.Image) -> tuple[bytes, bytes]:
    """Return the vector and the chroma of an upright 64x64 picture, of mode L or YCbCr."""
    if small.mode == "L":
        return small.tobytes(), NO_CHROMA
    # All channels leave Pillow at once: each call of it costs more than the numbers.
    channels = np.frombuffer(small.tobytes(), np.uint8).reshape(VECTOR_SIDE_PX, VECTOR_SIDE_PX, 3)
    return channels[..., 0].tobytes(), channels[1::2, 1::2, 1:].transpose(2, 0, 1).tobytes()


def _drafted(data: bytes, max_pixels: int) -> tuple[Opened, tuple[int, int] | None]:
    """Return an image that is loaded as small as a vector allows, and its size when that shrank it."""
    opened = _open(data, max_pixels)
    image, stored_size = opened.image, opened.image.size
    # As a JPEG stores it, luma being the grey that is wanted, but where colours must be seen through a profile.
    drafted = image.draft("RGB" if _profile(image) else "YCbCr", DRAFT_SIZE) is not None
    try:
        image.load()
    except OSError:
        if image.mode != "YCbCr":
            raise
        # A JPEG that stores red, green and blue: libjpeg turns these into grey alone.
        opened = _open(data, max_pixels)
        opened.image.draft("L", DRAFT_SIZE)
        opened.image.load()
    return opened, stored_size if drafted else None


def read_colour(data: bytes, max_pixels: int, side_px: int) -> Image.Image:
    """Return an upright RGB picture of an image.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_pixels : int
        Largest width x height of the image, checked before memory is taken.
    side_px : int
        Width and height of the picture at most; a smaller image keeps its size.

    Raises
    ------
    UnreadableError
        `not-an-image`, `needs-extra`, `truncated`, `damaged`, `too-many-pixels` or `out-of-memory`.
    """
    return _colour(data, max_pixels, side_px, lambda image: (side_px, side_px))


def read_preview(data: bytes, max_pixels: int, side_px: int) -> Image.Image:
    """Return an upright RGB picture of an image for people: a JPEG is decoded at the scale that is nearly large enough.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_pixels : int
        Largest width x height of the image, checked before memory is taken.
    side_px : int
        Width and height of the picture at most; its longer side is no less than nine tenths of that, unless the image
        is smaller.

    Raises
    ------
    UnreadableError
        As `read_colour`.
    """

    def enough(image: Image.Image) -> tuple[int, int]:
        # In the shape of the image: for a square Pillow takes the scale at which the shorter side is large enough.
        scale = PREVIEW_ENOUGH * side_px / max(image.size)
        return max(1, int(scale * image.width)), max(1, int(scale * image.height))

    return _colour(data, max_pixels, side_px, enough)


def _colour(
    data: bytes, max_pixels: int, side_px: int, enough: Callable[[Image.Image], tuple[int, int]]
) -> Image.Image:
    """Return an upright RGB picture; `enough` tells the width and height from which a JPEG may be decoded."""
    with _translated_errors(data, max_pixels):
        opened = _open(data, max_pixels)
        image = opened.image
        image.draft("RGB", enough(image))
        image.load()
        small = _shrunk_colour(image, side_px)
        orientation = opened.orientation or _orientation(image)
    return _upright(small, orientation)


def read_grey(data: bytes, max_pixels: int, side_px: int) -> Image.Image:
    """Return an upright grey picture of an image.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_pixels : int
        Largest width x height of the image, checked before memory is taken.
    side_px : int
        Width and height of the picture at most; a smaller image keeps its size.

    Raises
    ------
    UnreadableError
        `not-an-image`, `needs-extra`, `truncated`, `damaged`, `too-many-pixels` or `out-of-memory`.
    """
    return read_colour(data, max_pixels, side_px).convert("L")


def read_crop(data: bytes, max_pixels: int, box: tuple[int, int, int, int]) -> Image.Image:
    """Return a part of an image, upright and grey, pixel by pixel as the file has it.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_pixels : int
        Largest width x height of the image, checked before memory is taken.
    box : tuple of int
        Left, top, right and bottom in pixels of the upright image.

    Raises
    ------
    UnreadableError
        `not-an-image`, `needs-extra`, `truncated`, `damaged`, `too-many-pixels` or `out-of-memory`; `damaged` as well
        where the image has no such part.
    """
    with _translated_errors(data, max_pixels):
        opened = _open(data, max_pixels)
        image = opened.image
        # Grey at once, of all pixels.
        image.draft("RGB" if _profile(image) else "L", image.size)
        image.load()
        upright = _upright(image, opened.orientation or _orientation(image))
        left, top, right, bottom = box
        if not (0 <= left < right <= upright.width and 0 <= top < bottom <= upright.height):
            raise UnreadableError("damaged", "the part lies outside of the image")
        part = upright.crop(box)
        part.info = image.info
        return _shrunk_colour(part, max(part.size)).convert("L")


def _open(data: bytes, max_pixels: int) -> Opened:
    # Pillow compares the header's size with this before it takes memory, also for pictures inside pictures.
    Image.MAX_IMAGE_PIXELS = max_pixels
    name = format_of(data)
    if name in EXTRAS:
        return open_extra(data, name, max_pixels)
    try:
        image = Image.open(io.BytesIO(data), formats=PILLOW_FORMATS)
    except (OSError, ValueError) as error:
        # Plugins for formats without a signature try whatever they are shown.
        if name:
            raise
        raise UnidentifiedImageError from error
    return Opened(image, image.format or name)


@contextmanager
def _translated_errors(data: bytes, max_pixels: int) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = f"more pixels than the {max_pixels} allowed by max_pixels"
        raise UnreadableError("too-many-pixels", message) from error
    except UnreadableError:
        raise
    except MemoryError as error:
        raise UnreadableError("out-of-memory", OUT_OF_MEMORY) from error
    except UnidentifiedImageError as error:
        raise _unidentified(data) from error
    # Hostile bytes raise whatever they can reach in a plugin: OSError, SyntaxError, KeyError, ZeroDivisionError, ...
    except Exception as error:
        raise _undecodable(data, error) from error


def _unidentified(data: bytes) -> UnreadableError:
    name = format_of(data)
    if name:
        return UnreadableError("damaged", f"{name} data that cannot be decoded")
    return UnreadableError("not-an-image", "no image in a known format")


def _undecodable(data: bytes, error: Exception) -> UnreadableError:
    name = format_of(data) or "image"
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return UnreadableError("truncated", f"{name} data that ends too early")
    return UnreadableError("damaged", f"{name} data that cannot be decoded")


def _orientation(image: Image.Image) -> int:
    # Malformed EXIF is common and says nothing about the picture itself.
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 -- the parser raises whatever hostile bytes reach
        return 1
    return orientation if orientation in _TRANSPOSES else 1


def _taken(image: Image.Image) -> str:
    """Return when a camera took the image, as ISO 8601 in local time; empty when it does not say so."""
    try:
        exif = image.getexif().get_ifd(ExifTags.IFD.Exif)
        said = exif.get(ExifTags.Base.DateTimeOriginal)
        # Most pictures say nothing, and `strptime` would take longer than their digest.
        numbers = _TAKEN.fullmatch(str(said)) if said else None
        if numbers is None:
            return ""
        year, month, day, hour, minute, second = map(int, numbers.groups())
        # Digits behind the point: "5", "50" and "500" are half a second.
        fraction = _FRACTION.match(str(exif.get(ExifTags.Base.SubsecTimeOriginal, "")))
        microsecond = int(fraction.group().ljust(6, "0")) if fraction else 0
        return datetime(year, month, day, hour, minute, second, microsecond).isoformat()  # noqa: DTZ001 -- a camera has no zone
    except Exception:  # noqa: BLE001 -- the parser raises whatever hostile bytes reach
        return ""


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TRANSPOSES[orientation]) if orientation in _TRANSPOSES else image


def _first_frame_that_shows(image: Image.Image) -> Image.Image:
    """Return the 64x64 picture of a frame, as `_small` does."""
    first = _small(image)
    if image.format not in _ANIMATED_FORMATS or not _is_blank(first):
        return first
    for frame in range(1, MAX_FRAMES):
        try:
            image.seek(frame)
            later = _small(image)
        # What is wrong with a later frame, or that there is none, does no harm to the first.
        except Exception:  # noqa: BLE001 -- plugins raise whatever hostile bytes reach
            break
        if not _is_blank(later):
            return later
    return first


def _is_blank(small: Image.Image) -> bool:
    """Whether the greys of a 64x64 picture, of mode L or YCbCr, are nearly the same."""
    darkest, brightest = _extrema(small if small.mode == "L" else small.getchannel("Y"))
    return brightest - darkest <= BLANK_RANGE


def _extrema(image: Image.Image) -> tuple[float, float]:
    """Return the smallest and the largest number in a picture of one channel."""
    lowest, highest = image.getextrema()
    assert isinstance(lowest, (int, float))
    assert isinstance(highest, (int, float))
    return lowest, highest


def _small(image: Image.Image) -> Image.Image:
    """Return the 64x64 picture of a loaded image, as it is stored, not yet upright.

    Its mode is L when the image is grey, else YCbCr.
    """
    if image.mode == "YCbCr":
        # Together: the weights of its neighbours are worked out and fetched once for the three numbers of a pixel.
        return _scaled(image)
    if image.mode in _GREY_MODES:
        return _grey(image)
    colours = _small_colours(image)
    # Through a profile, or from inks, greys come from colours; else they are those of the large picture.
    has_greys_of_colours = bool(_profile(image)) or image.mode in _INDIRECT_MODES
    grey = colours.convert("L") if has_greys_of_colours else _grey(image)
    return Image.merge("YCbCr", (grey, *colours.convert("YCbCr").split()[1:]))


def _grey(image: Image.Image) -> Image.Image:
    """Return the 64x64 grey picture of a loaded image whose colours need no profile."""
    if image.has_transparency_data:
        # Pillow weights colours by alpha when it scales, so that hidden colours do not bleed in.
        return _over_white(_scaled(image.convert("LA")))
    if image.mode in _WIDE_MODES:
        return _narrowed(_scaled(image.convert("F")), image)
    return _scaled(_in_mode("L", image))


def _small_colours(image: Image.Image) -> Image.Image:
    """Return the 64x64 picture of a loaded image in sRGB."""
    if image.has_transparency_data:
        small = _over_white(_scaled(_in_mode("RGBA", image)))
    else:
        small = _scaled(image if image.mode in _INDIRECT_MODES else _in_mode("RGB", image))
    return _in_srgb(small, _profile(image))


def _in_mode(mode: str, image: Image.Image) -> Image.Image:
    """Return an image in a mode; converting what is in it already would copy it."""
    return image if image.mode == mode else image.convert(mode)


def _profile(image: Image.Image) -> bytes:
    """Return the colour profile that an image needs; empty when its colours are sRGB, grey or unknown."""
    profile = image.info.get("icc_profile") or b""
    space = profile[_PROFILE_SPACE]
    fits = space == _INKS if image.mode == "CMYK" else space == _LIGHTS and image.mode in _LIGHT_MODES
    # Profiles of sRGB are many, and all say so in their names: as ASCII in old ones, as UTF-16 in new ones.
    return profile if fits and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile else b""


def _in_srgb(small: Image.Image, profile: bytes) -> Image.Image:
    """Return a small picture in sRGB as its profile says, or as Pillow alone makes it where that cannot be used."""
    if profile and small.mode in ("RGB", "CMYK"):
        # A damaged profile, or one for other inks: Pillow's own arithmetic is near enough.
        with suppress(ImageCms.PyCMSError, OSError):
            in_srgb = ImageCms.applyTransform(small, _transform(profile, small.mode))
            assert in_srgb is not None
            return in_srgb
    return small.convert("RGB")


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    # Cameras and telephones embed one and the same into every picture.
    return ImageCms.buildTransform(ImageCms.ImageCmsProfile(io.BytesIO(profile)), _SRGB, mode, "RGB")


def _scaled(image: Image.Image) -> Image.Image:
    return image.resize(VECTOR_SIZE, Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)


def _over_white(image: Image.Image) -> Image.Image:
    """Return a picture that has alpha, laid over white, without alpha."""
    alpha = image.getchannel("A")
    colour = image.convert("L" if image.mode == "LA" else "RGB")
    return Image.composite(colour, Image.new(colour.mode, image.size, "white"), alpha)


def _narrowed(small: Image.Image, image: Image.Image) -> Image.Image:
    """Return `small`, of mode F, as 8-bit grey, scaled by the range of the numbers in `image`."""
    lowest, highest = _range(image)
    scale = WHITE / (highest - lowest) if highest > lowest else 0.0
    # The conversion to L cuts off decimals.
    return small.point(lambda grey: grey * scale + (0.5 - lowest * scale)).convert("L")


def _range(image: Image.Image) -> tuple[float, float]:
    lowest, highest = _extrema(image.convert("F"))
    if image.mode != "F" and lowest >= 0 and _MAX_16_BIT / 16 < highest <= _MAX_16_BIT:
        return 0.0, float(_MAX_16_BIT)
    # Floats, 32-bit numbers, and 12 or fewer bits in 16: the numbers themselves are the only guide.
    return lowest, highest


def _shrunk_colour(image: Image.Image, side_px: int) -> Image.Image:
    profile = _profile(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode in _WIDE_MODES:
        image = _narrowed(image.convert("F"), image)
    elif image.mode != "CMYK":
        image = image.convert("RGB")
    # Never enlarged: `thumbnail` keeps the shape and what is smaller.
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    return _in_srgb(_over_white(image) if image.mode == "RGBA" else image, profile)
