"""Office files: zip archives with the text in one XML file.

In: bytes of an odt or docx file.  Out: its text.  Never here: layout, pictures, macros; formats in no zip archive.

Nothing unpacks to more than `MAX_XML_BYTES`.  A document type is refused, so that no entity stands for more than is
there, and none for what is elsewhere.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from lzma import LZMAError
from typing import IO, Final
from xml.parsers import expat

from cbir_daemon.decode.reading import UnreadableError

MAX_XML_BYTES: Final = 64 << 20
"""Of the XML that is unpacked: the text of a book of 6 000 000 letters, with the marks of each word."""

_PIECE_BYTES: Final = 1 << 16
_ZIP_FAULTS: Final = (
    *(zipfile.BadZipFile, zlib.error, LZMAError, EOFError, OSError, RuntimeError),
    *(NotImplementedError, KeyError, ValueError, OverflowError, IndexError, struct.error),
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Where a kind of office file has its text.

    Parameters
    ----------
    format : str
    shown : frozenset of str
        Elements whose characters are text; all when there is none.
    hidden : frozenset of str
        Elements that are left out.
    breaks : frozenset of str
        Elements after which a new word begins.
    """

    format: str
    shown: frozenset[str]
    hidden: frozenset[str]
    breaks: frozenset[str]


_KINDS: Final[Mapping[str, _Kind]] = {
    "content.xml": _Kind(
        "ODT",
        frozenset({"office:body"}),
        frozenset({"text:tracked-changes", "office:annotation", "office:binary-data"}),
        frozenset({"text:p", "text:h", "text:tab", "text:line-break", "text:s", "table:table-cell"}),
    ),
    "word/document.xml": _Kind(
        "DOCX", frozenset({"w:t"}), frozenset({"w:del"}), frozenset({"w:p", "w:tab", "w:br", "w:cr", "w:tc"})
    ),
}


def office_text(data: bytes) -> tuple[str, str]:
    """Return the text of an office file and the name of its format.

    Parameters
    ----------
    data : bytes

    Raises
    ------
    UnreadableError
        `not-an-image` for an archive that is no office file; `damaged` for one that breaks off, is encrypted, has a
        document type or unpacks to more than `MAX_XML_BYTES`.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = set(archive.namelist())
            name = next((name for name in _KINDS if name in names), None)
            if name is None:
                raise UnreadableError("not-an-image", "a zip archive that is no office document")
            with archive.open(name) as member:
                return _text(member, _KINDS[name]), _KINDS[name].format
    except _ZIP_FAULTS as error:
        raise UnreadableError("damaged", f"the archive is damaged: {error}") from error
    except expat.ExpatError as error:
        raise UnreadableError("damaged", f"its XML is damaged: {error}") from error


def _text(member: IO[bytes], kind: _Kind) -> str:
    collector = _Collector(kind)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = collector.start
    parser.EndElementHandler = collector.end
    parser.CharacterDataHandler = collector.characters
    unpacked = 0
    while piece := member.read(_PIECE_BYTES):
        unpacked += len(piece)
        if unpacked > MAX_XML_BYTES:
            raise UnreadableError("damaged", f"it unpacks to more than {MAX_XML_BYTES} bytes")
        parser.Parse(piece)
    parser.Parse(b"", True)
    return "".join(collector.pieces)


def _refuse_doctype(*_: object) -> None:
    raise UnreadableError("damaged", "its XML declares a document type, which is refused")


class _Collector:
    """Collects the characters of elements that are text.

    Parameters
    ----------
    kind : _Kind
    """

    def __init__(self, kind: _Kind) -> None:
        self.pieces: list[str] = []
        self._kind = kind
        self._shown = self._hidden = 0

    def start(self, name: str, _: Mapping[str, str]) -> None:
        """Enter an element."""
        self._shown += name in self._kind.shown
        self._hidden += name in self._kind.hidden

    def end(self, name: str) -> None:
        """Leave an element."""
        self._shown -= name in self._kind.shown
        self._hidden -= name in self._kind.hidden
        if name in self._kind.breaks:
            self.pieces.append("\n")

    def characters(self, text: str) -> None:
        """Take characters."""
        if self._shown and not self._hidden:
            self.pieces.append(text)
