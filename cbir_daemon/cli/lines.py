"""The parts of lines for people: paths that cannot upset a terminal, sizes with their units, aligned columns.

In: values of answers.  Out: text.  Never here: one command's answer, printing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from cbir_daemon.protocol.messages import path_from_json

KIB = 1024


def raw_path(value: object) -> str:
    """Return a path from an answer, as it is on disk: stdout writes bytes that are no text as they were."""
    return os.fsdecode(path_from_json(value))


def path(value: object) -> str:
    """Return a path from an answer for a terminal: what is not printable is escaped, as are bytes that are no text."""
    return printable(raw_path(value))


def printable(text: str) -> str:
    """Return `text` for a terminal: what is not printable is escaped, as are bytes that are no text."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def size(value: int) -> str:
    """Return a number of bytes with its unit."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB"):
        # As it is shown: 1023.6 would be 1024.
        if round(amount) < KIB:
            return f"{amount:.0f} {unit}"
        amount /= KIB
    return f"{amount:.1f} GiB"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows as lines with aligned columns; the last column is not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        yield "  ".join([*cells, row[-1]]).rstrip()
