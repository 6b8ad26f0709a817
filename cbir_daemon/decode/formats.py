"""The names of things: suffixes looked at, formats read, and the words for what cannot be read.

In: nothing.  Out: constants.  Never here: Pillow; the daemon imports this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

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

REASONS: Final[Mapping[str, str]] = {
    "empty": "the file has no bytes",
    "not-an-image": "the bytes are in no format that is read here",
    "needs-extra": "the format is read by an extra that is not installed",
    "truncated": "the file ends before the picture does",
    "damaged": "the format is known, the data in it cannot be decoded",
    "too-many-pixels": "width x height is above max_pixels",
    "too-large": "the file is above max_file_bytes",
    "timed-out": "reading took longer than timeout_s",
    "crashed": "the worker process died while it read this file",
    "out-of-memory": "reading needs more memory than a worker may have",
    "no-access": "permission denied",
    "vanished": "the file was gone when it was opened",
    "changed-while-reading": "the file was written to while it was read",
    "not-a-file": "a folder, link, pipe or device",
    "read-failed": "the disk or the network share reported an error",
}
"""Every word that an `Unreadable.code` can be, and what it means."""


@dataclass(frozen=True, slots=True)
class Extra:
    """A format that an optional package reads.

    Parameters
    ----------
    name : str
        As in `pip install cbir-daemon[NAME]`.
    format : str
        For people.
    signature : re.Pattern
        Matches the first bytes of such a file.
    """

    name: str
    format: str
    signature: re.Pattern[bytes]


EXTRAS: Final = (
    Extra("heif", "HEIC", re.compile(rb"(?s).{4}ftyp.{0,32}?(heic|heix|hevc|hevx|heim|heis|hevm|hevs|mif1|msf1)")),
    Extra("jxl", "JPEG XL", re.compile(rb"(?s)\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n")),
    Extra(
        "svg", "SVG", re.compile(rb"(?s)(\xef\xbb\xbf)?\s*(<\?xml|<!--|<!DOCTYPE svg|<svg).{0,1000}?(?<=<)svg|\s*<svg")
    ),
)

_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "PSD"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"icns", "ICNS"),
    (b"\x00\x00\x01\x00", "ICO"),
)


def format_of(data: bytes) -> str:
    """Return, for people, the format that the first bytes of `data` promise, or nothing when they promise none."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    return next((name for signature, name in _SIGNATURES if data.startswith(signature)), "")
