"""A second kind of file: texts, and how a worker reads them.

In: bytes of a text file.  Out: `TEXT_FILES`, which a pool is given, and `FILE_READER`, which its workers import.  Never
here: how texts are compared (`test_medium`).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import numpy as np

from cbir_daemon.decode import Reader
from cbir_daemon.decode.reader import FileReader, Pictures, Reading
from cbir_daemon.decode.reading import UnreadableError

PIECES = KINDS = 64

TEXT_FILES = Reader("text/1", frozenset({".txt"}), __name__)


class TextReader:
    """Texts in UTF-8."""

    pictures: Pictures | None = None

    def load(self, extras: AbstractSet[str], /) -> frozenset[str]:
        """Load nothing: what counts words is imported with this module."""
        return frozenset()

    def folders(self, extras: AbstractSet[str], /) -> Sequence[str]:
        """Return none."""
        return ()

    def claims(self, data: bytes, /) -> bool:
        """Return True: it is the only reader."""
        return True

    def extra_for(self, data: bytes, /) -> str:
        """Return none."""
        return ""

    def read(self, data: bytes, max_pixels: int, /) -> Reading:
        """Count the words of a text."""
        try:
            return Reading(vector_of(data.decode()), 0, 0, "TEXT")
        except UnicodeDecodeError as error:
            raise UnreadableError("not-an-image", "no text in UTF-8") from error


def vector_of(text: str) -> bytes:
    """Return how often each kind of word stands in each piece of a text; short words are in every text."""
    kinds = np.array([zlib.crc32(word.encode()) % KINDS for word in re.findall(r"[a-z_]{5,}", text.lower())])
    table = np.zeros((PIECES, KINDS), dtype=np.int64)
    np.add.at(table, (np.arange(len(kinds)) * PIECES // len(kinds), kinds), 1)
    return np.minimum(table, 255).astype(np.uint8).tobytes()


FILE_READER: Final[FileReader] = TextReader()
