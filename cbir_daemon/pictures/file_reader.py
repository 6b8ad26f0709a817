"""The functions of this room as a `FileReader`: what a worker reads pictures by.

In: bytes.  Out: `FILE_READER`.  Never here: how any of it works; the daemon, which must not import Pillow.

What a worker would otherwise load while it reads is loaded before it confines itself: a confined worker can open no
file, so no module either.  The extras together cost a third of a second from a slow disk and 20 MB, and most albums
need one of them at most: a worker is started with those that this daemon has met files for.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final

from PIL import Image

from cbir_daemon.decode.reader import FileReader, Pictures, Pixels, Reading
from cbir_daemon.pictures.appearance import describe, palette
from cbir_daemon.pictures.extras import load_extra
from cbir_daemon.pictures.formats import EXTRAS, format_of
from cbir_daemon.pictures.pixels import NO_CHROMA, read_colour, read_crop, read_grey, read_picture, read_preview
from cbir_daemon.pictures.remains import read_remains
from cbir_daemon.records import VECTOR_BYTES

# In which metadata may be written.
_CODECS: Final = (
    *("ascii", "latin-1", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "mac-roman"),
)


class SmallPictures:
    """Small pictures of images, by `pixels`; a `Pictures`."""

    def colour(self, data: bytes, max_pixels: int, side_px: int, /) -> Pixels:
        """Return a picture in RGB, no larger than `side_px`."""
        return _pixels(read_colour(data, max_pixels, side_px))

    def preview(self, data: bytes, max_pixels: int, side_px: int, /) -> Pixels:
        """Return a picture in RGB for people, no larger than `side_px`."""
        return _pixels(read_preview(data, max_pixels, side_px))

    def remains(self, data: bytes, max_pixels: int, side_px: int, /) -> Pixels:
        """Return a picture in RGB of what is there of an image that cannot be read whole."""
        return _pixels(read_remains(data, max_pixels, side_px))

    def grey(self, data: bytes, max_pixels: int, side_px: int, /) -> Pixels:
        """Return a picture in grey, no larger than `side_px`."""
        return _pixels(read_grey(data, max_pixels, side_px))

    def crop(self, data: bytes, max_pixels: int, box: tuple[int, int, int, int], /) -> Pixels:
        """Return a part in grey, pixel by pixel."""
        return _pixels(read_crop(data, max_pixels, box))

    def palette(self, descriptor: bytes, /) -> bytes:
        """Return the colours that the greys of a vector stand for."""
        return palette(descriptor)


class PictureReader:
    """Images, by Pillow and the extras; a `FileReader`."""

    pictures: Pictures | None = SmallPictures()

    def load(self, extras: AbstractSet[str], /) -> frozenset[str]:
        """Load Pillow's plugins, and the extras that are named and installed; return the installed that are not."""
        Image.init()
        # Its tables are made, and what numpy loads late is loaded.
        describe(bytes(VECTOR_BYTES), NO_CHROMA)
        for codec in _CODECS:
            codecs.lookup(codec)
        installed = {extra for extra in EXTRAS.values() if extra.is_installed}
        for extra in installed:
            if extra.name in extras:
                # One that is broken reads no more than one that is not there.
                with suppress(ImportError):
                    load_extra(extra)
        return frozenset(extra.name for extra in installed) - extras

    def folders(self, extras: AbstractSet[str], /) -> Sequence[str]:
        """Return the folders of those extras."""
        return [folder for extra in EXTRAS.values() if extra.name in extras for folder in extra.folders]

    def claims(self, data: bytes, /) -> bool:
        """Return whether the first bytes are of a format that promises an image."""
        return format_of(data) != ""

    def extra_for(self, data: bytes, /) -> str:
        """Return the name of the extra that reads an image, by its first bytes."""
        extra = EXTRAS.get(format_of(data))
        return extra.name if extra else ""

    def read(self, data: bytes, max_pixels: int, /) -> Reading:
        """Return the vector and the facts of an image."""
        picture = read_picture(data, max_pixels)
        return Reading(
            picture.vector,
            picture.width_px,
            picture.height_px,
            picture.format,
            picture.taken,
            describe(picture.vector, picture.chroma),
        )


def _pixels(image: Image.Image) -> Pixels:
    return Pixels(image.width, image.height, image.tobytes())


FILE_READER: Final[FileReader] = PictureReader()
"""The reader of images that a worker loads."""
