"""The names of things: suffixes looked at, formats read, and the extras that some need.

In: nothing.  Out: constants.  Never here: Pillow; the daemon imports this.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from cbir_daemon.decode.reader import Extra

_SUFFIXES_WITHOUT_EXTRAS: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".tiff", ".tif"),
    *(".webp", ".avif", ".avifs", ".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc", ".ico", ".cur", ".icns", ".pbm"),
    *(".pgm", ".ppm", ".pnm", ".pam", ".pfm", ".tga", ".qoi", ".dds", ".pcx", ".dcx", ".sgi", ".rgb", ".psd", ".xbm"),
    *(".xpm", ".ras", ".im"),
)
_SUFFIXES_WITH_EXTRAS: Final = (
    *(".heic", ".heif", ".heics", ".heifs", ".hif", ".jxl", ".svg", ".svgz", ".dng", ".cr2", ".cr3", ".crw", ".nef"),
    *(".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2", ".raw", ".pef", ".srw", ".x3f", ".erf", ".kdc", ".dcr"),
    *(".mrw", ".3fr", ".mef", ".mos", ".iiq", ".rwl"),
)

IMAGE_SUFFIXES: Final = frozenset(_SUFFIXES_WITHOUT_EXTRAS + _SUFFIXES_WITH_EXTRAS)
"""Suffixes, lower case, of files that are looked at.  What a file is, its bytes decide."""

PILLOW_FORMATS: Final = (
    # In order of how often albums hold them: the first that accepts the bytes reads the file.  JPEG hands over to MPO.
    *("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "ICO", "PPM", "QOI", "DDS", "PSD", "ICNS"),
    *("DIB", "CUR", "PCX", "DCX", "SGI", "SUN", "XPM", "XBM", "IM", "FITS", "FLI", "FTEX", "BLP", "MSP"),
    *("PCD", "PIXAR"),
    # Has no signature: tried last.
    "TGA",
)
"""Formats that Pillow may try, and nothing else of what it has: see `docs/decoding.md` for what is left out and why."""


FONT_FOLDERS: Final = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/etc/fonts", "/usr/share/fontconfig", "~/.config/fontconfig"),
)
"""Where fonts lie, and what says so: drawings hold text, and what renders them takes fonts by their paths alone."""

EXTRAS: Final = {
    extra.format: extra
    for extra in (
        Extra("heif", "HEIF", "pillow_heif"),
        Extra("jxl", "JPEG XL", "pillow_jxl"),
        Extra("svg", "SVG", "resvg_py", FONT_FOLDERS),
        Extra("raw", "camera RAW", "rawpy"),
    )
}
"""The kinds of images that need an extra, by the name that `format_of` gives them."""

_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"8BPS", "PSD"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"icns", "ICNS"),
    (b"\x00\x00\x01\x00", "ICO"),
    # Olympus, Panasonic, Fujifilm, Canon, Sigma and Minolta have signatures of their own.
    (b"IIRO", "camera RAW"),
    (b"IIRS", "camera RAW"),
    (b"MMOR", "camera RAW"),
    (b"IIU\0", "camera RAW"),
    (b"FUJIFILMCCD-RAW", "camera RAW"),
    (b"II\x1a\0\0\0HEAPCCDR", "camera RAW"),
    (b"FOVb", "camera RAW"),
    (b"\0MRM", "camera RAW"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)

_AVIF_BRANDS: Final = {b"avif", b"avis"}
_HEIF_BRANDS: Final = {
    *(b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"mif2", b"mif3", b"msf1"),
}
_CANON_RAW_BRAND: Final = b"crx "

_SVG: Final = re.compile(rb"(?s)(\xef\xbb\xbf)?\s*<(svg|(\?xml|!--|!DOCTYPE).{0,4000}?<([a-z]+:)?svg)")
_GZIP: Final = b"\x1f\x8b"


def format_of(data: bytes) -> str:
    """Return, for people, the format that the first bytes of `data` promise, or nothing when they promise none."""
    if data[4:8] == b"ftyp":
        return _iso_format(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return _tiff_format(data) if name == "TIFF" else name
    return "SVG" if _SVG.match(data) or data.startswith(_GZIP) else ""


def _iso_format(data: bytes) -> str:
    length = int.from_bytes(data[:4], "big")
    # The second word is a version; low-overhead files put another brand there.
    brands = {data[start : start + 4] for start in range(8, min(length, 256), 4)}
    # Files of both kinds name the general brand mif1, so the particular one is looked for first.
    for known, name in ((_AVIF_BRANDS, "AVIF"), ({_CANON_RAW_BRAND}, "camera RAW"), (_HEIF_BRANDS, "HEIF")):
        if known & brands:
            return name
    return ""


# In a camera's own TIFF the first directory holds a thumbnail (NewSubfileType 1) or the sensor's mosaic (Photometric
# 32803), or it says DNGVersion.  Canon writes its mark into the header.
_CANON_MARK: Final = b"CR"
_TAG_KIND: Final = 0x00FE
_TAG_PHOTOMETRIC: Final = 0x0106
_TAG_MAKE: Final = 0x010F
_TAG_DNG_VERSION: Final = 0xC612
_MOSAIC: Final = 32803


def _tiff_format(data: bytes) -> str:
    if data[8:10] == _CANON_MARK:
        return "camera RAW"
    tags = _first_tiff_directory(data)
    is_thumbnail = _TAG_MAKE in tags and tags.get(_TAG_KIND) == 1
    is_raw = is_thumbnail or _TAG_DNG_VERSION in tags or tags.get(_TAG_PHOTOMETRIC) == _MOSAIC
    return "camera RAW" if is_raw else "TIFF"


def _first_tiff_directory(data: bytes) -> dict[int, int]:
    """Return tags and, where it is a single number, their value."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    start = int.from_bytes(data[4:8], order)
    count = int.from_bytes(data[start : start + 2], order)
    tags = {}
    for entry in range(start + 2, min(start + 2 + 12 * count, len(data)), 12):
        tag, kind = (int.from_bytes(data[entry + at : entry + at + 2], order) for at in (0, 2))
        # Kind 3 is a number of two bytes, left-aligned in its four.
        tags[tag] = int.from_bytes(data[entry + 8 : entry + (10 if kind == 3 else 12)], order)
    return tags
