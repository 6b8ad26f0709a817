"""What a worker reads texts by.

In: bytes of a file.  Out: `FILE_READER`.  Never here: how each format is read, the daemon, which imports none of this.
"""

from __future__ import annotations

import codecs
import importlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final

from cbir_daemon.decode.reader import FileReader, Pictures, Reading
from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.records import Detail
from cbir_daemon.text.formats import EXTRAS, PDF, format_of
from cbir_daemon.text.markup import text_of, title_of
from cbir_daemon.text.office import office_text
from cbir_daemon.text.passages import MAX_CHARACTERS, Page, passages
from cbir_daemon.text.plain import CODECS, decoded

_PDF_MODULE: Final = "cbir_daemon.text.pdf"
_TITLE_CHARACTERS: Final = 500


class TextReader:
    """Plain text, HTML, office files, and PDF by the extra; a `FileReader`."""

    pictures: Pictures | None = None

    def load(self, extras: AbstractSet[str], /) -> frozenset[str]:
        """Load tables and codecs, and PDFium where the extra is named; return the extra where it is not."""
        for codec in CODECS:
            codecs.lookup(codec)
        # Its tables are made, and what numpy loads late is loaded.
        passages([Page("some words, all of them\u00e9")])
        extra = EXTRAS[PDF]
        if extra.name not in extras:
            return frozenset({extra.name} if extra.is_installed else ())
        # One that is broken reads no more than one that is not there.
        with suppress(ImportError):
            importlib.import_module(_PDF_MODULE)
        return frozenset()

    def folders(self, extras: AbstractSet[str], /) -> Sequence[str]:
        """Return none: what is read by is loaded."""
        return ()

    def claims(self, data: bytes, /) -> bool:
        """Return whether bytes are a text."""
        return bool(format_of(data))

    def extra_for(self, data: bytes, /) -> str:
        """Return the name of the extra that reads PDF, for a PDF file."""
        extra = EXTRAS.get(format_of(data))
        return extra.name if extra else ""

    def read(self, data: bytes, max_pixels: int, /) -> Reading:
        """Return the vector, the passages and the facts of a text.

        Parameters
        ----------
        data : bytes
        max_pixels : int
            Not looked at; `passages.MAX_CHARACTERS` are read, and `details["cut"]` says when there are more.

        Raises
        ------
        UnreadableError
            `not-an-image`, `needs-extra` or `damaged`.
        """
        kind = format_of(data)
        if kind == PDF:
            return _pdf_reading(data)
        if kind == "OFFICE":
            text, kind = office_text(data)
            return _reading(kind, [Page(text)])
        if not kind:
            raise UnreadableError("not-an-image", "the bytes are no text in a format that is read here")
        text = decoded(data)
        if kind == "HTML":
            return _reading(kind, [Page(text_of(text))], title_of(text))
        return _reading(kind, [Page(text)])


def _pdf_reading(data: bytes) -> Reading:
    try:
        pdf = importlib.import_module(_PDF_MODULE)
    except ImportError as error:
        raise UnreadableError("needs-extra", EXTRAS[PDF].words) from error
    pages, title, count = pdf.pdf_pages(data)
    return _reading(PDF, pages, title, count)


def _reading(kind: str, pages: Sequence[Page], title: str = "", count: int = 0) -> Reading:
    """Return what pages hold, up to the limit of characters."""
    is_cut = len(pages) < count
    if not count and len(pages[0].text) > MAX_CHARACTERS:
        pages, is_cut = [Page(pages[0].text[:MAX_CHARACTERS])], True
    found = passages(pages)
    details: dict[str, Detail] = {"words": found.words, "characters": found.characters}
    if title:
        details["title"] = title[:_TITLE_CHARACTERS]
    if count:
        details["pages"] = count
    if is_cut:
        details["cut"] = True
    return Reading(found.vector, 0, 0, kind, parts=found.parts, details=details)


FILE_READER: Final[FileReader] = TextReader()
"""What a worker reads texts by."""
