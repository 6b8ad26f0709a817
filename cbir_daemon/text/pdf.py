"""PDF: bytes -> the text of each page, by PDFium.

In: bytes.  Out: pages.  Never here: how pages look, scripts and forms, which are never started.

The module is imported in workers only, and there before they are confined; a fault in PDFium costs one worker and no
file besides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pypdfium2

from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.text.passages import MAX_CHARACTERS, Page

MAX_PAGES: Final = 5_000
"""Pages that are read; each may begin a passage, and a file has a number of parts at most."""


def pdf_pages(data: bytes) -> tuple[list[Page], str, int]:
    """Return the pages of a file up to the limits, its title, and how many pages it has.

    Parameters
    ----------
    data : bytes

    Raises
    ------
    UnreadableError
        `damaged`, for what PDFium does not open: also files that need a password.
    """
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise UnreadableError("damaged", f"PDFium does not open it: {error}") from error
    try:
        title = document.get_metadata_dict().get("Title", "")
        return list(_within_limits(document)), " ".join(title.split()), len(document)
    finally:
        document.close()


def _within_limits(document: pypdfium2.PdfDocument) -> Iterator[Page]:
    characters = 0
    for number in range(min(len(document), MAX_PAGES)):
        text = _page_text(document, number)
        characters += len(text)
        if characters > MAX_CHARACTERS:
            return
        yield Page(text, f"page {number + 1}")


def _page_text(document: pypdfium2.PdfDocument, number: int) -> str:
    """Return the text of a page; none of a page that is damaged, so that the others are found."""
    try:
        page = document[number]
        text_page = page.get_textpage()
        text: str = text_page.get_text_range()
    except pypdfium2.PdfiumError:
        return ""
    text_page.close()
    page.close()
    # How PDFium writes a hyphen at the end of a line, and a character that it does not know.
    return text.replace("\ufffe", "-\n").replace("\ufffd", " ")
