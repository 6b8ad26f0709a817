"""Draw what can be drawn of an image that cannot be read whole: its beginning, or a JPEG that lies inside of it.

In: bytes.  Out: a small upright colour picture for people.  Never here: numbers to compare; files.

References
----------
ITU-T T.81, Table B.1: a JPEG begins with the marker SOI, which another marker follows.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from PIL import Image, ImageFile, UnidentifiedImageError

from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.pictures.formats import format_of
from cbir_daemon.pictures.pixels import BLANK_RANGE, read_preview

BEGIN_OF_JPEG: Final = b"\xff\xd8\xff"

MOST_INSIDE: Final = 16
"""Places at which a JPEG may begin that are looked at: cameras write two or three."""

DRAFTED_PIXELS: Final = 64
"""Times as many pixels as are allowed elsewhere: a JPEG is decoded at an eighth of its width and height."""


def read_remains(data: bytes, max_pixels: int, side_px: int) -> Image.Image:
    """Return an upright RGB picture of what is there of an image; what is missing is grey or black.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_pixels : int
        Largest width x height that is decoded.
    side_px : int
        Width and height of the picture at most.

    Raises
    ------
    UnreadableError
        `damaged`, when nothing of it can be drawn.
    """
    with _as_far_as_it_goes():
        for part in _parts(data):
            limit = DRAFTED_PIXELS * max_pixels if format_of(part) == "JPEG" else max_pixels
            # The next part may be sound; which of them were not, nobody asks.
            with suppress(UnreadableError):
                picture = read_preview(part, limit, side_px)
                if _shows_something(picture):
                    return picture
    raise UnreadableError("damaged", "nothing of it can be drawn")


@contextmanager
def _as_far_as_it_goes() -> Iterator[None]:
    """Have Pillow give what it has decoded when a file ends too early; a worker reads one file at a time."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _parts(data: bytes) -> Iterator[bytes]:
    """Yield the file, then each JPEG inside of it, the largest first."""
    yield data
    found: list[tuple[int, int]] = []
    start = data.find(BEGIN_OF_JPEG, 1)
    while start >= 0 and len(found) < MOST_INSIDE:
        found.append((-_pixels_of(data[start:]), start))
        start = data.find(BEGIN_OF_JPEG, start + 1)
    yield from (data[start:] for pixels, start in sorted(found) if pixels)


def _pixels_of(data: bytes) -> int:
    """Return width x height as the header of a JPEG has it; 0 when it is none."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return image.width * image.height
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0


def _shows_something(picture: Image.Image) -> bool:
    darkest, brightest = picture.convert("L").getextrema()
    assert isinstance(darkest, (int, float))
    assert isinstance(brightest, (int, float))
    return brightest - darkest > BLANK_RANGE
