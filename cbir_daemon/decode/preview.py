"""Write a small picture as a file that a browser shows.

In: pixels.  Out: an encoded picture.  Never here: files, how large the picture is to be; metadata, none of which goes
along.
"""

from __future__ import annotations

import io
from typing import Final

from PIL import Image

from cbir_daemon.decode.reader import Pixels

JPEG_QUALITY: Final = 90
"""Two copies that are laid upon each other must not differ by how they were saved here."""

WEBP_QUALITY: Final = 80
WEBP_METHOD: Final = 2
"""Effort, 0 to 6."""


def encoded_preview(pixels: Pixels, form: str) -> bytes:
    """Return a picture as a file.

    Parameters
    ----------
    pixels : Pixels
        RGB.
    form : str
        "jpeg" or "webp".
    """
    picture = Image.frombytes("RGB", (pixels.width_px, pixels.height_px), pixels.data)
    output = io.BytesIO()
    if form == "webp":
        picture.save(output, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
    else:
        # 4:4:4: half the colours would show along edges where two pictures are compared.
        picture.save(output, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return output.getvalue()
