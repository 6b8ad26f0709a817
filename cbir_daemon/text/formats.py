"""Which kind of text file bytes are, by the bytes alone.

In: bytes.  Out: a name of a format, and what an extra reads.  Never here: reading what is in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cbir_daemon.decode.reader import Extra

SUFFIXES: Final = frozenset(
    {
        *(".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".org", ".tex"),
        *(".htm", ".html", ".xhtml", ".pdf", ".odt", ".docx"),
    }
)
"""Lower case, of files that are looked at."""

PDF: Final = "PDF"
EXTRAS: Final[Mapping[str, Extra]] = MappingProxyType({PDF: Extra("text", PDF, "pypdfium2")})
"""Format -> what reads it."""

_BEGINNING: Final = 4096
# Acrobat takes a header within the first 1024 bytes.
_PDF_HEADER: Final = 1024
_ZIP: Final = b"PK\x03\x04"
_FLAGS: Final = re.IGNORECASE | re.DOTALL
_BEFORE: Final = rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*"
_HTML: Final = re.compile(_BEFORE + rb"<(?:!doctype\s+html|html|head|body)\b", _FLAGS)
_SVG: Final = re.compile(_BEFORE + rb"(?:<!doctype\s+svg|<svg\b)", _FLAGS)

UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
UTF8_MARK: Final = b"\xef\xbb\xbf"

# Tabs, line and page breaks, backspace and escape of terminals stand in texts; other control characters hardly ever.
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r\f\b\x1b"))
_MOST_CONTROLS: Final = 0.005


def format_of(data: bytes) -> str:
    """Return "PDF", "OFFICE" for a zip archive, "HTML", "TEXT", or nothing for bytes that are no text.

    Parameters
    ----------
    data : bytes
        A whole file.
    """
    beginning = data[:_BEGINNING]
    if b"%PDF-" in data[:_PDF_HEADER]:
        return PDF
    if beginning.startswith(_ZIP):
        return "OFFICE"
    if beginning.startswith(UTF16_MARKS):
        return "TEXT"
    controls = len(beginning) - len(beginning.translate(None, _CONTROLS))
    if b"\0" in beginning or controls > _MOST_CONTROLS * len(beginning) or _SVG.match(beginning):
        return ""
    return "HTML" if _HTML.match(beginning.removeprefix(UTF8_MARK)) else "TEXT"
