"""A medium of its own: tables of numbers, whose parts are their columns.  `docs/media.md` explains it.

In: nothing.  Out: `COLUMNS`, which a package names as an entry point of the group `cbir_daemon.media`.  Never here: how
a file becomes numbers (`file_reader`, which only workers import).
"""

from __future__ import annotations

from cbir_daemon.decode import Reader
from cbir_daemon.media import FileMedium
from tests.columns.medium import EXTRACTOR, Columns

COLUMNS = FileMedium(
    Reader(EXTRACTOR, frozenset({".csv"}), "tests.columns.file_reader", medium="columns"),
    Columns(),
)
"""Tables as comma-separated values."""
