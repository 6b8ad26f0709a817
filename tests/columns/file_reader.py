"""Read a table: each column of numbers becomes a part.

In: the bytes of a file.  Out: `FILE_READER`.  Never here: how columns are compared (`medium`).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import numpy as np

from cbir_daemon.decode.reader import FileReader, Pictures, Reading
from cbir_daemon.decode.reading import UnreadableError
from cbir_daemon.records import VECTOR_BYTES, Part

MOST_COLUMNS, MOST_ROWS = 500, 1_000_000
"""A larger table is refused: a reader says how much it takes, whoever made the file."""

FEWEST_ROWS = 8


class ColumnReader:
    """Comma-separated values in UTF-8, with a header."""

    pictures: Pictures | None = None

    def load(self, extras: AbstractSet[str], /) -> frozenset[str]:
        """Load nothing: all that reads is imported with this module."""
        return frozenset()

    def folders(self, extras: AbstractSet[str], /) -> Sequence[str]:
        """Return none."""
        return ()

    def claims(self, data: bytes, /) -> bool:
        """Return whether the first line has commas and no byte that text has not."""
        first = data[:4096].partition(b"\n")[0]
        return b"," in first and b"\0" not in first

    def extra_for(self, data: bytes, /) -> str:
        """Return none."""
        return ""

    def read(self, data: bytes, max_pixels: int, /) -> Reading:
        """Return the columns that hold numbers alone."""
        header, rows = _table(data)
        columns = [_numbers(column) for column in zip(*rows, strict=True)]
        parts = tuple(
            Part(_vector(column), number, number + 1, header[number])
            for number, column in enumerate(columns)
            if column is not None
        )
        vectors = np.frombuffer(b"".join(part.vector for part in parts) or bytes(VECTOR_BYTES), np.uint8)
        whole = vectors.reshape(-1, VECTOR_BYTES).mean(axis=0)
        details = {"rows": len(rows), "columns": len(header)}
        return Reading(whole.astype(np.uint8).tobytes(), 0, 0, "CSV", parts=parts, details=details)


def _table(data: bytes) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows, all as long as the header."""
    try:
        lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header, *rows = lines
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise UnreadableError("not-an-image", "no table of comma-separated values") from error
    if len(rows) < FEWEST_ROWS or any(len(row) != len(header) for row in rows):
        raise UnreadableError("damaged", "no table: its rows are too few, or of different lengths")
    if len(header) > MOST_COLUMNS or len(rows) > MOST_ROWS:
        raise UnreadableError("too-large", f"more than {MOST_COLUMNS} columns or {MOST_ROWS} rows")
    return header, rows


def _numbers(column: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """Return a column as numbers; None when it holds anything else."""
    try:
        numbers = [float(cell) for cell in column]
    except ValueError:
        return None
    # Of larger ones the squares are no numbers any more.
    return np.array(numbers) if all(abs(number) < 1e100 and math.isfinite(number) for number in numbers) else None


def _vector(column: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bytes:
    """Return a column as 4096 numbers: its course from the first row to the last, whatever its unit."""
    course = np.interp(np.linspace(0, len(column) - 1, VECTOR_BYTES), np.arange(len(column)), column)
    low, high = course.min(), course.max()
    if high <= low:
        return bytes([128]) * VECTOR_BYTES
    return bytes(np.rint(255 * (course - low) / (high - low)).astype(np.uint8))


FILE_READER: Final[FileReader] = ColumnReader()
