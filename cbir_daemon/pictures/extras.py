"""Open what Pillow alone cannot: HEIF, JPEG XL, SVG and camera RAW, each by an optional package.

In: bytes whose format is known.  Out: a Pillow image, and its size and orientation where these are not its own.  Never
here: scaling, limits other than on pixels.

A worker has imported its packages before it confined itself (`file_reader`); elsewhere one is imported when the first
such file comes.
"""

from __future__ import annotations

import gzip
import importlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from PIL import ExifTags, Image

from cbir_daemon.decode.reader import Extra
from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.pictures.formats import EXTRAS

# A drawing has no pixels of its own: enough for the sheet's large picture and for the vector.
SVG_SIDE_PX: Final = 512

# A compressed SVG may grow to this many bytes; nothing drawn by people comes near.
MAX_SVG_BYTES: Final = 64 * 1024 * 1024


# A preview is as good as the photograph when it is large enough and shows all of it, without bars.
MIN_PREVIEW_PX: Final = 128
PREVIEW_SHAPE_TOLERANCE: Final = 0.03


@dataclass(frozen=True, slots=True)
class Opened:
    """An image that was opened and not yet loaded.

    Parameters
    ----------
    image : PIL.Image.Image
        The image, or a smaller one that shows the same.
    format : str
        Name of the format, in capitals.
    full_size : (int, int), optional
        Width and height in pixels before the image is turned upright; the image's own when None.
    orientation : int, optional
        1 to 8 as in EXIF; what the image's own EXIF says when None.
    """

    image: Image.Image
    format: str
    full_size: tuple[int, int] | None = None
    orientation: int | None = None


def open_extra(data: bytes, format_name: str, max_pixels: int) -> Opened:
    """Return the image in `data`, opened by the extra that reads `format_name`.

    Parameters
    ----------
    data : bytes
        The whole file.
    format_name : str
        A key of `EXTRAS`.
    max_pixels : int
        Largest width x height.

    Raises
    ------
    UnreadableError
        `needs-extra`, `too-many-pixels` or `damaged`.
    Exception
        Whatever the package raises on damaged data.
    """
    extra = EXTRAS[format_name]
    try:
        module = load_extra(extra)
    except ImportError as error:
        raise UnreadableError("needs-extra", extra.words) from error
    return _OPENERS[format_name](module, data, max_pixels)


def load_extra(extra: Extra) -> ModuleType:
    """Return the module of an extra, imported and ready; raises `ImportError` when it is not installed."""
    module = importlib.import_module(extra.module)
    if extra.format == "HEIF":
        # Turns by irot, imir and EXIF itself, and offers its embedded preview to `draft`.
        module.register_heif_opener(decode_threads=1, depth_images=False, aux_images=False)
    elif extra.format == "JPEG XL":
        module.JpegXLImagePlugin.DECODE_THREADS = 0
    return module


def check_pixels(width_px: int, height_px: int, max_pixels: int) -> None:
    """Refuse a picture that has more pixels than are allowed.

    Parameters
    ----------
    width_px, height_px : int
        Of the picture.
    max_pixels : int
        Largest width x height.

    Raises
    ------
    UnreadableError
        `too-many-pixels`.
    """
    if width_px * height_px > max_pixels:
        message = f"{width_px} x {height_px} pixels, more than the {max_pixels} allowed by max_pixels"
        raise UnreadableError("too-many-pixels", message)


def _open_heif(_: ModuleType, data: bytes, __: int) -> Opened:
    return Opened(Image.open(io.BytesIO(data), formats=["HEIF"]), "HEIF")


def _open_jxl(_: ModuleType, data: bytes, max_pixels: int) -> Opened:
    # The plugin decodes while it opens, so the header is read here, first.
    width_px, height_px, orientation = jxl_header(data)
    check_pixels(width_px, height_px, max_pixels)
    image = Image.open(io.BytesIO(data), formats=["JXL"])
    # Where the header says so libjxl has turned the picture already, whatever EXIF says; except in a repacked JPEG.
    is_upright = orientation != 1 and not getattr(image, "jpeg", False)
    return Opened(image, "JXL", orientation=1 if is_upright else None)


class _Bits:
    """Read little-endian bits, as JPEG XL writes them."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value


# Share of width to height, by the three bits that stand for it.
_JXL_RATIOS: Final = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_JXL_SIZE_BITS: Final = (9, 13, 18, 30)


def jxl_header(data: bytes) -> tuple[int, int, int]:
    """Return width, height and orientation (1 to 8) from the header of a JPEG XL file.

    Raises
    ------
    UnreadableError
        `truncated` when the file ends before its header does.

    References
    ----------
    ISO/IEC 18181-1, D.2 (SizeHeader) and D.3 (ImageMetadata); 18181-2, 9 (boxes).
    """
    codestream = next(_jxl_codestreams(data), b"")
    if len(codestream) < 12:
        raise UnreadableError("truncated", "JPEG XL data that ends too early")
    bits = _Bits(codestream[2:20])
    is_small = bool(bits.take(1))
    height_px = _jxl_length(bits, is_small=is_small)
    ratio = bits.take(3)
    if ratio:
        across, down = _JXL_RATIOS[ratio]
        width_px = height_px * across // down
    else:
        width_px = _jxl_length(bits, is_small=is_small)
    is_plain = bits.take(1)
    has_orientation = not is_plain and bits.take(1)
    return width_px, height_px, 1 + bits.take(3) if has_orientation else 1


def _jxl_length(bits: _Bits, *, is_small: bool) -> int:
    return 8 * (1 + bits.take(5)) if is_small else 1 + bits.take(_JXL_SIZE_BITS[bits.take(2)])


def _jxl_codestreams(data: bytes) -> Iterator[bytes]:
    """Yield the beginnings of the codestream, or of its parts, in a bare or boxed file."""
    if data.startswith(b"\xff\x0a"):
        yield data[:64]
        return
    start = 0
    while start + 8 <= len(data):
        length, kind, header = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], 8
        if length == 1:
            length, header = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        if kind in (b"jxlc", b"jxlp"):
            # A part begins with its number.
            body = start + header + (4 if kind == b"jxlp" else 0)
            yield data[body : body + 64]
        # A length of 0 means: to the end of the file; one below the header's is nonsense.
        if length < header:
            return
        start += length


# Whatever points outside the drawing itself.
_OUTSIDE: Final = re.compile(r"""(\bhref\s*=\s*)(?:"(?!\s*(?:data:|\#))[^"]*"|'(?!\s*(?:data:|\#))[^']*')""")
# Entities that could hide such a pointer from the pattern above.
_HIDING_ENTITY: Final = re.compile(r"""<!ENTITY\s+(?:%|[^\s"'>]+\s+(?:"[^"]*[<&]|'[^']*[<&]))""")
_SVG_TAG: Final = re.compile(r"<(?:\w+:)?svg\b[^>]*>")
_LENGTH: Final = re.compile(r"""\s(width|height)\s*=\s*["']\s*([0-9.]+(?:e[0-9]+)?)\s*(px|pt|pc|mm|cm|in)?\s*["']""")
_VIEW_BOX: Final = re.compile(r"""\sviewBox\s*=\s*["']\s*[-+0-9.e]+[\s,]+[-+0-9.e]+[\s,]+([0-9.e]+)[\s,]+([0-9.e]+)""")
_PIXELS_PER_UNIT: Final = {"": 1.0, "px": 1.0, "pt": 96 / 72, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}


def _open_svg(module: ModuleType, data: bytes, _: int) -> Opened:
    text = _svg_text(data)
    if _HIDING_ENTITY.search(text):
        raise UnreadableError("damaged", "SVG with entities that hold markup")
    drawing = _OUTSIDE.sub(r'\1""', text)
    # Without a dpi, lengths in centimetres or inches are 0.
    png = module.svg_to_bytes(svg_string=drawing, width=SVG_SIDE_PX, height=SVG_SIDE_PX, dpi=96)
    image = Image.open(io.BytesIO(png), formats=["PNG"])
    return Opened(image, "SVG", full_size=_svg_size(text), orientation=1)


def _svg_text(data: bytes) -> str:
    if data.startswith(b"\x1f\x8b"):
        with gzip.open(io.BytesIO(data)) as stream:
            data = stream.read(MAX_SVG_BYTES + 1)
        if b"<svg" not in data or len(data) > MAX_SVG_BYTES:
            raise UnreadableError("not-an-image", "compressed data that holds no drawing")
    return data.decode("utf-8-sig", "replace")


def _svg_size(text: str) -> tuple[int, int] | None:
    """Return width and height in pixels as the drawing's first tag gives them, if it does."""
    tag = _SVG_TAG.search(text)
    if tag is None:
        return None
    lengths = {name: float(number) * _PIXELS_PER_UNIT[unit] for name, number, unit in _LENGTH.findall(tag[0])}
    box = _VIEW_BOX.search(tag[0])
    if len(lengths) == 2:
        return round(lengths["width"]), round(lengths["height"])
    return (round(float(box[1])), round(float(box[2]))) if box else None


# LibRaw's flip, as EXIF orientation.
_RAW_ORIENTATIONS: Final = {0: 1, 3: 3, 5: 8, 6: 6}


def _open_raw(module: ModuleType, data: bytes, max_pixels: int) -> Opened:
    with module.imread(io.BytesIO(data)) as raw:
        sizes = raw.sizes
        check_pixels(sizes.width, sizes.height, max_pixels)
        image = _raw_preview(module, raw) or _raw_developed(raw)
    # A preview that says itself how it lies is believed; all else lies as the sensor did.
    lying = image.getexif().get(ExifTags.Base.Orientation) or _RAW_ORIENTATIONS.get(sizes.flip, 1)
    return Opened(image, "RAW", full_size=(sizes.width, sizes.height), orientation=lying)


def _raw_preview(module: ModuleType, raw: Any) -> Image.Image | None:  # noqa: ANN401 -- the package's own class
    try:
        preview = raw.extract_thumb()
    except module.LibRawError:
        return None
    if preview.format == module.ThumbFormat.JPEG:
        image: Image.Image = Image.open(io.BytesIO(preview.data), formats=["JPEG"])
    else:
        image = Image.fromarray(preview.data)
    shape = (image.width / image.height) / (raw.sizes.width / raw.sizes.height)
    is_whole = abs(shape - 1) <= PREVIEW_SHAPE_TOLERANCE
    return image if is_whole and min(image.size) >= MIN_PREVIEW_PX else None


def _raw_developed(raw: Any) -> Image.Image:  # noqa: ANN401 -- the package's own class
    # Half size: one pixel for each two by two of the sensor, no interpolation.
    return Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True, user_flip=0))


_OPENERS: Final[Mapping[str, Callable[[ModuleType, bytes, int], Opened]]] = {
    "HEIF": _open_heif,
    "JPEG XL": _open_jxl,
    "SVG": _open_svg,
    "camera RAW": _open_raw,
}
