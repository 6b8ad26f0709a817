"""Draw many small pictures into one, each where it belongs and some of them framed.

In: a canvas, a table of places, squares of grey numbers, descriptors that say in which colours.  Out: an encoded
picture.  Never here: files, what decides where a tile lies.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

from PIL import Image, ImageDraw

from cbir_daemon.decode.canvas import TILE, canvas_from
from cbir_daemon.protocol.framing import Frame

WEBP_QUALITY: Final = 60
WEBP_METHOD: Final = 2
"""Effort, 0 to 6: above 2, files are 3 % smaller and take twice as long."""

GREYS: Final = bytes(grey for grey in range(256) for _ in range(3))
"""Red, green and blue of each grey, all the same."""

PNG_LEVEL: Final = 3
"""Effort, 0 to 9: of pictures like these, files are as small as at the usual 6, in half the time."""


def draw_mosaic(frame: Frame, palette: Callable[[bytes], bytes]) -> bytes:
    """Return an encoded picture of many small ones.

    Parameters
    ----------
    frame : Frame
        The message is from `mosaic_message`; the blob has a row of `TILE` for each small picture, then a descriptor
        for each, then their squares of grey numbers.
    palette : callable
        Takes a descriptor, returns red, green and blue of each grey: 768 bytes.
    """
    canvas = canvas_from(frame.message)
    square_bytes = canvas.side_px**2
    count = len(frame.blob) // (TILE.size + canvas.descriptor_bytes + square_bytes)
    picture = Image.new("RGB", (canvas.width_px, canvas.height_px), canvas.background)
    pen = ImageDraw.Draw(picture)
    descriptors = memoryview(frame.blob)[count * TILE.size :]
    squares = descriptors[count * canvas.descriptor_bytes :]
    for number, row in enumerate(TILE.iter_unpack(frame.blob[: count * TILE.size])):
        left, top, width, height, red, green, blue, border = row
        if border:
            box = (left - border, top - border, left + width - 1 + border, top + height - 1 + border)
            pen.rectangle(box, outline=(red, green, blue), width=border)
        square = squares[number * square_bytes : (number + 1) * square_bytes]
        tile = Image.frombytes("P", (canvas.side_px, canvas.side_px), square)
        descriptor = descriptors[number * canvas.descriptor_bytes : (number + 1) * canvas.descriptor_bytes]
        tile.putpalette(palette(bytes(descriptor)))
        picture.paste(tile.convert("RGB").resize((width, height), Image.Resampling.LANCZOS), (left, top))
    return _encoded(picture, canvas.form)


def greys(_: bytes) -> bytes:
    """Return the palette of what has no colours."""
    return GREYS


def _encoded(picture: Image.Image, form: str) -> bytes:
    output = io.BytesIO()
    if form == "WEBP":
        picture.save(output, form, quality=WEBP_QUALITY, method=WEBP_METHOD)
    else:
        picture.save(output, form, compress_level=PNG_LEVEL)
    return output.getvalue()
